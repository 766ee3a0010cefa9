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
    AVAIL_TOLD, DEVICE, DRIVER, FEATURES, FREE, MASK, NEXT_AVAIL, NEXT_USED, OLDEST, ROOM, SIZE, TABLE,
    EVENT_IDX, FOUR_GIB, IN_ORDER, INDIRECT, INDIRECT_DESC, LOW16, LOW32, NEXT, QUIET, ROUND16, WRITE,
    U0, U1, U2, U4, U8, U15, U16, U32, U33, U48,
)  # fmt: skip

EMPTY_CHAIN, RING_FULL, NO_ROOM = -int(RingError.EMPTY_CHAIN), -int(RingError.RING_FULL), -int(RingError.NO_ROOM)
ZERO_LENGTH, CHAIN_TOO_BIG = -int(RingError.ZERO_LENGTH), -int(RingError.CHAIN_TOO_BIG)
CHAIN_TOO_LONG, TABLE_MISPLACED = -int(RingError.CHAIN_TOO_LONG), -int(RingError.TABLE_MISPLACED)
NOT_NEGOTIATED = -int(RingError.INDIRECT_NOT_NEGOTIATED)
USED_TOO_FAR, OUT_OF_RANGE = -int(RingError.USED_TOO_FAR), -int(RingError.USED_OUT_OF_RANGE)
NOT_OUTSTANDING = -int(RingError.USED_NOT_OUTSTANDING)
ORIGIN, BYTES = ring.ORIGIN, ring.BYTES


@kernel(inline=True, counted=False)
def _chain(m64, table, shadow, addr, length, first, readable, total, free):
    """Write `total` elements from place `first` on to the free descriptors; (error or 0, next free, last, writable)."""
    at, tail, step, writable, everything, wrong = free, free, U0, U0, U0, False
    while step < total:
        here = length[first + step]
        following = shadow[at] & LOW16
        flags = WRITE if step >= readable else U0
        writable += here if step >= readable else U0
        wrong |= here == U0 or here > LOW32
        everything += here
        m64[table + at + at] = addr[first + step]
        step += U1
        m64[table + at + at + U1] = here & LOW32 | (flags | (NEXT if step < total else U0)) << U32 | following << U48
        tail, at = at, following
    return ZERO_LENGTH if wrong else CHAIN_TOO_BIG if everything > FOUR_GIB else 0, at, tail, writable


@kernel(inline=True, counted=False)
def add_batch(m64, m16, q, shadow, addr, length, outs, ins, heads, count):
    """Place up to `count` buffers in the table and the available ring, unpublished (2.7.13.1, 2.7.13.2); their number.

    outs, ins: elements of each buffer that the device reads and writes; elements of all buffers follow each other.
    heads: receives each buffer's head. Stops before the first buffer that is wrong or finds no room, and returns the
    error if that is the first one: EMPTY_CHAIN, RING_FULL, NO_ROOM, ZERO_LENGTH (or above 32 bits), CHAIN_TOO_BIG.
    """
    size, mask, table, ring16 = q[SIZE], q[MASK], q[TABLE], q[DRIVER] + U2
    in_order = (q[FEATURES] & IN_ORDER) != U0
    free, room, index = q[FREE], q[ROOM], q[NEXT_AVAIL]
    most = min(np.uint64(count), np.uint64(outs.size), np.uint64(ins.size), np.uint64(heads.size))
    elements = min(np.uint64(addr.size), np.uint64(length.size))
    first, done, error = U0, U0, 0
    while done < most:
        n_out, n_in, head = outs[done], ins[done], free
        here = length[first] if first < elements else U0
        if n_in <= U1 and n_out == n_in ^ U1 and room != U0 and here != U0 and here <= LOW32:  # most are one descriptor
            total, following = U1, shadow[head] & LOW16
            m64[table + head + head] = addr[first]
            m64[table + head + head + U1] = here | n_in << U33 | following << U48
            tail, writable = head, here if n_in else U0
        else:
            if n_out > room or n_in > room - n_out:
                error = RING_FULL
                break
            total = n_out + n_in
            if total == U0 or total > elements - first:
                error = EMPTY_CHAIN if total == U0 else NO_ROOM
                break
            error, following, tail, writable = _chain(m64, table, shadow, addr, length, first, n_out, total, free)
            if error:
                break
        shadow[head] = shadow[head] & LOW16 | tail << U16 | total << U32
        if in_order:
            shadow[size + head] = writable
        m16[ring16 + (index & mask)] = head & LOW16
        heads[done] = head
        index, free, room, first, done = index + U1, following, room - total, first + total, done + U1
    q[FREE], q[ROOM], q[NEXT_AVAIL] = free, room, index & LOW16
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def add_indirect(m64, m16, q, shadow, addr, length, n_out, n_in, place):
    """Place one buffer with its elements in an indirect table at byte offset `place` of memory (2.7.5.3); its head.

    n_out, n_in: its elements that the device reads and writes. The table stays the buffer's until it is used. Errors as
    in `add_batch`, and INDIRECT_NOT_NEGOTIATED, CHAIN_TOO_LONG, TABLE_MISPLACED (outside memory or off a 16-byte step).
    """
    readable, written, start = np.uint64(n_out), np.uint64(n_in), np.uint64(place)
    size, table, head, index = q[SIZE], q[TABLE], q[FREE], q[NEXT_AVAIL]
    if (q[FEATURES] & INDIRECT_DESC) == U0:
        return np.int64(NOT_NEGOTIATED)
    if readable > size or written > size - readable:
        return np.int64(CHAIN_TOO_LONG)
    if q[ROOM] == U0:
        return np.int64(RING_FULL)
    total = readable + written
    if total == U0 or total > np.uint64(addr.size) or total > np.uint64(length.size):
        return np.int64(EMPTY_CHAIN if total == U0 else NO_ROOM)
    if start & U15 or start > q[BYTES] or (total << U4) > q[BYTES] - start:
        return np.int64(TABLE_MISPLACED)
    step, at, writable, everything = U0, start // U8, U0, U0
    while step < total:
        here = length[step]
        if here == U0 or here > LOW32:
            return np.int64(ZERO_LENGTH)
        flags = (WRITE if step >= readable else U0) | (NEXT if step + U1 < total else U0)
        writable += here if step >= readable else U0
        everything += here
        m64[at] = addr[step]
        step += U1
        m64[at + U1] = here | flags << U32 | (step if step < total else U0) << U48
        at += U2
    if everything > FOUR_GIB:
        return np.int64(CHAIN_TOO_BIG)
    following = shadow[head] & LOW16
    m64[table + head + head] = q[ORIGIN] + start
    m64[table + head + head + U1] = total << U4 | INDIRECT << U32 | following << U48
    shadow[head] = following | head << U16 | U1 << U32
    shadow[size + head] = writable
    m16[q[DRIVER] + U2 + (index & q[MASK])] = head & LOW16
    q[FREE], q[ROOM], q[NEXT_AVAIL] = following, q[ROOM] - U1, (index + U1) & LOW16
    return np.int64(head)


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
