"""Published times of pinning and unpinning beside the model's prices, on one logarithmic axis."""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure

from vdpa_lab import __version__
from vdpa_lab.beside.pins import pin_benchmarks, pin_rows
from vdpa_lab.library import Calibration, priors, read_calibration
from vdpa_lab.plot.save import save_figure
from vdpa_lab.plot.style import FONT_SIZE, OKABE_ITO, PAPER_INK

MARKERS = "osD^vPX"
ROW, HEAD, WIDTH = 0.42, 1.4, 9.0  # inches
ABOVE, BELOW = -0.15, 0.15  # rows


def pins_figure(calibration: Calibration | None = None) -> Figure:
    """Published rows as marks with reading errors; prices as bars over 90 % intervals, the prior a stroke.

    A time printed as zero is drawn at its reading error, pointing to the left. ns a page of 4 KiB.
    """
    used, before, found = calibration or read_calibration("tatulea2024"), priors(), pin_benchmarks()
    figure = Figure(figsize=(WIDTH, HEAD + ROW * len(found)), layout="constrained")
    ax = figure.subplots()
    marks = dict(zip(sorted({each.figure.name for row in found.values() for each in row}), MARKERS, strict=False))
    legend = {}
    for place, (key, row) in enumerate(found.items()):
        for each in row:
            zero = each.ns <= each.error
            legend[each.figure.name] = ax.errorbar(
                each.ns or each.error, place + ABOVE, xerr=None if zero else each.error, linestyle="none",
                marker="<" if zero else marks[each.figure.name], color=PAPER_INK, markerfacecolor="none", markersize=5,
                label=f"{each.figure.name}: {each.figure.title}",
            )  # fmt: skip
        cost = used[key]
        low, value, high = (cost.in_unit(each) for each in (cost.low, cost.value, cost.high))
        fitted = cost.basis == "fitted"
        color = OKABE_ITO["sky" if fitted else "yellow"]
        bar = ax.barh(place + BELOW, high - low, 0.2, left=low, color=color, edgecolor=PAPER_INK, linewidth=0.5)
        legend["fitted" if fitted else "not"] = bar
        ax.plot(value, place + BELOW, marker="o", color=PAPER_INK, markersize=4)
        ax.plot(before[key].in_unit(before[key].value), place + BELOW, marker="|", color=PAPER_INK, markersize=12)
    ax.set_xscale("log")
    ax.set_yticks(range(len(found)), [f"{key} ({used[key].basis})" for key in found], fontsize=FONT_SIZE)
    ax.invert_yaxis()
    ax.tick_params(labelsize=FONT_SIZE)
    ax.set_xlabel("ns a page of 4 KiB", fontsize=FONT_SIZE)
    words = {"fitted": "price, fitted: 90 %", "not": "price, not fitted: its range"}
    figure.legend(
        legend.values(), [words.get(name) or legend[name].get_label() for name in legend],
        loc="outside lower center", ncols=3, fontsize=FONT_SIZE - 0.5, frameon=False,
    )  # fmt: skip
    return figure


def write_pins(folder: str | Path) -> list[Path]:
    """pinning.svg and pinning.csv. The same bytes on every run. Raises OSError."""
    folder, rows = Path(folder), pin_rows()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pinning.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    title, about = "Pinning: published times and the model's prices", f"ns a page of 4 KiB; vdpa_lab {__version__}"
    picture = save_figure(pins_figure(), folder / "pinning.svg", title=title, description=about)
    return [folder / "pinning.csv", picture]
