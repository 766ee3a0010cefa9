"""Shadow rings in an address space of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.machine.iotlb import Map, SetMap, Unmap
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration.builder import beside, in_asid
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.migration.vhost import CVQ_ASID, LISTENER, RAM_ASID, UNMAPS


@dataclass(frozen=True, slots=True)
class SvqDescAsid(Optimization):
    """Give shadow rings the descriptor group's ASID: guest memory stays mapped at IOVA = GPA throughout."""

    name: ClassVar = "svq-desc-asid"
    title: ClassVar = "SVQ descriptor address space"
    layer: ClassVar = "kernel"
    effect: ClassVar = "entering and leaving SVQ maps a few rings instead of all RAM; no unpin, no pin, no full rebuild"
    status: ClassVar = "kernel half in Linux 6.7; QEMU half posted"
    refs: ClassVar = ("tatulea2023desc", "liu2023")
    requires: ClassVar = ("cvq-asid", "suspend")
    after: ClassVar = ("cvq-asid", "suspend", "iotlb-batch")
    removes: ClassVar = ("pin_*", "unpin.*", "iotlb.*", "vhost.*", "set_map.*", "mlx5.*", "iommu.*")
    adds: ClassVar = ("vhost.ioctl", "iommu.*", "mlx5.*")

    def rewrite(self, plan: Plan) -> Plan:
        if plan.scenario.device.svq != "auto" or plan.select(op="SET_GROUP_ASID", path="switch"):
            return plan
        identity: dict[int, Iterator[tuple[Run, ...]]] = {}
        gone, before = [], {}
        for (path, device), mine in plan.served("source", "switch", "back").items():
            listener = [step for step in mine if step.caller in LISTENER]
            if path == "switch":
                identity[device] = iter([step.effect.runs for step in listener if isinstance(step.effect, Unmap)])
            maps = [step for step in listener if step.caller == "vhost_vdpa_listener_region_add"]
            t = beside(plan, maps[0], self.name)
            for op in ("GET_VRING_DESC_GROUP", "SET_GROUP_ASID") if path == "switch" else ():
                t.ioctl(op, f"arg={CVQ_ASID << 32 | 2 if op == 'SET_GROUP_ASID' else 0:#x}")
            t.set_map(RAM_ASID)  # the reset dropped the device's map though vhost keeps its entries
            gone += listener
            before[maps[0].name] = t.steps
        plan = plan.edit(gone, before)
        ours = plan.select(side="source", path={"switch", "back", "stop"})
        ours = [s for s in ours if isinstance(s.effect, (Map, Unmap, SetMap))]
        rings = [s for s in ours if s.caller not in LISTENER and (s.path != "back" or s.caller in UNMAPS)]
        stops = [s for s in ours if s.path == "stop" and s.caller in LISTENER and isinstance(s.effect, Unmap)]

        def change(step: Step) -> Step:
            if step.caller in LISTENER:  # unmapped in the order in which the switch would have done it
                return step.but(effect=step.effect._replace(runs=next(identity[step.device])))
            return in_asid(step, CVQ_ASID)

        return plan.alter([*rings, *stops], change)
