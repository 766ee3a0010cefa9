"""One swept column as a curve with its spread; with a second one, a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.plot.style import FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.plot.sweep_axes import NS, check_columns, column_words, ordered, put_values
from vdpa_lab.plot.sweeps import draw_heat, multiples_figure, styled
from vdpa_lab.sweep.engine import Results
from vdpa_lab.sweep.spec import Spec
from vdpa_lab.units import SECOND
from vdpa_lab.words import InputError, nearest

MOST_AXES = 3  # that vary in one picture


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


def shown_axes(spec: Spec, window: str | None = None) -> tuple[list[str], str]:
    """The axes that a picture of this grid has, and the column of `window`; None: the specification's first.

    Raises InputError for other designs, where nothing or too much varies, and for a window that is not in the table.
    """
    window = window or spec.windows[0]
    if window not in spec.windows:
        raise InputError(f"{spec.name} has no window {window!r}; {nearest(window, spec.windows)}")
    keys = [axis.key for axis in spec.axes if axis.count > 1]
    if spec.method != "grid" or not 0 < len(keys) <= MOST_AXES:
        raise InputError(f"{spec.name}: a picture is of a grid in which one to {MOST_AXES} axes vary")
    return keys, f"{window}{NS}"


def results_figure(found: Results, window: str | None = None) -> Figure:
    """A grid's results: a curve, a heat map, or small multiples. Raises as `shown_axes`; ValueError without values."""
    keys, value = shown_axes(found.spec, window)
    if len(keys) < MOST_AXES:
        return sweep_figure(found.table, keys, value)
    return multiples_figure(found.table, keys[0], value, *keys[1:])
