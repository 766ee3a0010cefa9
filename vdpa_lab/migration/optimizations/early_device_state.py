"""Destination device configured while the source still runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan

STAYS = {"vhost_vdpa_set_vring_ready", "vhost_vdpa_listener_region_add", ""}


@dataclass(frozen=True, slots=True)
class EarlyDeviceState(Optimization):
    """Send virtio-net's state during precopy and configure the device with it; ring positions follow later."""

    name: ClassVar = "early-device-state"
    title: ClassVar = "Early device state"
    layer: ClassVar = "qemu"
    effect: ClassVar = (
        "features, rings, DRIVER_OK and control commands leave the downtime; ring positions and enable stay"
    )
    status: ClassVar = "posted for vhost-user; proposed for vhost-vdpa"
    refs: ClassVar = ("yajunw2023", "palmer2025iterative")
    requires: ClassVar = (("map-at-load-setup", "early-listener-kept"),)
    after: ClassVar = (
        "map-at-load-setup", "early-listener-kept", "iotlb-batch", "cvq-asid", "precreated-vqs", "parallel-cvq-load",
        "svq-map-batch",
    )  # fmt: skip
    removes: ClassVar = ("mlx5.gc_delay",)
    # Without an address space of its own the CVQ is then in the map that loading the PAM state rebuilds.
    adds: ClassVar = ("mlx5.command", "vhost.ioctl", "set_map.entry", "mlx5.mkey_*", "mlx5.mtt")
    slower: ClassVar = dict.fromkeys(
        ("sim-256-1d-q10",),
        "the destination's map thread outlasts precopy, and the device starts only after it: the rest of the "
        "state is then loaded after both instead of beside them",
    )

    def rewrite(self, plan: Plan) -> Plan:
        if plan.scenario.device.svq == "on":
            return plan
        maps = plan.select(path="load-setup", caller="vhost_vdpa_listener_region_add")
        after = maps[-1] if maps else plan.mark("dst-load-setup")
        moved, commands, last = [], {}, {}
        for (_, device), mine in plan.served("destination", "start").items():
            early = [s for s in mine if s.caller not in STAYS and not s.mark]
            late = [s for s in early if s.op == "GET/SET_VRING_BASE" and s.detail.startswith("arg=*")]
            early = [step.but(path="load-setup") for step in early if step not in late]
            if not early or not any(step.op == "GET/SET_FEATURES" for step in early):
                continue
            t = beside(plan, late[-1], self.name)
            t.firmware("MODIFY_VQ", len(late))
            commands[late[-1].name] = t.steps
            moved += early
            last[plan.select(path="load", device=device)[0].name] = early[-1].name  # the stream has early state first
        plan = plan.edit(moved, after=commands, beside={after.name: moved})
        return plan.alter(plan.select(name=set(last)), lambda step: step.behind((*step.after, last[step.name])))
