"""What every plan has to keep, however it was rewritten: the safety orders, as data, and the check of a plan.

An order says that each step of one kind precedes each step of another kind, by the waits of the plan and not by its
luck in time. Sources: QEMU net/vhost-vdpa.c, hw/virtio/vhost.c, migration/migration.c; Linux drivers/vhost/vdpa.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from vdpa_lab.machine.iotlb import Clean, Map, SetMap, Unmap
from vdpa_lab.machine.iova import identity_memory, ring_areas, shadow_layout
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration.account import account
from vdpa_lab.migration.plan import Plan, PlanError, Step, Where, where
from vdpa_lab.migration.vhost import DRIVER_OK, RAM_ASID

GUEST_RINGS, SHADOW_RINGS = "vhost_virtqueue_start", "vhost_vdpa_svq_setup"


def starts_device(step: Step) -> bool:
    """SET_STATUS with DRIVER_OK, or VHOST_VDPA_RESUME: from here on the device may use its rings and memory."""
    status = step.op == "SET_STATUS" and step.detail.startswith("arg=0x")
    return step.op == "RESUME" or bool(status and int(step.detail[4:], 16) & DRIVER_OK)


def _unmaps(step: Step) -> bool:
    return isinstance(step.effect, Unmap)


def _both(*tests: Where) -> Where:
    return lambda step: all(test(step) for test in tests)


_STOP_CALL = where(caller="vhost_vdpa_suspend", op={"SUSPEND", "SET_STATUS"})
_DATA_ENABLE = where(op="SET_VRING_ENABLE", caller="vhost_vdpa_set_vring_ready")
_STATE = where(op="load virtio-net state")
_MESSAGES = ("IOTLB_UPDATE", "IOTLB_INVALIDATE")


@dataclass(frozen=True, slots=True)
class Order:
    """Each step that is `first` precedes each that is `then`, of the same host and device as `scope` says.

    needed: where there is a `then`, there has to be a `first`.
    """

    rule: str
    first: Where
    then: Where
    scope: str = "device"  # a host's device | plan | index: the same device number on either host
    needed: bool = True


def _marks(*names: str) -> tuple[Order, ...]:
    return tuple(
        Order(f"{a} comes before {b}", where(mark=a), where(mark=b), "plan") for a, b in pairwise(names)
    )


ORDERS = (
    Order("ring addresses are set before the device starts", where(op="SET_VRING_ADDR"), starts_device),
    Order(
        "features are set before virtqueues are", where(op="GET/SET_FEATURES"), where(op="SET_VRING_NUM"),
    ),
    Order(
        "an address space is given to a group before the device starts",
        where(op="SET_GROUP_ASID"), starts_device, needed=False,
    ),
    Order(
        "ring positions are set before data virtqueues are enabled",
        where(op="GET/SET_VRING_BASE", caller={GUEST_RINGS, SHADOW_RINGS}), _DATA_ENABLE,
    ),
    Order("the device starts before its data virtqueues are enabled", starts_device, _DATA_ENABLE),
    Order(
        "the configuration is replayed through the CVQ before data virtqueues are enabled",
        where(caller="vhost_vdpa_net_cvq_load"), _DATA_ENABLE, needed=False,
    ),
    Order(
        "the CVQ is enabled before commands go through it",
        where(op="SET_VRING_ENABLE", caller="vhost_vdpa_dev_start"), where(caller="vhost_vdpa_net_cvq_load"),
    ),
    Order(
        "ring positions are loaded before they are set",
        _STATE,
        _both(where(op="GET/SET_VRING_BASE", side="destination"), lambda step: step.detail.startswith("arg=*")),
    ),
    Order(
        "device state is loaded before data virtqueues are enabled",
        _STATE, _both(where(side="destination"), _DATA_ENABLE),
    ),
    Order(
        "the switch stops the device before it unmaps its memory",
        _both(where(path="switch"), _STOP_CALL), _both(where(path="switch"), _unmaps),
    ),
    Order(
        "the source stops the device before it unmaps its memory",
        _both(where(path="stop"), _STOP_CALL), _both(where(path={"stop", "after"}), _unmaps),
    ),
    Order(
        "a device is stopped before its ring positions are read",
        _both(where(path="switch"), _STOP_CALL), where(caller="vhost_vdpa_get_vring_base", path="switch"),
    ),
    Order(
        "ring positions are read before the reset that loses them",
        where(caller="vhost_vdpa_get_vring_base", path="switch"),
        where(caller="vhost_vdpa_reset_status", op="SET_STATUS", path="switch"), needed=False,
    ),
    Order("every device is shadowed before dirty pages are logged",
          lambda step: step.mark.startswith("svq-switch-end"), where(op="start dirty log"), "plan", needed=False),
    Order("vCPUs are paused before a device is stopped",
          where(mark="vcpus-paused"), _both(where(path="stop"), _STOP_CALL), "plan"),
    Order("every device is stopped, its shadow rings flushed, before the last bitmap sync",
          _both(where(path="stop"), lambda step: _STOP_CALL(step) or step.mark.startswith("stop-end")),
          where(op="last bitmap sync"), "plan"),
    Order("the last bitmap sync precedes the last RAM", where(op="last bitmap sync"), where(op="last RAM"), "plan"),
    Order("all RAM is there before device state is loaded", where(op={"load RAM", "last RAM"}), _STATE, "plan"),
    Order("the last RAM is there before the destination starts devices",
          where(op="last RAM"), lambda step: step.mark.startswith("start-begin"), "plan"),
    Order("the last RAM is there before the destination's data virtqueues are enabled",
          where(op="last RAM"), _both(where(side="destination"), _DATA_ENABLE), "plan"),
    Order("the source's device has stopped before the destination's data virtqueues are enabled",
          _both(where(path="stop", side="source"), _STOP_CALL), _both(where(side="destination"), _DATA_ENABLE), "index"),
    Order("all data virtqueues are enabled before vCPUs run",
          _both(where(side="destination"), _DATA_ENABLE), where(op="resume vCPUs"), "plan"),
    *_marks("destination-ready", "migration-start", "src-downtime-start", "vcpus-paused", "src-vm-stopped",
            "src-iterable-saved", "src-non-iterable-saved", "src-downtime-end"),
    *_marks("migration-start", "dst-load-setup", "dst-precopy-loadvm-completed", "dst-precopy-bh-enter",
            "dst-precopy-bh-announced", "vcpus-resumed", "dst-precopy-bh-vm-started"),
    *_marks("src-non-iterable-saved", "dst-precopy-loadvm-completed"),
)  # fmt: skip
SERIES = (("svq-switch-begin", "svq-switch-end"), ("stop-begin", "stop-end"), ("start-begin", "network-up", "start-end"))
_KEYS: dict[str, Callable[[Step], object]] = {
    "plan": lambda step: (),
    "device": lambda step: (step.lane.side, step.device),
    "index": lambda step: step.device,
}


class Ancestry:
    """Which steps of a plan surely end before which begin, as one bit set a step.

    Making it checks that names are unique and that each step waits for earlier ones only, so that there is no circle.
    """

    def __init__(self, plan: Plan):
        self.plan, self.index, self.before = plan, {}, []
        for number, step in enumerate(plan.steps):
            if step.name in self.index:
                raise PlanError(f"two steps are named {step.name!r}: number {self.index[step.name]} and {number}")
            found = 0
            for name in step.after:
                if name not in self.index:
                    later = any(each.name == name for each in plan.steps[number:])
                    why = "comes no earlier: a circle" if later else "is not in the plan"
                    raise PlanError(f"{step.name!r} waits for {name!r}, which {why}")
                at = self.index[name]
                found |= self.before[at] | 1 << at
            self.index[step.name] = number
            self.before.append(found)

    def missing(self, first: int, then: int) -> Step | None:
        """A step of the bit set `first` that does not precede step number `then`."""
        rest = first & ~self.before[then]
        return self.plan.steps[(rest & -rest).bit_length() - 1] if rest else None

    def precedes(self, first: int, then: int) -> bool:
        return bool(self.before[then] >> first & 1)


def check(plan: Plan) -> None:
    """Raises PlanError, naming the steps, when the plan has a circle or breaks a safety order."""
    known = Ancestry(plan)
    for step in plan.steps:
        if step.of and not (step.of in known.index and known.precedes(known.index[step.of], known.index[step.name])):
            raise PlanError(f"{step.name!r} does work of {step.of!r} without waiting for it")
    for order in ORDERS:
        _keep(order, known)
    for marks in SERIES:
        _in_series(marks, known)
    for numbers in _by_device(plan):
        _batches(known, numbers)
        _messages_in_order(known, numbers)
        _memory(known, numbers)


def _keep(order: Order, known: Ancestry) -> None:
    key, firsts = _KEYS[order.scope], {}
    thens = []
    for number, step in enumerate(known.plan.steps):
        if order.first(step):
            firsts[key(step)] = firsts.get(key(step), 0) | 1 << number
        if order.then(step):
            thens.append(number)
    for number in thens:
        step = known.plan.steps[number]
        if order.needed and not firsts.get(key(step)):
            raise PlanError(f"{order.rule}: nothing does so for {step.name!r}")
        late = known.missing(firsts.get(key(step), 0), number)
        if late is not None:
            raise PlanError(f"{order.rule}: {step.name!r} does not wait for {late.name!r}")


def _in_series(marks: tuple[str, ...], known: Ancestry) -> None:
    """One device after the other, each from its first mark to its last: QEMU serves them in one thread."""
    found = [(n, step) for n, step in enumerate(known.plan.steps) if step.mark.partition(":")[0] in marks and step.mark]
    for number, (at, step) in enumerate(found):
        wanted = marks[number % len(marks)]
        if step.mark.partition(":")[0] != wanted or step.device != found[number - number % len(marks)][1].device:
            raise PlanError(f"devices are served one after the other: {step.name!r} stands where {wanted!r} is due")
        if number and not known.precedes(found[number - 1][0], at):
            raise PlanError(
                f"devices are served one after the other: {step.name!r} does not wait for {found[number - 1][1].name!r}"
            )
    if len(found) % len(marks):
        raise PlanError(f"devices are served one after the other: no {marks[-1]!r} after {found[-1][1].name!r}")


def _by_device(plan: Plan) -> Iterator[list[int]]:
    """Numbers of the steps of each host's device."""
    groups: dict[tuple[str, int], list[int]] = {}
    for number, step in enumerate(plan.steps):
        if step.device >= 0:
            groups.setdefault((step.lane.side, step.device), []).append(number)
    yield from groups.values()


