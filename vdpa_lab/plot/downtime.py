"""Where the downtime goes: a stacked bar per run in each window, cut where one would flatten the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from vdpa_lab.migration import Run
from vdpa_lab.plot.style import FAMILIES, FONT_SIZE, PAPER_INK, Family, family_of, look, swatch
from vdpa_lab.timeline import WINDOWS, Part
from vdpa_lab.units import MS, SECOND, format_duration

SHOWN_WINDOWS = ("svq_switch", "source_teardown", "destination_setup", "network_outage")
WINDOWS_OF_A_BAR = (
    *SHOWN_WINDOWS,
    "third_blackout",
)  # the last is drawn only where a migration has it: a cancelled one
CLIP_RATIO = 20  # a bar this much longer than the next is cut
CLIPPED_LENGTH, CLIPPED_STEP = 1.5, 0.2  # ... and drawn this much longer than it; the next longer a step more
ROOM = 1.24  # of the longest bar: its length in words stands behind it
HEAD, BAR_HEIGHT = 0.9, 0.72  # rows
AXES = 4  # lengths of an axis from one to its double: few, so that it stays while bars change a little
THIN = 0.001  # of the axis, about a pixel: a thinner segment is not drawn
CHARACTER = 0.6 * (FONT_SIZE - 1) / 72  # width of a letter of a segment's label, in inches
NONE_HERE = "none in this migration"
# Seconds of a unit, its name, and from how many seconds on it is used.
_LONG = ((31_557_600, "years", 31_557_600), (86_400, "days", 172_800), (3600, "h", 7200), (60, "min", 120))


class Bar(NamedTuple):
    """One run's bar: per window ns by family, None where the run has no such window; spread: 90 % interval in ns."""

    label: str
    windows: Mapping[str, Mapping[str, int] | None]
    spread: Mapping[str, tuple[float, float]] = {}

    def total(self, window: str) -> int:
        return sum((self.windows.get(window) or {}).values())


class Scale(NamedTuple):
    """How long each total (ns) is drawn, and the whole axis; a total that is cut is drawn shorter than it is."""

    drawn: Mapping[int, float]
    span: float


def by_family(parts: Iterable[Part]) -> dict[str, int]:
    """ns of each family, in the order in which families are stacked; families without time are left out."""
    totals = dict.fromkeys(FAMILIES, 0)
    for part in parts:
        totals[family_of(part.key).name] += part.ns
    return {name: ns for name, ns in totals.items() if ns}


def shown_windows(bars: Iterable[Bar]) -> tuple[str, ...]:
    """The windows to draw for these bars."""
    return WINDOWS_OF_A_BAR if any(bar.windows.get(WINDOWS_OF_A_BAR[-1]) for bar in bars) else SHOWN_WINDOWS


def bar_of(run: Run, label: str, windows: Iterable[str] = WINDOWS_OF_A_BAR) -> Bar:
    """The bar of a run, with its intervals."""
    lengths = run.windows
    there = [name for name in windows if lengths.get(name) is not None]
    return Bar(
        label,
        {name: by_family(run.breakdown(name)) if name in there else None for name in windows},
        {name: run.interval(name) for name in there},
    )


def duration_words(ns: float) -> str:
    """A duration for the eye, three digits; from two minutes on in min, h, days or years."""
    for seconds, name, least in _LONG:
        if abs(ns) >= least * SECOND:
            value = ns / (seconds * SECOND)
            return f"{value:,.0f} {name}" if abs(value) >= 100 else f"{value:.3g} {name}"
    if not ns:
        return format_duration(0)
    rounded = round(ns, 2 - math.floor(math.log10(abs(ns))))
    return format_duration(rounded)


def clip_at(lengths: Iterable[float]) -> float:
    """The length above which bars are cut: the first, from the shortest, before one CLIP_RATIO times as long.

    Without such a jump it is the longest; 0 where there is no length at all.
    """
    ordered = sorted(length for length in lengths if length > 0)
    jumps = (shorter for shorter, longer in pairwise(ordered) if longer > CLIP_RATIO * shorter)
    return next(jumps, ordered[-1] if ordered else 0)


def draw_downtime(
    axes: Axes,
    bars: Sequence[Bar],
    windows: Sequence[str] = SHOWN_WINDOWS,
    *,
    ink: str = PAPER_INK,
    legend: bool = True,
) -> Axes:
    """Horizontal stacked bars on a linear axis: a group per window, in it a bar per run; give the axes back.

    A bar far longer than the next one of its window ends in a break mark, and its length stands there in
    words. Grey and hatched: time that rests on a constant without mechanism.
    """
    scale = scale_of(bars, windows)
    row, ticks = 0.0, []
    for window in windows:
        draw_head(axes, window, row, ink)
        row += HEAD
        for bar in bars:
            ticks.append((row, bar.label))
            draw_bar(axes, bar, window, row, scale, ink)
            row += 1
    dress(axes, ticks, scale.span, row, ink)
    if legend:
        drawn = {name for bar in bars for window in windows for name in bar.windows.get(window) or {}}
        draw_legend(axes, drawn, ink)
    return axes


def wipe(axes: Axes) -> Axes:
    """Take off what `draw_downtime` put on, at a fraction of the cost of clearing the axes."""
    for artist in (*axes.patches, *axes.texts, *axes.lines):
        artist.remove()
    return axes


