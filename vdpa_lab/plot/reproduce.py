"""All rows of published figures beside the model's, a panel a figure and reading."""

from __future__ import annotations

from matplotlib.figure import Figure

from vdpa_lab.migration.compare import compare_figures
from vdpa_lab.plot.ladder import draw_ladder

WIDTH, ROW, HEAD = 9.0, 0.55, 1.1  # inches


def figures_figure(*names: str) -> Figure:
    """Published and simulated on one axis, as `vdpa-lab figures --out` draws them. Raises InputError."""
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for row in compare_figures(names):
        groups.setdefault((row["figure"], row["reading"], row["unit"]), []).append(row)
    heights = [HEAD + ROW * len(rows) for rows in groups.values()]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights).ravel()
    for ax, rows in zip(panels, groups.values(), strict=True):
        draw_ladder(ax, rows)
    return figure
