"""Sweeps as pictures: heat map, small multiples, tornado, and attribution as a waterfall."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from vdpa_lab.plot.style import EDGE, FONT_SIZE, OKABE_ITO, PAPER_INK, family_of, look, swatch
from vdpa_lab.plot.sweep_axes import (
    NS,
    axis_words,
    check_columns,
    column_words,
    letters_across,
    ordered,
    put_log,
    put_values,
    value_words,
)
from vdpa_lab.sweep.attribution import Attribution
from vdpa_lab.sweep.coalitions import checked_window
from vdpa_lab.sweep.factors import SCENARIO
from vdpa_lab.sweep.sensitivity import Swing
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import SECOND, format_duration

COLORS = [OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "black")]
MARKERS = "os^Dv<>"
GAIN, LOSS = OKABE_ITO["green"], OKABE_ITO["vermillion"]
BAR = 0.7
CHOSEN = {"facecolor": "#ffffff", "edgecolor": EDGE, "linewidth": 1.0}  # what is no price
UNMET = {"facecolor": "none", "hatch": "xxx", "edgecolor": EDGE, "linewidth": 0.5}
MOST_CELLS = (16, 12)  # rows and columns of a heat map that has words in its cells
WIDTH, PANELS = 9.0, 3  # inches; small multiples side by side


def styled(axes: Axes, ink: str, title: str, sides: Iterable[str] = ("bottom", "left")) -> Axes:
    """Title, ink and spines as in every picture of sweeps."""
    axes.set_title(title, color=ink, fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    axes.tick_params(colors=ink, labelsize=FONT_SIZE, length=2)
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(ink)
    return axes


def draw_heat(axes: Axes, table: pd.DataFrame, x: str, y: str, value: str, *, ink: str = PAPER_INK) -> Axes:
    """Two varied columns against each other; the median of `value` in each cell, in colour, and in words if they fit.

    Above MOST_CELLS there is a colour bar instead of words. Cells without a value (refused, or not run) are hatched.
    The colour is logarithmic where values span more than a factor of 20. Raises ValueError when a column is missing
    or nothing has a value.
    """
    check_columns(table, value, x, y)
    columns, rows = ordered(table[x]), ordered(table[y])
    plain = (
        table[[x, y]].astype(object).assign(value=table[value].astype("Float64").to_numpy(np.float64, na_value=np.nan))
    )
    grid = plain.pivot_table(index=y, columns=x, values="value", aggfunc="median", dropna=False, sort=False)
    medians = grid.reindex(index=rows, columns=columns).to_numpy(np.float64)
    numbers = medians / (SECOND if value.endswith(NS) else 1)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    high = max(high, low * 1.01)  # what hardly differs hardly differs in colour
    shade = (LogNorm if low > 0 and high > 20 * low else Normalize)(low, high)
    image = axes.imshow(numbers, aspect="auto", cmap="cividis", origin="lower", norm=shade)
    for row, column in np.argwhere(np.isnan(numbers)):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **UNMET))
    put_values(axes.xaxis, x, columns, ink)
    put_values(axes.yaxis, y, rows, ink)
    if len(rows) <= MOST_CELLS[0] and len(columns) <= MOST_CELLS[1]:
        for row, column in np.argwhere(~np.isnan(numbers)):
            axes.text(
                column, row, value_words(value, medians[row, column]), ha="center", va="center",
                fontsize=FONT_SIZE - 1, color="#ffffff" if shade(numbers[row, column]) <= 0.5 else "#000000",
            )  # fmt: skip
    else:
        bar = axes.figure.colorbar(image, ax=axes, pad=0.01)
        if isinstance(shade, LogNorm):
            put_log(bar.ax.yaxis)
        bar.ax.tick_params(colors=ink, labelsize=FONT_SIZE, length=2)
        bar.set_label(axis_words(value), color=ink, fontsize=FONT_SIZE)
        bar.outline.set_visible(False)
    return styled(axes, ink, column_words(value), ())


def draw_small_multiples(
    panels: Sequence[Axes], table: pd.DataFrame, x: str, value: str, panel: str, line: str = "", *, ink: str = PAPER_INK
) -> list[Axes]:
    """A panel for each value of one column, a line for each of another: medians of `value` (ns) over `x`, in seconds.

    Values of `x` are evenly spaced, in order; all panels share their limits. Raises ValueError when a column is
    missing, nothing has a value, or there are fewer axes than panels.
    """
    check_columns(table, value, x, panel, *([line] if line else []))
    kinds, places = ordered(table[panel]), ordered(table[x])
    if len(panels) < len(kinds):
        raise ValueError(f"{panel} has {len(kinds)} values; {len(panels)} axes were given")
    lines = ordered(table[line]) if line else [None]
    table = table.assign(**{value: table[value].astype("Float64") / SECOND})
    for axes, kind in zip(panels, kinds, strict=False):
        part = table[table[panel] == kind]
        for number, each in enumerate(lines):
            chosen = part[part[line] == each] if line else part
            medians = chosen.groupby(x)[value].median().dropna()
            points = sorted((places.index(at), float(seconds)) for at, seconds in medians.items())
            axes.plot(
                [at for at, _ in points], [seconds for _, seconds in points], color=COLORS[number % len(COLORS)],
                marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2,
                label=value_words(line, each) if line else None,
            )  # fmt: skip
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_ylim(0, float(table[value].max()) * 1.05 or 1)
        put_values(axes.xaxis, x, places, ink)
        axes.set_ylabel(axis_words(value).replace(" (", "\n("), color=ink, fontsize=FONT_SIZE)
        title, wide = f"{panel} {value_words(panel, kind)}", int(letters_across(axes) * 0.8)  # bold, and larger
        styled(axes, ink, textwrap.fill(title, wide, break_long_words=False, break_on_hyphens=False))
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    if line:
        panels[0].legend(
            title=axis_words(line), fontsize=FONT_SIZE - 1, title_fontsize=FONT_SIZE - 1, frameon=False, labelcolor=ink
        )
    return list(panels)


def multiples_figure(table: pd.DataFrame, x: str, value: str, panel: str, line: str = "") -> Figure:
    """Small multiples on a page of their own. Raises ValueError as `draw_small_multiples` does."""
    check_columns(table, value, x, panel, *([line] if line else []))
    count = table[panel].nunique()
    columns = 2 if count == 4 else min(PANELS, count)
    figure = Figure(figsize=(WIDTH, 2.6 * -(-count // columns)), layout="constrained")
    draw_small_multiples(
        figure.subplots(-(-count // columns), columns, squeeze=False).ravel(), table, x, value, panel, line
    )
    return figure


def draw_tornado(
    axes: Axes,
    nominal_ns: int,
    swings: Sequence[Swing],
    *,
    window: str = "network_outage",
    most: int = 12,
    ink: str = PAPER_INK,
) -> Axes:
    """The widest swings, downwards; each bar runs from the window at the price's low to that at its high.

    window: the one that `tornado` was asked for. Raises InputError when there is no such window.
    """
    title = WINDOWS[checked_window(window)].title
    shown = swings[:most]
    for at, swing in enumerate(shown):
        low, high = sorted((swing.low_ns, swing.high_ns))
        axes.barh(at, (high - low) / SECOND, BAR, left=low / SECOND, **_look_of(swing))
        axes.text(
            high / SECOND, at, f"  {format_duration(swing.ns)}, {swing.basis}", va="center", color=ink,
            fontsize=FONT_SIZE - 1,
        )  # fmt: skip
    axes.axvline(nominal_ns / SECOND, color=ink, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [swing.key for swing in shown])
    axes.invert_yaxis()
    ends = [nominal_ns, *(ns for swing in shown for ns in (swing.low_ns, swing.high_ns))]
    room = (max(ends) - min(ends)) / SECOND or 1.0
    axes.set_xlim(max(0.0, min(ends) / SECOND - 0.05 * room), max(ends) / SECOND + 0.3 * room)
    axes.set_xlabel(
        f"s; line: {format_duration(nominal_ns)}, all at their values", color=ink, fontsize=FONT_SIZE
    )
    families = dict.fromkeys(family_of(swing.key) for swing in shown if swing.basis != SCENARIO)
    chosen = [Patch(label="the scenario", **CHOSEN)] if any(swing.basis == SCENARIO for swing in shown) else []
    handles = [*chosen, *map(swatch, families)]
    axes.legend(handles=handles, fontsize=FONT_SIZE - 1, frameon=False, labelcolor=ink, loc="lower right")
    return styled(axes, ink, f"{title}: one at a time, low to high", ("bottom",))


def _look_of(swing: Swing) -> dict[str, Any]:
    return CHOSEN if swing.basis == SCENARIO else look(family_of(swing.key))


def tornado_figure(
    nominal_ns: int, swings: Sequence[Swing], *, window: str = "network_outage", most: int = 12
) -> Figure:
    """What `tornado` gave for a window, on a page of its own. Raises InputError when there is no such window."""
    figure = Figure(figsize=(WIDTH, 0.3 * min(most, len(swings)) + 1), layout="constrained")
    draw_tornado(figure.subplots(), nominal_ns, swings, window=window, most=most)
    return figure


def draw_attribution(axes: Axes, found: Attribution, *, ink: str = PAPER_INK) -> Axes:
    """From stock down to all on: each toggle's share of the saving, the largest first; bars of sampled shares carry
    their standard error."""
    shares = sorted(found.shares, key=lambda share: -share.ns)
    rows = [("nothing of these on", 0.0, float(found.stock_ns), "")]
    level = float(found.stock_ns)
    for share in shares:
        rows.append((share.toggle, level - float(share.ns), level, "gain" if share.ns >= 0 else "loss"))
        level -= float(share.ns)
    rows.append(("all on", 0.0, float(found.all_ns), ""))
    span = max(high for _, _, high, _ in rows) or 1.0
    for at, (_, low, high, kind) in enumerate(rows):
        color = {"gain": GAIN, "loss": LOSS}.get(kind, OKABE_ITO["blue"])
        left, width = min(low, high) / SECOND, abs(high - low) / SECOND
        error = shares[at - 1].error_ns / SECOND if kind else 0.0
        axes.barh(at, width, BAR, left=left, color=color, edgecolor=EDGE, linewidth=0.5, xerr=error or None, ecolor=ink)
        sign = {"gain": "−", "loss": "+"}.get(kind, "") if low != high else ""
        end, words = (max(low, high) + 0.01 * span) / SECOND, f"{sign}{format_duration(abs(high - low))}"
        axes.text(end, at, words, va="center", color=ink, fontsize=FONT_SIZE - 1)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, span * 1.2 / SECOND)
    axes.set_xlabel("s", color=ink, fontsize=FONT_SIZE)
    handles = [
        Patch(facecolor=GAIN, edgecolor=EDGE, label="shorter"),
        Patch(facecolor=LOSS, edgecolor=EDGE, label="longer"),
    ]
    axes.legend(handles=handles, fontsize=FONT_SIZE - 1, frameon=False, labelcolor=ink, loc="lower right")
    how = "exact" if found.exact else f"{found.orders} orders sampled"
    return styled(axes, ink, f"{WINDOWS[found.window].title}: what each is worth ({how})", ("bottom",))


def attribution_figure(found: Attribution) -> Figure:
    """The attribution on a page of its own."""
    figure = Figure(figsize=(9.0, 0.34 * (len(found.shares) + 2) + 0.8), layout="constrained")
    draw_attribution(figure.subplots(), found)
    return figure