def _batches(known: Ancestry, numbers: list[int]) -> None:
    """Inside a batch no other begins and no message goes to another address space (vhost_vdpa: -EINVAL)."""
    steps, begun = known.plan.steps, None
    messages = [n for n in numbers if steps[n].op.startswith("IOTLB_")]
    for before, number in pairwise([*messages[:1], *messages]):
        step = steps[number]
        if begun is not None or steps[before].op == "IOTLB_BATCH_END":
            if before != number and not known.precedes(before, number):
                raise PlanError(f"a batch is closed to others: {step.name!r} does not wait for {steps[before].name!r}")
        asid = step.detail.partition(" ")[0]
        if step.op == "IOTLB_BATCH_BEGIN":
            if begun is not None:
                raise PlanError(f"{step.name!r} begins a batch inside that of {begun.name!r}")
            if before != number and not known.precedes(before, number):
                raise PlanError(f"a batch is closed to others: {step.name!r} does not wait for {steps[before].name!r}")
            begun = step
        elif begun is not None and asid != begun.detail.partition(" ")[0]:
            raise PlanError(f"{step.name!r} ({asid}) lies in the batch of another address space, {begun.name!r}")
        elif step.op == "IOTLB_BATCH_END":
            if begun is None:
                raise PlanError(f"{step.name!r} ends a batch that none began")
            begun = None
    if begun is not None:
        raise PlanError(f"the batch of {begun.name!r} does not end before {steps[messages[-1]].name!r}")


