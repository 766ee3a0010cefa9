"""No shadow virtqueues at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vdpa_lab.migration.builder import beside, more_last_pages
from vdpa_lab.migration.optimization import SIM_PRESETS, Optimization, knob
from vdpa_lab.migration.plan import Plan
from vdpa_lab.model import Scenario


@dataclass(frozen=True, slots=True)
class SuspendOnly(Optimization):
    """Leave the device its rings; once suspended, walk them and send every page that the device may have written.

    Covers the buffers that the rings hold at that moment. What the device wrote into a buffer that the guest has
    taken out since, and not touched, stays unknown: another VMM accepts that, QEMU does not.
    """

    name: ClassVar = "suspend-only"
    title: ClassVar = "Suspend only, no shadow virtqueues"
    layer: ClassVar = "what-if"
    effect: ClassVar = "no SVQ switch and no shadow rings; all posted receive buffers are sent while the VM is stopped"
    status: ClassVar = "what-if: another VMM's way; no published figure"
    refs: ClassVar = ("cloudhypervisor7738",)
    requires: ClassVar = ("suspend",)
    conflicts: ClassVar = {
        "svq-always": "one shadows every virtqueue, the other none",
        "device-dirty-log": "two ways to know what the device wrote",
    }
    after: ClassVar = ("multifd",)
    removes: ClassVar = ("*",)
    adds: ClassVar = ("*",)
    slower: ClassVar = {
        **dict.fromkeys(SIM_PRESETS, "receive buffers to send, with little saved on a device without firmware"),
        "tatulea2024": "the device is asked for each ring's position, which QEMU knows of shadow rings",
    }
    buffer_pages: int = knob(1, low=1, high=17, unit="pages a receive buffer")

    def prepare(self, scenario: Scenario) -> Scenario:
        return replace(scenario, device=replace(scenario.device, svq="off"))

    def rewrite(self, plan: Plan) -> Plan:
        if plan.select(op="walk rings"):
            return plan
        device, walks = plan.scenario.device, {}
        posted = device.pairs_in_use * device.queue_size
        for number in plan.devices("source", "stop"):
            end = plan.mark(f"stop-end:{number}")
            t = beside(plan, end, self.name).calling("mark device-written buffers")
            t.step("walk rings", "bql", ("ring.descriptor", 2 * posted))
            walks[end.name] = t.steps
        pages = device.count * posted * self.buffer_pages
        return more_last_pages(plan, pages).insert_all(walks, {})
