"""Events of one host as spans: what each of its threads did from line to line, and what each span waited for."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vdpa_lab.timeline.spans import Lane, Span, Term
from vdpa_lab.traces.events import Event, printable
from vdpa_lab.traces.kernel_vdt import KernelOp
from vdpa_lab.traces.sides import Side
from vdpa_lab.traces.tracepoints import Tracepoint, tracepoints

StateKey = tuple[str, str, int]
OTHER = "other QEMU work"
_NEITHER = Tracepoint("", (), frozenset(), OTHER, lane="bql")


@dataclass
class Chain:
    """Spans under construction: `before[i]` is the span that i followed (-1: none).

    `stream`: spans that followed data from the other host; `late`: those that certainly waited for it. None has a
    length of zero, so what a span waited for began strictly before it.
    """

    spans: list[Span] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    stream: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)

    def add(self, span: Span, before: int) -> int:
        self.spans.append(span)
        self.before.append(before)
        return len(self.spans) - 1


def chain(
    side: Side,
    shift: int,
    kernel: Sequence[KernelOp] = (),
    awaited: frozenset[int] = frozenset(),
    written: Mapping[StateKey, int] | None = None,
) -> Chain:
    """One host's spans, times moved by `shift` ns.

    A thread's time from one line to its next is one span, cut by the kernel's operations where they are known.
    Whose it is follows from data/tracepoints.toml: an event written before its work owns the time up to the next
    line, one written after it the time since the last. awaited: lines before which the thread waited for the
    other host. written: when the other host had written each state, in this host's clock; the stream is in order,
    so up to then whoever loaded it, or what comes before it, waited.
    """
    made = Chain()
    threads: dict[int, list[tuple[Event, int]]] = defaultdict(list)
    for event, device in side.events:
        threads[event.thread].append((event, device))
    starts = [op.start for op in kernel]
    for thread in threads.values():
        needed = _needed(thread, written or {})
        last, waited, late = -1, False, False
        for ((event, device), (after, after_device)), need in zip(pairwise(thread), needed[1:], strict=True):
            first, second = tracepoints()[event.name], tracepoints()[after.name]
            if first.at != "before" and (second.at == "stream" or after.line in awaited):
                waited = True
                continue
            if first.at == "before":
                owner = event, device, first
            elif second.at == "after":
                owner = after, after_device, second
            else:
                owner = event, device, _NEITHER if first.at or not first.op else first
            inside = kernel[bisect_right(starts, event.t - 1) : bisect_right(starts, after.t - 1)]
            span = _span(side.role, owner, event.t, after.t, bool(kernel))
            if need is not None and event.t < need < after.t:
                pieces = [span._replace(end=need), span._replace(start=need)]
            else:
                pieces = list(_cut(span, inside))
            for piece in pieces:
                if piece.ns <= 0:
                    continue
                last = made.add(_moved(piece, shift), last)
                if waited:
                    made.stream.add(last)
                if late or piece.start == need:
                    made.late.add(last)
                waited = late = False
            late = late or (need is not None and need >= after.t and after.name == "vmstate_downtime_load")
    return made


def state_key(event: Event) -> StateKey | None:
    """Which state an event of saving or loading is about."""
    if event.name not in ("vmstate_downtime_save", "vmstate_downtime_load"):
        return None
    return event.fields["type"], event.fields["idstr"], event.fields["instance"]


def _needed(thread: Sequence[tuple[Event, int]], written: Mapping[StateKey, int]) -> list[int | None]:
    """Per event: when the state that is loaded next, or by it, had been written."""
    found: list[int | None] = []
    need = None
    for event, _ in reversed(thread):
        if event.name == "vmstate_downtime_load":
            need = written.get(state_key(event))
        found.append(need)
    return found[::-1]


def _span(role: str, owner: tuple[Event, int, Tracepoint], start: int, end: int, cut: bool) -> Span:
    event, device, point = owner
    op = point.op.format_map(event.fields)
    lane = point.lane or "bql"
    if cut and lane == "kernel":
        op, lane = event.name, "bql"  # the kernel's log tells its part; the rest is QEMU's
    number = device if lane in ("kernel", "firmware", "worker") else -1
    name = f"{role}:{event.line} {event.name}"
    return Span(name, printable(op, 60), Lane(role, lane, number), device, start, end)


def _cut(span: Span, ops: Sequence[KernelOp]) -> Iterator[Span]:
    """The span without what the kernel did in it, and that: outermost operations, what lies within as terms."""
    at = span.start
    index = 0
    while index < len(ops):
        op = ops[index]
        inner = []
        index += 1
        while index < len(ops) and ops[index].start < op.end:
            inner.append(ops[index])
            index += 1
        start, end = max(op.start, at), min(op.end, span.end)
        if start > at:
            yield span._replace(start=at, end=start)
            at = start
        if end > start:
            nested = min(sum(each.end - each.start for each in inner), end - start)
            terms = [Term(op.op, 1, end - start - nested)]
            if inner:
                terms.append(Term(inner[0].op, len(inner), nested))
            lane = Lane(op.side, "kernel", op.device)
            yield Span(f"{span.name} {op.op}", op.op, lane, op.device, start, end, tuple(terms))
            at = end
    if span.end > at:
        yield span._replace(start=at)


def _moved(span: Span, shift: int) -> Span:
    return span._replace(start=span.start + shift, end=span.end + shift) if shift else span


def longer_spans(side: Side, shift: int) -> Iterator[Span]:
    """Spans that a pair of events brackets, and those whose event says how long they took."""
    opened: dict[tuple[int, str], Event] = {}
    for event, device in side.events:
        point = tracepoints()[event.name]
        if point.opens and len(opened) < 10_000:
            opened[event.thread, point.opens.format_map(event.fields)] = event
        if point.closes:
            key = event.thread, point.closes.format_map(event.fields)
            if (begin := opened.pop(key, None)) is not None:
                lane = Lane(side.role, point.lane or "bql")
                name = printable(key[1], 60)
                yield Span(f"{side.role}:{begin.line} {name}", name, lane, device, begin.t + shift, event.t + shift)
