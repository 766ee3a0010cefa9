"""Memory regions deleted later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.timeline import Lane


@dataclass(frozen=True, slots=True)
class DeferredMkeyDelete(Optimization):
    """Put replaced memory regions on a list that a worker destroys two seconds later."""

    name: ClassVar = "deferred-mkey-delete"
    title: ClassVar = "Deferred MR deletion"
    layer: ClassVar = "kernel"
    effect: ClassVar = "destroying old MKEYs leaves the critical path"
    status: ClassVar = "Linux 6.12"
    refs: ClassVar = ("tatulea2024mkey",)
    drivers: ClassVar = ("mlx5",)
    after: ClassVar = (
        "iotlb-batch", "svq-desc-asid", "svq-map-batch", "iotlb-persist", "early-listener", "early-listener-kept",
        "map-at-load-setup", "resumable-vqs", "suspend", "early-device-state",
    )  # fmt: skip
    adds: ClassVar = ("mlx5.gc_delay",)

    def rewrite(self, plan: Plan) -> Plan:
        for side in ("source", "destination"):
            for device in range(plan.scenario.device.count):
                for path in dict.fromkeys(step.path for step in plan.select(side=side, device=device)):
                    old = plan.select(side=side, device=device, path=path, op="DESTROY_MKEY")
                    old = [step for step in old if step.lane.kind != "worker"]
                    if not old:
                        continue
                    last = next(step for step in plan.steps if step.name == old[-1].of)
                    t = beside(plan, old[0], self.name).calling("mlx5_vdpa_mr_gc_handler")
                    delay = t.step("GC delay", "worker", ("mlx5.gc_delay", 1))
                    plan = plan.reschedule([delay, *old], after=last, lane=Lane(side, "worker", device))
        return plan
