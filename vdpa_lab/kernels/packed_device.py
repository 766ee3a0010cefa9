"""The device's side of a packed virtqueue (VIRTIO 1.3, 2.8). Import it through `packed`, which tells the conventions.

Arguments throughout: m8, m16, m64 the views of memory; q the device's state, uint64[STATE_WORDS].
"""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels._jit import acquire, full_fence, kernel, release
from vdpa_lab.kernels.packed_event import asked_for
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    AVAIL_WRAP, BYTES, DEVICE, DRIVER, FEATURES, NEXT_AVAIL, NEXT_USED, ORIGIN, SIZE, TABLE, TAKEN, USED_TOLD,
    USED_WRAP,
    AVAIL, BOTH, EVENT_DESC, EVENT_DISABLE, EVENT_ENABLE, EVENT_IDX, INDIRECT, INDIRECT_DESC, LOW16, LOW32, NEXT, USED,
    WRITE, U0, U1, U4, U8, U15, U32, U48, U49,
)  # fmt: skip

CHAIN_TOO_LONG, NO_ROOM = -int(RingError.CHAIN_TOO_LONG), -int(RingError.NO_ROOM)
ZERO_LENGTH, READABLE_AFTER = -int(RingError.ZERO_LENGTH), -int(RingError.READABLE_AFTER_WRITABLE)
NOT_NEGOTIATED, AND_NEXT = -int(RingError.INDIRECT_NOT_NEGOTIATED), -int(RingError.INDIRECT_AND_NEXT)
BAD_LENGTH, OUTSIDE = -int(RingError.INDIRECT_LENGTH), -int(RingError.INDIRECT_OUTSIDE)
NOT_AVAILABLE, NOTHING_IN_USE = -int(RingError.LIST_NOT_AVAILABLE), -int(RingError.NOTHING_IN_USE)
PLAIN = BOTH | NEXT | INDIRECT  # flags that tell whether a descriptor is a whole buffer, and whose turn it is


@kernel(counted=False)
def walk_table(m8, q, where, here, addr, length, first):
    """Copy the elements of the indirect table of `here` bytes at guest address `where`; (error or 0, readable, all).

    Flags other than WRITE are ignored in a table, as 2.8.7 has it.
    """
    readable, total = U0, U0
    if (q[FEATURES] & INDIRECT_DESC) == U0:
        return NOT_NEGOTIATED, readable, total
    if here == U0 or here & U15:
        return BAD_LENGTH, readable, total
    if (here >> U4) > q[SIZE]:
        return CHAIN_TOO_LONG, readable, total
    if where < q[ORIGIN] or where - q[ORIGIN] > q[BYTES] or here > q[BYTES] - (where - q[ORIGIN]):
        return OUTSIDE, readable, total
    if (here >> U4) > min(np.uint64(addr.size), np.uint64(length.size)) - first:
        return NO_ROOM, readable, total
    byte = where - q[ORIGIN]
    while total < (here >> U4):
        word = ring.load64(m8, byte + U8)
        if word & LOW32 == U0:
            return ZERO_LENGTH, readable, total
        if ((word >> U48) & WRITE) == U0:
            if readable != total:
                return READABLE_AFTER, readable, total
            readable += U1
        addr[first + total], length[first + total] = ring.load64(m8, byte), word & LOW32
        total, byte = total + U1, byte + (U1 << U4)
    return 0, readable, total


