"""Control commands polled together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class ParallelCvqLoad(Optimization):
    """Queue the control commands that restore the guest's configuration and poll once for all that fit the ring."""

    name: ClassVar = "parallel-cvq-load"
    title: ClassVar = "Parallel CVQ load"
    layer: ClassVar = "qemu"
    effect: ClassVar = "one poll for up to half a ring of control commands instead of one each"
    status: ClassVar = "QEMU 8.2"
    refs: ClassVar = ("yin2023",)
    removes: ClassVar = ("cvq.poll",)

    def rewrite(self, plan: Plan) -> Plan:
        per_flush = max(1, plan.scenario.device.cvq_size // 2)  # two descriptors a command
        for side, path in (("source", "switch"), ("destination", "start")):
            for device in plan.devices(side, path):
                loads = plan.select(side=side, path=path, device=device, caller="vhost_vdpa_net_cvq_load")
                loads = [step for step in loads if any(key == "cvq.poll" for key, _ in step.work)]
                if not loads or any(step.op == "CVQ flush" for step in plan.select(side=side, path=path, device=device)):
                    continue
                count = sum(amount for step in loads for key, amount in step.work if key == "cvq.poll")
                t = beside(plan, loads[-1], self.name)
                t.step("CVQ flush", "bql", ("cvq.poll", -(-count // per_flush)))
                plan = plan.insert(t.steps, after=loads[-1])
                kept = {step.name: tuple(pair for pair in step.work if pair[0] != "cvq.poll") for step in loads}
                plan = plan.alter(loads, lambda step, kept=kept: step._replace(work=kept[step.name]))
        return plan
