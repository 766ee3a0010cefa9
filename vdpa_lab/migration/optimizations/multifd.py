"""RAM over several channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization, knob
from vdpa_lab.migration.plan import Plan
from vdpa_lab.model import Scenario


@dataclass(frozen=True, slots=True)
class Multifd(Optimization):
    """Send RAM by several threads in packets, each with a connection of its own; the link stays one."""

    name: ClassVar = "multifd"
    title: ClassVar = "Multifd"
    layer: ClassVar = "qemu"
    effect: ClassVar = "the last pages are sent by several threads; helps where one thread is slower than the link"
    status: ClassVar = "QEMU 4.0, off by default; no published figure for vDPA"
    refs: ClassVar = ("qemudocs",)
    removes: ClassVar = ("scenario.time", "ram.send_page", "bitmap.sync_word")  # another precopy, of other passes
    adds: ClassVar = removes
    slower: ClassVar = {
        "sim-128-1d": "an idle guest of few pages: another window is that of the decision, with more pages left"
    }
    channels: int = knob(2, low=1, high=255, unit="channels")  # migration/options.c: 2 by default, 255 at most

    def prepare(self, scenario: Scenario) -> Scenario:
        return replace(scenario, migration=replace(scenario.migration, multifd_channels=self.channels))

    def rewrite(self, plan: Plan) -> Plan:
        return plan.split(plan.select(op="send last pages"), self.channels)
