"""docs/windows.md: how each window is defined, and which instant each of its marks is, in a plan and in a log.

Sources: QEMU hw/virtio/vhost-vdpa.c, net/vhost-vdpa.c and migration/migration.c; the trace events named are theirs.
"""

from __future__ import annotations

from typing import NamedTuple

from vdpa_lab.beside.tables import markdown_table
from vdpa_lab.timeline import WINDOWS


class Mark(NamedTuple):
    """What an instant is: in the plan of a simulation, and in the log of a recording."""

    plan: str
    log: str


_ENABLED = (
    "the device's last vhost_vdpa_set_vring_enable_one (before QEMU 9: vhost_vdpa_set_vring_ready) of a data virtqueue"
)
MARKS = {
    "svq-switch-begin:{d}": Mark(
        "vhost_vdpa_net_log_global_enable comes to the device, before it suspends it",
        "the device's first vhost_vdpa_suspend in the setup phase; without suspension its vhost_vdpa_dev_start "
        "with started 0, for the reset is then what stops it",
    ),
    "svq-switch-end:{d}": Mark(
        "its data virtqueues are enabled again, shadowed, and the constant of the switch is over",
        f"{_ENABLED} in that phase",
    ),
    "src-downtime-start": Mark("migration_stop_vm begins", "vmstate_downtime_checkpoint src-downtime-start"),
    "vcpus-paused": Mark("pause_all_vcpus has returned", "vm_state_notify running 0 on the source"),
    "stop-begin:{d}": Mark(
        "vhost_dev_stop of the device, before it suspends it",
        "the device's first vhost_vdpa_suspend (else the stop of vhost_vdpa_dev_start) after src-downtime-start",
    ),
    "stop-end:{d}": Mark(
        "the device is reset and its memory unmapped, and the constant of the stop is over",
        "the event after the device's last kernel operation of the stop",
    ),
    "start-begin:{d}": Mark(
        "vhost_net_start of the device on the destination, before its first ioctl",
        "the device's first kernel operation after dst-precopy-bh-enter",
    ),
    "start-end:{d}": Mark(
        "its data virtqueues are enabled, and the constant of the start is over", f"{_ENABLED} on the destination"
    ),
    "network-up:{d}": Mark("the same instant as start-end", f"{_ENABLED} on the destination"),
    "vcpus-resumed": Mark(
        "resume_all_vcpus has returned", "vmstate_downtime_checkpoint dst-precopy-bh-vm-started on the destination"
    ),
    "src-downtime-end": Mark(
        "migration_completion_end: the state is sent, with a return path acknowledged too",
        "vmstate_downtime_checkpoint src-downtime-end",
    ),
    "svq-back-begin:{d}": Mark(
        "vhost_vdpa_net_log_global_enable(false) comes to the device after a cancellation, before it suspends it",
        "not read: no recording of a cancelled migration is known",
    ),
    "svq-back-end:{d}": Mark(
        "its data virtqueues are enabled again, in passthrough, and the constants of a stop and a start are over",
        "not read: no recording of a cancelled migration is known",
    ),
}


def windows_text() -> str:
    """What each window is and what bounds it, in Markdown."""
    windows = ((f"`{w.name}`", w.title, w.meaning, f"`{w.begin}` → `{w.end}`", w.combine) for w in WINDOWS.values())
    marks = ((f"`{name}`", mark.plan, mark.log) for name, mark in MARKS.items())
    return f"""# The windows

Every length that the lab prints is one of these, for simulations and recordings alike; `{{d}}` is each device, and the
last column says how devices join. Published figures name which window they are taken for.

{markdown_table(("name", "title", "meaning", "from → to", "devices"), windows)}

## The marks

A window that lacks a mark has no length, rather than a wrong one: with x-svq=on there is no switch, and a log without
QEMU's own trace events has no reported downtime. Source and destination of a recording are put on one clock first.

{markdown_table(("mark", "in a simulation", "in a recording"), marks)}
"""
