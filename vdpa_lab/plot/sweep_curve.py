"""One swept column as a curve with its spread; with a second one, a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.plot.style import FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.plot.sweeps import column_words, draw_heat, value_words
from vdpa_lab.units import SECOND


def draw_curve(axes: Axes, table: pd.DataFrame, x: str, value: str, *, ink: str = PAPER_INK) -> Axes:
    """Median of `value` (ns) at each value of `x`, evenly spaced, with bars over the middle 90 %, in seconds.

    What has no value (refused) is a gap. Raises ValueError when nothing has one.
    """
    grouped = table.assign(**{value: table[value].astype("Float64")}).groupby(x, sort=False, dropna=False)[value]
    low, middle, high = (grouped.quantile(share).to_numpy(np.float64, na_value=np.nan) / SECOND for share in
                         (0.05, 0.5, 0.95))  # fmt: skip
    if np.isnan(middle).all():
        raise ValueError(f"no run has a {value}")
    at = np.arange(len(middle))
    axes.errorbar(at, middle, np.stack([middle - low, high - middle]), color=OKABE_ITO["blue"], marker="o",
                  markersize=4, linewidth=1.2, capsize=3)  # fmt: skip
    words = [value_words(x, each) for each in grouped.quantile(0.5).index]
    axes.set_xticks(at, words, fontsize=FONT_SIZE)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x, color=ink, fontsize=FONT_SIZE)
    axes.set_ylabel("s; bars: 90 % by the prices", color=ink, fontsize=FONT_SIZE)
    axes.set_title(column_words(value), color=ink, fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    axes.tick_params(colors=ink, labelsize=FONT_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def sweep_figure(table: pd.DataFrame, keys: Sequence[str], value: str) -> Figure:
    """A curve over one key, a heat map over two; `value`: a column of ns. Raises ValueError when nothing has one."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    if len(keys) == 1:
        draw_curve(axes, table, keys[0], value)
    else:
        draw_heat(axes, table, keys[0], keys[1], value)
    return figure
