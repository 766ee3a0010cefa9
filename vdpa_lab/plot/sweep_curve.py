"""One swept column as a curve with its spread; with a second one, a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.plot.style import FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.plot.sweep_axes import check_columns, column_words, ordered, put_values
from vdpa_lab.plot.sweeps import draw_heat, styled
from vdpa_lab.units import SECOND


def draw_curve(axes: Axes, table: pd.DataFrame, x: str, value: str, *, ink: str = PAPER_INK) -> Axes:
    """Median of `value` (ns) at each value of `x`, evenly spaced, with bars over the middle 90 %, in seconds.

    What has no value (refused) is a gap. Raises ValueError when a column is missing or nothing has a value.
    """
    check_columns(table, value, x)
    values = ordered(table[x])
    grouped = table.assign(**{value: table[value].astype("Float64")}).groupby(x, sort=False, dropna=False)[value]
    low, middle, high = (
        grouped.quantile(share).reindex(values).to_numpy(np.float64, na_value=np.nan) / SECOND
        for share in (0.05, 0.5, 0.95)
    )
    at = np.arange(len(middle))
    axes.errorbar(at, middle, np.stack([middle - low, high - middle]), color=OKABE_ITO["blue"], marker="o",
                  markersize=4, linewidth=1.2, capsize=3)  # fmt: skip
    put_values(axes.xaxis, x, values, ink)
    axes.set_ylim(0, np.nanmax(high) * 1.05 or 1)
    axes.set_ylabel("s; bars: the middle 90 %", color=ink, fontsize=FONT_SIZE)
    return styled(axes, ink, column_words(value))


def sweep_figure(table: pd.DataFrame, keys: Sequence[str], value: str) -> Figure:
    """A curve over one key, a heat map over two; `value`: a column of ns. Raises ValueError when nothing has one."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    if len(keys) == 1:
        draw_curve(axes, table, keys[0], value)
    else:
        draw_heat(axes, table, keys[0], keys[1], value)
    return figure
