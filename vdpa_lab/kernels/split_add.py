"""Buffers placed in a split virtqueue (VIRTIO 1.3, 2.7). Import it through `split`; arguments as in `split_driver`."""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    BYTES, DRIVER, FEATURES, FREE, MASK, NEXT_AVAIL, ORIGIN, ROOM, SIZE, TABLE,
    FOUR_GIB, IN_ORDER, INDIRECT, INDIRECT_DESC, LOW16, LOW32, NEXT, WRITE,
    U0, U1, U2, U4, U8, U15, U16, U32, U33, U48,
)  # fmt: skip

EMPTY_CHAIN, RING_FULL, NO_ROOM = -int(RingError.EMPTY_CHAIN), -int(RingError.RING_FULL), -int(RingError.NO_ROOM)
ZERO_LENGTH, CHAIN_TOO_BIG = -int(RingError.ZERO_LENGTH), -int(RingError.CHAIN_TOO_BIG)
CHAIN_TOO_LONG, TABLE_MISPLACED = -int(RingError.CHAIN_TOO_LONG), -int(RingError.TABLE_MISPLACED)
NOT_NEGOTIATED = -int(RingError.INDIRECT_NOT_NEGOTIATED)


@kernel(inline=True, counted=False)
def _singles(m64, m16, q, shadow, addr, length, outs, ins, heads, first, done, most, free, index):
    """Place up to `most` buffers of one descriptor, for which there is room; (how many, next free).

    Stops before a buffer that is wrong or not of one descriptor.
    """
    table, ring16, mask, size, in_order = q[TABLE], q[DRIVER] + U2, q[MASK], q[SIZE], (q[FEATURES] & IN_ORDER) != U0
    step = U0
    while step < most:
        n_in, here = ins[done + step], length[first + step]
        if n_in > U1 or outs[done + step] != n_in ^ U1 or here == U0 or here > LOW32:
            break
        following = shadow[free] & LOW16
        m64[table + free + free] = addr[first + step]
        m64[table + free + free + U1] = here | n_in << U33 | following << U48
        shadow[free] = following | free << U16 | U1 << U32
        if in_order:
            shadow[size + free] = here if n_in else U0
        m16[ring16 + ((index + step) & mask)] = free & LOW16
        heads[done + step] = free
        free, step = following, step + U1
    return step, free


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
    free, room, index = q[FREE], q[ROOM], q[NEXT_AVAIL]
    most = min(np.uint64(count), np.uint64(outs.size), np.uint64(ins.size), np.uint64(heads.size))
    elements = min(np.uint64(addr.size), np.uint64(length.size))
    first, done, error = U0, U0, 0
    while done < most:
        end = min(most - done, room, elements - first)
        run, free = _singles(m64, m16, q, shadow, addr, length, outs, ins, heads, first, done, end, free, index)
        index, room, first, done = index + run, room - run, first + run, done + run
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
        error, following, tail, writable = _chain(m64, q[TABLE], shadow, addr, length, first, n_out, total, free)
        if error:
            break
        shadow[free] = shadow[free] & LOW16 | tail << U16 | total << U32
        if (q[FEATURES] & IN_ORDER) != U0:
            shadow[q[SIZE] + free] = writable
        m16[q[DRIVER] + U2 + (index & q[MASK])] = free & LOW16
        heads[done] = free
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
