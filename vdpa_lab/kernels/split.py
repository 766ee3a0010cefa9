"""Split virtqueues (VIRTIO 1.3, 2.7) in a caller's bytes: layout, state, and the kernels of both sides.

    at = split.layout(256)                                # offsets of the three areas from the start of memory
    v = views(memory)                                     # m8, m16, m32, m64
    driver, shadow = split.state(memory, 256, *at[:3]), new_shadow(256)
    split.add_batch(v.m64, v.m16, driver, shadow, addr, length, outs, ins, heads, count)
    split.publish(v.m16, driver); split.need_notify(v.m16, driver)

Indices run freely modulo 2^16: they are computed wide and masked at each store and comparison. A kernel returns a
count, a yes or no, or a RingError, negated; whatever the other side wrote, nothing outside the arrays is touched, and
a queue stays as it was before the entry that is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels.split_add import add_batch, add_indirect
from vdpa_lab.kernels.split_device import need_interrupt, pop_batch, push_batch, push_in_order, want_available
from vdpa_lab.kernels.split_driver import get_batch, get_in_order, need_notify, publish, want_used

__all__ = [
    "Layout", "add_batch", "add_indirect", "get_batch", "get_in_order", "layout", "need_interrupt",
    "need_notify", "pop_batch", "publish", "push_batch", "push_in_order", "restart", "state", "want_available",
    "want_used",
]  # fmt: skip


class Layout(NamedTuple):
    """Offsets in bytes: descriptor table, available ring, used ring, and the first byte after them."""

    table: int
    avail: int
    used: int
    end: int


def layout(size: int, start: int = 0) -> Layout:
    """The areas one after the other from a 16-byte step on, each on its alignment (2.7): 16, 2 and 4 bytes.

    The event fields have their place whether or not they are in use, as the sizes of 2.7 have it.
    """
    avail = start + 16 * size
    used = -(-(avail + 6 + 2 * size) // 4) * 4
    return Layout(start, avail, used, used + 6 + 8 * size)


def state(
    memory: np.ndarray,
    size: int,
    table: int,
    avail: int,
    used: int,
    *,
    event_idx: bool = False,
    indirect: bool = False,
    in_order: bool = False,
    origin: int = 0,
    base: int = 0,
) -> np.ndarray:
    """One side's state of a new queue, uint64[STATE_WORDS]. Offsets in bytes into memory, whose first byte is `origin`.

    base: where both indices start, 0 to 65535. ValueError for a size, a place or an alignment that 2.7 forbids.
    """
    if not 1 <= size <= 1 << 15 or size & (size - 1):
        raise ValueError("the queue size is a power of two, at most 32768 (VIRTIO 1.3, 2.7)")
    areas = {
        "descriptor table": (table, 16 * size, 16),
        "available ring": (avail, 6 + 2 * size, 2),
        "used ring": (used, 6 + 8 * size, 4),
    }
    made = ring.new_state(memory, size, areas, event_idx=event_idx, indirect=indirect, in_order=in_order, origin=origin)
    restart(made, base)
    return made


def restart(queue: np.ndarray, base: int) -> None:
    """Start both indices of one side at base, 0 to 65535: what SET_VRING_BASE does for a device."""
    for word in (ring.NEXT_AVAIL, ring.AVAIL_TOLD, ring.NEXT_USED, ring.USED_TOLD):
        queue[word] = base & 0xFFFF
