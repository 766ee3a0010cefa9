"""One operation of a migration, and how to tell those that are meant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from vdpa_lab.machine.iotlb import Effect
from vdpa_lab.migration.fluid import Demand
from vdpa_lab.timeline import Lane

Work = tuple[tuple[str, int], ...]


class Step(NamedTuple):
    """One operation.

    name: unique in its plan. op: the operation as the kernel, QEMU or the firmware names it. device: index, or -1
    for the whole VM. path: the QEMU code path it belongs to (PATHS). caller: the function that issues it, with
    (CVQ) behind it for the rings of the control virtqueue. after: names of the steps it waits for. work: pairs of
    cost key and amount. width: how many firmware commands of its work are in flight at once. groups: how many times
    the caller waits for its commands. effect: what it does to the device's address spaces. of: the step whose
    effect its work is derived from. detail: kernel arguments as printed. mark: the instant that it names. demand:
    bytes of a rate that it shares with steps that run beside it; its work is then what they take alone.
    """

    name: str
    op: str
    lane: Lane
    device: int
    path: str
    caller: str
    after: tuple[str, ...]
    work: Work = ()
    width: int = 1
    groups: int = 1
    effect: Effect | None = None
    of: str = ""
    detail: str = ""
    mark: str = ""
    demand: Demand | None = None

    def but(self, **changed: Any) -> Step:
        """The same step with these fields changed; every rewrite does it to many, so faster than `_replace`."""
        fields = list(self)
        for name, value in changed.items():
            fields[PLACES[name]] = value
        return tuple.__new__(Step, fields)

    def behind(self, after: tuple[str, ...]) -> Step:
        """The same step that waits for these."""
        return self if after == self.after else self.but(after=after)


PLACES = {name: place for place, name in enumerate(Step._fields)}

PATHS = {
    "init": "QEMU start of the destination (vhost_vdpa_init, machine reset)",
    "load-setup": "destination, on the setup section of the stream",
    "switch": "switch to shadow virtqueues (vhost_vdpa_net_log_global_enable)",
    "precopy": "migration thread, and loading on the destination",
    "back": "source, when the migration is cancelled: shadowing ends (vhost_vdpa_net_log_global_enable)",
    "stop": "source, after the VM was stopped (vhost_net_stop)",
    "save": "source, last RAM and device state",
    "load": "destination, last RAM and device state",
    "start": "destination, start of the VM (vhost_net_start)",
    "after": "after the migration",
}


Where = Callable[[Step], bool]


def tests(wanted: Mapping[str, object]) -> list[tuple[int, Collection[object]]]:
    """Per attribute its place in a step, and the values that pass."""
    return [
        (PLACES[key], value if isinstance(value, (set, frozenset)) else {value})
        for key, value in wanted.items()
        if key != "side"
    ]


def where(**wanted: object) -> Where:
    """A test on steps: each named attribute equals the value, or is in it when it is a set; `side` is the lane's."""
    sets, side = tests(wanted), wanted.get("side")

    def matches(step: Step) -> bool:
        for field, values in sets:
            if step[field] not in values:
                return False
        return side is None or step.lane.side == side

    return matches
