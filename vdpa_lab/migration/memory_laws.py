"""What a plan's memory messages have to keep: batches, one order, a device that finds its memory.

Sources: Linux drivers/vhost/vdpa.c (vhost_vdpa_process_iotlb_msg), drivers/vhost/iotlb.c; QEMU
hw/virtio/vhost-vdpa.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.machine.iotlb import Clean, Map, SetMap, Unmap
from vdpa_lab.machine.iova import identity_memory, ring_areas, shadow_layout
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration.ancestry import Ancestry
from vdpa_lab.migration.plan import Plan, PlanError
from vdpa_lab.migration.step import Step
from vdpa_lab.migration.vhost import DRIVER_OK, RAM_ASID

# By address space and IOVA: what is mapped, and by which step.
Entries = dict[tuple[int, int], tuple[Run, Step]]


def starts_device(step: Step) -> bool:
    """SET_STATUS with DRIVER_OK, or RESUME: from here on the device may use its rings and memory."""
    status = step.op == "SET_STATUS" and step.detail.startswith("arg=0x")
    return step.op == "RESUME" or bool(status and int(step.detail[4:], 16) & DRIVER_OK)


def _space(step: Step) -> str:
    return step.detail.partition(" ")[0]


def batches(known: Ancestry, numbers: list[int]) -> None:
    """Inside a batch no other begins and no message goes to another address space (vhost_vdpa: -EINVAL)."""
    rule = "a batch is closed to other messages"
    steps, begun, previous = known.plan.steps, None, None
    for number in (n for n in numbers if steps[n].op.startswith("IOTLB_")):
        step = steps[number]
        edge = step.op == "IOTLB_BATCH_BEGIN" or (previous is not None and steps[previous].op == "IOTLB_BATCH_END")
        if previous is not None and (begun or edge):
            known.in_turn(previous, number, rule)
        if step.op == "IOTLB_BATCH_BEGIN":
            if begun:
                raise PlanError(f"{rule}: {step.name!r} begins one inside that of {begun.name!r}")
            begun = step
        elif begun and _space(step) != _space(begun):
            raise PlanError(f"{rule}: {step.name!r} goes to {_space(step)} inside {begun.name!r}")
        elif step.op == "IOTLB_BATCH_END":
            if not begun:
                raise PlanError(f"{rule}: {step.name!r} ends one that none began")
            begun = None
        previous = number
    if begun:
        raise PlanError(f"{rule}: that of {begun.name!r} still is open at {steps[previous].name!r}")


def one_order(known: Ancestry, numbers: list[int]) -> None:
    """What happens to one address space happens in one order, else its content were a matter of luck."""
    last: dict[int | None, int] = {}
    for number in numbers:
        effect = known.plan.steps[number].effect
        if effect is None:
            continue
        clean = isinstance(effect, Clean)
        for asid in last if clean else {effect.asid, None} & set(last):
            known.in_turn(last[asid], number, "memory messages of a device come one after the other")
        last = {None: number} if clean else {**last, effect.asid: number}


def memory(known: Ancestry, numbers: list[int]) -> None:
    """The device starts only while it sees guest memory and the shadow rings, and then keeps them."""
    plan, steps = known.plan, known.plan.steps
    side = steps[numbers[0]].lane.side
    entries: Entries = dict(_there_before(plan, numbers)) if side == "source" else {}
    seen = dict(entries)  # by the device itself: the entries at its last set_map
    running: int | None = None
    for number in numbers:
        step, effect = steps[number], steps[number].effect
        if starts_device(step):
            for each in numbers:
                if each < number and steps[each].effect is not None:
                    known.in_turn(each, number, "the device starts when its memory is mapped")
            _complete(plan, side, step, entries if plan.scenario.device.driver == "iommu" else seen)
            running = number
        if running is not None and isinstance(effect, (Unmap, Clean)):
            known.in_turn(running, number, "what a device was started with is taken away only later")
        if isinstance(effect, SetMap):
            seen = {key: value for key, value in seen.items() if key[0] != effect.asid}
            seen |= {key: value for key, value in entries.items() if key[0] == effect.asid}
        elif isinstance(effect, Clean):
            seen = {}
        elif effect is not None:
            _change(entries, step)


def _change(entries: Entries, step: Step) -> None:
    """A map or unmap as the vhost IOTLB takes it."""
    for run in step.effect.runs:
        key = step.effect.asid, run.iova
        if isinstance(step.effect, Map):
            if key in entries:
                raise PlanError(f"{step.name!r} maps {run.iova:#x} over what {entries[key][1].name!r} mapped")
            entries[key] = run, step
        elif entries.pop(key, (None,))[0] != run:
            raise PlanError(f"{step.name!r} unmaps {run.iova:#x} of ASID {key[0]}, not mapped like that")


def _there_before(plan: Plan, numbers: list[int]) -> Iterator[tuple[tuple[int, int], tuple[Run, Step]]]:
    """What a source device had mapped before: all that it unmaps without having mapped it, and untouched memory."""
    guest, device, mapped = plan.scenario.guest, plan.scenario.device, set()
    told: set[tuple[int, int]] = set()
    shadowed = device.svq == "on"
    rings, memory = shadow_layout(guest, device) if shadowed else (ring_areas(device, False), identity_memory(guest))
    usual = {*memory, *rings.cvq, *rings.buffers, *(area for pair in rings.data for area in pair)}
    for step in (plan.steps[number] for number in numbers):
        if isinstance(step.effect, (Map, Unmap)):
            keys = {(step.effect.asid, run.iova): run for run in step.effect.runs}
            if isinstance(step.effect, Map):
                mapped |= set(keys)
                told |= set(keys)
                continue
            for key, run in keys.items():
                if key not in mapped and run not in usual:
                    raise PlanError(f"{step.name!r} unmaps {run.iova:#x}, which was not mapped before")
                if key not in mapped:
                    yield key, (run, step)
            mapped -= set(keys)
            told |= set(keys)
    for run in memory:
        if (RAM_ASID, run.iova) not in told:
            yield (RAM_ASID, run.iova), (run, plan.steps[numbers[0]])


def _complete(plan: Plan, side: str, step: Step, seen: Entries) -> None:
    guest, device = plan.scenario.guest, plan.scenario.device
    rings, packed = shadow_layout(guest, device)
    if (side == "destination" or step.path == "back") and device.svq != "on":
        rings = ring_areas(device, data_shadowed=False)
    spaces: dict[int, set[Run]] = {RAM_ASID: set()}
    for (asid, _), (run, _) in seen.items():
        spaces.setdefault(asid, set()).add(run)
    if not any(spaces[RAM_ASID].issuperset(layout) for layout in (identity_memory(guest), packed)):
        raise PlanError(f"{step.name!r} starts the device before all of its guest memory is mapped")
    wanted = [area for pair in rings.data for area in pair]
    if device.cvq:
        wanted += (*rings.cvq, *rings.buffers)
    if not any(space.issuperset(wanted) for space in spaces.values()):
        raise PlanError(f"{step.name!r} starts the device before all shadow rings are mapped")
