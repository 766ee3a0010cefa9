"""Destination memory mapped while RAM is still on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan

# Who waits for the maps: the first to map anything else, because a batch is open to one address space only.
NEXT = {
    "vhost_vdpa_svq_map_rings",
    "vhost_vdpa_net_cvq_start",
    "vhost_vdpa_dev_start",
}


@dataclass(frozen=True, slots=True)
class MapAtLoadSetup(Optimization):
    """Map and pin guest memory on the destination in a thread of its own, begun by the setup section of the stream."""

    name: ClassVar = "map-at-load-setup"
    title: ClassVar = "Iterative map at the destination"
    layer: ClassVar = "qemu"
    effect: ClassVar = "pinning and mapping on the destination overlap with precopy instead of lying in the downtime"
    status: ClassVar = "posted (for 9.0), not merged"
    refs: ClassVar = ("eperezma2023loadsetup",)
    conflicts: ClassVar = dict.fromkeys(
        ("early-listener", "early-listener-kept"), "both map the destination's memory ahead of time"
    )
    after: ClassVar = ("iotlb-batch",)
    # Pages that a pin touched first lie in fewer, longer chunks than those of a guest or of loading RAM.
    # Without an address space of its own the CVQ is now mapped after guest memory, in whole rebuilds.
    removes: ClassVar = ("pin_*", "iotlb.entry", "set_map.*", "mlx5.*")
    adds: ClassVar = ("pin_*", "set_map.entry", "mlx5.mkey_*", "mlx5.mtt", "mlx5.gc_delay")

    def rewrite(self, plan: Plan) -> Plan:
        after = plan.mark("dst-load-setup")
        for device in plan.devices("destination", "start"):
            maps = plan.select(path="start", device=device, caller="vhost_vdpa_listener_region_add")
            if not maps:
                continue
            waits = plan.select(path="start", device=device, caller=NEXT)[0]
            maps = [step.but(path="load-setup") for step in maps]
            plan = plan.reschedule(maps, after=after, before=waits)
            after = maps[-1]
        return plan
