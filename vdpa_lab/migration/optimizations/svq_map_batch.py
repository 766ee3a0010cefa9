"""One batch for the shadow rings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import batched
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.migration.vhost import UNMAPS

RINGS = {"vhost_vdpa_svq_map_rings"}
CVQ_MAPS = {"vhost_vdpa_net_cvq_start", "vhost_vdpa_svq_map_rings (CVQ)"}
RINGS_OF_PAIR = 4  # driver and device area of two virtqueues


@dataclass(frozen=True, slots=True)
class SvqMapBatch(Optimization):
    """Batch the maps and unmaps of shadow rings: one rebuild a queue pair, and one for a device at the stop."""

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
        groups: dict[tuple, list[Step]] = {}
        rings: dict[tuple[str, int], int] = {}
        for step in plan.select(op={"IOTLB_UPDATE", "IOTLB_INVALIDATE"}, caller=RINGS | CVQ_MAPS | UNMAPS):
            if step.path == "stop" or (step.path == "back" and step.caller in UNMAPS):
                key = ("stop",)
            elif step.caller in RINGS:
                rings[step.path, step.device] = count = rings.get((step.path, step.device), 0) + 1
                key = ("pair", (count - 1) // RINGS_OF_PAIR)
            else:
                key = ("cvq",) if step.caller in CVQ_MAPS else (step.caller,)
            groups.setdefault((step.path, step.device, *key), []).append(step)
        resets = self._resets(plan)
        behind = {group[0].name: resets[key[:2]] for key, group in groups.items() if key[2] == "stop"}
        return batched(plan, groups.values(), self.name, behind)

    def _resets(self, plan: Plan) -> dict[tuple[str, int], str]:
        """What the batch of a stop comes after: the reset, as the posted trace shows."""
        found = {}
        for key, mine in plan.served("source", "back", "stop").items():
            reset = next(s for s in mine if s.caller == "vhost_vdpa_reset_status")
            found[key] = next((s for s in mine if s.of == reset.name), reset).name
        return found
