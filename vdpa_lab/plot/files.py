"""Every published figure as a picture with the rows beside it as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vdpa_lab import __version__
from vdpa_lab.plot.downtime import Bar, draw_downtime, shown_windows
from vdpa_lab.plot.ladder import draw_ladder
from vdpa_lab.plot.save import save_figure

COLUMNS = (
    "figure", "row", "reading", "quantity", "unit", "published_low", "published_high", "simulated", "simulated_low",
    "simulated_high", "ratio", "use", "residual_constant", "scenario", "assumes", "source",
)  # fmt: skip
ROW_HEIGHT, WIDTH = 0.62, 9.5  # inches


def write_figures(rows: Iterable[Mapping], folder: str | Path) -> list[Path]:
    """One SVG and one CSV a figure and reading, named by both; figures that the model does not compute have only rows.

    rows: as `compare_figures` gives them. The same bytes on every run. Raises OSError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["figure"], row["reading"]), []).append(row)
    written = []
    for (name, reading), group in groups.items():
        stem = folder / (name if reading == "as printed" else f"{name}-{reading.replace(' ', '-')}")
        written.append(_write_rows(group, stem.with_suffix(".csv")))
        if any(row["simulated"] is not None for row in group):
            figure = Figure(figsize=(WIDTH, 1.4 + ROW_HEIGHT * len(group)), layout="constrained")
            draw_ladder(figure.add_subplot(), group)
            title = f"{name}: {group[0]['title']}"
            about = f"scenario {group[0]['scenario']}, vdpa_lab {__version__}, {group[0]['source']}. {group[0]['note']}"
            written.append(save_figure(figure, stem.with_suffix(".svg"), title=title, description=about))
    return written


def write_downtime(bars: Sequence[Bar], path: str | Path, *, title: str, description: str) -> Path:
    """The bars of one or more runs in every window as SVG, PDF or PNG. The same bytes on every run. Raises OSError."""
    windows = shown_windows(bars)
    figure = Figure(figsize=(WIDTH, 1.6 + 0.75 * len(windows) * (len(bars) + 1) / 2), layout="constrained")
    draw_downtime(figure.add_subplot(), bars, windows)
    return save_figure(figure, path, title=title, description=description)


def _write_rows(rows: Iterable[Mapping], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            low, high = row["published"] or (None, None)
            between = row["interval"] or (None, None)
            writer.writerow(
                {**row, "published_low": low, "published_high": high, "simulated_low": between[0],
                 "simulated_high": between[1], "assumes": " ".join(row["assumes"])}
            )  # fmt: skip
    return path