def scale_of(bars: Sequence[Bar], windows: Sequence[str]) -> Scale:
    """The scale of these windows: true up to where bars are cut, above that in steps of equal length that keep the
    order; there is room for intervals, and behind them for words. The axis has one of AXES lengths an octave."""
    groups = [[bar.total(window) for bar in bars] for window in windows]
    totals = [total for group in groups for total in group]
    limit = max(map(clip_at, groups), default=0)
    longest = max((total for total in totals if total <= limit), default=1) or 1
    above = sorted({total for total in totals if total > limit})
    steps = {total: longest * (CLIPPED_LENGTH + CLIPPED_STEP * rank) for rank, total in enumerate(above)}
    drawn = {total: steps.get(total, total) for total in totals if total} or {0: longest}
    end = max(drawn.values())
    highs = [bar.spread[name][1] for bar in bars for name in windows if name in bar.spread and bar.total(name) <= limit]
    needed = max([end, *highs]) + (ROOM - 1) * end
    return Scale(drawn, 2 ** (math.ceil(AXES * math.log2(needed)) / AXES))


def draw_head(axes: Axes, window: str, row: float, ink: str) -> None:
    """The name of a window above its bars."""
    text = axes.text(0, row, WINDOWS[window].title, color=ink, fontsize=FONT_SIZE + 0.5, fontweight="bold")
    text.set_va("center")


def draw_bar(axes: Axes, bar: Bar, window: str, row: float, scale: Scale, ink: str) -> None:
    """One run's bar in one window, with its labels and its length in words."""
    total, start, at, span = bar.total(window), 0.0, 0.0, scale.span
    shrink = scale.drawn[total] / total if total else 1.0
    low, high = row - BAR_HEIGHT / 2, row + BAR_HEIGHT / 2
    cut = total * shrink - span * 0.035 if shrink < 1 else math.inf
    for name, ns in (bar.windows.get(window) or {}).items():
        at += ns * shrink
        if at - start < THIN * span:
            continue  # the next one covers its place
        axes.add_artist(Rectangle((start, low), at - start, high - low, **look(FAMILIES[name])))
        _label_segment(axes, FAMILIES[name], ns / total, start, min(at, max(start, cut)), row, span)
        start = at
    text = ("→ " if shrink < 1 else "") + duration_words(total)
    if bar.windows.get(window) is None:
        text = NONE_HERE
    if (whisker := whisker_of(bar, window, scale)) is not None:
        axes.plot(whisker, (row, row), color=ink, linewidth=1.2, marker="|", markersize=5)
        at = max(at, whisker[1])
    axes.text(at + span * 0.008, row, text, color=ink, fontsize=FONT_SIZE, va="center", fontweight="bold")
    if shrink < 1:
        _break_mark(axes, cut, low - 0.08, high + 0.08, span, ink)


def whisker_of(bar: Bar, window: str, scale: Scale) -> tuple[float, float] | None:
    """Where a bar's interval begins and ends; None without one, or where the bar is cut."""
    low, high = bar.spread.get(window, (0.0, 0.0))
    total = bar.total(window)
    return (low, high) if low < high and scale.drawn.get(total, 0) >= total else None


def _label_segment(axes, family: Family, share_of_bar, left, right, y, span) -> None:
    """The family's short name, with its share of the bar where that fits, too."""
    room = (right - left) / span * axes.figure.get_figwidth() * axes.get_position().width
    short = family.title.partition(" (")[0]
    for text in (f"{short} {share_of_bar:.0%}", short):
        if (len(text) + 1) * CHARACTER < room:
            label = axes.text((left + right) / 2, y, text, color=family.label_color, fontsize=FONT_SIZE - 1)
            label.set(va="center", ha="center")
            # Neither a hatch nor the interval runs through it.
            label.set_bbox({"facecolor": family.color, "edgecolor": "none", "pad": 0.6})
            return


def _break_mark(axes, x, low, high, span, ink) -> None:
    slant, gap = span * 0.006, span * 0.007
    corners = [(x - slant, low), (x + slant, high), (x + slant + gap, high), (x - slant + gap, low)]
    axes.add_artist(Polygon(corners, facecolor="white", edgecolor="none", zorder=3))
    for shift in (0, gap):
        axes.plot([x - slant + shift, x + slant + shift], [low, high], color=ink, lw=1.2, zorder=4)


def dress(axes: Axes, ticks: Sequence[tuple[float, str]], span: float, rows: float, ink: str) -> None:
    """Axis, labels of the bars (row, words), and no frame."""
    unit, name = next(((size, name) for size, name in ((SECOND, "s"), (MS, "ms")) if span >= 2 * size), (1000, "µs"))
    axes.set_xlim(0, span)
    axes.set_ylim(rows - 0.4, -0.5)
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / unit:,.6g} {name}")
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(colors=ink, labelsize=FONT_SIZE - 0.5, length=0)
    axes.tick_params(axis="x", labelsize=FONT_SIZE - 1.5, length=2)
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(ink)


def draw_legend(axes: Axes, families: Iterable[str], ink: str = PAPER_INK, columns: int = 4, **place) -> Axes:
    """The families in words, in stacking order; below the axes, or where `place` (for legend) says."""
    handles = [swatch(FAMILIES[name]) for name in FAMILIES if name in set(families)]
    place = place or {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08)}
    axes.legend(handles=handles, ncols=columns, frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=ink, **place)
    return axes
