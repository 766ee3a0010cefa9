"""Many virtqueue commands in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization, knob
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class AsyncVq(Optimization):
    """Suspend, query, modify and resume virtqueues with many firmware commands in flight."""

    name: ClassVar = "async-vq"
    title: ClassVar = "Parallel VQ suspend and resume"
    layer: ClassVar = "kernel"
    effect: ClassVar = "virtqueue commands of one kind overlap, up to half of the command slots"
    status: ClassVar = "Linux 6.12"
    refs: ClassVar = ("tatulea2024suspend",)
    drivers: ClassVar = ("mlx5",)
    after: ClassVar = ("suspend", "precreated-vqs", "resumable-vqs", "early-device-state")
    in_flight: int = knob(16, low=1, high=16, unit="commands")

    def rewrite(self, plan: Plan) -> Plan:
        return plan.split(plan.select(op={"MODIFY_VQ", "QUERY_VQ"}), self.in_flight)
