"""The way of the shadow virtqueue's buffers to the device: one pass from the guest's ring into the shadow ring.

What `split.pop_batch`, a translation and `split.add_batch` do, without the arrays between them: a chain is written
into free descriptors of the shadow ring while it is read, and becomes the device's only once all of it is right.
Anything that VIRTIO forbids is left to the `walk` of the device's side, which says what it is.
"""

# ruff: noqa: I001  (the words of a state and the constants, by kind)
from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import split
from vdpa_lab.kernels._jit import acquire, full_fence, kernel, release
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import (
    AVAIL_TOLD, DEVICE, DRIVER, EVENT_IDX, FEATURES, FREE, INDIRECT, LOW16, LOW32, MASK, NEXT, NEXT_AVAIL, NEXT_USED,
    QUIET, ROOM, ROUND16, SIZE, TABLE, WRITE, FOUR_GIB, U0, U1, U2, U4, U16, U32, U33, U48,
)  # fmt: skip
from vdpa_lab.kernels.split_device import walk
from vdpa_lab.kernels.svq_state import BATCHED, DESCRIPTORS, FORWARDED, KICKS, PARKED
from vdpa_lab.kernels.svq_translate import CROSSES, IOVA, LAST, LAST_CELL, NOT_MAPPED, RAM, SHIFT, map_of, outside

AVAIL_TOO_FAR, HEAD_OUT_OF_RANGE = -int(RingError.AVAIL_TOO_FAR), -int(RingError.HEAD_OUT_OF_RANGE)
PLAIN = NEXT | INDIRECT
NO_ROOM, BROKEN = 0, -200  # of one chain: the shadow ring is too full; VIRTIO forbids it, and `walk` knows why


@kernel(inline=True, counted=False)
def _chain(q, size, from_, to, head, free, room, shift, last_cell):
    """Write the chain at the guest's `head` to the free descriptors from `free` on: (descriptors or error, next free).

    A descriptor becomes several where it crosses from one map into the next (address_space_map in
    virtqueue_map_desc). Nothing is the device's yet, so an error needs no undoing.
    """
    g64, s64, book, kept, maps = q.g64, q.s64, q.book, q.kept, q.maps
    at, slot, tail, pieces, readable, seen, everything, writable = head, free, free, U0, U0, U0, U0, U0
    while True:
        where, word = g64[from_ + at + at], g64[from_ + at + at + U1]
        left, flags = word & LOW32, word >> U32
        if (left == U0) | ((flags & INDIRECT) != U0) | ((flags & WRITE) < writable) | (seen == size):
            return np.int64(BROKEN), slot
        writable, seen, everything = flags & WRITE, seen + U1, everything + left
        while True:
            found = map_of(maps, shift, last_cell, where)
            if outside(maps, found, where):
                return np.int64(CROSSES if left != word & LOW32 else NOT_MAPPED), slot
            if pieces == room:
                return np.int64(NO_ROOM), slot
            offset, here, following = (
                where - maps[found],
                min(left, maps[found + LAST] - where + U1),
                book[slot] & LOW16,
            )
            more = np.uint64(here != left) | flags & NEXT
            s64[to + slot + slot] = maps[found + IOVA] + offset
            s64[to + slot + slot + U1] = here | (writable | more) << U32 | following << U48
            if writable:
                kept[size + slot + slot], kept[size + slot + slot + U1] = maps[found + RAM] + offset, here
            tail, slot, pieces = slot, following, pieces + U1
            if here == left:
                break
            where, left = where + here, left - here
        readable = readable if writable else pieces
        if (flags & NEXT) == U0:
            break
        at = word >> U48
        if at >= size:
            return np.int64(BROKEN), slot
    if everything > FOUR_GIB:
        return np.int64(BROKEN), slot
    book[free] = book[free] & LOW16 | tail << U16 | pieces << U32
    kept[free] = head | readable << U16 | (pieces - readable) << U32
    return np.int64(pieces), slot


