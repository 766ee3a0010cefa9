"""A fleet's downtimes before and after an upgrade, as two curves of how many VMs have at most so long a one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.plot.style import FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.plot.sweep_axes import check_columns, put_log
from vdpa_lab.plot.sweeps import styled
from vdpa_lab.sweep.coalitions import checked_window
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import SECOND, format_duration

SIDES = {"before": (OKABE_ITO["vermillion"], "--"), "after": (OKABE_ITO["blue"], "-")}
MARGIN = 1.5  # the axis begins and ends at this factor from the shortest and the longest


def draw_distribution(
    axes: Axes, table: pd.DataFrame, target_ns: int, *, window: str = "network_outage", ink: str = PAPER_INK
) -> Axes:
    """Share of the VMs over the length that their window has at most, before and after, with the target as a line.

    table: with before_ns and after_ns, a row a VM, as that of a `Fleet`. A VM without that window is at the left edge;
    one whose precopy does not converge (converges_before, converges_after) is in no length, and misses.
    Raises ValueError for a table that is empty or has not these columns, InputError for a window that is not known.
    """
    title = WINDOWS[checked_window(window)].title
    check_columns(table, "before_ns", "after_ns")
    ends = {side: table.get(f"converges_{side}", pd.Series(True, table.index)).to_numpy(bool) for side in SIDES}
    lengths = {side: np.sort(table[f"{side}_ns"].to_numpy(np.float64)[ends[side]]) / SECOND for side in SIDES}
    target = target_ns / SECOND
    positive = [each for each in (*np.concatenate(list(lengths.values())), target) if each > 0] or [1.0]
    low, high = min(positive) / MARGIN, max(positive) * MARGIN
    for side, (color, style) in SIDES.items():
        seconds = lengths[side]
        shares = 100 * np.arange(len(seconds) + 1) / len(table)
        endless = len(table) - len(seconds)
        never = f",\n{endless} of them never end" if endless else ""
        late = f"{np.count_nonzero(seconds > target) + endless} of {len(table)} miss the target{never}"
        axes.step(
            [low, *np.maximum(seconds, low), high], [*shares, shares[-1]], where="post", color=color, linestyle=style,
            linewidth=1.5, label=f"{side}: {late}",
        )  # fmt: skip
    axes.axvline(target, color=ink, linewidth=0.8, linestyle=":", label=f"target: {format_duration(target_ns)}")
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 104))
    put_log(axes.xaxis)
    axes.set_xlabel(f"{title}, s", color=ink, fontsize=FONT_SIZE)
    axes.set_ylabel("VMs with at most that, %", color=ink, fontsize=FONT_SIZE)
    axes.legend(fontsize=FONT_SIZE - 1, frameon=False, labelcolor=ink, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return styled(axes, ink, f"{title} of {len(table)} VMs")


def distribution_figure(table: pd.DataFrame, target_ns: int, *, window: str = "network_outage") -> Figure:
    """A fleet's distribution on a page of its own. Raises ValueError as `draw_distribution` does."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    draw_distribution(figure.subplots(), table, target_ns, window=window)
    return figure
