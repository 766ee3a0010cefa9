"""IOTLB maps that survive a reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.machine.iotlb import Clean
from vdpa_lab.migration.early_map import keep_early_map
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class IotlbPersist(Optimization):
    """Keep the device's maps across a reset: nothing to unmap when the source stops, nothing to redo after a reset."""

    name: ClassVar = "iotlb-persist"
    title: ClassVar = "Persistent IOTLB"
    layer: ClassVar = "kernel"
    effect: ClassVar = "the source no longer unpins all RAM before the VM may go on; QEMU's exit does it later"
    status: ClassVar = "kernel half in Linux 6.7; QEMU half posted"
    refs: ClassVar = ("liu2023", "liu2023persist")
    after: ClassVar = ("svq-desc-asid", "early-listener", "iotlb-batch", "suspend", "svq-map-batch")
    removes: ClassVar = ("mlx5.*", "set_map.*", "pin_*", "unpin.*", "iotlb.*", "vhost.message", "iommu.*")
    adds: ClassVar = ("mlx5.*", "set_map.*")
    slower: ClassVar = dict.fromkeys(
        ("palmer2025", "palmer2025-128g", "tatulea2024precreate", "tatulea2024vq"),
        "unbatched, CVQ buffers are unmapped while all RAM still is mapped: two full rebuilds",
    )

    def rewrite(self, plan: Plan) -> Plan:
        cleans = [step for step in plan.steps if isinstance(step.effect, Clean)]
        names = {step.name for step in cleans}
        again = [s for s in plan.select(op="set_map", path={"switch", "back"}) if "svq-desc-asid" in s.name]
        undone = names | {step.name for step in again}
        gone = [s for s in plan.steps if s.of in undone or (names and s.op == "CREATE_PA_MKEY")]
        plan = plan.edit([*again, *gone]).alter(cleans, lambda step: step.but(effect=None))
        plan = keep_early_map(plan)
        unmaps = plan.select(side="source", path="stop", caller="vhost_vdpa_listener_region_del")
        return plan.reschedule([step.but(path="after") for step in unmaps], after=plan.mark("src-downtime-end"))
