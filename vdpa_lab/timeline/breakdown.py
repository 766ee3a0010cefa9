"""What a window was spent on: the chain of spans that determined its end, cut to the window, to the nanosecond."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdpa_lab.timeline.spans import Lane, Timeline
from vdpa_lab.timeline.windows import Interval, Window, counted_intervals

WAITING = "(waiting)"


class Part(NamedTuple):
    """`ns` of a window that went to one cost of one operation; key is WAITING where nothing that is known ran."""

    op: str
    key: str
    lane: Lane | None
    device: int
    ns: int


def _chain(timeline: Timeline, interval: Interval) -> list[Part]:
    """Walk back from the end mark: each span was held up by the one before it, so the pieces tile the interval."""
    parts, edge, start = [], interval.start_ns + interval.ns, interval.start_ns
    index = timeline.mark_spans[interval.end]
    while edge > start:
        if index < 0:
            parts.append(Part(WAITING, WAITING, None, interval.device, edge - start))
            break
        span = timeline.spans[index]
        if span.end < edge:
            parts.append(Part(WAITING, WAITING, None, interval.device, edge - max(span.end, start)))
            edge = span.end
        if span.start < edge and edge > start:
            parts.extend(_clipped(span, max(start, span.start), edge))
        edge, index = min(edge, span.start), timeline.waited_for[index]
    return parts


def _clipped(span, low: int, high: int) -> Iterable[Part]:
    """The span's terms, laid one after the other from its start, cut to [low, high)."""
    at = span.start
    for term in span.terms:
        ns = min(high, at + term.ns) - max(low, at)
        at += term.ns
        if ns > 0:
            yield Part(span.op, term.key, span.lane, span.device, ns)
    if at < span.end and (ns := min(high, span.end) - max(low, at)) > 0:
        yield Part(span.op, span.op, span.lane, span.device, ns)


def breakdown(timeline: Timeline, window: Window) -> tuple[Part, ...]:
    """Parts that sum to the window's length exactly, in no particular order."""
    return tuple(part for each in counted_intervals(timeline, window) for part in _chain(timeline, each))


def summed(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Equal parts joined, the longest first."""
    totals: dict[tuple, int] = {}
    for part in parts:
        totals[part[:4]] = totals.get(part[:4], 0) + part.ns
    return tuple(sorted((Part(*key, ns) for key, ns in totals.items()), key=lambda part: (-part.ns, part.op, part.key)))
