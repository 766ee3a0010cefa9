"""vhost_net_stop and vhost_net_start for one vhost-vdpa device, operation by operation, with nothing optimised.

The order is that of kernel logs of real migrations (QEMU 10.0.13 and 11.1.3); the functions named as callers are those
of QEMU hw/virtio/vhost-vdpa.c, hw/virtio/vhost.c, net/vhost-vdpa.c and of Linux drivers/vdpa/mlx5/net/mlx5_vnet.c.
"""

from __future__ import annotations

from typing import NamedTuple

from vdpa_lab.library import behaves
from vdpa_lab.machine.iova import ShadowLayout, ring_areas
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration import mlx5
from vdpa_lab.migration.builder import Thread, phrase
from vdpa_lab.migration.cvq_load import cvq_load
from vdpa_lab.migration.outline import Outline, memory
from vdpa_lab.model import Host, VdpaDevice

RAM_ASID = 0
CVQ_ASID = 1
CVQ_GROUP = 1
ACKNOWLEDGE_DRIVER, FEATURES_OK, DRIVER_OK = 0x3, 0x8, 0x4  # VIRTIO 1.3 §2.1 device status bits
BACKEND_FEATURES = 0x1E  # MSG_V2, BATCH, ASID, SUSPEND: what QEMU acknowledges
ENABLE = 1 << 32  # vhost_vring_state {index, num}: num is the upper half as printed
LISTENER = frozenset({"vhost_vdpa_listener_region_add", "vhost_vdpa_listener_region_del"})
UNMAPS = frozenset(  # callers that unmap shadow rings and the CVQ's buffers
    {"vhost_vdpa_svq_unmap_rings", "vhost_vdpa_svq_unmap_rings (CVQ)", "vhost_vdpa_net_cvq_stop"}
)
WILD = "*"  # a value that a scenario cannot know: a file descriptor, a ring position


class Rings(NamedTuple):
    """One host's view of one device: what its QEMU does, and where it maps which rings; guest memory apart."""

    device: VdpaDevice
    host: Host
    data_shadowed: bool
    layout: ShadowLayout


class Side(NamedTuple):
    """The same, and where guest memory is mapped."""

    rings: Rings
    memory: tuple[Run, ...]


def passthrough(of: Outline, host: Host) -> Side:
    """Guest rings given to the device, RAM at IOVA = GPA; only the CVQ is shadowed."""
    layout = ring_areas(of.device, data_shadowed=False)
    return Side(Rings(of.device, host, False, layout), memory(of, packed=False))


def shadowed(of: Outline, host: Host) -> Side:
    """Every virtqueue shadowed, RAM packed behind the shadow rings."""
    layout = ring_areas(of.device, data_shadowed=True)
    return Side(Rings(of.device, host, True, layout), memory(of, packed=True))


def _arg(value: int) -> str:
    return f"arg={value:#x}"


def _vring(index: int, num: int | str) -> str:
    return f"arg={WILD}:{index}" if num == WILD else _arg(num << 32 | index)


def _config_call(t: Thread, wanted: bool) -> None:
    t.ioctl("SET_CONFIG_CALL", f"arg={WILD}" if wanted else "arg=0xffffffff")


def map_memory(t: Thread, side: Side) -> None:
    """memory_listener_register: one UPDATE per section."""
    t.calling("vhost_vdpa_listener_region_add")
    for run in side.memory:
        t.update(RAM_ASID, run)


def unmap_memory(t: Thread, side: Side) -> None:
    """memory_listener_unregister: one INVALIDATE per section."""
    t.calling("vhost_vdpa_listener_region_del")
    for run in side.memory:
        t.invalidate(RAM_ASID, run)


def _add_driver(t: Thread) -> None:
    t.calling("vhost_vdpa_add_status")
    t.ioctl("GET_STATUS")
    t.ioctl("SET_STATUS", _arg(ACKNOWLEDGE_DRIVER))
    t.ioctl("GET_STATUS", _arg(ACKNOWLEDGE_DRIVER))


def _pair_notifiers(t: Thread, op: str) -> None:
    t.calling("vhost_vdpa_host_notifiers_init" if op == "map doorbells" else "vhost_vdpa_host_notifiers_uninit")
    t.qemu(op, "qemu.doorbell_page", 2)


def stop(t: Thread, side: Side) -> None:
    """vhost_net_stop of one device, on a kernel without VHOST_VDPA_SUSPEND: reset first, ask nothing."""
    early = behaves("reset-unregisters-listener", side.rings.host)
    _stop_device(t, side.rings.device)
    if early:
        unmap_memory(t, side)
    _stop_rings(t, side.rings)
    if not early:
        unmap_memory(t, side)
    _end_stop(t, side.rings)


@phrase
def _stop_device(t: Thread, device: VdpaDevice) -> None:
    t.calling("vhost_vdpa_suspend")
    t.reset()
    mlx5.reset(t, device)


@phrase
def _stop_rings(t: Thread, side: Rings) -> None:
    device = side.device
    for pair in range(device.queue_pairs):
        _pair_notifiers(t, "unmap doorbells")
        if side.data_shadowed:
            # A guest keeps its receive rings full: each posted buffer is in flight, and given back (vhost_svq_stop).
            posted = device.queue_size * (pair < device.pairs_in_use)
            t.calling("vhost_svq_stop").qemu("rewind shadow virtqueues", "ring.descriptor", posted)
            t.calling("vhost_vdpa_svq_unmap_rings")
            for area in (*side.layout.data[2 * pair], *side.layout.data[2 * pair + 1]):
                t.invalidate(RAM_ASID, area)
        t.calling("vhost_dev_stop")
        _config_call(t, wanted=False)
    if device.cvq:
        t.calling("vhost_vdpa_svq_unmap_rings (CVQ)")
        for area in side.layout.cvq:
            t.invalidate(RAM_ASID, area)
    t.calling("vhost_vdpa_reset_status")
    t.reset()
    _add_driver(t)


