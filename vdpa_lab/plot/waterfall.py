"""From stock to all that is on: a window's length, and the share of each optimisation in what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.plot.style import EDGE, FONT_SIZE, OKABE_ITO
from vdpa_lab.units import MS

ENDS, LESS, MORE = OKABE_ITO["blue"], OKABE_ITO["green"], OKABE_ITO["vermillion"]


def draw_waterfall(ax: Axes, found: Mapping[str, Any]) -> Axes:
    """`found`: the document of an attribution. Shares by size, in ms; their order in the picture means nothing."""
    shares = sorted(found["shares"], key=lambda share: -share["ns"])
    at = found["stock_ns"]
    ax.barh(0, at / MS, color=ENDS)
    for row, share in enumerate(shares, start=1):
        grows = share["ns"] < 0
        ax.barh(row, -share["ns"] / MS, left=at / MS, color=MORE if grows else LESS, hatch="///" if grows else "")
        ax.plot([at / MS] * 2, [row - 1, row], color=EDGE, linewidth=0.6)
        at -= share["ns"]
    ax.barh(len(shares) + 1, found["all_ns"] / MS, color=ENDS)
    titles = ["without them", *(share["toggle"] for share in shares), "with all of them"]
    ax.set_yticks(range(len(titles)), titles, fontsize=FONT_SIZE)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("ms", fontsize=FONT_SIZE)
    ax.tick_params(axis="x", labelsize=FONT_SIZE)
    return ax


def waterfall_figure(found: Mapping[str, Any]) -> Figure:
    """The waterfall on a page of its own."""
    figure = Figure(figsize=(9.0, 0.32 * (len(found["shares"]) + 2) + 0.6), layout="constrained")
    draw_waterfall(figure.subplots(), found)
    return figure