@kernel(inline=True, counted=False)
def _single(q, size, from_, to, head, free, room, shift, last_cell):
    """`_chain` of one descriptor in one map, which most buffers are; 0 descriptors if it is anything else."""
    where, word = q.g64[from_ + head + head], q.g64[from_ + head + head + U1]
    here, writable, found = word & LOW32, (word >> U33) & U1, map_of(q.maps, shift, last_cell, where)
    following, slot, last = q.book[free] & LOW16, to + free + free, q.maps[found + LAST]
    if (word >> U32) & PLAIN != U0 or here == U0 or room == U0:
        return np.int64(0), following
    if outside(q.maps, found, where) or here - U1 > last - where:
        return np.int64(0), following
    offset = where - q.maps[found]
    q.s64[slot] = q.maps[found + IOVA] + offset
    q.s64[slot + U1] = here | writable << U33 | following << U48
    q.kept[size + free + free], q.kept[size + free + free + U1] = q.maps[found + RAM] + offset, here
    q.book[free] = following | free << U16 | U1 << U32
    q.kept[free] = head | (writable ^ U1) << U16 | writable << U32
    return np.int64(1), following


@kernel(inline=True, counted=False)
def forward_burst(q):
    """Forward what the guest's index shows now; how many buffers, or an error. PARKED: the next one found no room.

    Each buffer is published and, if the device wants it, kicked on its own, as vhost_svq_add does; unless BATCHED.
    """
    guest, driver, state, g16, s16 = q.guest, q.driver, q.state, q.g16, q.s16
    size, mask, began, free, index = guest[SIZE], guest[MASK], guest[NEXT_AVAIL], driver[FREE], driver[NEXT_AVAIL]
    pending = (np.uint64(g16[guest[DRIVER] + U1]) + ROUND16 - began) & LOW16
    if pending == U0:
        return np.int64(0)
    if pending + ((began + ROUND16 - guest[NEXT_USED]) & LOW16) > size:
        return np.int64(AVAIL_TOO_FAR)
    acquire()
    shift, last_cell, from_, to = q.maps[SHIFT], q.maps[LAST_CELL], guest[DRIVER] + U2, driver[DRIVER] + U2
    guest_table, table = guest[TABLE], driver[TABLE]
    batched, event_idx, flags = state[BATCHED] != U0, (driver[FEATURES] & EVENT_IDX) != U0, driver[DEVICE]
    event, room, kicks, done, result = flags + U2 + U4 * size, driver[ROOM], U0, U0, np.int64(1)
    while done < pending:
        head = np.uint64(g16[from_ + ((began + done) & mask)])
        if head >= size:
            result = np.int64(HEAD_OUT_OF_RANGE)
            break
        result, following = _single(q, size, guest_table, table, head, free, room, shift, last_cell)
        if result == 0:
            result, following = _chain(q, size, guest_table, table, head, free, room, shift, last_cell)
            if result <= 0:
                break
        s16[to + (index & mask)] = free
        free, room, old, index, done = following, room - np.uint64(result), index, (index + U1) & LOW16, done + U1
        if batched:
            continue
        release()
        s16[to - U1] = index
        full_fence()
        if event_idx:  # vring_need_event for a step of one
            kicks += np.uint64(np.uint64(s16[event]) == old)
        else:
            kicks += U1 - (np.uint64(s16[flags]) & QUIET)
    state[DESCRIPTORS] += driver[ROOM] - room
    guest[NEXT_AVAIL] = (began + done) & LOW16
    driver[FREE], driver[ROOM], driver[NEXT_AVAIL] = free, room, index
    if batched and done:
        split.publish(s16, driver)
        kicks = np.uint64(split.need_notify(s16, driver))
    driver[AVAIL_TOLD] = index
    state[KICKS] += kicks
    state[FORWARDED] += done
    if result in (BROKEN, NO_ROOM):
        head = np.uint64(g16[from_ + ((began + done) & mask)])
        error, _, _ = walk(q.g8, q.g64, guest, head & mask, q.addr, q.length, U0)
        result = np.int64(error)
        state[PARKED] = np.uint64(error == 0)
    return result if result < 0 else np.int64(done)
