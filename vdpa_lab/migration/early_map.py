"""What a destination map made ahead of time costs later, and how it lasts.

Source: QEMU hw/virtio/vhost-vdpa.c (listener), memory_region_transaction_commit.
"""

from __future__ import annotations

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.migration.vhost import LISTENER, RAM_ASID


def keep_early_map(plan: Plan) -> Plan:
    """An early map that the machine's reset no longer undoes, so that starting the device need not make it again."""
    undone = plan.select(path="init", caller="vhost_vdpa_listener_region_del")
    if not undone or plan.scenario.device.svq == "on":  # then guest memory moves behind the shadow rings
        return plan
    redone = plan.select(side="destination", path="start", caller=LISTENER)
    commits = [commits_of_load(plan, device) for device in plan.devices("destination", "start")]
    return plan.edit([*undone, *redone], after=dict(commits))


def commits_of_load(plan: Plan, device: int) -> tuple[str, list[Step]]:
    """With a live listener, loading PAM and SMRAM state, and each BAR that has RAM behind it, commits a changed map.

    The name of the step that loads the device's state, and what follows it.
    """
    load = plan.select(path="load", device=device, caller="virtio_load")[-1]
    t = beside(plan, load, "live-listener").calling("memory_region_transaction_commit")
    for _ in range(1 + plan.scenario.guest.vga):
        t.batch_edge("IOTLB_BATCH_BEGIN", RAM_ASID)
        t.batch_edge("IOTLB_BATCH_END", RAM_ASID)
        t.set_map(RAM_ASID)
    return load.name, t.steps
