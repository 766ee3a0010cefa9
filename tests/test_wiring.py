"""The amounts of a plan are those of the machines: every memory message goes through the compiled IOTLB."""

from dataclasses import replace

import numpy as np
import pytest

from vdpa_lab.machine.address_space import AddressSpaces, MapError
from vdpa_lab.machine.iotlb import Clean, Map, SetMap, Unmap
from vdpa_lab.machine.iova import shadow_layout
from vdpa_lab.machine.iova_tree import VhostIovaTree
from vdpa_lab.machine.sections import sections
from vdpa_lab.migration import plan
from vdpa_lab.migration.account import _steady_state, _with_warmth, account
from vdpa_lab.model import VdpaDevice, find_scenario
from vdpa_lab.units import MIB, PAGE_SIZE

RW, RO = 3, 1
PERMS = {"rw": RW, "ro": RO}
PIN_CALL = 512  # pages: vhost_vdpa_pa_map pins what one page holds of page pointers
FAR = 1 << 20  # pages between one run's physical memory and the next: chunks of two runs never touch


@pytest.mark.parametrize("pairs", [1, 2, 16])
@pytest.mark.parametrize("size", [64, 256, 1024])
def test_iovas_of_a_shadowed_device_are_those_of_qemus_tree(pairs, size):
    """First fit in QEMU's order: rings of each data virtqueue, CVQ buffers, CVQ rings, guest memory."""
    guest = find_scenario("sim-256-1d").guest
    device = VdpaDevice(queue_pairs=pairs, queue_size=size, driver="vdpa_sim")
    tree, hva = VhostIovaTree(), 1 << 40
    rings, memory = shadow_layout(guest, device)
    areas = [area for pair in rings.data for area in pair]
    for area in (*areas, *rings.buffers, *rings.cvq):
        assert tree.map_alloc(area.size, PERMS[area.perm], hva) == area.iova
        hva += area.size + PAGE_SIZE
    for section, run in zip(sections(guest), memory, strict=True):
        assert tree.map_alloc_gpa(section.size, PERMS[section.perm], section.gpa) == run.iova


class Machine:
    """One host's device: the messages of a plan, given to the kernel's IOTLB."""

    def __init__(self):
        self.spaces, self.physical, self.batched = AddressSpaces("set_map"), FAR, {}
        self.pinned = self.unpinned = self.calls = 0
        self.sizes = []

    def message(self, effect):
        for run in effect.runs:
            if isinstance(effect, Unmap):
                work = self.spaces.invalidate(effect.asid, run.iova, run.size)
            else:
                lengths = run.lengths.astype(np.uint64)
                starts = self.physical + np.cumsum(np.concatenate([[0], lengths[:-1] + 1])).astype(np.uint64)
                self.physical = int(starts[-1] + lengths[-1]) + FAR
                work = self.spaces.update(effect.asid, run.iova, run.size, PERMS[run.perm], starts, lengths)
                assert work.added == run.entries
                assert work.pin_calls == -(-run.pages // PIN_CALL)
                before = len(self.spaces.spaces[effect.asid]) - work.added
                self.sizes += [before + number for number in range(1, work.set_map + 1)]
            if isinstance(effect, Unmap) and work.set_map:
                self.sizes.append(work.handed)
            self.pinned, self.unpinned = self.pinned + work.pinned, self.unpinned + work.unpinned


def through_the_machine(a_plan, side, device):
    """The device after all messages of the plan, and the steps that it went through."""
    machine, effects = Machine(), _with_warmth(a_plan)
    if side == "source":
        for effect in _steady_state(a_plan):
            if isinstance(effect, Map):
                machine.spaces.batch_begin(effect.asid)
                machine.message(effect)
                machine.spaces.batch_end(effect.asid)
        machine.pinned = 0
    for index, step in enumerate(a_plan.steps):
        if step.lane.side != side or step.device != device:
            continue
        if step.op == "IOTLB_BATCH_BEGIN":
            machine.spaces.batch_begin(step.effect.asid if step.effect else int(step.detail[5]))
        elif step.op == "IOTLB_BATCH_END":
            machine.sizes.append(machine.spaces.batch_end(int(step.detail[5])).handed)
        elif isinstance(effects.get(index), (Map, Unmap)):
            machine.message(effects[index])
    return machine


@pytest.mark.parametrize(
    "names", [("cvq-asid",), ("suspend", "cvq-asid", "iotlb-batch"), None], ids=["least", "shipped", "own"]
)
@pytest.mark.parametrize("name", ["sim-256-1d", "sim-256-1d-2qp", "sim-256-1d-q10", "sim-256-1d-svq", "sim-256-2d"])
def test_every_message_of_a_plan_does_in_the_kernel_what_the_plan_says(name, names):
    """Pages pinned and unpinned, IOTLB entries, and how many each set_map is handed, in order."""
    scenario = find_scenario(name)
    guest = replace(scenario.guest, memory=16 * MIB, sections=None)
    scenario = replace(scenario, guest=guest, workload=replace(scenario.workload, dirty=None))
    a_plan = plan(scenario, names)
    done = account(a_plan)
    for side in ("source", "destination"):
        machine = through_the_machine(a_plan, side, 0)
        mine = [
            (step, dict(work))
            for step, (work, _) in zip(a_plan.steps, done, strict=True)
            if step.lane.side == side and step.device == 0
        ]
        pinned = sum(n for _, work in mine for key, n in work.items() if key.startswith("pin_"))
        unpinned = sum(n for _, work in mine for key, n in work.items() if key.startswith("unpin."))
        assert (machine.pinned, machine.unpinned) == (pinned, unpinned)
        calls = sum(work.get("set_map.call", 0) for step, work in mine if isinstance(step.effect, SetMap))
        entries = sum(work.get("set_map.entry", 0) for step, work in mine if isinstance(step.effect, SetMap))
        assert len(machine.sizes) == calls
        assert sum(machine.sizes) == entries
        assert not any(isinstance(step.effect, Clean) and step.op != "SET_STATUS" for step, _ in mine)


def test_a_cvq_in_the_guests_address_space_would_overlap_guest_memory():
    """Why QEMU does not migrate a device whose CVQ it cannot isolate: its rings begin at 0x1000, and so does RAM."""
    scenario = find_scenario("sim-256-1d")
    with pytest.raises(MapError, match="-EEXIST from vhost_vdpa_process_iotlb_update: an entry overlaps"):
        through_the_machine(plan(scenario, ("suspend", "iotlb-batch")), "destination", 0)
