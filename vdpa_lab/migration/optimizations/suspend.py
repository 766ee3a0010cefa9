"""VHOST_VDPA_SUSPEND."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration import mlx5
from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import MLX5_PRESETS, SIM_PRESETS, Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step


@dataclass(frozen=True, slots=True)
class Suspend(Optimization):
    """Suspend the device and ask it for its ring positions, instead of resetting it and trusting the used ring."""

    name: ClassVar = "suspend"
    title: ClassVar = "Device suspend"
    layer: ClassVar = "kernel"
    effect: ClassVar = "the device is stopped with its state intact; its maps stay until the reset that follows"
    status: ClassVar = "merged"
    refs: ClassVar = ("linux", "qemu")
    removes: ClassVar = ("vhost.ioctl", "set_map.*", "mlx5.*")
    adds: ClassVar = ("vhost.ioctl", "set_map.*", "mlx5.*")
    slower: ClassVar = dict.fromkeys(
        SIM_PRESETS + MLX5_PRESETS,
        "what it buys is correct ring state; shadow rings are then unmapped while all RAM is mapped",
    )

    def rewrite(self, plan: Plan) -> Plan:
        gone, before, moves = [], {}, {}
        for (path, _), mine in plan.served("source", "switch", "back", "stop").items():
            first = [step for step in mine if step.caller == "vhost_vdpa_suspend"]
            if first and first[0].op != "SUSPEND":
                reset = next(step for step in mine if step.caller == "vhost_vdpa_reset_status")
                cleaned = next((step for step in mine if step.of == reset.name), reset)
                firmware = [step for step in first if step.lane.kind == "firmware" and not step.of]
                unmaps = [s for s in mine[: mine.index(reset)] if s.caller == "vhost_vdpa_listener_region_del"]
                moves[cleaned.name] = [*(s.but(caller=reset.caller) for s in firmware), *unmaps]
                gone += [*first, *unmaps]
                t = beside(plan, first[0], self.name)
                t.ioctl("SUSPEND")
                mlx5.suspend(t, plan.scenario.device)
                before[first[0].name] = t.steps
                asked = path == "switch" or plan.scenario.device.svq == "off"
                before |= self._ring_positions(plan, mine if asked else [])
        return plan.edit(gone, before, moves)

    def _ring_positions(self, plan: Plan, mine: list[Step]) -> dict[str, list[Step]]:
        found = {}  # before the end of each queue pair, the used index of its two rings
        for pair, end in enumerate(step for step in mine if step.caller == "vhost_dev_stop"):
            t = beside(plan, end, self.name).calling("vhost_vdpa_get_vring_base")
            for index in (2 * pair, 2 * pair + 1):
                t.ioctl("GET/SET_VRING_BASE", f"arg={index:#x}")
                t.firmware("QUERY_VQ", 1)
            found |= {end.name: t.steps}
        return found
