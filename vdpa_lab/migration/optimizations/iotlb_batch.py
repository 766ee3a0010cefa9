"""IOTLB batching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.machine.iotlb import Map, Unmap
from vdpa_lab.migration.builder import batched
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.migration.vhost import LISTENER


@dataclass(frozen=True, slots=True)
class IotlbBatch(Optimization):
    """Wrap the memory listener's messages in one batch: one set_map instead of one for each contiguous chunk."""

    name: ClassVar = "iotlb-batch"
    title: ClassVar = "IOTLB message batching"
    layer: ClassVar = "kernel"
    effect: ClassVar = "one map rebuild per listener commit instead of one per contiguous chunk of RAM"
    status: ClassVar = "merged"
    refs: ClassVar = ("linux", "qemu")
    removes: ClassVar = ("set_map.*", "mlx5.*")
    adds: ClassVar = ("vhost.message",)

    def rewrite(self, plan: Plan) -> Plan:
        groups: dict[tuple, list[Step]] = {}
        for step in plan.select(caller=LISTENER):
            if isinstance(step.effect, (Map, Unmap)):
                groups.setdefault((step.lane.side, step.path, step.device, step.caller), []).append(step)
        return batched(plan, groups.values(), self.name)
