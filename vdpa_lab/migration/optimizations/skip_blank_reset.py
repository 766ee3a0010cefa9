"""No reset of a device that nobody has used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.early_map import keep_early_map
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class SkipBlankReset(Optimization):
    """Leave out the machine reset's reset of a blank device, which undoes the destination's early map."""

    name: ClassVar = "skip-blank-reset"
    title: ClassVar = "No reset of a blank device"
    layer: ClassVar = "what-if"
    effect: ClassVar = "the map made at start-up lasts: no pin and no RAM map inside the downtime"
    status: ClassVar = "what-if: named on the list; no published figure"
    refs: ClassVar = ("palmer2025config",)
    requires: ClassVar = ("early-listener",)
    after: ClassVar = ("early-listener", "iotlb-persist", "iotlb-batch", "precreated-vqs")
    before: ClassVar = ("parallel-mkey", "deferred-mkey-delete")
    removes: ClassVar = ("pin_*", "unpin.*", "iotlb.*", "iommu.*", "vhost.*", "mlx5.*", "set_map.*")
    adds: ClassVar = ("set_map.*", "mlx5.*", "vhost.message")

    def rewrite(self, plan: Plan) -> Plan:
        blank = plan.select(path="init", op="SET_STATUS", caller="vhost_vdpa_reset_device")
        return keep_early_map(plan).drop(blank)
