"""Both hosts' logs on one clock: the Timeline of a real migration."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from vdpa_lab.timeline import Span, Timeline
from vdpa_lab.traces.chain import Chain, StateKey, chain, longer_spans, state_key
from vdpa_lab.traces.clock import Clock
from vdpa_lab.traces.counts import Op, kernel_ops, log_ops
from vdpa_lab.traces.events import Event
from vdpa_lab.traces.kernel_vdt import KernelLog
from vdpa_lab.traces.sides import DESTINATION, SOURCE, Side
from vdpa_lab.traces.tracepoints import tracepoints
from vdpa_lab.words import InputError

_LAST = "src-downtime-end"
Counters = dict[str, list[tuple[int, int]]]


class Assembled(NamedTuple):
    """A timeline whose time zero is `epoch` (ns since 1970, source's clock), operations to count, and counters."""

    timeline: Timeline
    epoch: int
    ops: tuple[Op, ...]
    counters: Counters


def assemble(sides: Sequence[Side], clock: Clock, kernel: KernelLog | None, return_path: bool) -> Assembled:
    """Spans, marks and what waited for what. Raises InputError when the logs hold no instant of a migration."""
    to_source = {side.role: -clock.offset_ns if side.role == DESTINATION else 0 for side in sides}
    marks: dict[str, int] = {}
    for side in sides:
        marks = {name: t + to_source[side.role] for name, t in side.marks.items()} | marks
    if not marks:
        paths = " and ".join(repr(side.log.path) for side in sides)
        raise InputError(f"{paths}: no event of a migration; trace the events of data/trace-events while you migrate")
    epoch = marks.get("migration-start", min(marks.values()))
    marks = {name: t - epoch for name, t in sorted(marks.items(), key=lambda item: item[1])}
    chains, longer, ops, counters = {}, [], [], {}
    for side in sides:
        shift = to_source[side.role] - epoch
        inside = kernel.of(side.role) if kernel else ()
        chains[side.role] = chain(side, shift, inside, _awaited(side, marks, return_path), _written(sides, side, clock))
        longer += longer_spans(side, shift)
        ops += log_ops(side.role, side.events, shift, bool(inside))
        ops += kernel_ops(inside, shift)
        for name, points in _counters(side, shift).items():
            counters.setdefault(name, []).extend(points)
    timeline = _joined(chains, longer, marks, _waited(marks, return_path))
    return Assembled(timeline, epoch, tuple(sorted(ops)), counters)


def _waited(marks: dict[str, int], return_path: bool) -> bool:
    """Did the source wait for the destination before its last checkpoint, as it does with a return path?"""
    ran, end = marks.get("dst-precopy-bh-vm-started"), marks.get(_LAST)
    return return_path and ran is not None and end is not None and ran <= end


def _awaited(side: Side, marks: dict[str, int], return_path: bool) -> frozenset[int]:
    """The line before which this host waited for the other's answer."""
    if side.role != SOURCE or not _waited(marks, return_path):
        return frozenset()
    return frozenset(e.line for e, _ in side.events if e.fields.get("checkpoint") == _LAST)


def _written(sides: Sequence[Side], side: Side, clock: Clock) -> dict[StateKey, int]:
    """When the source had written each state, in the destination's clock."""
    source = next((each for each in sides if each.role == SOURCE), None)
    if side.role == SOURCE or source is None:
        return {}
    return {key: event.t + clock.offset_ns for event, _ in source.events if (key := _saved(event))}


def _saved(event: Event) -> StateKey | None:
    return state_key(event) if event.name == "vmstate_downtime_save" else None


def _counters(side: Side, shift: int) -> Counters:
    found: Counters = {}
    for event, _ in side.events:
        point = tracepoints()[event.name]
        if point.counter:
            found.setdefault(point.counter, []).append((event.t + shift, event.fields[point.value] * point.scale))
    return found


def _joined(chains: dict[str, Chain], longer: list[Span], marks: dict[str, int], waited_at_end: bool) -> Timeline:
    """One timeline; a span that followed data from the other host waited for what that host did last before."""
    spans, waited, first = [], [], {}
    for role, each in chains.items():
        first[role] = len(spans)
        spans += each.spans
        waited += [before + first[role] if before >= 0 else -1 for before in each.before]
    ends = {role: sorted((s.end, i + first[role]) for i, s in enumerate(each.spans)) for role, each in chains.items()}
    for role, each in chains.items():
        other = ends[SOURCE if role == DESTINATION else DESTINATION] if len(chains) == 2 else []
        for index in sorted(each.stream | each.late):
            here = first[role] + index
            there = _last(other, spans[here].start)
            own = waited[here]
            if there >= 0 and (index in each.late or own < 0 or spans[there].end > spans[own].end):
                waited[here] = there
    hosts = {_LAST: DESTINATION} if waited_at_end else {}
    mark_spans = {name: _last(ends.get(hosts.get(name) or _host(name), []), t) for name, t in marks.items()}
    return Timeline(tuple(spans + longer), marks, tuple(waited + [-1] * len(longer)), mark_spans)


def _last(ends: list[tuple[int, int]], t: int) -> int:
    """Index of the span that ended last up to `t`, -1 for none."""
    at = bisect_right(ends, (t, len(ends) * 2 + 1 << 40))
    return ends[at - 1][1] if at else -1


def _host(mark: str) -> str:
    there = ("dst-", "start-", "network-up", "vcpus-resumed")
    return DESTINATION if mark.startswith(there) else SOURCE
