"""The frontier of convergence: how fast a guest may write, over the downtime limit and the bandwidth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from vdpa_lab.plot.style import FONT_SIZE, PAPER_INK
from vdpa_lab.plot.sweep_axes import put_log, value_words
from vdpa_lab.plot.sweeps import COLORS, MARKERS, styled
from vdpa_lab.units import SECOND, format_duration

MOST_LIMITS = 8  # that are written at the axis
EDGE, APART = 0.03, 0.035  # of the height: how far markers are from the edge, and from each other
# What lies beyond the scale, by the edge at which it is shown: marker, whether it is filled, words.
BEYOND = {
    "most": ("o", False, "at the most that a scenario may say"),
    "idle": ("v", True, "converges only while nothing is written"),
    "never": ("x", True, "does not converge, even while nothing is written"),
}


def _beyond(row: Mapping[str, Any]) -> str:
    """What kind of point a row is: one of BEYOND, or "" for one on the scale."""
    if row["at_limit"]:
        return "most"
    return "" if row["dirty_rate"] else "never" if row["dirty_rate"] is None else "idle"


def draw_frontier(axes: Axes, rows: Sequence[Mapping[str, Any]], *, ink: str = PAPER_INK) -> Axes:
    """The fastest writer with which precopy converges, over the downtime limit, a line a bandwidth.

    rows: as `convergence_frontier` gives them. Above a line precopy does not converge. What lies beyond the scale is
    a marker at the upper or the lower edge, and no line leads to it. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("no rows to draw")
    limits = sorted({row["downtime_limit_ns"] / SECOND for row in rows})
    if limits[0] > 0:
        axes.set_xscale("log")
    else:  # none is a limit too
        axes.set_xscale("symlog", linthresh=next(filter(None, limits), 1.0))
    seen: dict[str, None] = {}
    for number, bandwidth in enumerate(dict.fromkeys(row["max_bandwidth"] for row in rows)):
        mine = sorted(
            (row for row in rows if row["max_bandwidth"] == bandwidth), key=lambda row: row["downtime_limit_ns"]
        )
        color = COLORS[number % len(COLORS)]
        words = value_words("migration.max_bandwidth", float("inf") if bandwidth is None else bandwidth)
        axes.plot(
            [row["downtime_limit_ns"] / SECOND for row in mine],
            [float("nan") if _beyond(row) else row["dirty_rate"] for row in mine],
            color=color, marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2, label=words,
        )  # fmt: skip
        for kind, (marker, filled, _) in BEYOND.items():
            at = [row["downtime_limit_ns"] / SECOND for row in mine if _beyond(row) == kind]
            if not at:
                continue
            seen[kind] = None
            height = EDGE + APART * number
            axes.plot(
                at, [1 - height if kind == "most" else height] * len(at), transform=axes.get_xaxis_transform(),
                color=color, marker=marker, markersize=5, linestyle="", markerfacecolor=color if filled else "none",
            )  # fmt: skip
    axes.set_yscale("log")
    put_log(axes.yaxis)
    (low, high), band = axes.get_ylim(), EDGE + APART * (number + 1)  # room at the edges, apart from what has a scale
    above, below = "most" in seen, bool({"idle", "never"} & seen.keys())
    axes.set_ylim(low * (low / high) ** (band * below), high * (high / low) ** (band * above))
    shown = limits[:: -(-len(limits) // MOST_LIMITS)]
    axes.set_xticks(shown, [format_duration(limit * SECOND) for limit in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("downtime limit", color=ink, fontsize=FONT_SIZE)
    axes.set_ylabel("dirty rate, pages/s", color=ink, fontsize=FONT_SIZE)
    handles = axes.get_legend_handles_labels()[0] + [
        Line2D([], [], color=ink, marker=marker, linestyle="", markersize=5, label=words,
               markerfacecolor=ink if filled else "none")
        for marker, filled, words in map(BEYOND.get, seen)
    ]  # fmt: skip
    axes.legend(
        handles=handles, title="bandwidth", fontsize=FONT_SIZE - 1, title_fontsize=FONT_SIZE - 1, frameon=False,
        labelcolor=ink, loc="center left", bbox_to_anchor=(1.01, 0.5),
    )  # fmt: skip
    return styled(axes, ink, "Above a line precopy does not converge")


def frontier_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The frontier on a page of its own. Raises ValueError without rows."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    draw_frontier(figure.subplots(), rows)
    return figure
