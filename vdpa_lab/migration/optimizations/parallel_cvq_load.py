"""Control commands polled together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step


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
        groups: dict[tuple, list[Step]] = {}
        for step in plan.select(caller="vhost_vdpa_net_cvq_load"):
            groups.setdefault((step.lane.side, step.path, step.device), []).append(step)
        flushes, lighter = {}, []
        for steps in groups.values():
            polls = sum(amount for step in steps for key, amount in step.work if key == "cvq.poll")
            if polls and all(step.op != "CVQ flush" for step in steps):
                t = beside(plan, steps[-1], self.name)
                t.step("CVQ flush", "bql", ("cvq.poll", -(-polls // per_flush)))
                flushes[steps[-1].name] = t.steps
                lighter += steps
        plan = plan.alter(lighter, lambda s: s.but(work=tuple(pair for pair in s.work if pair[0] != "cvq.poll")))
        return plan.insert_all({}, flushes)
