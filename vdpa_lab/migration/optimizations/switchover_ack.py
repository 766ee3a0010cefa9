"""The destination says when it is ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vdpa_lab.migration.baseline import WIRE
from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.model import Scenario


@dataclass(frozen=True, slots=True)
class SwitchoverAck(Optimization):
    """Hold the source in precopy until the destination has done what it could do ahead, and says so."""

    name: ClassVar = "switchover-ack"
    title: ClassVar = "Switchover acknowledged"
    layer: ClassVar = "qemu"
    effect: ClassVar = "the VM is not stopped while the destination still maps or configures ahead of time"
    status: ClassVar = "QEMU 8.1, off by default; no published figure for vDPA"
    refs: ClassVar = ("avihaih2023ack",)
    after: ClassVar = ("map-at-load-setup", "early-device-state", "iterative-virtio-net", "iotlb-persist")
    adds: ClassVar = (WIRE,)

    def prepare(self, scenario: Scenario) -> Scenario:
        """The capability needs the return path (migrate_caps_check)."""
        return replace(scenario, migration=replace(scenario.migration, return_path=True))

    def rewrite(self, plan: Plan) -> Plan:
        begin = plan.mark("src-downtime-start")
        if plan.select(op="switchover ack"):
            return plan
        ahead = [plan.mark("dst-load-setup"), *plan.select(path="load-setup")]
        waited = {name for step in ahead for name in step.after}
        ready = tuple(
            step.name for step in ahead if (step.name not in waited and step.lane.kind != "worker") or step.mark
        )
        t = beside(plan, ahead[0], self.name).calling("qemu_loadvm_approve_switchover")
        t.step("switchover ack", "link", (WIRE, plan.scenario.link.latency))
        plan = plan.insert(t.steps, before=begin)
        return plan.alter(t.steps, lambda step: step.but(after=tuple(dict.fromkeys((*step.after, *ready)))))
