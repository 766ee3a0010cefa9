"""Benchmarks against size: time per unit of work, each candidate a line; flat is linear cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab import __version__
from vdpa_lab.plot.save import save_figure
from vdpa_lab.plot.style import FONT_SIZE, OKABE_ITO, PAPER_INK

LINES = {  # candidate -> column, colour, marker
    "ours": ("ns", OKABE_ITO["blue"], "o"),
    "twin, same algorithm in C": ("twin_ns", OKABE_ITO["vermillion"], "s"),
    "peer's way in C": ("peer_ns", OKABE_ITO["green"], "^"),
    "NumPy": ("numpy_ns", OKABE_ITO["purple"], "D"),
}
COLUMNS, WIDTH, HEIGHT = 2, 4.6, 2.6  # panels side by side; inches a panel


def draw_growth(ax: Axes, rows: Sequence[Mapping]) -> Axes:
    """Rows of one kind of work at several sizes, as `vdpa_lab.bench.benchmarks` gives them."""
    for name, (column, color, marker) in LINES.items():
        points = sorted((row["size"], row[column]) for row in rows if column in row)
        if points:
            ax.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=4, linewidth=1.2, label=name)
    ax.set(xscale="log", yscale="log", title=rows[0]["work"], xlabel="size", ylabel="ns a unit")
    ax.title.set_fontsize(FONT_SIZE + 1)
    ax.tick_params(labelsize=FONT_SIZE - 1, which="both")
    ax.grid(True, which="major", alpha=0.3)
    ax.legend(fontsize=FONT_SIZE - 1, frameon=False)
    return ax


def write_growth(rows: Iterable[Mapping], folder: str | Path) -> list[Path]:
    """`bench.json` with all rows, and `growth.svg` of every work that was timed at more than one size.

    Raises OSError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    written = [folder / "bench.json"]
    written[0].write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["subject"], row["work"]), []).append(row)
    growing = [group for group in groups.values() if len({row["size"] for row in group}) > 1]
    if growing:
        lines = -(-len(growing) // COLUMNS)
        figure = Figure(figsize=(COLUMNS * WIDTH, lines * HEIGHT), layout="constrained")
        panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
        for ax, group in zip(panels, growing, strict=False):
            draw_growth(ax, group)
        for ax in panels[len(growing) :]:
            ax.set_axis_off()
        figure.suptitle("Time for a unit of work against size (measured here)", color=PAPER_INK, fontsize=FONT_SIZE + 2)
        about = f"vdpa_lab {__version__}, vdpa-lab bench"
        written.append(save_figure(figure, folder / "growth.svg", title="Growth of kernel times", description=about))
    return written
