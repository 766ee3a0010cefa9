"""Event suppression of packed virtqueues (VIRTIO 1.3, 2.8.10), the same for both sides."""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.ring_layout import EVENT_DESC, EVENT_DISABLE, U0, U1, U3, U15

SLOT = np.uint64(0x7FFF)


@kernel(inline=True, counted=False)
def asked_for(m16, event, size, place, wrap, moved, by_place):
    """Whether the suppression structure at 2-byte step `event` asks for a notification after `moved` descriptors.

    The last of them stands before slot `place` of turn `wrap` (2.8.10, 2.8.14); by_place: VIRTIO_F_EVENT_IDX is on.
    The reserved value 3, and 2 without the feature, count as enabled: a notification too many does no harm.
    """
    flags, where = np.uint64(m16[event + U1]) & U3, np.uint64(m16[event])
    if flags == EVENT_DISABLE:
        return False
    if flags != EVENT_DESC or not by_place:
        return True
    target = (where & SLOT) + (size if (where >> U15) == wrap else U0)  # as if this turn began at `size`
    return target < place + size and target + moved >= place + size
