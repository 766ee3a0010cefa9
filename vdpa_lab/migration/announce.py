"""Telling the fabric where the guest is now: QEMU's own frames, the guest's, and what each is worth for vhost-vdpa.

Sources: QEMU net/announce.c (qemu_announce_timer_step, qemu_announce_self_iter), hw/net/virtio-net.c
(virtio_net_announce_timer, virtio_net_handle_announce), qapi/migration.json (AnnounceParameters), Linux
drivers/net/virtio_net.c (virtnet_config_changed_work).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vdpa_lab.model import Feature, VdpaDevice
from vdpa_lab.units import MS

ROUNDS, INITIAL, STEP, LONGEST = 5, 50 * MS, 100 * MS, 550 * MS  # QEMU's defaults: migration/options.c


class Round(NamedTuple):
    """One round of the guest: QEMU notifies it, its frames leave, its ANNOUNCE_ACK arrives; ns."""

    notified: int
    sent: int
    acknowledged: int


def steps() -> list[int]:
    """Pauses in ns between one round and the next: 50, 150, 250 and 350 ms. QEMU qemu_announce_timer_step."""
    return [min(INITIAL + done * STEP, LONGEST) for done in range(ROUNDS - 1)]


def self_rounds(begin: int) -> tuple[int, ...]:
    """When QEMU sends RARP, in ns: on its own clock, 0, 50, 200, 450 and 800 ms after `begin`.

    For vhost-vdpa these frames go to a backend without a receive function and never reach the fabric.
    """
    found = [begin]
    for step in steps():
        found.append(found[-1] + step)
    return tuple(found)


def guest_rounds(resumed: int, frames: int | Sequence[int], ack: int | Sequence[int]) -> tuple[Round, ...]:
    """The guest's rounds: the first when it runs again, each further one only after the ACK of the one before.

    frames: ns from the notification to the guest's frames, ack: from the frames to the ACK; a number, or one a round.
    """
    found, at = [], resumed
    for number, step in enumerate([*steps(), 0]):
        sent = at + (frames if isinstance(frames, int) else frames[number])
        acknowledged = sent + (ack if isinstance(ack, int) else ack[number])
        found.append(Round(at, sent, acknowledged))
        at = acknowledged + step
    return tuple(found)


def announces(device: VdpaDevice) -> bool:
    """Can the guest announce itself? QEMU emulates GUEST_ANNOUNCE for a vhost-vdpa device that has a control virtqueue.

    So the bit stands in the guest's feature word even where the device's own lacks it (virtio_net_get_features).
    """
    return device.has(Feature.CTRL_VQ)
