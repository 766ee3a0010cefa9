"""Pages pinned by several threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.machine.iotlb import Map
from vdpa_lab.migration.optimization import Optimization, knob
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class PinThreads(Optimization):
    """Pin the pages of one memory message with several kernel threads; its IOTLB entries still go in one by one."""

    name: ClassVar = "pin-threads"
    title: ClassVar = "Pinning in threads"
    layer: ClassVar = "what-if"
    effect: ClassVar = "pinning guest memory takes the time of its share per thread"
    status: ClassVar = "what-if (VFIO has a posted series); no published figure for vDPA"
    refs: ClassVar = ("jordan2022",)
    threads: int = knob(4, low=1, high=64, unit="threads")

    def rewrite(self, plan: Plan) -> Plan:
        maps = [s for s in plan.steps if isinstance(s.effect, Map) and any(run.kind == "ram" for run in s.effect.runs)]
        return plan.split(maps, self.threads)
