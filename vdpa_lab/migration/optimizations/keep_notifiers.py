"""Notifiers that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class KeepNotifiers(Optimization):
    """Leave the device's event notifier registered through suspension and ignore what it says meanwhile."""

    name: ClassVar = "keep-notifiers"
    title: ClassVar = "Notifiers kept in suspend"
    layer: ClassVar = "kernel"
    effect: ClassVar = "suspending a device no longer unregisters its notifier"
    status: ClassVar = "Linux 6.12"
    refs: ClassVar = ("tatulea2024suspend",)
    drivers: ClassVar = ("mlx5",)
    after: ClassVar = ("suspend",)
    removes: ClassVar = ("mlx5.notifier",)

    def rewrite(self, plan: Plan) -> Plan:
        return plan.drop(plan.select(op="unregister notifier"))
