"""Packed virtqueues (VIRTIO 1.3, 2.8) in a caller's bytes: layout, state, and the kernels of both sides.

    at = packed.layout(100)                               # any size up to 32768
    v = views(memory)                                     # m8, m16, m32, m64
    driver, shadow = packed.state(memory, 100, *at[:3]), new_shadow(100)
    packed.add_batch(v.m64, driver, shadow, addr, length, outs, ins, ids, count)
    packed.need_notify(v.m16, driver)

A place in the ring is a slot and a wrap counter. A kernel returns a count, a yes or no, or a RingError, negated;
whatever the other side wrote, nothing outside the arrays is touched, and a queue stays as it was before the
descriptor that is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels.packed_add import add_batch, add_indirect
from vdpa_lab.kernels.packed_device import need_interrupt, pop_batch, push_batch, push_in_order, want_available
from vdpa_lab.kernels.packed_driver import get_batch, get_in_order, need_notify, want_used

__all__ = [
    "Layout", "add_batch", "add_indirect", "get_batch", "get_in_order", "layout", "need_interrupt", "need_notify",
    "pop_batch", "push_batch", "push_in_order", "restart", "state", "want_available", "want_used",
]  # fmt: skip


class Layout(NamedTuple):
    """Offsets in bytes: descriptor ring, driver and device event suppression, and the first byte after them."""

    table: int
    driver: int
    device: int
    end: int


def layout(size: int, start: int = 0) -> Layout:
    """The areas one after the other from a 16-byte step on; alignments 16, 4 and 4 bytes (2.8.10.1)."""
    driver = start + 16 * size
    return Layout(start, driver, driver + 4, driver + 8)


def state(
    memory: np.ndarray,
    size: int,
    table: int,
    driver: int,
    device: int,
    *,
    event_idx: bool = False,
    indirect: bool = False,
    in_order: bool = False,
    origin: int = 0,
    base: int = 1 << 15,
) -> np.ndarray:
    """One side's state of a new queue, uint64[STATE_WORDS]. Offsets in bytes into memory, whose first byte is `origin`.

    base: as of `restart`, for both directions. ValueError for a size, a place or an alignment that 2.8 forbids.
    """
    if not 1 <= size <= 1 << 15:
        raise ValueError("the queue size is 1 to 32768 (VIRTIO 1.3, 2.8)")
    areas = {
        "descriptor ring": (table, 16 * size, 16),
        "driver event suppression": (driver, 4, 4),
        "device event suppression": (device, 4, 4),
    }
    made = ring.new_state(memory, size, areas, event_idx=event_idx, indirect=indirect, in_order=in_order, origin=origin)
    restart(made, base, base)
    return made


def restart(queue: np.ndarray, available: int, used: int) -> None:
    """Start one side at these places: slot in bits 0-14, wrap counter in bit 15; ValueError beyond the ring."""
    if max(available & 0x7FFF, used & 0x7FFF) >= queue[ring.SIZE]:
        raise ValueError("a slot beyond the ring")
    queue[ring.NEXT_AVAIL], queue[ring.AVAIL_WRAP] = available & 0x7FFF, available >> 15 & 1
    queue[ring.NEXT_USED], queue[ring.USED_WRAP] = used & 0x7FFF, used >> 15 & 1
    queue[ring.AVAIL_TOLD] = queue[ring.USED_TOLD] = queue[ring.TAKEN] = 0
