"""Memory listener registered when the destination's QEMU starts, as QEMU 10.1 ships it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.machine.iotlb import Map
from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.vhost import RAM_ASID


@dataclass(frozen=True, slots=True)
class EarlyListener(Optimization):
    """Register the memory listener at start-up; the machine's reset undoes the map, the touched pages stay."""

    name: ClassVar = "early-listener"
    title: ClassVar = "Early memory listener (as shipped)"
    layer: ClassVar = "qemu"
    effect: ClassVar = "the pin inside the downtime finds populated pages; the map itself is still done there"
    status: ClassVar = "QEMU 10.1"
    refs: ClassVar = ("eperezma2024listener", "palmer2025")
    conflicts: ClassVar = {
        "map-at-load-setup": "both map the destination's memory ahead of time",
        "early-listener-kept": "the same change with and without its map lost at the machine's reset",
    }
    after: ClassVar = ("iotlb-batch", "precreated-vqs")
    # Pages that a pin touched first lie in fewer, longer chunks than those of a guest or of loading RAM.
    removes: ClassVar = ("pin_*", "iotlb.entry", "set_map.*", "mlx5.*")
    adds: ClassVar = ("pin_*", "unpin.*", "iotlb.*", "vhost.message", "set_map.*", "mlx5.*", "iommu.*")

    def rewrite(self, plan: Plan) -> Plan:
        if plan.select(path="init", caller="vhost_vdpa_listener_region_add"):
            return plan
        for device in plan.devices("destination", "start"):
            maps = plan.select(path="start", device=device, caller="vhost_vdpa_listener_region_add")
            owner = plan.select(path="init", device=device, op="SET_OWNER")
            reset = plan.select(path="init", device=device, op="SET_STATUS")
            if not (maps and owner and reset):
                continue
            names = {step.name: f"early-{step.name}" for step in maps}
            early = [s.but(name=names[s.name], path="init", of=names.get(s.of, s.of)) for s in maps]
            t = beside(plan, reset[0], self.name).calling("vhost_vdpa_listener_region_del")
            batch = any(step.op == "IOTLB_BATCH_BEGIN" for step in maps)
            if batch:
                t.batch_edge("IOTLB_BATCH_BEGIN", RAM_ASID)
            for step in (step for step in maps if isinstance(step.effect, Map)):
                t.message("IOTLB_INVALIDATE", RAM_ASID, step.effect.runs[0])
                if not batch:
                    t.set_map(RAM_ASID)
            if batch:
                t.batch_edge("IOTLB_BATCH_END", RAM_ASID)
                t.set_map(RAM_ASID)
            plan = plan.insert_all({}, {owner[0].name: early, reset[0].name: t.steps})
        return plan