@phrase
def _end_stop(t: Thread, side: Rings) -> None:
    if side.device.cvq:
        t.calling("vhost_vdpa_net_cvq_stop")
        _config_call(t, wanted=False)
        for area in side.layout.buffers:
            t.invalidate(RAM_ASID, area)
    t.calling("vhost_dev_disable_notifiers")
    t.qemu("disable notifiers", "qemu.notifier", side.device.data_vqs + side.device.cvq)


def _guest_ring(t: Thread, index: int, entries: int, base: int | str) -> None:
    """One virtqueue given to the device as the guest laid it out."""
    t.calling("vhost_virtqueue_start")
    t.ioctl("SET_VRING_NUM", _vring(index, entries))
    t.ioctl("GET/SET_VRING_BASE", _vring(index, base))
    t.ioctl("SET_VRING_ADDR", _arg(index))
    t.ioctl("SET_VRING_KICK", _vring(index, WILD))


def _shadow_ring(t: Thread, index: int, areas: tuple[Run, Run], mapper: str) -> None:
    """One shadowed virtqueue: driver and device area mapped each on its own, by the function `mapper`."""
    t.calling("vhost_vdpa_svq_setup")
    t.ioctl("GET/SET_VRING_BASE", _vring(index, 0))
    t.ioctl("SET_VRING_KICK", _vring(index, WILD))
    t.ioctl("SET_VRING_CALL", _vring(index, WILD))
    t.calling(mapper)
    for area in areas:
        t.update(RAM_ASID, area)
    t.calling("vhost_vdpa_svq_setup")
    t.ioctl("SET_VRING_ADDR", _arg(index))


def _start_pair(t: Thread, side: Rings, pair: int) -> None:
    device, queues = side.device, (2 * pair, 2 * pair + 1)
    if side.data_shadowed:
        t.calling("vhost_virtqueue_start")
        for index in queues:
            t.ioctl("SET_VRING_NUM", _vring(index, device.queue_size))
    for index in queues:
        if side.data_shadowed:
            _shadow_ring(t, index, side.layout.data[index], "vhost_vdpa_svq_map_rings")
        else:
            _guest_ring(t, index, device.queue_size, WILD if pair < device.pairs_in_use else 0)
    _pair_notifiers(t, "map doorbells")
    t.calling("vhost_dev_start")
    _config_call(t, wanted=True)


def _start_cvq(t: Thread, side: Rings) -> None:
    t.calling("vhost_vdpa_net_cvq_start")
    for area in side.layout.buffers:
        t.update(RAM_ASID, area)
    if behaves("backend-features-reacked", side.host):
        t.ioctl("GET_BACKEND_FEATURES")
    t.calling("vhost_virtqueue_start")
    t.ioctl("SET_VRING_NUM", _vring(side.device.data_vqs, side.device.cvq_size))
    _shadow_ring(t, side.device.data_vqs, side.layout.cvq, "vhost_vdpa_svq_map_rings (CVQ)")


def start(t: Thread, side: Side, masked_calls: int, status: int) -> None:
    """vhost_net_start of one device. masked_calls: how often each data VQ's CALL is set before (guest notifiers).

    status: what the device shows before FEATURES_OK (ACKNOWLEDGE|DRIVER after a stop, 0 on a fresh destination).
    """
    _start_rings(t, side.rings, masked_calls, status)
    map_memory(t, side)
    _start_device(t, side.rings.device, status)


@phrase
def _start_rings(t: Thread, side: Rings, masked_calls: int, status: int) -> None:
    device = side.device
    t.calling("virtio_bus_set_host_notifier")
    t.qemu("enable notifiers", "qemu.notifier", device.data_vqs + device.cvq)
    t.calling("vhost_virtqueue_mask")
    for _ in range(masked_calls):
        for index in range(device.data_vqs):
            t.ioctl("SET_VRING_CALL", _vring(index, WILD))
    t.calling("vhost_dev_set_features")
    t.ioctl("GET/SET_FEATURES", _arg(device.negotiated_features))
    t.ioctl("GET_STATUS")
    t.ioctl("SET_STATUS", _arg(status | FEATURES_OK))
    t.ioctl("GET_STATUS", _arg(status | FEATURES_OK))
    if behaves("backend-features-reacked", side.host):
        t.ioctl("GET_BACKEND_FEATURES")
        t.ioctl("SET_BACKEND_FEATURES", _arg(BACKEND_FEATURES))
    for pair in range(device.queue_pairs):
        _start_pair(t, side, pair)
    if device.cvq:
        _start_cvq(t, side)


@phrase
def _start_device(t: Thread, device: VdpaDevice, status: int) -> None:
    t.calling("vhost_vdpa_dev_start")
    t.ioctl("GET_STATUS")
    t.ioctl("SET_STATUS", _arg(status | FEATURES_OK | DRIVER_OK))
    mlx5.driver_ok(t, device)
    t.ioctl("GET_STATUS", _arg(status | FEATURES_OK | DRIVER_OK))
    if device.cvq:
        _config_call(t, wanted=True)
        t.ioctl("SET_VRING_ENABLE", _arg(ENABLE | device.data_vqs))
        cvq_load(t, device)
    t.calling("vhost_vdpa_set_vring_ready")
    for index in range(device.data_vqs):
        t.ioctl("SET_VRING_ENABLE", _arg(ENABLE | index))
    mlx5.enable(t, device)
