"""The data path of each device over one migration: open, shadowed or closed, and why a frame is then lost.

Read from a timeline's marks, on a clock of its own: `lead` ns of traffic before the migration, and of a long precopy
only its first and last `steady` ns, since between them nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vdpa_lab.kernels.traffic import (
    CLOSED,
    DESTINATION_CLOSED,
    DIRECT,
    NO_BUFFER,
    NO_VLAN,
    SHADOW,
    SOURCE_DEAD,
)
from vdpa_lab.migration.announce import Round, announces, guest_rounds
from vdpa_lab.migration.simulate import Run
from vdpa_lab.timeline import Timeline

FABRICS = ("learning", "both")
BQL_OPS = ("start dirty log", "bitmap sync", "last bitmap sync")  # migration_bitmap_sync_precopy: under the BQL

VLAN_OPS = ("VLAN_ADD", "ADD_VLAN_RULES")


class Phase(NamedTuple):
    """From `start` ns on: mode DIRECT | SHADOW | CLOSED, a closed one's cause, and whether the place is a new one."""

    start: int
    mode: int
    cause: int = 0
    learns: bool = False


@dataclass(frozen=True)
class Clock:
    """Time of the simulation from time of the timeline, both ns."""

    zero: int
    cut: int = 0
    skipped: int = 0

    def inside(self, ns: int) -> int:
        at = ns - self.zero
        return at if at <= self.cut else max(self.cut, at - self.skipped)

    def outside(self, at: int) -> int:
        return at + self.zero + (self.skipped if at > self.cut else 0)


@dataclass(frozen=True)
class DataPath:
    """All devices on the simulation's clock, in ns.

    phases: per device, the first from 0. bounds: per device begin and end of blackouts 1 and 2, or 1 and 3 where the
    migration is cancelled: `last` is its number. switches: (device, begin, end, BQL released) to shadow virtqueues and
    back. holds: when the main loop cannot forward. known: per device when the fabric knows the new place without help
    of guest traffic (None: never).
    """

    phases: tuple[tuple[Phase, ...], ...]
    bounds: tuple[tuple[int, int, int, int], ...]
    paused: int
    resumed: int
    horizon: int
    switches: tuple[tuple[int, int, int, int], ...] = ()
    holds: tuple[tuple[int, int], ...] = ()
    known: tuple[int | None, ...] = ()
    rounds: tuple[Round, ...] = ()
    clock: Clock = field(default=Clock(0))
    last: int = 2


def data_path(
    run: Run,
    prime: int,
    frames: int,
    ack: int,
    fabric: str,
    guest_announce: bool | None,
    lead: int,
    steady: int,
    tail: int,
) -> DataPath:
    """The data paths of a run.

    prime: ns to give one shadow queue its buffers. frames, ack: of the guest's announce rounds. fabric: "learning"
    forgets nothing and learns from frames; "both" sends to both ports (as OVN does for a port that migrates).
    guest_announce: None = as the devices allow.
    """
    scenario, marks = run.scenario, run.timeline.marks
    device, count = scenario.device, scenario.device.count
    clock = _clock(run.timeline, count, lead, steady)
    at = {name: clock.inside(ns) for name, ns in marks.items()}
    auto, always, cancelled = "svq-switch-end:0" in marks, device.svq == "on", "vcpus-paused" not in marks
    learns = fabric == "learning"
    released = max((at[f"svq-switch-end:{d}"] for d in range(count) if auto), default=0)
    over = clock.inside(run.timeline.end)
    paused, resumed, started = (
        at.get(name, over) for name in ("vcpus-paused", "vcpus-resumed", "dst-precopy-bh-vm-started")
    )
    prime *= device.pairs_in_use
    phases, bounds, switches = [], [], []
    for d in range(count):
        found = [Phase(0, SHADOW if always else DIRECT)]
        blackout = (0, 0)
        if auto:
            begin, end = blackout = at[f"svq-switch-begin:{d}"], at[f"svq-switch-end:{d}"]
            switches.append((d, begin, end, released))
            found.append(Phase(begin, CLOSED, SOURCE_DEAD))
            found.append(Phase(end, CLOSED, NO_BUFFER))
            found.append(Phase(released + prime * (d + 1), SHADOW))
        if cancelled:
            stop, up = (at.get(f"svq-back-{edge}:{d}", over) for edge in ("begin", "end"))
            ending = [Phase(stop, CLOSED, SOURCE_DEAD), Phase(up, DIRECT)] if auto else []
            switches += [(d, stop, up, over)] if auto else []
        else:
            stop, up = at[f"stop-begin:{d}"], at[f"network-up:{d}"]
            ending = _blackout(run.timeline, at, clock, d, fabric, bool(device.vlans))
            if always:
                ending.append(Phase(up, CLOSED, NO_BUFFER, learns))
                ending.append(Phase(started + prime * (d + 1), SHADOW, 0, learns))
            else:
                ending.append(Phase(up, DIRECT, 0, learns))
        phases.append(_in_order([*(each for each in found if each.start < stop), *ending]))
        bounds.append((*blackout, stop, up))
    speaks = announces(device) if guest_announce is None else guest_announce
    rounds = guest_rounds(resumed, frames, ack) if speaks and not cancelled else ()
    known = rounds[0].sent if rounds else None
    holds = _holds(run.timeline, clock, [*((begin, end) for _, begin, _, end in switches), (paused, started)])
    return DataPath(
        tuple(phases), tuple(bounds), paused, resumed, started + prime * count + tail, tuple(switches),
        holds, (known,) * count, rounds, clock, 3 if cancelled else 2,
    )  # fmt: skip


def _clock(timeline: Timeline, count: int, lead: int, steady: int) -> Clock:
    marks = timeline.marks
    begin = min(marks.get(f"svq-switch-begin:{d}", marks["migration-start"]) for d in range(count))
    released = max(marks.get(f"svq-switch-end:{d}", begin) for d in range(count))
    ends = [ns for name, ns in marks.items() if name == "vcpus-paused" or name.startswith("svq-back-begin")]
    skipped = min(ends, default=timeline.end) - released - 2 * steady
    return Clock(begin - lead, released - begin + lead + steady, max(skipped, 0))


def _blackout(timeline: Timeline, at: dict[str, int], clock: Clock, d: int, fabric: str, vlans: bool) -> list[Phase]:
    """Blackout 2: why a frame is lost depends on where the fabric sends it."""
    if fabric == "learning":
        return [Phase(at[f"stop-begin:{d}"], CLOSED, SOURCE_DEAD)]
    found = [Phase(at[f"stop-begin:{d}"], CLOSED, DESTINATION_CLOSED)]
    if vlans:
        replays = [
            clock.inside(instant)
            for span in timeline.spans
            if span.device == d and span.lane.side == "destination" and span.op in VLAN_OPS
            for instant in (span.start, span.end)
        ]
        if replays:
            found.append(Phase(min(replays), CLOSED, NO_VLAN))
            found.append(Phase(max(replays), CLOSED, DESTINATION_CLOSED))
    return found


def _in_order(found: list[Phase]) -> tuple[Phase, ...]:
    """Of phases that begin at one instant the last one counts."""
    return tuple(
        each for each, later in zip(found, [*found[1:], None], strict=True) if not later or each.start < later.start
    )


def _holds(timeline: Timeline, clock: Clock, found: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    found = found + [
        (clock.inside(span.start), clock.inside(span.end))
        for span in timeline.spans
        if span.op in BQL_OPS and span.lane.side == "source"
    ]
    return tuple(sorted(each for each in found if each[0] < each[1]))