@kernel(counted=False)
def walk(m8, m64, q, at, wrap, addr, length, first):
    """Copy the elements of the list at slot `at` of turn `wrap` to place `first` on.

    Returns (error or 0, readable, all, slots, id). Each descriptor is read once: what the driver changes meanwhile is
    checked as it was read.
    """
    size, table = q[SIZE], q[TABLE]
    limit = min(np.uint64(addr.size), np.uint64(length.size)) - first
    marks, readable, total = AVAIL if wrap else USED, U0, U0
    while True:
        where, word = m64[table + at + at], m64[table + at + at + U1]
        here, flags, buffer = word & LOW32, word >> U48, (word >> U32) & LOW16
        if (flags & BOTH) != marks:
            return NOT_AVAILABLE, readable, total, total, buffer
        if flags & INDIRECT:
            if total or flags & NEXT:
                return AND_NEXT, readable, total, total, buffer
            error, readable, total = walk_table(m8, q, where, here, addr, length, first)
            return error, readable, total, U1, buffer
        if here == U0:
            return ZERO_LENGTH, readable, total, total, buffer
        if (flags & WRITE) == U0:
            if readable != total:
                return READABLE_AFTER, readable, total, total, buffer
            readable += U1
        if total == limit:
            return NO_ROOM, readable, total, total, buffer
        addr[first + total], length[first + total] = where, here
        total, at = total + U1, at + U1
        if (flags & NEXT) == U0:
            return 0, readable, total, total, buffer
        if total + q[TAKEN] >= size:
            return CHAIN_TOO_LONG, readable, total, total, buffer
        if at == size:
            at, marks = U0, marks ^ BOTH


@kernel(inline=True, counted=False)
def _pop_singles(m64, ring, ids, slots, outs, ins, addr, length, first, done, most, marks):
    """Take up to `most` buffers of one descriptor, from the 8-byte step `ring` on; how many.

    They lie before the end of the ring. Stops before anything else, and before a buffer of no bytes.
    """
    step = U0
    while step < most:
        word = m64[ring + step + step + U1]
        if (word >> U48) & PLAIN != marks or word & LOW32 == U0:
            break
        acquire()
        addr[first + step], length[first + step] = m64[ring + step + step], word & LOW32
        writable = (word >> U49) & U1
        ids[done + step], slots[done + step] = (word >> U32) & LOW16, U1
        outs[done + step], ins[done + step] = writable ^ U1, writable
        step += U1
    return step


@kernel(inline=True, counted=False)
def pop_batch(m8, m64, q, ids, slots, outs, ins, addr, length, most):
    """Take up to `most` available buffers; how many (2.8.2, 2.8.5).

    ids, slots: each buffer's id and descriptors in the ring, both for giving it back; outs, ins: its elements that the
    device reads and writes; addr, length: the elements of all buffers, one after the other. All uint64[]. Stops before
    the first wrong buffer, and returns its error if it is the first one; then nothing was taken.
    """
    size, table, slot = q[SIZE], q[TABLE], q[NEXT_AVAIL]
    marks, taken = AVAIL if q[AVAIL_WRAP] else USED, q[TAKEN]
    limit = min(np.uint64(most), np.uint64(ids.size), np.uint64(slots.size))
    limit = min(limit, np.uint64(outs.size), np.uint64(ins.size))
    room = min(np.uint64(addr.size), np.uint64(length.size))
    first, done, error = U0, U0, 0
    while done < limit and taken < size:
        end = min(limit - done, room - first, size - slot, size - taken)
        run = _pop_singles(m64, table + slot + slot, ids, slots, outs, ins, addr, length, first, done, end, marks)
        first, taken, slot, done = first + run, taken + run, slot + run, done + run
        if slot == size:
            slot, marks = U0, marks ^ BOTH
        if run == end and run:
            continue
        if ((m64[table + slot + slot + U1] >> U48) & BOTH) != marks:
            break
        acquire()
        q[TAKEN] = taken
        wrap = U1 if marks == AVAIL else U0
        error, readable, total, used, buffer = walk(m8, m64, q, slot, wrap, addr, length, first)
        if error:
            break
        ids[done], slots[done], outs[done], ins[done] = buffer, used, readable, total - readable
        first, taken, slot, done = first + total, taken + used, slot + used, done + U1
        if slot >= size:
            slot, marks = slot - size, marks ^ BOTH
    q[NEXT_AVAIL], q[AVAIL_WRAP], q[TAKEN] = slot, U1 if marks == AVAIL else U0, taken
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def push_batch(m64, q, ids, slots, written, count):
    """Give back the first `count` of ids, each over `slots` descriptors, with the bytes written to it; how many.

    uint64[]. Each becomes visible by one 8-byte store of length, id and flags (2.8.1, 2.8.2). Stops before the first
    that gives back more descriptors than were taken, or none: NOTHING_IN_USE if it is the first one.
    """
    size, table, slot, taken = q[SIZE], q[TABLE], q[NEXT_USED], q[TAKEN]
    marks = BOTH if q[USED_WRAP] else U0
    limit = min(np.uint64(count), np.uint64(ids.size), np.uint64(slots.size), np.uint64(written.size))
    done, error = U0, 0
    release()
    while done < limit:
        used, wrote = slots[done], written[done] & LOW32
        if used == U0 or used > taken:
            error = NOTHING_IN_USE
            break
        flags = marks | (WRITE if wrote else U0)
        m64[table + slot + slot + U1] = wrote | (ids[done] & LOW16) << U32 | flags << U48
        taken, slot, done = taken - used, slot + used, done + U1
        if slot >= size:
            slot, marks = slot - size, marks ^ BOTH
    q[USED_TOLD] += q[TAKEN] - taken
    q[NEXT_USED], q[USED_WRAP], q[TAKEN] = slot, U1 if marks else U0, taken
    return np.int64(done) if done else np.int64(error)


