"""One host's log as the named instants of one migration: both blackouts, the checkpoints, start and stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from vdpa_lab.timeline.spans import NO_DEVICE
from vdpa_lab.traces.devices import Devices
from vdpa_lab.traces.events import Event, Log
from vdpa_lab.traces.tracepoints import tracepoints

SOURCE, DESTINATION = "source", "destination"
_PREFIX = {"src-": SOURCE, "dst-": DESTINATION}
_UNDONE = {"cancelling", "cancelled", "failed", "failing"}


def roles(log: Log) -> set[str]:
    """Which host the log can be of, by the events in it that only one of them writes."""
    found = set()
    for event in log.events:
        if event.name == "vmstate_downtime_checkpoint":
            found |= {role for start, role in _PREFIX.items() if str(event.fields["checkpoint"]).startswith(start)}
        elif event.name in ("vmstate_downtime_save", "savevm_state_setup"):
            found.add(SOURCE)
        elif event.name in ("vmstate_downtime_load", "ram_load_start", "ram_load_complete"):
            found.add(DESTINATION)
    return found


@dataclass(frozen=True)
class Side:
    """A host's log in one role; instants are in that host's own clock, ns since 1970."""

    role: str
    log: Log

    @cached_property
    def devices(self) -> Devices:
        return Devices(self.log.events)

    @cached_property
    def range(self) -> tuple[int, int]:
        """First and last + 1 event of the migration: the last one that stopped the VM, else the last one begun."""
        events = self.log.events
        begun = [i for i, event in enumerate(events) if _state(event) == "setup"]
        wanted = "src-downtime-start" if self.role == SOURCE else "dst-precopy-bh-enter"
        ends = [i for i, event in enumerate(events) if event.fields.get("checkpoint") == wanted]
        before = [i for i in begun if not ends or i < ends[-1]]
        first = before[-1] if before else 0
        return first, next((i for i in begun if i > max(first, ends[-1] if ends else 0)), len(events))

    @property
    def attempts(self) -> int:
        """How many migrations the log holds."""
        return sum(_state(event) == "setup" for event in self.log.events)

    @cached_property
    def events(self) -> tuple[tuple[Event, int], ...]:
        """The migration's events, each with its device."""
        first, last = self.range
        numbers = self.devices.of(self.log.events)
        return tuple(zip(self.log.events[first:last], numbers[first:last], strict=True))

    @cached_property
    def marks(self) -> dict[str, int]:
        """Named instants, in this host's clock."""
        found: dict[str, int] = {}
        for event, _ in self.events:
            point = tracepoints()[event.name]
            if (
                point.mark
                and point.side in ("", self.role)
                and all(event.fields.get(key) == value for key, value in point.when.items())
            ):
                found.setdefault(point.mark.format_map(event.fields), event.t)
        (found := _known(found)).update(self._source(found) if self.role == SOURCE else self._destination(found))
        return found

    def _source(self, marks: dict[str, int]) -> Iterator[tuple[str, int]]:
        stopped = marks.get("src-downtime-start", marks.get("vcpus-paused"))
        phase, phases = "", {"switch": [], "stop": [], "back": []}
        for event, device in self.events:
            state = _state(event)
            if state == "setup":
                yield "migration-start", event.t
                phase = "switch"
            elif state in _UNDONE:
                phase = "back"
            if stopped is not None and event.t >= stopped and phase != "back":
                phase = "stop"
            if event.t >= marks.get("src-vm-stopped", event.t + 1) and phase == "stop":
                phase = ""
            if phase:
                phases[phase].append((event, device))
        yield from self._bracketed(phases["switch"], "svq-switch")
        yield from self._bracketed(phases["back"], "svq-switch-back")
        last: dict[int, int] = {}
        stop = phases["stop"]
        after = [event.t for event, _ in stop[1:]] + [marks.get("src-vm-stopped", stop[-1][0].t if stop else 0)]
        begins = dict(_suspended(stop))
        for (event, device), until in zip(stop, after, strict=False):
            if device in begins and event.t >= begins[device] and tracepoints()[event.name].lane == "kernel":
                last[device] = until
        for device, begin in begins.items():
            yield f"stop-begin:{device}", begin
            yield f"stop-end:{device}", last.get(device, begin)

    def _bracketed(self, events: list[tuple[Event, int]], name: str) -> Iterator[tuple[str, int]]:
        """From each device's suspension to the last enabling of one of its data virtqueues."""
        for device, begin in _suspended(events):
            yield f"{name}-begin:{device}", begin
            if end := self._enabled(events, device, begin):
                yield f"{name}-end:{device}", end

    def _enabled(self, events: list[tuple[Event, int]], device: int, begin: int) -> int | None:
        cvq = self.devices.cvq(device)
        found = [
            event.t
            for event, number in events
            if number == device
            and event.t >= begin
            and event.name in ("vhost_vdpa_set_vring_enable_one", "vhost_vdpa_set_vring_ready")
            and event.fields.get("enable", 1) == 1
            and event.fields.get("index") != cvq
        ]
        return found[-1] if found else None

    def _destination(self, marks: dict[str, int]) -> Iterator[tuple[str, int]]:
        resumed = marks.get("dst-precopy-bh-vm-started")
        if resumed is not None:
            yield "vcpus-resumed", resumed
        begin = marks.get("dst-precopy-bh-enter", marks.get("dst-precopy-loadvm-completed"))
        if begin is None:
            begin = next((e.t for e, _ in self.events if e.name == "vm_state_notify" and e.fields["running"]), None)
        if begin is None:
            return
        end = next((e.t for e, _ in self.events if e.t > begin and _stops(e)), None)
        start = [(e, d) for e, d in self.events if begin <= e.t and (end is None or e.t < end)]
        for device in sorted({device for _, device in start} - {NO_DEVICE}):
            own = [event for event, number in start if number == device]
            kernel = [event for event in own if tracepoints()[event.name].lane == "kernel"]
            if not kernel:
                continue
            yield f"start-begin:{device}", kernel[0].t
            if up := self._enabled(start, device, begin):
                yield f"network-up:{device}", up
                yield f"start-end:{device}", up


