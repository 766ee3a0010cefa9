"""One batch for the shadow rings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import batched
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan

RINGS = {"vhost_vdpa_svq_map_rings", "vhost_vdpa_svq_unmap_rings"}
CVQ_MAPS = {"vhost_vdpa_net_cvq_start", "vhost_vdpa_cvq_map_rings"}
UNMAPS = {"vhost_vdpa_svq_unmap_rings", "vhost_vdpa_cvq_unmap_rings", "vhost_vdpa_net_cvq_stop"}


@dataclass(frozen=True, slots=True)
class SvqMapBatch(Optimization):
    """Batch the maps and unmaps of shadow rings: one map rebuild a queue pair, and one for all of a device at the stop."""

    name: ClassVar = "svq-map-batch"
    title: ClassVar = "Batched SVQ maps"
    layer: ClassVar = "qemu"
    effect: ClassVar = "one map rebuild when a device stops instead of one per shadow ring"
    status: ClassVar = "posted (40-patch series, patches 21-33)"
    refs: ClassVar = ("liu2023",)
    requires: ClassVar = ("iotlb-batch",)
    after: ClassVar = ("iotlb-batch", "svq-desc-asid", "cvq-asid", "suspend")
    removes: ClassVar = ("set_map.*", "mlx5.*")
    adds: ClassVar = ("vhost.message",)

    def rewrite(self, plan: Plan) -> Plan:
        for device in plan.devices("source", "stop"):
            plan = self._stop(plan, device)
        for side, path in (("source", "switch"), ("destination", "start")):
            for device in plan.devices(side, path):
                mine = plan.select(side=side, path=path, device=device)
                maps = [s for s in mine if s.op == "IOTLB_UPDATE"]
                rings = [s for s in maps if s.caller == "vhost_vdpa_svq_map_rings"]
                groups = [rings[i : i + 4] for i in range(0, len(rings), 4)]
                groups.append([s for s in maps if s.caller in CVQ_MAPS])
                groups.append([s for s in mine if s.op == "IOTLB_INVALIDATE" and s.caller == "vhost_vdpa_cvq_unmap_rings"])
                groups.append([s for s in mine if s.op == "IOTLB_INVALIDATE" and s.caller == "vhost_vdpa_net_cvq_stop"])
                for group in groups:
                    plan = batched(plan, group, self.name)
        return plan

    def _stop(self, plan: Plan, device: int) -> Plan:
        """All rings and buffers in one batch, after the reset as the posted trace shows."""
        mine = plan.select(side="source", path="stop", device=device)
        unmaps = [s for s in mine if s.op == "IOTLB_INVALIDATE" and s.caller in UNMAPS]
        reset = next(s for s in mine if s.caller == "vhost_vdpa_reset_status")
        cleaned = next((s for s in mine if s.of == reset.name), reset)
        plan = batched(plan, unmaps, self.name)
        batch = [s for s in plan.steps if s.path == "stop" and s.device == device and s.caller in UNMAPS and s.op != "SET_CONFIG_CALL"]
        return plan.move(batch, after=next(s for s in plan.steps if s.name == cleaned.name))
