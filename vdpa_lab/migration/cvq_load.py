"""vhost_vdpa_net_cvq_load: how QEMU restores a device's configuration over the control virtqueue.

Source: QEMU net/vhost-vdpa.c.
"""

from __future__ import annotations

from collections import Counter

from vdpa_lab.machine.cvq import NetState, replay
from vdpa_lab.machine.cvq_commands import (
    GuestOffloadsSet,
    HashConfig,
    MacAddrSet,
    MacTableSet,
    RssConfig,
    Rx,
    VlanAdd,
    VqPairsSet,
)
from vdpa_lab.migration import mlx5
from vdpa_lab.migration.builder import Thread
from vdpa_lab.model import VdpaDevice

COMMANDS = {
    MacAddrSet: "MAC_ADDR_SET", MacTableSet: "MAC_TABLE_SET", VqPairsSet: "MQ_VQ_PAIRS_SET", RssConfig: "RSS_CONFIG",
    HashConfig: "HASH_CONFIG", GuestOffloadsSet: "GUEST_OFFLOADS_SET", Rx: "RX_MODE", VlanAdd: "VLAN_ADD",
}  # fmt: skip


def cvq_load(t: Thread, device: VdpaDevice) -> None:
    """vhost_vdpa_net_cvq_load: the guest's configuration replayed command by command, each polled to its end.

    The guest is Linux: it takes all offloads and turns promiscuous mode off.
    """
    t.calling("vhost_vdpa_net_cvq_load")
    state = NetState(
        device.negotiated_features,
        modes=frozenset(),
        pairs=device.pairs_in_use,
        max_pairs=device.queue_pairs,
        vlans=frozenset(range(1, device.vlans + 1)),
    )
    for name, count in Counter(COMMANDS[type(command)] for command in replay(state)).items():
        t.step(name, "bql", ("cvq.command", count), ("cvq.poll", count))
        mlx5.cvq_command(t, device, name, count)
