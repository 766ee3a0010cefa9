"""Pinned and released by the folio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.machine.iotlb import Map, Unmap
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class WholeFolioPin(Optimization):
    """Pin and release a huge page as one folio, at the cost of one 4 KiB page, where vhost-vdpa counts every 4 KiB."""

    name: ClassVar = "whole-folio-pin"
    title: ClassVar = "Whole-folio pinning"
    layer: ClassVar = "what-if"
    effect: ClassVar = "pinning and unpinning huge pages costs one page each instead of 512 or 262144"
    status: ClassVar = "what-if (merged for VFIO); no published figure for vDPA"
    refs: ClassVar = ("lizhe2025",)
    after: ClassVar = ("early-listener",)
    removes: ClassVar = ("pin_warm.*", "unpin.*")
    adds: ClassVar = ("pin_warm.4k", "unpin.4k")

    def rewrite(self, plan: Plan) -> Plan:
        messages = [step for step in plan.steps if isinstance(step.effect, (Map, Unmap))]
        return plan.alter(messages, lambda step: step.but(effect=step.effect._replace(folios=True)))
