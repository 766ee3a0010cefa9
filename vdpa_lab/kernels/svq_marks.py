"""The pages of the guest that a shadow virtqueue marks dirty: what the device wrote, and the used ring.

Source: QEMU hw/virtio/virtio.c (virtqueue_unmap_sg, virtqueue_fill, virtqueue_flush), system/physmem.c.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import set_range
from vdpa_lab.kernels.ring_layout import LOW16, U0, U1, U2, U4, U8, U16, U32
from vdpa_lab.kernels.svq_state import USED_RAM

U3, U6, U9, U12, U63 = map(np.uint64, (3, 6, 9, 12, 63))


@kernel(inline=True, counted=False)
def mark_bytes(words, summary, ram, count):
    """Set the pages of `count` bytes, one or more, from ram_addr `ram` on."""
    low, high = ram >> U12, (ram + count - U1) >> U12
    if low == high:
        words[low >> U6] |= U1 << (low & U63)
        if np.uint64(summary.size) > U0:
            summary[low >> U9 >> U6] |= U1 << ((low >> U9) & U63)
    else:
        set_range(words, summary, low, high + U1)


@kernel(inline=True, counted=False)
def mark_written(words, summary, book, kept, size, head, written):
    """Mark the pages of the first `written` bytes of the buffer at `head`, and no page that was not written.

    The chain's links in the book outlive its return to the free list, all but the last one's.
    """
    word, at, left = kept[head], head, written
    if word >> U16 == U1 << U16:  # nothing readable and one piece that is writable, which most buffers are
        left = min(written, kept[size + at + at + U1])
        if left != U0:
            mark_bytes(words, summary, kept[size + at + at], left)
        return
    for _ in range((word >> U16) & LOW16):
        at = book[at] & LOW16
    for _ in range(word >> U32):
        here = min(left, kept[size + at + at + U1])
        if here == U0:
            break
        mark_bytes(words, summary, kept[size + at + at], here)
        left -= here
        at = book[at] & LOW16


@kernel(inline=True, counted=False)
def mark_asked(q):
    """The page of the guest's used ring in which the device side asks for notifications, or for none."""
    event = U4 + U8 * q.guest[ring.SIZE] if q.guest[ring.FEATURES] & ring.EVENT_IDX else U0
    mark_bytes(q.words, q.summary, q.state[USED_RAM] + event, U2)


@kernel(inline=True, counted=False)
def mark_used(q, first, count):
    """The pages of the guest's used ring with its index and `count` entries from index `first` on."""
    mark_bytes(q.words, q.summary, q.state[USED_RAM] + U2, U2)
    at, left, entries = first & q.guest[ring.MASK], count, q.state[USED_RAM] + U4
    while left:
        here = min(left, q.guest[ring.SIZE] - at)
        mark_bytes(q.words, q.summary, entries + U8 * at, U8 * here)
        at, left = U0, left - here
