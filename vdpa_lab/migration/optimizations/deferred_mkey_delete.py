"""Memory regions deleted later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
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
        groups: dict[tuple, list[Step]] = {}
        for step in plan.select(op="DESTROY_MKEY"):
            if step.lane.kind != "worker":
                groups.setdefault((step.lane.side, step.device, step.path), []).append(step)
        branches = {}
        for (side, device, _), old in groups.items():
            t = beside(plan, old[0], self.name).calling("mlx5_vdpa_mr_gc_handler")
            t.step("GC delay", "worker", ("mlx5.gc_delay", 1))
            worker = Lane(side, "worker", device)
            branches[old[-1].of] = [step.but(lane=worker) for step in (*t.steps, *old)]
        return plan.branch_all(branches)
