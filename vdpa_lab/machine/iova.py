"""QEMU's IOVA layout: identity in passthrough, packed first-fit from 0x1000 when the device is shadowed.

Source: QEMU util/iova-tree.c, hw/virtio/vhost-vdpa.c, hw/virtio/vhost-shadow-virtqueue.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from vdpa_lab.machine.memory import Run, memory_runs, page_run
from vdpa_lab.machine.sections import sections
from vdpa_lab.model import Guest, VdpaDevice
from vdpa_lab.units import PAGE_SIZE

FIRST_IOVA = PAGE_SIZE  # vhost_iova_tree_new: the range begins at max(iova_first, iova_min_addr), a host page


def _page_up(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def driver_area(entries: int) -> int:
    """Bytes that QEMU maps for descriptor table and avail ring of a split ring (vhost_svq_driver_area_size)."""
    return _page_up(16 * entries + 4 + 2 * entries + 2)


def device_area(entries: int) -> int:
    """Bytes that QEMU maps for the used ring of a split ring (vhost_svq_device_area_size)."""
    return _page_up(4 + 8 * entries + 2)


class ShadowLayout(NamedTuple):
    """Where the shadow virtqueues stand: (driver, device) area per data VQ, the CVQ's areas, its two buffers."""

    data: tuple[tuple[Run, Run], ...]
    cvq: tuple[Run, Run]
    buffers: tuple[Run, Run]
    end: int


@lru_cache(maxsize=64)
def ring_areas(device: VdpaDevice, data_shadowed: bool) -> ShadowLayout:
    """The areas in QEMU's allocation order: data VQs (when shadowed), CVQ buffers, CVQ rings."""
    at = FIRST_IOVA

    def take(size: int, perm: str) -> Run:
        nonlocal at
        at += size
        return page_run(at - size, size, perm)

    def rings(entries: int) -> tuple[Run, Run]:
        return take(driver_area(entries), "ro"), take(device_area(entries), "rw")

    data = tuple(rings(device.queue_size) for _ in range(device.data_vqs)) if data_shadowed else ()
    buffers = (take(PAGE_SIZE, "ro"), take(PAGE_SIZE, "rw"))
    return ShadowLayout(data, rings(device.cvq_size), buffers, at)


@lru_cache(maxsize=64)
def identity_memory(guest: Guest) -> tuple[Run, ...]:
    """Guest memory in passthrough: IOVA = GPA."""
    mapped = sections(guest)
    return memory_runs(guest, mapped, tuple(each.gpa for each in mapped))


@lru_cache(maxsize=64)
def packed_memory(guest: Guest, start: int) -> tuple[Run, ...]:
    """Guest memory behind the rings in SVQ mode: sections in GPA order, packed with no gaps from `start`."""
    mapped, iovas = sections(guest), []
    for each in mapped:
        iovas.append(start)
        start += each.size
    return memory_runs(guest, mapped, tuple(iovas))


def shadow_layout(guest: Guest, device: VdpaDevice) -> tuple[ShadowLayout, tuple[Run, ...]]:
    """Rings and guest memory in SVQ mode, all in one address space."""
    rings = ring_areas(device, data_shadowed=True)
    start = rings.end if device.cvq else rings.buffers[0].iova
    return rings, packed_memory(guest, start)


def steady_memory(guest: Guest, device: VdpaDevice) -> tuple[Run, ...]:
    """Guest memory as a device has it mapped while nothing migrates."""
    return shadow_layout(guest, device)[1] if device.svq == "on" else identity_memory(guest)
