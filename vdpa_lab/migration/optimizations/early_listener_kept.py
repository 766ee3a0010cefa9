"""Memory listener registered when the destination's QEMU starts, and its map kept: the ideal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.early_map import commits_of_load
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class EarlyListenerKept(Optimization):
    """Keep the early map across the machine's reset; loading PAM and BAR state then costs a map rebuild each."""

    name: ClassVar = "early-listener-kept"
    title: ClassVar = "Early memory listener, map kept"
    layer: ClassVar = "qemu"
    effect: ClassVar = "no pin and no RAM map on the destination inside the downtime"
    status: ClassVar = "proposed"
    refs: ClassVar = ("palmer2025", "palmer2025iterative")
    conflicts: ClassVar = {
        "map-at-load-setup": "both map the destination's memory ahead of time",
        "early-listener": "the same change with and without its map lost at the machine's reset",
    }
    after: ClassVar = ("iotlb-batch", "precreated-vqs")
    # Pages that a pin touched first lie in fewer, longer chunks than those of a guest or of loading RAM.
    removes: ClassVar = ("pin_*", "iotlb.entry", "set_map.*", "mlx5.*")
    adds: ClassVar = ("pin_*", "set_map.*", "mlx5.*", "vhost.message")

    def rewrite(self, plan: Plan) -> Plan:
        if plan.scenario.device.svq == "on":
            return plan
        gone, after = [], {}
        served = plan.served("destination", "init", "start")
        for (path, device), mine in served.items():
            maps = [step for step in mine if step.caller == "vhost_vdpa_listener_region_add"]
            owner = [step for step in served.get(("init", device), ()) if step.op == "SET_OWNER"]
            if path == "start" and maps and owner:
                gone += maps
                after[owner[0].name] = [step.but(path="init") for step in maps]
                after |= [commits_of_load(plan, device)]
        return plan.edit(gone, after=after)
