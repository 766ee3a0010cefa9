"""Buffers made available in a packed virtqueue (VIRTIO 1.3, 2.8). Import it through `packed`.

Arguments as in `packed_driver`.
"""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel, release
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    AVAIL_TOLD, AVAIL_WRAP, BYTES, FEATURES, FREE, NEXT_AVAIL, ORIGIN, ROOM, SIZE, TABLE,
    AVAIL, BOTH, INDIRECT, INDIRECT_DESC, IN_ORDER, LOW16, LOW32, NEXT, USED, WRITE,
    U0, U1, U2, U4, U8, U15, U32, U48, U49,
)  # fmt: skip

EMPTY_CHAIN, RING_FULL, NO_ROOM = -int(RingError.EMPTY_CHAIN), -int(RingError.RING_FULL), -int(RingError.NO_ROOM)
ZERO_LENGTH, CHAIN_TOO_LONG = -int(RingError.ZERO_LENGTH), -int(RingError.CHAIN_TOO_LONG)
NOT_NEGOTIATED, TABLE_MISPLACED = -int(RingError.INDIRECT_NOT_NEGOTIATED), -int(RingError.TABLE_MISPLACED)


@kernel(inline=True, counted=False)
def _singles(m64, ring, size, in_order, shadow, addr, length, outs, ins, ids, first, done, most, free, marks):
    """Make up to `most` buffers of one descriptor available, from the 8-byte step `ring` on; (how many, next free).

    There is room for them up to the end of the ring. Stops before a buffer that is wrong or not of one descriptor.
    """
    step = U0
    while step < most:
        n_in, here = ins[done + step], length[first + step]
        if n_in > U1 or outs[done + step] != n_in ^ U1 or here == U0 or here > LOW32:
            break
        m64[ring + step + step] = addr[first + step]
        following = shadow[free] & LOW16
        shadow[free] = following | U1 << U32
        if in_order:
            shadow[size + free] = here if n_in else U0
        ids[done + step] = free
        release()
        m64[ring + step + step + U1] = here | free << U32 | marks << U48 | n_in << U49
        free, step = following, step + U1
    return step, free


@kernel(inline=True, counted=False)
def _list(m64, table, size, addr, length, first, readable, total, free, slot, marks):
    """Write `total` elements from place `first` on to the slots from `slot` on, but for the first one's second word.

    Returns (whether an element has no bytes or too many, next slot, its marks, the word left out, bytes writable).
    """
    at, mark, step, writable, wrong, top = slot, marks, U0, U0, False, U0
    while step < total:
        here = length[first + step]
        flags = mark | (WRITE if step >= readable else U0) | (NEXT if step + U1 < total else U0)
        writable += here if step >= readable else U0
        wrong |= here == U0 or here > LOW32
        word = here & LOW32 | free << U32 | flags << U48
        m64[table + at + at] = addr[first + step]
        if step:
            m64[table + at + at + U1] = word
        else:
            top = word
        at, step = at + U1, step + U1
        if at == size:
            at, mark = U0, mark ^ BOTH
    return wrong, at, mark, top, writable


@kernel(inline=True, counted=False)
def add_batch(m64, q, shadow, addr, length, outs, ins, ids, count):
    """Make up to `count` buffers available, each by its first descriptor last (2.8.6, 2.8.21); their number.

    outs, ins: elements of each buffer that the device reads and writes; elements of all buffers follow each other.
    ids: receives each buffer's id. Stops before the first buffer that is wrong or finds no room, and returns the error
    if that is the first one: EMPTY_CHAIN, RING_FULL, NO_ROOM, ZERO_LENGTH (or above 32 bits).
    """
    size, table, free, room, slot = q[SIZE], q[TABLE], q[FREE], q[ROOM], q[NEXT_AVAIL]
    in_order, marks = (q[FEATURES] & IN_ORDER) != U0, AVAIL if q[AVAIL_WRAP] else USED
    most = min(np.uint64(count), np.uint64(outs.size), np.uint64(ins.size), np.uint64(ids.size))
    elements = min(np.uint64(addr.size), np.uint64(length.size))
    first, done, error = U0, U0, 0
    while done < most:
        end, ring = min(most - done, room, elements - first, size - slot), table + slot + slot
        run, free = _singles(
            m64, ring, size, in_order, shadow, addr, length, outs, ins, ids, first, done, end, free, marks
        )
        slot, room, first, done = slot + run, room - run, first + run, done + run
        if slot == size:
            slot, marks = U0, marks ^ BOTH
        if done == most:
            break
        n_out, n_in = outs[done], ins[done]
        if n_out > room or n_in > room - n_out:
            error = RING_FULL
            break
        total = n_out + n_in
        if total == U0 or total > elements - first:
            error = EMPTY_CHAIN if total == U0 else NO_ROOM
            break
        wrong, at, mark, top, writable = _list(m64, table, size, addr, length, first, n_out, total, free, slot, marks)
        if wrong:
            error = ZERO_LENGTH
            break
        following = shadow[free] & LOW16
        shadow[free] = following | total << U32
        if in_order:
            shadow[size + free] = writable
        ids[done] = free
        release()
        m64[table + slot + slot + U1] = top
        slot, marks, free = at, mark, following
        room, first, done = room - total, first + total, done + U1
    q[AVAIL_TOLD] += q[ROOM] - room
    q[FREE], q[ROOM], q[NEXT_AVAIL], q[AVAIL_WRAP] = free, room, slot, U1 if marks == AVAIL else U0
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def add_indirect(m64, q, shadow, addr, length, n_out, n_in, place):
    """Make one buffer available with its elements in a table at byte offset `place` of memory (2.8.7); its id.

    n_out, n_in: its elements that the device reads and writes. The table stays the buffer's until it is used. Errors as
    in `add_batch`, and INDIRECT_NOT_NEGOTIATED, CHAIN_TOO_LONG, TABLE_MISPLACED (outside memory or off a 16-byte step).
    """
    readable, written, start = np.uint64(n_out), np.uint64(n_in), np.uint64(place)
    size, table, free, slot = q[SIZE], q[TABLE], q[FREE], q[NEXT_AVAIL]
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
    step, at, writable = U0, start // U8, U0
    while step < total:
        here = length[step]
        if here == U0 or here > LOW32:
            return np.int64(ZERO_LENGTH)
        writable += here if step >= readable else U0
        m64[at] = addr[step]
        m64[at + U1] = here | (WRITE if step >= readable else U0) << U48
        at, step = at + U2, step + U1
    following = shadow[free] & LOW16
    shadow[free] = following | U1 << U32
    shadow[size + free] = writable
    marks = AVAIL if q[AVAIL_WRAP] else USED
    m64[table + slot + slot] = q[ORIGIN] + start
    release()
    m64[table + slot + slot + U1] = total << U4 | free << U32 | (marks | INDIRECT) << U48
    q[FREE], q[ROOM], q[AVAIL_TOLD] = following, q[ROOM] - U1, q[AVAIL_TOLD] + U1
    last = slot + U1 == size
    q[NEXT_AVAIL], q[AVAIL_WRAP] = U0 if last else slot + U1, q[AVAIL_WRAP] ^ (U1 if last else U0)
    return np.int64(free)
