"""The operations of a timeline as lanes in time: an SVG text, so that hovering tells what a block is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import NamedTuple

from vdpa_lab.plot.downtime import duration_words
from vdpa_lab.plot.hatches import fill, patterns
from vdpa_lab.plot.style import EDGE, PAPER_INK, family_of
from vdpa_lab.timeline import Lane, Span, Timeline
from vdpa_lab.units import format_duration

WIDTH, LABELS, ROW, HEAD, FOOT = 700, 168, 19, 34, 22  # CSS pixels
VISIBLE = 0.8  # narrower blocks of one lane are drawn as one
NAMED_IN_A_BLOCK = 3
SIDES = ("source", "wire", "destination")
TICKS = 5


class Block(NamedTuple):
    """Neighbouring spans of a lane that are drawn as one; start and end in ns."""

    start: int
    end: int
    spans: tuple[Span, ...]

    @property
    def family(self) -> str:
        """The family that most of the block's time belongs to."""
        totals: dict[str, int] = {}
        for span in self.spans:
            for term in span.terms:
                name = family_of(term.key).name
                totals[name] = totals.get(name, 0) + term.ns
        return max(totals, key=totals.__getitem__, default="other")


def lanes_of(timeline: Timeline, start: int, end: int) -> dict[Lane, list[Span]]:
    """Spans with extent that lie in [start, end], by lane; source first, then the wire, then the destination."""
    found: dict[Lane, list[Span]] = {}
    for span in timeline.spans:
        if span.ns and span.end > start and span.start < end:
            found.setdefault(span.lane, []).append(span)
    order = sorted(found, key=lambda lane: (SIDES.index(lane.side), lane.device, str(lane)))
    return {lane: sorted(found[lane], key=lambda span: span.start) for lane in order}


def blocks_of(spans: Iterable[Span], ns_a_pixel: float) -> list[Block]:
    """Spans as blocks: what is too narrow to be seen joins its neighbour if no more than that lies between."""
    found: list[Block] = []
    least = VISIBLE * ns_a_pixel
    for span in spans:
        last = found[-1] if found else None
        narrow = last is not None and span.ns < least and last.spans[-1].ns < least and span.start - last.end < least
        if narrow:
            found[-1] = Block(last.start, max(last.end, span.end), (*last.spans, span))
        else:
            found.append(Block(span.start, span.end, (span,)))
    return found


def told(block: Block, describe: Callable[[Span], str]) -> str:
    """What hovering over a block says."""
    if len(block.spans) == 1:
        return describe(block.spans[0])
    longest = sorted(block.spans, key=lambda span: -span.ns)[:NAMED_IN_A_BLOCK]
    names = ", ".join(f"{span.op} {format_duration(span.ns)}" for span in longest)
    total = sum(span.ns for span in block.spans)
    return f"{len(block.spans)} operations, {format_duration(total)} in all; longest: {names}"


def _marks(timeline: Timeline, start: int, end: int, x: Callable[[int], float], bottom: int) -> str:
    named = sorted((ns, name) for name, ns in timeline.marks.items() if start <= ns <= end and ":" not in name)
    parts, free = [], LABELS
    for ns, name in named:
        at, words = x(ns), escape(f"{name}, {duration_words(ns - start)}")
        parts.append(
            f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{HEAD - 4}' y2='{bottom}' stroke='currentColor' "
            f"stroke-dasharray='2 3' opacity='.55'><title>{words}</title></line>"
        )
        if at >= free and at + 6 * len(name) <= WIDTH:
            parts.append(f"<text x='{at + 2:.1f}' y='{HEAD - 8}' font-size='9.5'>{escape(name)}</text>")
            free = at + 6 * len(name) + 8
    return "".join(parts)


def timeline_svg(
    timeline: Timeline,
    start: int,
    end: int,
    describe: Callable[[Span], str],
    *,
    title: str,
    ink: str = PAPER_INK,
    ids: str = "vdpa",
) -> str:
    """Lanes from `start` to `end` (ns) as an SVG document; `describe` gives the words for a span.

    `ids` begins the ids in it; on one page no other picture's may begin so.
    Equal arguments give equal text. Raises ValueError when there is no time between start and end.
    """
    if end <= start:
        raise ValueError(f"no time lies between {start} and {end} ns")
    lanes = lanes_of(timeline, start, end)
    scale = (WIDTH - LABELS) / (end - start)
    bottom = HEAD + ROW * max(1, len(lanes))

    def x(ns: int) -> float:
        return LABELS + (min(max(ns, start), end) - start) * scale

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {bottom + FOOT}' width='{WIDTH}' role='img' "
        f"style='max-width:100%;height:auto;color:{ink}' font-family='sans-serif' fill='currentColor'>"
        f"<title>{escape(title)}</title>{patterns(ids)}"
    ]
    side = ""
    for row, (lane, spans) in enumerate(lanes.items()):
        top = HEAD + row * ROW
        if lane.side != side:
            side = lane.side
            parts.append(f"<line x1='0' x2='{WIDTH}' y1='{top}' y2='{top}' stroke='currentColor' opacity='.5'/>")
        parts.append(f"<text x='0' y='{top + 13}' font-size='10.5'>{escape(_label(lane))}</text>")
        for block in blocks_of(spans, 1 / scale):
            left, right = x(block.start), x(block.end)
            parts.append(
                f"<rect x='{left:.2f}' y='{top + 3}' width='{max(right - left, 0.7):.2f}' height='{ROW - 6}' "
                f"fill='{fill(block.family, ids)}' stroke='{EDGE}' stroke-width='.4'>"
                f"<title>{escape(told(block, describe))}</title></rect>"
            )
    parts.append(_marks(timeline, start, end, x, bottom))
    for tick in range(TICKS):
        at, anchor = start + (end - start) * tick // (TICKS - 1), ("start", *["middle"] * (TICKS - 2), "end")[tick]
        parts.append(
            f"<text x='{x(at):.1f}' y='{bottom + 15}' font-size='10' text-anchor='{anchor}'>"
            f"{escape(duration_words(at - start))}</text>"
        )
    parts.append(f"<line x1='{LABELS}' x2='{WIDTH}' y1='{bottom}' y2='{bottom}' stroke='currentColor'/></svg>")
    return "".join(parts)


def _label(lane: Lane) -> str:
    return f"{str(lane)[0].upper()}{str(lane)[1:]}".replace("QEMU thread holding the BQL", "QEMU, BQL")
