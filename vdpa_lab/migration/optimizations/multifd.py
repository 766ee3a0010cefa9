"""RAM over several channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization, knob
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class Multifd(Optimization):
    """Send RAM by several threads, each with a connection of its own; the link stays one."""

    name: ClassVar = "multifd"
    title: ClassVar = "Multifd"
    layer: ClassVar = "qemu"
    effect: ClassVar = "the last pages are sent by several threads; helps where one thread is slower than the link"
    status: ClassVar = "QEMU 4.0, off by default; no published figure for vDPA"
    refs: ClassVar = ("qemudocs",)
    channels: int = knob(2, low=1, high=255, unit="channels")  # migration/options.c: 2 by default, 255 at most

    def rewrite(self, plan: Plan) -> Plan:
        return plan.split(plan.select(op="send last pages"), self.channels)
