"""Shadow virtqueues from the start of the VM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vdpa_lab.migration.optimization import MLX5_PRESETS, SIM_PRESETS, Optimization
from vdpa_lab.model import Scenario


@dataclass(frozen=True, slots=True)
class SvqAlways(Optimization):
    """Start both VMs with x-svq=on: no switch before precopy, but every packet is relayed for the VM's whole life."""

    name: ClassVar = "svq-always"
    title: ClassVar = "Shadow virtqueues always"
    layer: ClassVar = "qemu"
    effect: ClassVar = "no SVQ switch; the destination maps shadow rings and starts shadowed inside the downtime"
    status: ClassVar = "QEMU 7.1 (x-svq=on), experimental"
    refs: ClassVar = ("qemu", "runs")
    conflicts: ClassVar = dict.fromkeys(
        ("suspend-only", "device-dirty-log"), "one shadows every virtqueue, the other none"
    )
    removes: ClassVar = ("*",)
    adds: ClassVar = ("*",)
    slower: ClassVar = dict.fromkeys(
        [*MLX5_PRESETS, *(name for name in SIM_PRESETS if name != "sim-256-1d-svq")],
        "the destination shadows its rings too, and no map that was made ahead of time fits behind them",
    )

    def prepare(self, scenario: Scenario) -> Scenario:
        return replace(scenario, device=replace(scenario.device, svq="on"))