@kernel(inline=True, counted=False)
def push_in_order(m64, q, ids, slots, written, count):
    """Give back `count` buffers, in order, with one used descriptor for the last of them (2.8.8); the count."""
    size, last, wrote, all_slots, step = q[SIZE], U0, U0, U0, U0
    limit = min(np.uint64(count), np.uint64(ids.size), np.uint64(slots.size), np.uint64(written.size))
    while step < limit:
        all_slots += slots[step] if slots[step] <= size else size + U1
        last, wrote, step = ids[step] & LOW16, written[step] & LOW32, step + U1
    if all_slots == U0 or all_slots > q[TAKEN]:
        return np.int64(NOTHING_IN_USE)
    flags = (BOTH if q[USED_WRAP] else U0) | (WRITE if wrote else U0)
    release()
    m64[q[TABLE] + q[NEXT_USED] + q[NEXT_USED] + U1] = wrote | last << U32 | flags << U48
    turned = q[NEXT_USED] + all_slots >= size
    q[TAKEN], q[USED_TOLD] = q[TAKEN] - all_slots, q[USED_TOLD] + all_slots
    q[NEXT_USED] = q[NEXT_USED] + all_slots - size if turned else q[NEXT_USED] + all_slots
    q[USED_WRAP] ^= U1 if turned else U0
    return np.int64(limit)


@kernel(inline=True, counted=False)
def need_interrupt(m16, q):
    """Whether the driver is to be told of what was given back since the last call (2.8.10)."""
    full_fence()
    moved = q[USED_TOLD]
    q[USED_TOLD] = U0
    by_place = (q[FEATURES] & EVENT_IDX) != U0
    return asked_for(m16, q[DRIVER], q[SIZE], q[NEXT_USED], q[USED_WRAP], moved, by_place)


@kernel(inline=True, counted=False)
def want_available(m16, m64, q, wanted):
    """Ask for a notification of the next available descriptor, or for none (2.8.10); whether one is there already."""
    slot, wrap = q[NEXT_AVAIL], q[AVAIL_WRAP]
    by_place = (q[FEATURES] & EVENT_IDX) != U0
    if wanted and by_place:
        m16[q[DEVICE]] = slot | wrap << U15
        release()
    m16[q[DEVICE] + U1] = (EVENT_DESC if by_place else EVENT_ENABLE) if wanted else EVENT_DISABLE
    full_fence()
    marks = (m64[q[TABLE] + slot + slot + U1] >> U48) & BOTH
    return marks == (AVAIL if wrap else USED) and q[TAKEN] != q[SIZE]
