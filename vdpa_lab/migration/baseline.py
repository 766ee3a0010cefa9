"""The stock migration: what QEMU and the kernel do, in order, on both hosts, with no optimisation at all.

Sources: QEMU migration/migration.c, migration/savevm.c, net/vhost-vdpa.c (vhost_vdpa_net_log_global_enable); the order
of operations is that of logs of real migrations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from vdpa_lab.migration import vhost
from vdpa_lab.migration.builder import Thread
from vdpa_lab.migration.cancel import end_shadowing
from vdpa_lab.migration.fluid import LINK, Demand
from vdpa_lab.migration.outline import Amount, Outline, filled, open_places, outline
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.model import Scenario

WIRE = "scenario.time"  # ns that follow from the scenario's own rates, priced 1:1


@lru_cache(maxsize=64)
def baseline(scenario: Scenario) -> Plan:
    """The plan of `scenario` with nothing optimised; which versions run decides only on the order of some calls."""
    found = stock(outline(scenario))
    return filled(found, scenario, open_places(found))


@lru_cache(maxsize=64)
def stock(of: Outline) -> Plan:
    """The same of every scenario with this outline, its amounts still names."""
    steps: list[Step] = []
    source = Thread(steps, "source", "switch", of.device.driver)
    destination = _destination_init(steps, of)
    source.join(destination)
    source.mark("migration-start")
    destination.join(source)
    if of.device.svq == "auto":
        _switch(source, of)
    _precopy(source, destination, of)
    if of.device.svq == "auto" and of.migration.cancelled:
        end_shadowing(source, of, plan_devices(of, reverse=True))
    _stop(source, of)
    _save(source, destination, of)
    _start(source, destination, of)
    return Plan(of, tuple(steps))


def plan_devices(of: Outline, reverse: bool) -> range:
    """The source takes the last device first, the destination the first one first."""
    count = of.device.count
    return range(count - 1, -1, -1) if reverse else range(count)


def _destination_init(steps: list[Step], of: Outline) -> Thread:
    """vhost_vdpa_init of each device, and the reset of the machine; nothing is mapped yet."""
    t = Thread(steps, "destination", "init", of.device.driver)
    for one in _in_series(t, "init", range(of.device.count)):
        one.calling("vhost_vdpa_init")
        one.ioctl("SET_OWNER")
        one.calling("vhost_vdpa_reset_device")
        one.ioctl("SET_STATUS")
    t.mark("destination-ready")
    return t


def _in_series(t: Thread, path: str, devices: Iterable[int]) -> Iterator[Thread]:
    """A thread of control for each device, begun where the one before ended; `t` goes on behind the last."""
    for device in devices:
        one = t.fork(path, device)
        yield one
        t.after = one.after


def _switch(t: Thread, of: Outline) -> None:
    """vhost_vdpa_net_log_global_enable: stop in passthrough, start shadowed; main thread, VM running."""
    before, after = vhost.passthrough(of, of.source), vhost.shadowed(of, of.source)
    for one in _in_series(t, "switch", plan_devices(of, reverse=True)):
        one.mark(f"svq-switch-begin:{one.device}")
        vhost.stop(one, before)
        vhost.start(one, after, masked_calls=2, status=vhost.ACKNOWLEDGE_DRIVER)
        one.calling("").qemu("unexplained", "unexplained.svq_switch")
        one.mark(f"svq-switch-end:{one.device}")


def _precopy(source: Thread, destination: Thread, of: Outline) -> None:
    """The migration thread's passes over RAM, and the destination that loads them."""
    t = source.fork("precopy").calling("ram_save_setup")
    t.step("start dirty log", "migration", ("bitmap.sync_word", Amount("bitmap words")))
    t.calling("ram_save_iterate")
    t.step("precopy", "link", (WIRE, Amount("precopy ns")))
    t.step("bitmap sync", "migration", ("bitmap.sync_word", Amount("bitmap words of all syncs")))
    load = destination.fork("precopy").calling("ram_load")
    load.join(source)  # the migration thread, which sends the setup section, is made after the switch
    load.step("load setup section", "bql", (WIRE, of.link.latency), mark="dst-load-setup")
    load.join(t)
    load.step("load RAM", "thread")
    source.after, destination.after = t.after, load.after


