"""Where guest memory and rings lie for the device, in passthrough and shadowed, and where MKEYs are cut."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vdpa_lab.machine import Run, Window
from vdpa_lab.plot.style import EDGE, FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.units import GIB, MIB

KINDS = {
    "ram": ("guest RAM", OKABE_ITO["blue"], ""),
    "rom": ("ROM and video RAM", OKABE_ITO["orange"], "///"),
    "qemu": ("rings and buffers of QEMU", OKABE_ITO["vermillion"], "xx"),
}
LOW = 4 * MIB  # shown a second time, large
Map = tuple[str, Sequence[Run], Sequence[Window]]


def draw_layout(ax: Axes, maps: Sequence[Map], start: int, end: int, unit: int) -> Axes:
    """A row for each map (name, runs, windows) from `start` to `end`, bytes; lines where a direct MKEY begins."""
    for row, (_, runs, windows) in enumerate(maps):
        for kind, (_, color, hatch) in KINDS.items():
            spans = [(max(run.iova, start), min(run.iova + run.size, end)) for run in runs if run.kind == kind]
            bars = [(low / unit, (high - low) / unit) for low, high in spans if low < high]
            ax.broken_barh(bars, (row - 0.3, 0.6), facecolor=color, hatch=hatch, edgecolor=EDGE, linewidth=0)
        cuts = [each.iova / unit for each in windows if start <= each.iova < end]
        ax.vlines(cuts, row - 0.42, row + 0.42, color=PAPER_INK, linewidth=0.4)
    ax.set_yticks(range(len(maps)), [name for name, _, _ in maps], fontsize=FONT_SIZE)
    ax.set_ylim(len(maps) - 0.4, -0.6)
    ax.set_xlim(start / unit, end / unit)
    ax.tick_params(axis="x", labelsize=FONT_SIZE)
    return ax


def memory_figure(maps: Sequence[Map]) -> Figure:
    """All of the device's address space to scale, and its first 4 MiB once more."""
    end = max(run.iova + run.size for _, runs, _ in maps for run in runs)
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    whole, low = figure.subplots(2, 1)
    draw_layout(whole, maps, 0, end, GIB).set_xlabel("IOVA, GiB; to scale", fontsize=FONT_SIZE)
    draw_layout(low, maps, 0, LOW, MIB).set_xlabel("IOVA, MiB; the first 4 of them", fontsize=FONT_SIZE)
    handles = [Patch(facecolor=color, hatch=hatch, label=title) for title, color, hatch in KINDS.values()]
    figure.legend(handles=handles, fontsize=FONT_SIZE, frameon=False, ncols=3, loc="outside upper center",
                  title="a line: a direct MKEY begins", title_fontsize=FONT_SIZE)  # fmt: skip
    return figure
