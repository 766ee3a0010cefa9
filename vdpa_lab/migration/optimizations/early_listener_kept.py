"""Memory listener registered when the destination's QEMU starts, and its map kept: the ideal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.vhost import RAM_ASID


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
    removes: ClassVar = ("pin_*", "mlx5.mkey_*")
    adds: ClassVar = ("pin_*", "set_map.*", "mlx5.*", "vhost.message")

    def rewrite(self, plan: Plan) -> Plan:
        if plan.scenario.device.svq == "on":
            return plan
        for device in plan.devices("destination", "start"):
            maps = plan.select(path="start", device=device, caller="vhost_vdpa_listener_region_add")
            owner = plan.select(path="init", device=device, op="SET_OWNER")
            if not (maps and owner):
                continue
            moved = [step._replace(path="init") for step in maps]
            plan = load_state_over_map(plan.move(moved, after=owner[0]), device)
        return plan


def load_state_over_map(plan: Plan, device: int) -> Plan:
    """With a live listener, loading PAM and SMRAM state, and each BAR that has RAM behind it, commits a changed map."""
    load = plan.select(path="load", device=device, caller="virtio_load")[-1]
    t = beside(plan, load, "live-listener").calling("memory_region_transaction_commit")
    for _ in range(1 + plan.scenario.guest.vga):
        t.batch_edge("IOTLB_BATCH_BEGIN", RAM_ASID)
        t.batch_edge("IOTLB_BATCH_END", RAM_ASID)
        t.set_map(RAM_ASID)
    return plan.insert(t.steps, after=load)
