"""The driver's side of a packed virtqueue (VIRTIO 1.3, 2.8). Import it through `packed`, which tells the conventions.

Arguments throughout: m16, m64 the views of memory; q the driver's state, uint64[STATE_WORDS]; shadow its private
book, uint64[2 * size], by buffer id. Buffers are elements addr (guest addresses) and length (bytes), uint64[], the
device-readable ones first.
"""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import acquire, full_fence, kernel, release
from vdpa_lab.kernels.packed_event import asked_for
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    AVAIL_TOLD, AVAIL_WRAP, DEVICE, DRIVER, FEATURES, FREE, NEXT_AVAIL, NEXT_USED, OLDEST, ROOM, SIZE, TABLE, USED_WRAP,
    BOTH, EVENT_DESC, EVENT_DISABLE, EVENT_ENABLE, EVENT_IDX, IN_ORDER, LOW16, LOW32, WRITE, U0, U1, U15, U32, U48,
)  # fmt: skip

NO_ROOM = -int(RingError.NO_ROOM)
OUT_OF_RANGE, NOT_OUTSTANDING = -int(RingError.USED_OUT_OF_RANGE), -int(RingError.USED_NOT_OUTSTANDING)


@kernel(inline=True, counted=False)
def need_notify(m16, q):
    """Whether the device is to be told of what became available since the last call (2.8.10, 2.8.21)."""
    full_fence()
    moved = q[AVAIL_TOLD]
    q[AVAIL_TOLD] = U0
    by_place = (q[FEATURES] & EVENT_IDX) != U0
    return asked_for(m16, q[DEVICE], q[SIZE], q[NEXT_AVAIL], q[AVAIL_WRAP], moved, by_place)


@kernel(inline=True, counted=False)
def is_used(m64, q, slot, wrap):
    """Whether the descriptor at `slot` is marked used in turn `wrap` (2.8.1)."""
    marks = (m64[q[TABLE] + slot + slot + U1] >> U48) & BOTH
    return marks == (BOTH if wrap else U0) and q[ROOM] != q[SIZE]


@kernel(inline=True, counted=False)
def want_used(m16, m64, q, wanted, after):
    """Ask for a notification of used buffers, or for none (2.8.10).

    after: 0 for each one; with VIRTIO_F_EVENT_IDX also 1 to size, for when that many more descriptors are used.
    Returns whether a used buffer is there already: then look again, the notification may never come.
    """
    size, slot, wrap = q[SIZE], q[NEXT_USED], q[USED_WRAP]
    far = np.uint64(after)
    by_place = far != U0 and far <= size and (q[FEATURES] & EVENT_IDX) != U0
    if wanted and by_place:
        target = slot + far - U1
        turned = target >= size
        m16[q[DRIVER]] = (target - size if turned else target) | (wrap ^ (U1 if turned else U0)) << U15
        release()
    m16[q[DRIVER] + U1] = (EVENT_DESC if by_place else EVENT_ENABLE) if wanted else EVENT_DISABLE
    full_fence()
    return is_used(m64, q, slot, wrap)


@kernel(counted=False)
def get_in_order(m64, q, shadow, ids, lens, most):
    """`get_batch` of an in-order queue: the device may write one used descriptor for a batch (2.8.8).

    Buffers before the last of a batch count as used completely: their lens are all that the device may write. A batch
    is taken whole: NO_ROOM if it has more than `most` buffers.
    """
    size = q[SIZE]
    limit = min(np.uint64(most), np.uint64(ids.size), np.uint64(lens.size))
    done, error = U0, 0
    while done < limit and is_used(m64, q, q[NEXT_USED], q[USED_WRAP]):
        acquire()
        word = m64[q[TABLE] + q[NEXT_USED] + q[NEXT_USED] + U1]
        final = (word >> U32) & LOW16
        if final >= size or (shadow[final] >> U32) == U0:
            error = OUT_OF_RANGE if final >= size else NOT_OUTSTANDING
            break
        buffer, length = q[OLDEST], U1
        while buffer != final and length <= limit - done:
            buffer = shadow[buffer] & LOW16
            length += U1
        if length > limit - done:
            error = NO_ROOM
            break
        while length:
            buffer = q[OLDEST]
            slots = shadow[buffer] >> U32
            ids[done] = buffer
            wrote = word & LOW32 if (word >> U48) & WRITE else U0
            lens[done] = wrote if length == U1 else shadow[size + buffer]
            shadow[buffer] &= LOW16
            turned = q[NEXT_USED] + slots >= size
            q[OLDEST], q[ROOM] = shadow[buffer], q[ROOM] + slots
            q[NEXT_USED] = q[NEXT_USED] + slots - size if turned else q[NEXT_USED] + slots
            q[USED_WRAP] ^= U1 if turned else U0
            done, length = done + U1, length - U1
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def _get_singles(m64, ring, size, shadow, ids, lens, done, most, free, marks):
    """Take back up to `most` used buffers of one descriptor, from the 8-byte step `ring` on; (how many, next free).

    The next slot is known before a buffer's book entry is read. Stops before anything else.
    """
    step = U0
    while step < most:
        word = m64[ring + step + step + U1]
        buffer = (word >> U32) & LOW16
        if (word >> U48) & BOTH != marks or buffer >= size or shadow[buffer] >> U32 != U1:
            break
        ids[done + step] = buffer
        lens[done + step] = word & LOW32 if (word >> U48) & WRITE else U0
        shadow[buffer] = free
        free, step = buffer, step + U1
    return step, free


@kernel(inline=True, counted=False)
def get_batch(m64, q, shadow, ids, lens, most):
    """Take back up to `most` used buffers (2.8.22) and free their descriptors; how many.

    ids: receives buffer ids, lens: bytes written by the device (0 without the write flag, 2.8.4). Stops before the
    first wrong descriptor, and returns its error if it is the first one: USED_OUT_OF_RANGE, USED_NOT_OUTSTANDING.
    """
    if (q[FEATURES] & IN_ORDER) != U0:
        return np.int64(get_in_order(m64, q, shadow, ids, lens, most))
    size, table, slot, free, room = q[SIZE], q[TABLE], q[NEXT_USED], q[FREE], q[ROOM]
    marks = BOTH if q[USED_WRAP] else U0
    limit = min(np.uint64(most), np.uint64(ids.size), np.uint64(lens.size))
    done, error = U0, 0
    while done < limit and room != size:
        end, ring = min(limit - done, size - slot, size - room), table + slot + slot
        run, free = _get_singles(m64, ring, size, shadow, ids, lens, done, end, free, marks)
        room, slot, done = room + run, slot + run, done + run
        if slot == size:
            slot, marks = U0, marks ^ BOTH
        if run == end:
            continue
        word = m64[table + slot + slot + U1]
        if ((word >> U48) & BOTH) != marks:
            break
        buffer = (word >> U32) & LOW16
        if buffer >= size:
            error = OUT_OF_RANGE
            break
        slots = shadow[buffer] >> U32
        if slots == U0:
            error = NOT_OUTSTANDING
            break
        ids[done] = buffer
        lens[done] = word & LOW32 if (word >> U48) & WRITE else U0
        shadow[buffer] = free
        free, room, slot, done = buffer, room + slots, slot + slots, done + U1
        if slot >= size:
            slot, marks = slot - size, marks ^ BOTH
    acquire()
    q[FREE], q[ROOM], q[NEXT_USED], q[USED_WRAP] = free, room, slot, U1 if marks else U0
    return np.int64(done) if done else np.int64(error)
