"""The device's side of a split virtqueue (VIRTIO 1.3, 2.7). Import it through `split`, which tells the conventions.

Arguments throughout: m8, m16, m32, m64 the views of memory; q the device's state, uint64[STATE_WORDS].
"""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels._jit import acquire, full_fence, kernel, release
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    BYTES, DEVICE, DRIVER, FEATURES, MASK, NEXT_AVAIL, NEXT_USED, ORIGIN, SIZE, TABLE, USED_TOLD,
    EVENT_IDX, FOUR_GIB, INDIRECT, INDIRECT_DESC, LOW16, LOW32, NEXT, QUIET, ROUND16, WRITE,
    U0, U1, U2, U4, U8, U15, U32, U33, U48,
)  # fmt: skip

AVAIL_TOO_FAR, HEAD_OUT_OF_RANGE = -int(RingError.AVAIL_TOO_FAR), -int(RingError.HEAD_OUT_OF_RANGE)
NEXT_OUT_OF_RANGE, CHAIN_LOOPS = -int(RingError.NEXT_OUT_OF_RANGE), -int(RingError.CHAIN_LOOPS)
CHAIN_TOO_LONG, CHAIN_TOO_BIG = -int(RingError.CHAIN_TOO_LONG), -int(RingError.CHAIN_TOO_BIG)
ZERO_LENGTH, READABLE_AFTER = -int(RingError.ZERO_LENGTH), -int(RingError.READABLE_AFTER_WRITABLE)
NOT_NEGOTIATED, NESTED = -int(RingError.INDIRECT_NOT_NEGOTIATED), -int(RingError.INDIRECT_IN_INDIRECT)
AND_NEXT, BAD_LENGTH = -int(RingError.INDIRECT_AND_NEXT), -int(RingError.INDIRECT_LENGTH)
OUTSIDE, NO_ROOM = -int(RingError.INDIRECT_OUTSIDE), -int(RingError.NO_ROOM)
NOTHING_IN_USE, USED_OUT_OF_RANGE = -int(RingError.NOTHING_IN_USE), -int(RingError.USED_OUT_OF_RANGE)


@kernel(counted=False)
def walk(m8, m64, q, head, addr, length, first):
    """Copy the elements of the chain at `head` to addr and length from place `first` on; (error or 0, readable, all).

    Each descriptor is read once: what the driver changes meanwhile is checked as it was read.
    """
    size, table = q[SIZE], q[TABLE]
    limit = min(np.uint64(addr.size), np.uint64(length.size)) - first
    at, entries, seen = head, size, U0  # place in the present table, its descriptors, and how many of them were seen
    total, readable, everything = U0, U0, U0
    origin, indirect = U0, False
    while True:
        if indirect:
            byte = origin + (at << U4)
            where, word = ring.load64(m8, byte), ring.load64(m8, byte + U8)
        else:
            where, word = m64[table + at + at], m64[table + at + at + U1]
        here, flags = word & LOW32, (word >> U32) & LOW16
        seen += U1
        if flags & INDIRECT:
            if indirect:
                return NESTED, readable, total
            if (q[FEATURES] & INDIRECT_DESC) == U0:
                return NOT_NEGOTIATED, readable, total
            if flags & NEXT:
                return AND_NEXT, readable, total
            if here == U0 or here & U15:
                return BAD_LENGTH, readable, total
            if where < q[ORIGIN] or where - q[ORIGIN] > q[BYTES] or here > q[BYTES] - (where - q[ORIGIN]):
                return OUTSIDE, readable, total
            origin, indirect = where - q[ORIGIN], True
            at, entries, seen = U0, here >> U4, U0
            continue
        if here == U0:
            return ZERO_LENGTH, readable, total
        if (flags & WRITE) == U0:
            if readable != total:
                return READABLE_AFTER, readable, total
            readable += U1
        if total == size:
            return CHAIN_TOO_LONG, readable, total
        if total == limit:
            return NO_ROOM, readable, total
        everything += here
        if everything > FOUR_GIB:
            return CHAIN_TOO_BIG, readable, total
        addr[first + total], length[first + total] = where, here
        total += U1
        if (flags & NEXT) == U0:
            return 0, readable, total
        if seen == entries:
            return CHAIN_LOOPS, readable, total
        at = word >> U48
        if at >= entries:
            return NEXT_OUT_OF_RANGE, readable, total


@kernel(inline=True, counted=False)
def _pop_singles(m64, m16, q, heads, outs, ins, addr, length, first, done, most, index):
    """Take up to `most` buffers of one descriptor, the first at `index` of the available ring; how many.

    Stops before anything else, and before a buffer of no bytes.
    """
    size, mask, table, ring16 = q[SIZE], q[MASK], q[TABLE], q[DRIVER] + U2
    step = U0
    while step < most:
        head = np.uint64(m16[ring16 + ((index + step) & mask)])
        if head >= size:
            break
        word = m64[table + head + head + U1]
        if (word >> U32) & (NEXT | INDIRECT) or word & LOW32 == U0:
            break
        addr[first + step], length[first + step] = m64[table + head + head], word & LOW32
        writable = (word >> U33) & U1
        heads[done + step], outs[done + step], ins[done + step] = head, writable ^ U1, writable
        step += U1
    return step


