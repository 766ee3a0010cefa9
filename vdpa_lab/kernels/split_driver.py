"""The driver's side of a split virtqueue (VIRTIO 1.3, 2.7). Import it through `split`, which tells the conventions.

Arguments throughout: m8, m16, m32, m64 the views of memory; q the driver's state, uint64[STATE_WORDS]; shadow its
private book, uint64[2 * size]. Buffers are elements addr (guest addresses) and length (bytes), uint64[], the
device-readable ones first.
"""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels._jit import acquire, full_fence, kernel, release
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    AVAIL_TOLD, DEVICE, DRIVER, FEATURES, FREE, MASK, NEXT_AVAIL, NEXT_USED, OLDEST, ROOM, SIZE,
    EVENT_IDX, IN_ORDER, LOW16, QUIET, ROUND16, U0, U1, U2, U4, U16, U32,
)  # fmt: skip

NO_ROOM, USED_TOO_FAR = -int(RingError.NO_ROOM), -int(RingError.USED_TOO_FAR)
OUT_OF_RANGE, NOT_OUTSTANDING = -int(RingError.USED_OUT_OF_RANGE), -int(RingError.USED_NOT_OUTSTANDING)


@kernel(inline=True, counted=False)
def publish(m16, q):
    """Expose all placed buffers to the device: a barrier, then the available index (2.7.13.3)."""
    release()
    m16[q[DRIVER] + U1] = q[NEXT_AVAIL] & LOW16


@kernel(inline=True, counted=False)
def need_notify(m16, q):
    """Whether the device is to be told of what was published since the last call (2.7.10.1, 2.7.13.4)."""
    full_fence()
    new, old = q[NEXT_AVAIL], q[AVAIL_TOLD]
    q[AVAIL_TOLD] = new
    if (q[FEATURES] & EVENT_IDX) == U0:
        return (np.uint64(m16[q[DEVICE]]) & QUIET) == U0
    return ring.passed(np.uint64(m16[q[DEVICE] + U2 + U4 * q[SIZE]]), new, old)


@kernel(inline=True, counted=False)
def want_used(m16, q, wanted, after):
    """Ask for a notification once `after` more buffers are used (1: the next), or for none (2.7.7.1).

    Returns whether used buffers are there already: then look again, the notification may never come.
    """
    last = q[NEXT_USED]
    if (q[FEATURES] & EVENT_IDX) == U0:
        m16[q[DRIVER]] = U0 if wanted else QUIET
    else:
        ahead = np.uint64(after) - U1 if wanted else LOW16  # a place just passed is not passed again for 2^16 buffers
        m16[q[DRIVER] + U2 + q[SIZE]] = (last + ahead) & LOW16
    full_fence()
    return np.uint64(m16[q[DEVICE] + U1]) != last


@kernel(counted=False)
def get_in_order(m32, m16, q, shadow, ids, lens, most):
    """`get_batch` of an in-order queue: the device may write one entry for a batch, at the batch's first place (2.7.9).

    Buffers before the last of a batch count as used completely: their lens are all that the device may write. A batch
    is taken whole: NO_ROOM if it has more than `most` buffers.
    """
    size, mask, entries = q[SIZE], q[MASK], (q[DEVICE] + U2) // U2
    room, last, oldest = q[ROOM], q[NEXT_USED], q[OLDEST]
    pending = (np.uint64(m16[q[DEVICE] + U1]) + ROUND16 - last) & LOW16
    if pending > ((q[NEXT_AVAIL] + ROUND16 - last) & LOW16):
        return np.int64(USED_TOO_FAR)
    acquire()
    limit = min(np.uint64(most), np.uint64(ids.size), np.uint64(lens.size))
    done, error = U0, 0
    while done < pending and done < limit:
        at = entries + U2 * ((last + done) & mask)
        final = np.uint64(m32[at])
        if final >= size or (shadow[final] >> U32) == U0:
            error = OUT_OF_RANGE if final >= size else NOT_OUTSTANDING
            break
        head, length = oldest, U1
        while head != final and length <= pending - done:
            head = (head + (shadow[head] >> U32)) & mask
            length += U1
        if length > pending - done or length > limit - done:
            error = USED_TOO_FAR if length > pending - done else NO_ROOM
            break
        while length:
            ids[done] = oldest
            lens[done] = np.uint64(m32[at + U1]) if length == U1 else shadow[size + oldest]
            room += shadow[oldest] >> U32
            following = (oldest + (shadow[oldest] >> U32)) & mask
            shadow[oldest] &= LOW16
            oldest, done, length = following, done + U1, length - U1
    q[ROOM], q[NEXT_USED], q[OLDEST] = room, (last + done) & LOW16, oldest
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def get_batch(m32, m16, q, shadow, ids, lens, most):
    """Take back up to `most` used buffers (2.7.14) and free their descriptors; how many.

    ids: receives heads, lens: bytes written by the device. Stops before the first wrong entry, and returns its error
    if it is the first one: USED_TOO_FAR, USED_OUT_OF_RANGE, USED_NOT_OUTSTANDING.
    """
    size, mask, entries = q[SIZE], q[MASK], (q[DEVICE] + U2) // U2
    if (q[FEATURES] & IN_ORDER) != U0:
        return np.int64(get_in_order(m32, m16, q, shadow, ids, lens, most))
    free, room, last = q[FREE], q[ROOM], q[NEXT_USED]
    pending = (np.uint64(m16[q[DEVICE] + U1]) + ROUND16 - last) & LOW16
    if pending > ((q[NEXT_AVAIL] + ROUND16 - last) & LOW16):
        return np.int64(USED_TOO_FAR)
    acquire()
    limit = min(np.uint64(most), pending, np.uint64(ids.size), np.uint64(lens.size))
    done, error = U0, 0
    while done < limit:
        at = entries + U2 * ((last + done) & mask)
        head = np.uint64(m32[at])
        if head >= size:
            error = OUT_OF_RANGE
            break
        word = shadow[head]
        if (word >> U32) == U0:
            error = NOT_OUTSTANDING
            break
        ids[done] = head
        lens[done] = np.uint64(m32[at + U1])
        shadow[head] = word & LOW16
        shadow[(word >> U16) & LOW16] = free  # the whole chain goes to the front of the free list
        free = head
        room += word >> U32
        done += U1
    q[FREE], q[ROOM], q[NEXT_USED] = free, room, (last + done) & LOW16
    return np.int64(done) if done else np.int64(error)
