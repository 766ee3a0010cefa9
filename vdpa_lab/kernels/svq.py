"""The shadow virtqueue of QEMU (hw/virtio/vhost-shadow-virtqueue.c): one queue's guest ring and shadow ring.

    maps = svq_translate.directory([(gpa, size, iova), ...])
    q = svq.new(memory, 256, table, avail, used, maps, words, origin=gpa_of_memory)
    svq.forward_avail(q)       # the guest kicked: its buffers reach the device
    svq.forward_used(q)        # the device called: used buffers reach the guest, the pages written are marked
    base = svq.stop(q)         # what the guest has not got back becomes available again; svq.start(q, base) goes on

The guest's ring is taken with the device's side of `split`, the shadow ring is driven with the driver's side; it
starts at index 0 while the guest's indices run on. A kernel returns a count or, negated, a RingError; or an error of
`svq_translate`, or NO_BITMAP. A wrong entry stays where it is, all before it was forwarded, and notifications stay
off: QEMU forgets a wrong buffer of the guest, and steps over a wrong entry of the device.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels import split, svq_translate
from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.ring_errors import raised
from vdpa_lab.kernels.ring_layout import LOW16, ROUND16, U0, U1
from vdpa_lab.kernels.svq_forward import forward_burst
from vdpa_lab.kernels.svq_marks import mark_asked, mark_used, mark_written
from vdpa_lab.kernels.svq_state import (
    CALLS,
    DESCRIPTORS,
    FORWARDED,
    KICKS,
    PARKED,
    RETURNED,
    Shadow,
    layout,
    new,
    start,
)  # fmt: skip

__all__ = [
    "CALLS", "DESCRIPTORS", "ERRORS", "FORWARDED", "KICKS", "NO_BITMAP", "PARKED", "RETURNED", "Shadow", "checked",
    "forward_avail", "forward_used", "layout", "new", "start", "stop",
]  # fmt: skip

U6, U15 = np.uint64(6), np.uint64(15)
NO_BITMAP = -103
ERRORS = {**svq_translate.ERRORS, NO_BITMAP: "the migration bitmap is smaller than the guest's memory"}


def checked(result: int) -> int:
    """The result of a kernel, or ValueError in words if it is an error value."""
    if result in ERRORS:
        raise ValueError(ERRORS[result])
    return raised(result)


@kernel(inline=True, counted=False)
def _forward_avail(q):
    total = np.int64(0)
    q.state[PARKED] = U0
    while True:
        split.want_available(q.g16, q.guest, False)
        mark_asked(q)
        while True:
            added = forward_burst(q)
            if added <= 0:
                break
            total += added
        if added < 0:
            return added
        if q.state[PARKED]:
            return total
        if not split.want_available(q.g16, q.guest, True):
            return total


@kernel(inline=True, counted=False)
def _forward_used(q, retry):
    guest, driver, total = q.guest, q.driver, np.int64(0)
    while True:
        split.want_used(q.s16, driver, False, 1)
        got = split.get_batch(q.s32, q.s16, driver, q.book, q.ids, q.length, driver[ring.SIZE])
        if got < 0:
            return got
        count, index = np.uint64(got), guest[ring.NEXT_USED]
        for each in range(count):
            word = q.kept[q.ids[each]]
            q.heads[each] = word & LOW16
            if word >> ring.U32:
                mark_written(q.words, q.summary, q.book, q.kept, driver[ring.SIZE], q.ids[each], q.length[each])
        split.push_batch(q.g32, q.g16, guest, q.heads, q.length, count)
        mark_used(q, index, count)
        q.state[RETURNED] += count
        q.state[CALLS] += U1  # QEMU calls the guest whether or not it asked
        total += got
        if retry and q.state[PARKED]:
            added = _forward_avail(q)
            if added < 0:
                return added
        if not split.want_used(q.s16, driver, True, 1):
            return total


@kernel(inline=True, counted=False)
def _bitmap_fits(q):
    pages, lines = q.maps[svq_translate.PAGES], np.uint64(q.summary.size)
    return (pages <= np.uint64(q.words.size) << U6) & ((lines == U0) | (pages <= lines << U15))


@kernel(inline=True, counted=False)
def forward_avail(q):
    """Forward what the guest made available until nothing is left or the next buffer is parked; how many buffers.

    vhost_handle_guest_kick: each buffer is published on its own, with a barrier and a kick of its own.
    """
    return _forward_avail(q) if _bitmap_fits(q) else np.int64(NO_BITMAP)


@kernel(inline=True, counted=False)
def forward_used(q):
    """Return what the device used, mark the pages it wrote, try the parked buffer again; how many (vhost_svq_flush)."""
    return _forward_used(q, True) if _bitmap_fits(q) else np.int64(NO_BITMAP)


@kernel(counted=False)
def stop(q):
    """Return what is used, then make one buffer available again for each that is not (vhost_svq_stop); the new base.

    virtqueue_unpop only steps the guest's last_avail_idx back, once for each buffer outstanding: right if the device
    used them in order. Otherwise the guest's ring offers again the heads it already got back, and not the others.
    """
    if not _bitmap_fits(q):
        return np.int64(NO_BITMAP)
    returned = _forward_used(q, False)
    if returned < 0:
        return returned
    held = (q.driver[ring.NEXT_AVAIL] + ROUND16 - q.driver[ring.NEXT_USED]) & LOW16
    q.guest[ring.NEXT_AVAIL] = (q.guest[ring.NEXT_AVAIL] + ROUND16 - held) & LOW16
    q.state[PARKED] = U0
    return np.int64(q.guest[ring.NEXT_AVAIL])