@kernel(inline=True, counted=False)
def pop_batch(m8, m64, m16, q, heads, outs, ins, addr, length, most):
    """Take up to `most` available buffers; how many (2.7.6, 2.7.5.3.2).

    heads, outs, ins: each buffer's head and its elements that the device reads and writes; addr, length: the elements
    of all buffers, one after the other. All uint64[]. Stops before the first wrong buffer, and returns its error if it
    is the first one; then nothing was taken.
    """
    size, last = q[SIZE], q[NEXT_AVAIL]
    pending = (np.uint64(m16[q[DRIVER] + U1]) + ROUND16 - last) & LOW16
    if pending == U0:
        return np.int64(0)
    if pending + ((last + ROUND16 - q[NEXT_USED]) & LOW16) > size:
        return np.int64(AVAIL_TOO_FAR)
    acquire()
    limit = min(np.uint64(most), pending, np.uint64(heads.size), np.uint64(outs.size), np.uint64(ins.size))
    room = min(np.uint64(addr.size), np.uint64(length.size))
    first, done, error = U0, U0, 0
    while done < limit:
        end = min(limit - done, room - first)
        run = _pop_singles(m64, m16, q, heads, outs, ins, addr, length, first, done, end, last + done)
        first, done = first + run, done + run
        if done == limit:
            break
        head = np.uint64(m16[q[DRIVER] + U2 + ((last + done) & q[MASK])])
        if head >= size:
            error = HEAD_OUT_OF_RANGE
            break
        error, readable, total = walk(m8, m64, q, head, addr, length, first)
        if error:
            break
        heads[done], outs[done], ins[done] = head, readable, total - readable
        first += total
        done += U1
    q[NEXT_AVAIL] = (last + done) & LOW16
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def push_batch(m32, m16, q, heads, written, count):
    """Give back the first `count` of heads with the bytes written to each, then expose them (2.7.8.2); how many.

    uint64[]. Nothing is written and an error returned for a head beyond the table (USED_OUT_OF_RANGE), or for more
    buffers than were taken (NOTHING_IN_USE).
    """
    size, mask, entries, index = q[SIZE], q[MASK], (q[DEVICE] + U2) // U2, q[NEXT_USED]
    limit = min(np.uint64(count), np.uint64(heads.size), np.uint64(written.size))
    if limit > ((q[NEXT_AVAIL] + ROUND16 - index) & LOW16):
        return np.int64(NOTHING_IN_USE)
    done, beyond = U0, False
    while done < limit:  # entries beyond the index are the device's own, so a wrong one is not seen
        head, at = heads[done], entries + U2 * ((index + done) & mask)
        beyond |= head >= size
        m32[at] = head & LOW32
        m32[at + U1] = written[done] & LOW32
        done += U1
    if beyond:
        return np.int64(USED_OUT_OF_RANGE)
    q[NEXT_USED] = (index + done) & LOW16
    release()
    m16[q[DEVICE] + U1] = q[NEXT_USED]
    return np.int64(done)


@kernel(inline=True, counted=False)
def push_in_order(m32, m16, q, head, written, count):
    """Give back `count` buffers with one entry, which names the last one's head and its bytes (2.7.9); the count."""
    index, batch = q[NEXT_USED], np.uint64(count)
    if batch == U0 or batch > ((q[NEXT_AVAIL] + ROUND16 - index) & LOW16):
        return np.int64(NOTHING_IN_USE)
    if np.uint64(head) >= q[SIZE]:
        return np.int64(USED_OUT_OF_RANGE)
    at = (q[DEVICE] + U2) // U2 + U2 * (index & q[MASK])
    m32[at], m32[at + U1] = np.uint64(head), np.uint64(written) & LOW32
    q[NEXT_USED] = (index + batch) & LOW16
    release()
    m16[q[DEVICE] + U1] = q[NEXT_USED]
    return np.int64(batch)


@kernel(inline=True, counted=False)
def need_interrupt(m16, q):
    """Whether the driver is to be told of what was given back since the last call (2.7.7.2)."""
    full_fence()
    new, old = q[NEXT_USED], q[USED_TOLD]
    q[USED_TOLD] = new
    if (q[FEATURES] & EVENT_IDX) == U0:
        return (np.uint64(m16[q[DRIVER]]) & QUIET) == U0
    return ring.passed(np.uint64(m16[q[DRIVER] + U2 + q[SIZE]]), new, old)


@kernel(inline=True, counted=False)
def want_available(m16, q, wanted):
    """Ask for a notification of the next available buffer, or for none (2.7.10.2); whether one is there already."""
    last = q[NEXT_AVAIL]
    if (q[FEATURES] & EVENT_IDX) == U0:
        m16[q[DEVICE]] = U0 if wanted else QUIET
    else:
        m16[q[DEVICE] + U2 + U4 * q[SIZE]] = (last if wanted else last + LOW16) & LOW16
    full_fence()
    return np.uint64(m16[q[DRIVER] + U1]) != last
