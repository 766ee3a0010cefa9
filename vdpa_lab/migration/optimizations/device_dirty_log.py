"""The device logs what it writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.model import Scenario


@dataclass(frozen=True, slots=True)
class DeviceDirtyLog(Optimization):
    """Let the device mark the pages it writes in a log of its own; nothing has to be shadowed for that."""

    name: ClassVar = "device-dirty-log"
    title: ClassVar = "Device dirty log"
    layer: ClassVar = "what-if"
    effect: ClassVar = "no SVQ switch and no shadow rings; every bitmap sync has the log of each device to read"
    status: ClassVar = "what-if: mlx5 has it, vhost-vdpa refuses the ioctl; no published figure"
    refs: ClassVar = ("dpdkmlx5log",)
    drivers: ClassVar = ("mlx5",)
    requires: ClassVar = ("suspend",)
    conflicts: ClassVar = {
        "svq-always": "one shadows every virtqueue, the other none",
        "suspend-only": "two ways to know what the device wrote",
    }
    removes: ClassVar = ("*",)
    adds: ClassVar = ("*",)
    slower: ClassVar = dict.fromkeys(
        ("liu2023", "talk", "tatulea2024"),
        "the device is asked for each ring's position, which QEMU knows of its own shadow rings; its log is read",
    )

    def prepare(self, scenario: Scenario) -> Scenario:
        return replace(scenario, device=replace(scenario.device, svq="off"))

    def rewrite(self, plan: Plan) -> Plan:
        if plan.select(op="SET_LOG_BASE"):
            return plan
        begin, devices = plan.select(op="start dirty log")[0], range(plan.scenario.device.count)
        t = beside(plan, begin, self.name).calling("vhost_vdpa_set_log_base")
        for device in devices:
            t.on_device(device).ioctl("SET_LOG_BASE")
            t.firmware("MODIFY_VQ_LOG", 2 * plan.scenario.device.pairs_in_use)
        syncs = [step for step in plan.steps if step.op in ("bitmap sync", "last bitmap sync")]
        plan = plan.alter(syncs, lambda s: s.but(work=tuple((key, (1 + len(devices)) * n) for key, n in s.work)))
        return plan.insert(t.steps, before=begin)
