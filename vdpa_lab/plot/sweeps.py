"""Sweeps as pictures: heat map, small multiples, tornado, frontier of convergence, and attribution as a waterfall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from vdpa_lab.plot.style import EDGE, FONT_SIZE, OKABE_ITO, PAPER_INK, family_of, look
from vdpa_lab.sweep.attribution import Attribution
from vdpa_lab.sweep.sensitivity import Swing
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import GIB, SECOND, format_bytes, format_duration, format_rate

COLORS = [OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "black")]
MARKERS = "os^Dv<>"
GAIN, LOSS = OKABE_ITO["green"], OKABE_ITO["vermillion"]
BAR = 0.7
SIZES = ("memory", "working_set", "max_bandwidth", "bandwidth")  # last parts of the keys of bytes
TIMES = ("downtime_limit", "latency", "tcp_rto", "ns")
UNMET = {"facecolor": "none", "hatch": "xxx", "edgecolor": EDGE, "linewidth": 0.5}


def value_words(key: str, value: Any) -> str:
    """A value of a sweep's column for the eye, by the key that it is of."""
    last = key.rpartition(".")[2]
    if pd.isna(value):
        return "–"
    if isinstance(value, float) and np.isinf(value):
        return "unlimited"
    if last in SIZES:
        return format_rate(int(value)) if last.endswith("bandwidth") else format_bytes(float(value))
    if last in TIMES or last.endswith("_ns"):
        return format_duration(float(value))
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def column_words(key: str) -> str:
    """What a column holds, for an axis: a window's title, or the key."""
    window = WINDOWS.get(key.removesuffix("_ns"))
    return window.title if window and key.endswith("_ns") else key


def _style(axes: Axes, ink: str, title: str, sides: Iterable[str] = ("bottom", "left")) -> Axes:
    axes.set_title(title, color=ink, fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    axes.tick_params(colors=ink, labelsize=FONT_SIZE, length=2)
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(ink)
    return axes


def draw_heat(axes: Axes, table: pd.DataFrame, x: str, y: str, value: str, *, ink: str = PAPER_INK) -> Axes:
    """Two varied columns against each other; the median of `value` in each cell, in colour and in words.

    Cells without a value (refused, or not run) are hatched. The colour is logarithmic where values span more than a
    factor of 20. Raises ValueError when a column is missing or nothing has a value.
    """
    grid = _pivot(table, x, y, value)
    numbers = grid.to_numpy(np.float64)
    if np.isnan(numbers).all():
        raise ValueError(f"no run has a {value}")
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    shade = np.log(np.maximum(numbers, 1)) if low > 0 and high > 20 * low else numbers
    axes.imshow(shade, aspect="auto", cmap="cividis", origin="lower")
    middle = (np.nanmin(shade) + np.nanmax(shade)) / 2
    for (row, column), ns in np.ndenumerate(numbers):
        if np.isnan(ns):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **UNMET))
            continue
        axes.text(
            column, row, value_words(value, ns), ha="center", va="center", fontsize=FONT_SIZE - 1,
            color="#ffffff" if shade[row, column] <= middle else "#000000",
        )  # fmt: skip
    axes.set_xticks(range(grid.shape[1]), [value_words(x, each) for each in grid.columns])
    axes.set_yticks(range(grid.shape[0]), [value_words(y, each) for each in grid.index])
    axes.set_xlabel(x, color=ink, fontsize=FONT_SIZE)
    axes.set_ylabel(y, color=ink, fontsize=FONT_SIZE)
    return _style(axes, ink, column_words(value), ())


def _pivot(table: pd.DataFrame, x: str, y: str, value: str) -> pd.DataFrame:
    for name in (x, y, value):
        if name not in table.columns:
            raise ValueError(f"no column {name!r}; there are {', '.join(table.columns)}")
    plain = (
        table[[x, y]].astype(object).assign(value=table[value].astype("Float64").to_numpy(np.float64, na_value=np.nan))
    )
    return plain.pivot_table(index=y, columns=x, values="value", aggfunc="median", dropna=False)


