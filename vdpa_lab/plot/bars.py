"""The downtime's bars as an SVG text: quick to make, sharp at any size, and hovering tells what a segment is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from vdpa_lab.plot.downtime import NONE_HERE, SHOWN_WINDOWS, Bar, Scale, duration_words, scale_of, whisker_of
from vdpa_lab.plot.hatches import fill, patterns
from vdpa_lab.plot.style import EDGE, FAMILIES, PAPER_INK
from vdpa_lab.timeline import WINDOWS

WIDTH, LABELS, ROW, HEAD = 700, 92, 20, 22  # CSS pixels
BAR = 15  # height of a bar
CHARACTER = 6.0  # width of a letter of a segment's label
Describe = Callable[[int, str, str], str]


def bars_svg(
    bars: Sequence[Bar],
    describe: Describe,
    windows: Sequence[str] = SHOWN_WINDOWS,
    *,
    title: str,
    ink: str = PAPER_INK,
    ids: str = "bars",
) -> str:
    """A group per window, each on its own scale, in it a bar per run. Equal arguments give equal text.

    describe(number of the bar, window, family) gives the words for a segment. A bar that is cut ends in a gap and its
    length stands there in words. `ids` begins the ids in the SVG.
    """
    height = len(windows) * (HEAD + ROW * len(bars)) + 4
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' role='img' "
        f"style='max-width:100%;height:auto;color:{ink}' font-family='sans-serif' fill='currentColor'>"
        f"<title>{escape(title)}</title>{patterns(ids)}"
    ]
    top = 0
    for window in windows:
        scale = scale_of(bars, [window])
        name = escape(WINDOWS[window].title)
        parts.append(f"<text x='{LABELS}' y='{top + 16}' font-size='12' font-weight='bold'>{name}</text>")
        top += HEAD
        for number, bar in enumerate(bars):
            parts.append(_bar(bar, number, window, top, scale, describe, ids))
            top += ROW
    parts.append("</svg>")
    return "".join(parts)


def _bar(bar: Bar, number: int, window: str, top: int, scale: Scale, describe: Describe, ids: str) -> str:
    a_pixel = scale.span / (WIDTH - LABELS)
    total = bar.total(window)
    shrink = scale.drawn[total] / total if total else 1.0
    middle = top + BAR / 2 + 4
    parts = [f"<text x='{LABELS - 6}' y='{middle}' font-size='11.5' text-anchor='end'>{escape(bar.label)}</text>"]
    left, labels = float(LABELS), ""
    for name, ns in (bar.windows.get(window) or {}).items():
        width = ns * shrink / a_pixel
        parts.append(
            f"<rect x='{left:.2f}' y='{top}' width='{max(width, 0.3):.2f}' height='{BAR}' fill='{fill(name, ids)}' "
            f"stroke='{EDGE}' stroke-width='.5'><title>{escape(describe(number, window, name))}</title></rect>"
        )
        labels += _label(name, ns / total, left, width, top, middle)
        left += width
    if shrink < 1:
        cut = left - 16
        parts.append(
            f"<path d='M{cut:.1f},{top + BAR + 2} l4,{-BAR - 4} h6 l-4,{BAR + 4} z' "
            "fill='var(--jp-layout-color1, #fff)' stroke='currentColor'/>"
        )
    if (whisker := whisker_of(bar, window, scale)) is not None:
        low, high = (LABELS + ns / a_pixel for ns in whisker)
        ends = "".join(f"M{x:.1f},{top + 4} v{BAR - 8} " for x in (low, high))
        path = f"{ends}M{low:.1f},{top + BAR / 2} H{high:.1f}"
        parts.append(f"<path d='{path}' stroke='currentColor' stroke-width='1.2' pointer-events='none'/>")
        left = max(left, high)
    parts.append(labels)  # above the interval, which would strike them out
    words = ("→ " if shrink < 1 else "") + duration_words(total) if bar.windows.get(window) is not None else NONE_HERE
    parts.append(f"<text x='{left + 6:.1f}' y='{middle}' font-size='11.5' font-weight='bold'>{words}</text>")
    return "".join(parts)


def _label(name: str, share: float, left: float, width: float, top: int, middle: float) -> str:
    family = FAMILIES[name]
    short = family.title.partition(" (")[0]
    text = next((each for each in (f"{short} {share:.0%}", short) if (len(each) + 1) * CHARACTER < width), "")
    if not text:
        return ""
    at, room = left + width / 2, len(text) * CHARACTER + 4
    under = f"<rect x='{at - room / 2:.1f}' y='{top + 2}' width='{room:.0f}' height='{BAR - 4}' fill='{family.color}'/>"
    return (
        f"<g pointer-events='none'>{under}<text x='{at:.1f}' y='{middle}' font-size='11' "
        f"text-anchor='middle' fill='{family.label_color}'>{escape(text)}</text></g>"
    )
