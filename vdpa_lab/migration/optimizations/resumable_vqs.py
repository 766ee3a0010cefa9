"""Virtqueues that resume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import Optimization
from vdpa_lab.migration.plan import Plan


@dataclass(frozen=True, slots=True)
class ResumableVqs(Optimization):
    """Switch to shadow virtqueues by suspend, change and resume: no reset, no virtqueue destroyed and created again."""

    name: ClassVar = "resumable-vqs"
    title: ClassVar = "Resumable virtqueues"
    layer: ClassVar = "kernel"
    effect: ClassVar = "the SVQ switch modifies virtqueues instead of resetting the device"
    status: ClassVar = "kernel half in Linux 6.8; QEMU half not written"
    refs: ClassVar = ("tatulea2023resumable",)
    requires: ClassVar = ("suspend",)
    drivers: ClassVar = ("mlx5",)
    after: ClassVar = ("suspend", "precreated-vqs", "svq-desc-asid", "iotlb-persist", "svq-map-batch")
    removes: ClassVar = ("vhost.ioctl", "mlx5.*", "set_map.*")
    adds: ClassVar = ("mlx5.*",)

    def rewrite(self, plan: Plan) -> Plan:
        gone, before = [], {}
        for mine in plan.served("source", "switch", "back").values():
            if any(step.op == "RESUME" for step in mine):
                continue
            reset = [s for s in mine if s.caller == "vhost_vdpa_reset_status" and s.op != "GET_STATUS"]
            reset = [s for s in reset if not s.op.startswith("IOTLB")]
            status = [s for s in mine if s.caller in ("vhost_vdpa_add_status", "vhost_dev_set_features")]
            status = [s for s in status if s.op.endswith("STATUS")]
            start = [s for s in mine if s.caller == "vhost_vdpa_dev_start" and s.op != "SET_CONFIG_CALL"]
            start = [s for s in start if not s.op.startswith("SET_VRING")]
            t = beside(plan, start[0], self.name).calling("vhost_vdpa_resume")
            t.ioctl("RESUME")
            t.step("resume device", "kernel", ("mlx5.resume", 1))
            t.firmware("MODIFY_VQ", 2 * plan.scenario.device.pairs_in_use)
            gone += [*reset, *status, *(s for s in start if s.op != "MODIFY_VQ")]
            before[start[0].name] = t.steps
        return plan.edit(gone, before)
