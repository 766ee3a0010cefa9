"""What every plan has to keep, however it was rewritten: the safety orders, as data, and the check of a plan.

An order says that each step of one kind precedes each step of another kind, by the waits of the plan and not
by its luck in time. Sources: QEMU net/vhost-vdpa.c, hw/virtio/vhost.c, migration/migration.c.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from itertools import pairwise

from vdpa_lab.machine.iotlb import Unmap
from vdpa_lab.migration.account import account
from vdpa_lab.migration.ancestry import Ancestry
from vdpa_lab.migration.memory_laws import batches, memory, one_order, starts_device
from vdpa_lab.migration.plan import Plan, PlanError
from vdpa_lab.migration.step import Step, Where, where


def _both(*tests: Where) -> Where:
    return lambda step: all(test(step) for test in tests)


def _unmaps(step: Step) -> bool:
    return isinstance(step.effect, Unmap)


def _marked(prefix: str) -> Where:
    return lambda step: step.mark.startswith(prefix)


def _loaded(step: Step) -> bool:
    """A ring position that the scenario cannot know, because it comes with the stream."""
    return step.op == "GET/SET_VRING_BASE" and step.detail.startswith("arg=*")


_stops = where(caller="vhost_vdpa_suspend", op={"SUSPEND", "SET_STATUS"})
_enables = where(op="SET_VRING_ENABLE", caller="vhost_vdpa_set_vring_ready")
_switch, _stop, _unpinned = where(path={"switch", "back"}), where(path="stop"), where(path={"stop", "after"})
_writes_told = where(op={"walk rings", "SET_LOG_BASE"})
_last_sync = where(op="last bitmap sync")
_destination = where(side="destination")
_sets_base = where(op="GET/SET_VRING_BASE", caller={"vhost_virtqueue_start", "vhost_vdpa_svq_setup"})
_reads_base = where(caller="vhost_vdpa_get_vring_base", op="GET/SET_VRING_BASE")
_replays = where(caller="vhost_vdpa_net_cvq_load")
_state = where(op="load virtio-net state")


@dataclass(frozen=True, slots=True)
class Order:
    """Each step that is `first` precedes each that is `then`, among those of one `scope`.

    scope: device (of one host) | index (the same device number on either host) | plan. needed: where there is
    a `then`, there has to be a `first`.
    """

    rule: str
    first: Where
    then: Where
    scope: str = "device"
    needed: bool = True


def _in_order(*names: str) -> tuple[Order, ...]:
    return tuple(Order(f"{a} precedes {b}", where(mark=a), where(mark=b), "plan") for a, b in pairwise(names))


ORDERS = (
    # One device, on either host.
    Order("features are set before virtqueues are", where(op="GET/SET_FEATURES"), where(op="SET_VRING_NUM")),
    Order("ring addresses are set before the device starts", where(op="SET_VRING_ADDR"), starts_device),
    Order("a group is given its address space first", where(op="SET_GROUP_ASID"), starts_device, needed=False),
    Order("ring positions are set before data virtqueues are enabled", _sets_base, _enables),
    Order("the device starts before its data virtqueues are enabled", starts_device, _enables),
    Order("the CVQ's replay precedes enabling data virtqueues", _replays, _enables, needed=False),
    Order("the CVQ is enabled first", where(op="SET_VRING_ENABLE", caller="vhost_vdpa_dev_start"), _replays),
    Order("ring positions are loaded before they are set", _state, _both(_destination, _loaded)),
    Order("state is loaded before data virtqueues are enabled", _state, _both(_destination, _enables)),
    Order("the switch stops a device before it unmaps", _both(_switch, _stops), _both(_switch, _unmaps)),
    Order("the source stops a device before it unmaps", _both(_stop, _stops), _both(_unpinned, _unmaps)),
    Order("no page is logged when shadowing ends", where(op="stop dirty log"), _marked("svq-back-begin"), "plan"),
    Order("ring positions are read from a stopped device", _both(_switch, _stops), _both(_switch, _reads_base)),
    Order(
        "ring positions are read before the reset that loses them",
        _both(_switch, _reads_base),
        _both(_switch, where(caller="vhost_vdpa_reset_status", op="SET_STATUS")),
        needed=False,
    ),
    # The whole VM.
    Order(
        "devices are shadowed before pages are logged",
        _marked("svq-switch-end"),
        where(op="start dirty log"),
        "plan",
        needed=False,
    ),
    Order("writes in passthrough are known before the last sync", _writes_told, _last_sync, "plan", needed=False),
    Order(
        "vCPUs are paused before a device is stopped",
        where(mark="vcpus-paused"),
        _both(_stop, _stops),
        "plan",
    ),
    Order(
        "devices are stopped before the last bitmap sync",
        _both(_stop, _stops),
        where(op="last bitmap sync"),
        "plan",
    ),
    Order(
        "shadow rings are flushed before the last bitmap sync",
        _marked("stop-end"),
        where(op="last bitmap sync"),
        "plan",
    ),
    Order(
        "the last bitmap sync precedes the last RAM",
        where(op="last bitmap sync"),
        where(op="last RAM"),
        "plan",
    ),
    Order("all RAM is loaded before device state", where(op={"load RAM", "last RAM"}), _state, "plan"),
    Order("the last RAM precedes starting devices", where(op="last RAM"), _marked("start-begin"), "plan"),
    Order(
        "the last RAM precedes enabling data virtqueues",
        where(op="last RAM"),
        _both(_destination, _enables),
        "plan",
    ),
    Order(
        "a device has stopped before it starts elsewhere",
        _both(_stop, _stops),
        _both(_destination, _enables),
        "index",
    ),
    Order(
        "data virtqueues are enabled before vCPUs run",
        _both(_destination, _enables),
        where(op="resume vCPUs"),
        "plan",
    ),
    *_in_order(
        "destination-ready",
        "migration-start",
        "src-downtime-start",
        "vcpus-paused",
        "src-vm-stopped",
        "src-iterable-saved",
        "src-non-iterable-saved",
        "src-downtime-end",
    ),
    *_in_order(
        "migration-start",
        "dst-load-setup",
        "dst-precopy-loadvm-completed",
        "dst-precopy-bh-enter",
        "dst-precopy-bh-announced",
        "vcpus-resumed",
        "dst-precopy-bh-vm-started",
    ),
    *_in_order("src-non-iterable-saved", "dst-precopy-loadvm-completed"),
    Order(
        "the stream begins after the switch",
        _marked("svq-switch-end"),
        where(mark="dst-load-setup"),
        "plan",
        needed=False,
    ),
)
IN_SERIES = "devices are served one after the other"
SERIES = (
    ("svq-switch-begin", "svq-switch-end"),
    ("svq-back-begin", "svq-back-end"),
    ("stop-begin", "stop-end"),
    ("start-begin", "network-up", "start-end"),
)
_SCOPES: dict[str, Callable[[Step], object]] = {
    "device": lambda step: (step.lane.side, step.device, step.path == "back"),
    "index": lambda step: step.device,
    "plan": lambda step: (),
}


def check(plan: Plan, lifted: Container[str] = ()) -> None:
    """Raises PlanError, naming the steps, when the plan has a circle or breaks a safety order that is not `lifted`."""
    known = Ancestry(plan)
    for number, step in enumerate(plan.steps):
        if step.of:
            if step.of not in known.index:
                raise PlanError(f"{step.name!r} does work of {step.of!r}, which is not in the plan")
            known.in_turn(known.index[step.of], number, "work follows what it derives from")
    check_writes(plan)
    for order in ORDERS:
        if order.rule not in lifted:
            _keep(order, known)
    for marks in SERIES if IN_SERIES not in lifted else ():
        _in_series(marks, known)
    for numbers in known.by_device():
        batches(known, numbers)
        one_order(known, numbers)
        memory(known, numbers)


def check_writes(plan: Plan) -> None:
    """Raises PlanError when nothing says which pages a device wrote that is never shadowed, and yet stopped."""
    asked = plan.scenario.device.svq == "off" and any(map(_last_sync, plan.steps))
    if asked and not any(map(_writes_told, plan.steps)):
        raise PlanError("svq is off and nothing says what the device wrote: turn on suspend-only or device-dirty-log")


def _keep(order: Order, known: Ancestry) -> None:
    scope, firsts, thens = _SCOPES[order.scope], {}, []
    for number, step in enumerate(known.plan.steps):
        if order.first(step):
            firsts[scope(step)] = firsts.get(scope(step), 0) | 1 << number
        if order.then(step):
            thens.append(number)
    for number in thens:
        step = known.plan.steps[number]
        found = firsts.get(scope(step), 0)
        if order.needed and not found:
            raise PlanError(f"{order.rule}: nothing does so for {step.name!r}")
        late = known.missing(found, number)
        if late is not None:
            raise PlanError(f"{order.rule}: {step.name!r} does not wait for {late.name!r}")


def _in_series(marks: tuple[str, ...], known: Ancestry) -> None:
    """Each device from its first mark to its last, then the next one: QEMU serves them in one thread."""
    rule = IN_SERIES
    steps = known.plan.steps
    found = [n for n, step in enumerate(steps) if step.mark and step.mark.partition(":")[0] in marks]
    for place, number in enumerate(found):
        due = f"{marks[place % len(marks)]}:{steps[found[place - place % len(marks)]].device}"
        if steps[number].mark != due:
            raise PlanError(f"{rule}: {steps[number].name!r} stands where the mark {due!r} is due")
        if place:
            known.in_turn(found[place - 1], number, rule)
    if len(found) % len(marks):
        raise PlanError(f"{rule}: {marks[-1]!r} is missing after {steps[found[-1]].name!r}")


def work_totals(plan: Plan) -> dict[str, int]:
    """All work of a plan: cost key -> amount."""
    totals: dict[str, int] = {}
    for work, _ in account(plan):
        for key, amount in work:
            totals[key] = totals.get(key, 0) + amount
    return {key: totals[key] for key in sorted(totals) if totals[key]}
