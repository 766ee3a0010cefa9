"""Control virtqueue in an address space of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside, in_asid, rebuilds
from vdpa_lab.migration.optimization import SIM_PRESETS, Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.migration.vhost import CVQ_ASID, CVQ_GROUP

STOP = {"vhost_vdpa_svq_unmap_rings (CVQ)", "vhost_vdpa_net_cvq_stop"}
START = {"vhost_vdpa_net_cvq_start", "vhost_vdpa_svq_map_rings (CVQ)"}


@dataclass(frozen=True, slots=True)
class CvqAsid(Optimization):
    """Map the shadowed control virtqueue in ASID 1, so that its small maps never rebuild the map of guest memory."""

    name: ClassVar = "cvq-asid"
    title: ClassVar = "CVQ address space"
    layer: ClassVar = "kernel"
    effect: ClassVar = "small CVQ maps no longer rebuild the map of all RAM; QEMU refuses to migrate a CVQ without it"
    status: ClassVar = "merged"
    refs: ClassVar = ("linux", "qemu")
    removes: ClassVar = ("set_map.*", "mlx5.*")
    adds: ClassVar = ("vhost.ioctl", "mlx5.*")
    slower: ClassVar = dict.fromkeys(
        [name for name in SIM_PRESETS if name != "sim-256-1d-svq"],
        "two more calls a device; mapped before guest memory, the CVQ costs as little in its address space",
    )

    def rewrite(self, plan: Plan) -> Plan:
        if plan.scenario.device.svq == "on" or plan.select(op="SET_GROUP_ASID", caller="vhost_vdpa_net_cvq_start"):
            return plan  # in SVQ mode all rings share ASID 0
        first_stop = "stop" if plan.scenario.device.svq == "off" else "switch"
        stops, starts = plan.select(path=first_stop, caller=STOP), plan.select(path={"back", "start"}, caller=START)
        messages = [step for step in (*stops, *starts) if step.op.startswith("IOTLB")]
        touched = messages + [step for step in rebuilds(plan, messages) if step.effect]
        firsts: dict[tuple[str, int], Step] = {}
        for step in starts:
            if step.caller == "vhost_vdpa_net_cvq_start":
                firsts.setdefault((step.path, step.device), step)
        before = {}
        for step in firsts.values():
            t = beside(plan, step, self.name)
            t.ioctl("GET_VRING_GROUP", f"arg={plan.scenario.device.data_vqs:#x}")
            t.ioctl("SET_GROUP_ASID", f"arg={CVQ_ASID << 32 | CVQ_GROUP:#x}")
            before[step.name] = t.steps
        return plan.alter(touched, lambda step: in_asid(step, CVQ_ASID)).insert_all(before, {})
