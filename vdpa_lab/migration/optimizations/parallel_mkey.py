"""Many MKEY commands in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization, knob
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class ParallelMkey(Optimization):
    """Create and destroy direct MKEYs with many firmware commands in flight; filling their mailboxes stays serial."""

    name: ClassVar = "parallel-mkey"
    title: ClassVar = "Parallel MKEY commands"
    layer: ClassVar = "kernel"
    effect: ClassVar = "the MKEYs of one map rebuild are created, and destroyed, side by side"
    status: ClassVar = "Linux 6.12"
    refs: ClassVar = ("tatulea2024mkey",)
    drivers: ClassVar = ("mlx5",)
    after: ClassVar = (
        "iotlb-batch", "svq-desc-asid", "svq-map-batch", "early-listener", "early-listener-kept", "suspend",
        "iotlb-persist",
    )  # fmt: skip
    in_flight: int = knob(31, low=1, high=31, unit="commands")

    def rewrite(self, plan: Plan) -> Plan:
        return plan.split(plan.select(op={"CREATE_MKEY", "DESTROY_MKEY"}), self.in_flight)
