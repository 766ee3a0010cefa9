"""Devices stopped and started side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.laws import IN_SERIES, SERIES
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class ParallelDevices(Optimization):
    """Switch, stop and start every vDPA device in a thread of its own; what needs the BQL still takes turns."""

    name: ClassVar = "parallel-devices"
    title: ClassVar = "Parallel devices"
    layer: ClassVar = "what-if"
    effect: ClassVar = "ioctls, pinning and firmware commands of several devices overlap"
    status: ClassVar = "what-if; no published figure"
    refs: ClassVar = ("talk2024",)
    slower: ClassVar = dict.fromkeys(
        ("eperezma2023", "liu2023", "sim-256-2d", "talk", "tatulea2024"),
        "a device waits for the BQL while others hold it: its own interval is longer, the VM's pause is shorter",
    )
    lifts: ClassVar = {IN_SERIES: "each device has a thread of its own"}

    def rewrite(self, plan: Plan) -> Plan:
        for begin, *_, end in SERIES:
            first = [step for step in plan.steps if step.mark.startswith(f"{begin}:")]
            last = [step.name for step in plan.steps if step.mark.startswith(f"{end}:")]
            if len(first) < 2 or last[0] not in first[1].after:
                continue
            after = first[0].after
            plan = plan.alter(first, lambda step, after=after: step.but(after=after))
            waiting = [step for step in plan.steps if last[-1] in step.after]
            plan = plan.alter(
                waiting, lambda step, last=last: step.but(after=tuple(dict.fromkeys((*step.after, *last))))
            )
        return plan