def draw_small_multiples(
    panels: Sequence[Axes], table: pd.DataFrame, x: str, value: str, panel: str, line: str = "", *, ink: str = PAPER_INK
) -> list[Axes]:
    """A panel for each value of one column, a line for each of another: medians of `value` over `x`.

    All panels share their limits. Raises ValueError when there are fewer axes than panels.
    """
    kinds = list(dict.fromkeys(table[panel]))
    if len(panels) < len(kinds):
        raise ValueError(f"{panel} has {len(kinds)} values; {len(panels)} axes were given")
    lines = list(dict.fromkeys(table[line])) if line else [None]
    top = float(table[value].astype("Float64").max()) / SECOND
    for axes, kind in zip(panels, kinds, strict=False):
        part = table[table[panel] == kind]
        for number, each in enumerate(lines):
            chosen = part[part[line] == each] if line else part
            medians = chosen.groupby(x)[value].median().dropna()
            axes.plot(
                [_on_axis(x, at) for at in medians.index], [float(ns) / SECOND for ns in medians],
                color=COLORS[number % len(COLORS)], marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2,
                label=f"{line} {value_words(line, each)}" if line else None,
            )  # fmt: skip
        axes.set_ylim(0, top * 1.05)
        axes.set_xlabel(x + (", GiB" if _in_gib(x) else ""), color=ink, fontsize=FONT_SIZE)
        axes.set_ylabel("s", color=ink, fontsize=FONT_SIZE)
        _style(axes, ink, f"{panel} {value_words(panel, kind)}")
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    if line:
        panels[0].legend(fontsize=FONT_SIZE - 1, frameon=False, labelcolor=ink)
    return list(panels)


def _in_gib(key: str) -> bool:
    return key.rpartition(".")[2] in SIZES


def _on_axis(key: str, value: Any) -> Any:
    return value / GIB if _in_gib(key) else value


def draw_tornado(axes: Axes, nominal_ns: int, swings: Sequence[Swing], *, most: int = 12, ink: str = PAPER_INK) -> Axes:
    """The widest swings, downwards; each bar runs from the window at the price's low to that at its high."""
    for at, swing in enumerate(swings[:most]):
        low, high = sorted((swing.low_ns, swing.high_ns))
        axes.barh(at, (high - low) / SECOND, BAR, left=low / SECOND, **look(family_of(swing.key)))
        axes.text(
            high / SECOND, at, f"  {format_duration(swing.ns)}, {swing.basis}", va="center", color=ink,
            fontsize=FONT_SIZE - 1,
        )  # fmt: skip
    axes.axvline(nominal_ns / SECOND, color=ink, linewidth=0.8)
    axes.set_yticks(range(len(swings[:most])), [swing.key for swing in swings[:most]])
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlabel(
        f"s; line: {format_duration(nominal_ns)}, all prices at their values", color=ink, fontsize=FONT_SIZE
    )
    return _style(axes, ink, "One price at a time, low to high", ("bottom",))


def draw_frontier(axes: Axes, rows: Sequence[Mapping[str, Any]], *, ink: str = PAPER_INK) -> Axes:
    """The fastest writer with which precopy converges, over the downtime limit, a line a bandwidth.

    rows: as `convergence_frontier` gives them. Above a line precopy does not converge; a point at the most that a
    scenario may say is open. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("no rows to draw")
    bandwidths = list(dict.fromkeys(row["max_bandwidth"] for row in rows))
    for number, bandwidth in enumerate(bandwidths):
        points = sorted(
            (row["downtime_limit_ns"] / SECOND, row["dirty_rate"], row["at_limit"])
            for row in rows
            if row["max_bandwidth"] == bandwidth and row["dirty_rate"] is not None
        )
        color = COLORS[number % len(COLORS)]
        words = value_words("max_bandwidth", float("inf") if bandwidth is None else bandwidth)
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], color=color, linewidth=1.2, label=words)
        for open_, face in ((False, color), (True, "none")):
            chosen = [(x, y) for x, y, limit in points if limit == open_]
            axes.scatter([x for x, _ in chosen], [y for _, y in chosen], s=18, facecolors=face, edgecolors=color)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("downtime limit, s", color=ink, fontsize=FONT_SIZE)
    axes.set_ylabel("dirty rate, pages/s", color=ink, fontsize=FONT_SIZE)
    axes.legend(title="bandwidth", fontsize=FONT_SIZE - 1, title_fontsize=FONT_SIZE - 1, frameon=False, labelcolor=ink)
    return _style(axes, ink, "Above a line precopy does not converge")


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
    return _style(axes, ink, f"{WINDOWS[found.window].title}: what each is worth ({how})", ("bottom",))


def attribution_figure(found: Attribution) -> Figure:
    """The attribution on a page of its own."""
    figure = Figure(figsize=(9.0, 0.34 * (len(found.shares) + 2) + 0.8), layout="constrained")
    draw_attribution(figure.subplots(), found)
    return figure
