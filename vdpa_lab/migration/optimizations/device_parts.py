"""Device state carried by admin commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import MLX5_PRESETS, SIM_PRESETS, Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step


@dataclass(frozen=True, slots=True)
class DeviceParts(Optimization):
    """Carry the device's state in VIRTIO device parts, got and set by admin commands, instead of replaying the CVQ."""

    name: ClassVar = "device-parts"
    title: ClassVar = "Device parts"
    layer: ClassVar = "what-if"
    effect: ClassVar = "one command restores what the CVQ replays one by one; ring positions go as before"
    status: ClassVar = "what-if (virtio-pci virtual functions: Linux 6.13); no published figure for vDPA"
    refs: ClassVar = ("hadas2024parts",)
    requires: ClassVar = ("suspend",)
    after: ClassVar = ("parallel-cvq-load", "suspend", "early-device-state", "async-vq")
    removes: ClassVar = ("cvq.*", "mlx5.command")
    adds: ClassVar = ("admin.command",)
    slower: ClassVar = dict.fromkeys(
        SIM_PRESETS + MLX5_PRESETS,
        "two admin commands, each taken to cost what a firmware command does, beside a short replay of the CVQ",
    )

    def rewrite(self, plan: Plan) -> Plan:
        before, after, replayed = {}, {}, []
        for mine in plan.served("destination", "start", "load-setup").values():
            replay = [step for step in mine if step.caller == "vhost_vdpa_net_cvq_load"]
            if replay and replay[0].op != "DEV_PARTS_SET":
                replayed += replay
                before[replay[0].name] = self._command(plan, replay[0], "DEV_PARTS_SET")
        for step in plan.select(path="stop", op="SUSPEND") if replayed else ():
            after[step.name] = self._command(plan, step, "DEV_PARTS_GET")
        return plan.edit(replayed, before, after)

    def _command(self, plan: Plan, near: Step, op: str) -> list[Step]:
        t = beside(plan, near, self.name)
        t.step(op, "kernel", ("admin.command", 1))
        return t.steps
