"""Rings read back from their bytes: what VIRTIO 1.3 (2.7, 2.8) lays out in memory, and no driver's private book.

Indices that live in no ring (a device's last_avail_idx, a driver's last used index, the slots and wrap counters of a
packed queue) come from the state of the side that keeps them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import ring_layout as ring

FLAGS = (("NEXT", ring.NEXT), ("WRITE", ring.WRITE), ("INDIRECT", ring.INDIRECT))
PACKED_FLAGS = (*FLAGS, ("AVAIL", ring.AVAIL), ("USED", ring.USED))


class Descriptor(NamedTuple):
    """16 bytes: a guest address or IOVA, bytes, names of flags, and the next descriptor (packed: the buffer id)."""

    addr: int
    length: int
    flags: tuple[str, ...]
    link: int


class SplitRing(NamedTuple):
    """A split virtqueue. avail: heads; used: (head, bytes written); both by slot, also the slots that are stale.

    avail_idx, used_idx: the indices in memory. last_avail, last_used: up to where the device took and the driver
    took back; both run freely modulo 2^16.
    """

    descriptors: tuple[Descriptor, ...]
    avail_flags: int
    avail_idx: int
    avail: tuple[int, ...]
    used_flags: int
    used_idx: int
    used: tuple[tuple[int, int], ...]
    last_avail: int
    last_used: int

    @property
    def waiting(self) -> int:
        """Buffers that are available and not taken."""
        return (self.avail_idx - self.last_avail) & 0xFFFF

    @property
    def inuse(self) -> int:
        """Buffers that were taken and not used."""
        return (self.last_avail - self.used_idx) & 0xFFFF


class Place(NamedTuple):
    """A place in a packed ring: slot and wrap counter."""

    slot: int
    wrap: int


class PackedRing(NamedTuple):
    """A packed virtqueue; a place for each of the four cursors."""

    descriptors: tuple[Descriptor, ...]
    driver_avail: Place
    device_avail: Place
    device_used: Place
    driver_used: Place


def _descriptors(memory: np.ndarray, table: int, size: int, packed: bool) -> tuple[Descriptor, ...]:
    words = memory[table : table + 16 * size].view(np.uint64)
    names, places = (PACKED_FLAGS, (48, 32)) if packed else (FLAGS, (32, 48))
    found = []
    for addr, word in zip(map(int, words[::2]), map(int, words[1::2]), strict=True):
        flags, link = (word >> place & 0xFFFF for place in places)
        found.append(Descriptor(addr, word & 0xFFFF_FFFF, tuple(name for name, bit in names if flags & int(bit)), link))
    return tuple(found)


def split_ring(memory: np.ndarray, driver: np.ndarray, device: np.ndarray) -> SplitRing:
    """The split queue in memory, uint8[], whose two sides have these states, uint64[STATE_WORDS]."""
    size, table, avail, used = (int(driver[word]) for word in (ring.SIZE, ring.TABLE, ring.DRIVER, ring.DEVICE))
    half, word = memory.view(np.uint16), memory.view(np.uint32)
    entries = word[used // 2 + 1 : used // 2 + 1 + 2 * size]
    return SplitRing(
        _descriptors(memory, 8 * table, size, packed=False),
        int(half[avail]),
        int(half[avail + 1]),
        tuple(map(int, half[avail + 2 : avail + 2 + size])),
        int(half[used]),
        int(half[used + 1]),
        tuple(zip(map(int, entries[::2]), map(int, entries[1::2]), strict=True)),
        int(device[ring.NEXT_AVAIL]),
        int(driver[ring.NEXT_USED]),
    )


def packed_ring(memory: np.ndarray, driver: np.ndarray, device: np.ndarray) -> PackedRing:
    """The packed queue in memory, uint8[], whose two sides have these states, uint64[STATE_WORDS]."""
    available, used = (ring.NEXT_AVAIL, ring.AVAIL_WRAP), (ring.NEXT_USED, ring.USED_WRAP)
    return PackedRing(
        _descriptors(memory, 8 * int(driver[ring.TABLE]), int(driver[ring.SIZE]), packed=True),
        *(
            Place(int(side[slot]), int(side[wrap]))
            for side, (slot, wrap) in ((driver, available), (device, available), (device, used), (driver, used))
        ),
    )