def _messages_in_order(known: Ancestry, numbers: list[int]) -> None:
    """What happens to one address space happens in one order, else its content were a matter of luck."""
    steps, last = known.plan.steps, {}
    for number in (n for n in numbers if steps[n].effect is not None):
        effect = steps[number].effect
        spaces = set(last) if isinstance(effect, Clean) else {effect.asid, None} & set(last)
        for asid in spaces:
            if not known.precedes(last[asid], number):
                raise PlanError(
                    f"memory messages of one device come one after the other: {steps[number].name!r} does not wait "
                    f"for {steps[last[asid]].name!r}"
                )
        last = {None: number} if isinstance(effect, Clean) else {**last, effect.asid: number}


def _memory(known: Ancestry, numbers: list[int]) -> None:
    """The device starts only while guest memory and the shadow rings are in its map, and nothing takes them away."""
    steps, plan = known.plan.steps, known.plan
    side, incremental = steps[numbers[0]].lane.side, plan.scenario.device.driver == "iommu"
    entries: dict[tuple[int, int], tuple[Run, Step]] = dict(_unmapped_first(plan, numbers)) if side == "source" else {}
    device = dict(entries)  # what the device itself sees: the entries at its last set_map
    running: int | None = None
    for number in numbers:
        step, effect = steps[number], steps[number].effect
        if starts_device(step):
            for each in numbers:
                if each < number and steps[each].effect is not None and not known.precedes(each, number):
                    raise PlanError(f"{step.name!r} starts the device without waiting for {steps[each].name!r}")
            _complete(plan, side, step, entries if incremental else device)
            running = number
        if running is not None and isinstance(effect, (Unmap, Clean)) and not known.precedes(running, number):
            raise PlanError(f"{step.name!r} takes memory away without waiting for {steps[running].name!r}")
        match effect:
            case Map(asid, runs):
                for run in runs:
                    if (asid, run.iova) in entries:
                        raise PlanError(f"{step.name!r} maps over what {entries[asid, run.iova][1].name!r} mapped")
                    entries[asid, run.iova] = (run, step)
            case Unmap(asid, runs):
                for run in runs:
                    if entries.pop((asid, run.iova), (None,))[0] != run:
                        raise PlanError(f"{step.name!r} unmaps {run.iova:#x} of ASID {asid}, which is not mapped so")
            case SetMap(asid):
                device = {key: value for key, value in device.items() if key[0] != asid}
                device.update((key, value) for key, value in entries.items() if key[0] == asid)
            case Clean():
                device = {}


