"""The firmware commands behind vhost-vdpa operations on mlx5_vdpa, all issued one at a time.

Source: Linux drivers/vdpa/mlx5/net/mlx5_vnet.c (setup_vq, teardown_vq, suspend_vqs, setup_steering, change_num_qps),
counted by reading: an object's creation is 15 commands, its destruction 8.
"""

from __future__ import annotations

from vdpa_lab.migration.builder import Thread
from vdpa_lab.model import VdpaDevice

CREATE_VQ_COMMANDS = 15  # CQ 1, QP 2, modify QP 7, counters 1, UMEM 3, VIRTIO_NET_Q 1
DESTROY_VQ_COMMANDS = 8
STEERING_COMMANDS = 5  # RQT, TIR, flow table, two rules for the MAC
VLAN_RULES = 2
INITIAL_PAIRS = 1  # pairs active after reset, before the CVQ says otherwise


def reset(t: Thread, device: VdpaDevice) -> None:
    """teardown_vq_resources, and the MKEY of physical-address mode."""
    t.firmware("DESTROY_STEERING", STEERING_COMMANDS)
    t.firmware("DESTROY_VQ", DESTROY_VQ_COMMANDS * device.data_vqs)
    t.firmware("CREATE_PA_MKEY", 1)


def driver_ok(t: Thread, device: VdpaDevice) -> None:
    """setup_vq_resources: every virtqueue is created, enabled or not."""
    t.firmware("CREATE_VQ", CREATE_VQ_COMMANDS * device.data_vqs)
    t.firmware("CREATE_STEERING", STEERING_COMMANDS)


def suspend(t: Thread, device: VdpaDevice) -> None:
    """mlx5_vdpa_suspend: the event notifier, then state and position of each virtqueue in use."""
    if t.driver == "mlx5":
        t.step("unregister notifier", "kernel", ("mlx5.notifier", 1))
    t.firmware("MODIFY_VQ", 2 * device.pairs_in_use)
    t.firmware("QUERY_VQ", 2 * device.pairs_in_use)


def enable(t: Thread, device: VdpaDevice) -> None:
    """set_vq_ready: one MODIFY to RDY for each virtqueue in use."""
    t.firmware("MODIFY_VQ", 2 * device.pairs_in_use)


def cvq_command(t: Thread, device: VdpaDevice, name: str, count: int) -> None:
    """What the CVQ work item does: nothing for an unchanged MAC, an RQT for MQ, two flow rules a VLAN."""
    if name == "MQ_VQ_PAIRS_SET":
        t.firmware("MODIFY_RQT", 1)
    elif name == "VLAN_ADD":
        t.firmware("ADD_VLAN_RULES", VLAN_RULES * count)