def _stop(t: Thread, of: Outline) -> None:
    """migration_completion_precopy: stop vCPUs, then each device, under the BQL."""
    head = t.fork("stop").calling("migration_stop_vm")
    head.mark("src-downtime-start")
    head.step("pause vCPUs", "vcpu", ("qemu.pause_vcpus", 1), mark="vcpus-paused")
    shadowed = of.device.svq != "off"
    side = (vhost.shadowed if shadowed else vhost.passthrough)(of, of.source)
    for one in _in_series(head, "stop", plan_devices(of, reverse=True)):
        one.mark(f"stop-begin:{one.device}")
        vhost.stop(one, side)
        one.calling("").qemu("unexplained", "unexplained.source_teardown")
        one.mark(f"stop-end:{one.device}")
    head.mark("src-vm-stopped")
    t.after = head.after


def _save(source: Thread, destination: Thread, of: Outline) -> None:
    """Last bitmap sync, last RAM with the rate limit lifted, device state; loaded as it comes."""
    t = source.fork("save").calling("ram_save_complete")
    t.step("last bitmap sync", "migration", ("bitmap.sync_word", Amount("bitmap words")))
    one = t.fork("save").calling("ram_save_complete")
    threads = max(1, of.migration.multifd_channels)
    one.step("send last pages", "migration", ("ram.send_page", Amount("left pages")), width=threads)
    demand = Demand(LINK, Amount("left bytes"))
    t.step("last RAM", "link", (WIRE, Amount("ns of left bytes")), demand=demand)
    t.join(one)
    t.mark("src-iterable-saved")
    t.calling("vmstate_save")
    t.qemu("save CPU and board state", "vmstate.save_cpu", of.guest.vcpus)
    t.qemu("save virtio-net state", "vmstate.save_virtio_net", of.device.count)
    t.mark("src-non-iterable-saved")
    source.after = t.after
    d = destination.fork("load").calling("qemu_loadvm_state")
    d.join(t)
    d.step("stream arrives", "link", (WIRE, of.link.latency))
    for one in _in_series(d, "load", plan_devices(of, reverse=False)):
        one.calling("virtio_load").qemu("load virtio-net state", "vmstate.load_virtio_net")
    d.mark("dst-precopy-loadvm-completed")
    destination.after = d.after


def _start(source: Thread, destination: Thread, of: Outline) -> None:
    """process_incoming_migration_bh: announce, start each device, then let the vCPUs run."""
    d = destination.fork("start").calling("process_incoming_migration_bh")
    d.mark("dst-precopy-bh-enter")
    d.qemu("announce", "qemu.announce")
    d.mark("dst-precopy-bh-announced")
    always = of.device.svq == "on"
    side = (vhost.shadowed if always else vhost.passthrough)(of, of.destination)
    for one in _in_series(d, "start", plan_devices(of, reverse=False)):
        one.mark(f"start-begin:{one.device}")
        vhost.start(one, side, masked_calls=0 if always else 1, status=0)
        one.calling("").qemu("unexplained", "unexplained.destination_setup")
        one.mark(f"network-up:{one.device}")
        one.mark(f"start-end:{one.device}")
    d.step("resume vCPUs", "vcpu", ("qemu.resume_vcpus", 1), mark="vcpus-resumed")
    d.mark("dst-precopy-bh-vm-started")
    end = source.fork("after").calling("migration_completion_end")
    if of.migration.return_path:
        end.join(d)
        end.step("return path shut", "link", (WIRE, of.link.latency))
    end.mark("src-downtime-end")