def _unmapped_first(plan: Plan, numbers: list[int]) -> Iterator[tuple[tuple[int, int], tuple[Run, Step]]]:
    """What this source device had mapped before the migration: all that it unmaps without having mapped it."""
    mapped = set()
    for step in (plan.steps[number] for number in numbers):
        if isinstance(step.effect, Map):
            mapped |= {(step.effect.asid, run.iova) for run in step.effect.runs}
        elif isinstance(step.effect, Unmap):
            for run in step.effect.runs:
                key = step.effect.asid, run.iova
                if key not in mapped:
                    yield key, (run, step)
                mapped.discard(key)


def _complete(plan: Plan, side: str, step: Step, seen: dict) -> None:
    guest, device = plan.scenario.guest, plan.scenario.device
    rings, packed = shadow_layout(guest, device)
    if side == "destination" and device.svq != "on":
        rings = ring_areas(device, data_shadowed=False)
    spaces: dict[int, set[Run]] = {}
    for (asid, _), (run, _) in seen.items():
        spaces.setdefault(asid, set()).add(run)
    ram = spaces.get(RAM_ASID, set())
    if not any(set(layout) <= ram for layout in (identity_memory(guest), packed)):
        raise PlanError(f"guest memory is mapped before the device starts: not all of it is at {step.name!r}")
    wanted = {area for pair in rings.data for area in pair} | ({*rings.cvq, *rings.buffers} if device.cvq else set())
    if not any(wanted <= space for space in (*spaces.values(), set())):
        raise PlanError(f"shadow rings are mapped before the device starts: not all of them are at {step.name!r}")


def work_totals(plan: Plan) -> dict[str, int]:
    """All work of a plan: cost key -> amount."""
    totals: dict[str, int] = {}
    for work, _ in account(plan):
        for key, amount in work:
            totals[key] = totals.get(key, 0) + amount
    return {key: totals[key] for key in sorted(totals) if totals[key]}