def _known(marks: dict[str, int]) -> dict[str, int]:
    """Marks of a log come from its text: only names as QEMU writes them become marks."""
    return {name: t for name, t in marks.items() if name.replace("-", "").isalnum() and len(name) < 80}


def _state(event: Event) -> str:
    return str(event.fields["state"]) if event.name == "migrate_set_state" else ""


def _stops(event: Event) -> bool:
    return event.name == "vm_state_notify" and event.fields["running"] == 0


def _suspended(events: list[tuple[Event, int]]) -> Iterator[tuple[int, int]]:
    """Device and instant from which its data path is dead: SUSPEND, or without it the reset in its place.

    vhost_vdpa_dev_start (QEMU hw/virtio/vhost-vdpa.c) traces its own start or stop first, then suspends or resets.
    """
    stopping: dict[int, int] = {}
    dead: dict[int, int] = {}
    for event, device in events:
        if event.name == "vhost_vdpa_dev_start" and not event.fields["started"]:
            stopping.setdefault(device, event.t)
        elif event.name == "vhost_vdpa_suspend":
            dead.setdefault(device, event.t)
        elif event.name == "vhost_vdpa_reset_device":
            dead.setdefault(device, stopping.get(device, event.t))
    return iter((device, t) for device, t in dead.items() if device != NO_DEVICE)


def reset_instead(side: Side) -> bool:
    """Was a device stopped by a reset because it cannot be suspended?"""
    names = {event.name for event, _ in side.events}
    return "vhost_vdpa_reset_device" in names and "vhost_vdpa_suspend" not in names
