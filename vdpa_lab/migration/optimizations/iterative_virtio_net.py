"""Device state sent during precopy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan

FULL, REST = "vmstate.load_virtio_net", "vmstate.load_virtio_net_rest"


@dataclass(frozen=True, slots=True)
class IterativeVirtioNet(Optimization):
    """Send virtio-net's state once during precopy, so that its allocations are done when it comes again at the end."""

    name: ClassVar = "iterative-virtio-net"
    title: ClassVar = "Iterative virtio-net state"
    layer: ClassVar = "qemu"
    effect: ClassVar = "the destination loads what changed, not everything, while the VM is stopped"
    status: ClassVar = "RFC, July 2025"
    refs: ClassVar = ("palmer2025iterative",)
    after: ClassVar = ("map-at-load-setup", "early-device-state")
    removes: ClassVar = (FULL,)
    adds: ClassVar = (FULL, REST, "vmstate.save_virtio_net")

    def rewrite(self, plan: Plan) -> Plan:
        last = [step for step in plan.select(op="load virtio-net state") if step.work == ((FULL, 1),)]
        if not last:
            return plan
        plan = plan.alter(last, lambda step: step.but(work=((REST, 1),)))
        count = plan.scenario.device.count
        logged, arrived = plan.select(op="start dirty log")[0], plan.mark("dst-load-setup")
        saved = beside(plan, logged, self.name).calling("virtio_net_save_live_iterate")
        saved.step("save early virtio-net state", "migration", ("vmstate.save_virtio_net", count))
        loaded = beside(plan, arrived, self.name).calling("virtio_net_load_state")
        loaded.step("load early virtio-net state", "bql", (FULL, count))
        return plan.insert_all({}, {logged.name: saved.steps, arrived.name: loaded.steps})
