"""The vhost IOTLB of one address space: insert, overlap, whole-entry removal, iteration, look-up (iotlb_search.Tree).

Addresses are uint64, ends inclusive, so that the full 64-bit range can be mapped. perm is VHOST_ACCESS_RO 1, WO 2 or
RW 3. A kernel returns a count, or an errno value, negated. Source: Linux drivers/vhost/iotlb.c, and for the overlap
check and the removal of whole entries drivers/vhost/vdpa.c.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.iotlb_search import (
    ADDR,
    ENTRIES,
    EXISTS,
    FAULT,
    FULL,
    INVALID,
    LEAVES,
    OK,
    ONES,
    PERM,
    ROOM,
    START,
    U0,
    U1,
    U4,
    U63,
    cut,
    find,
    leaf_of,
    put,
    slot_of,
    split,
)

RO, WO, RW = map(np.uint64, (1, 2, 3))  # VHOST_ACCESS_*
NO_SLOT = ONES
MIDDLE = ONES >> U1


@kernel(inline=True)
def _add(state, tops, heads, keys, rows, start, last, addr, perm):
    while True:
        place = leaf_of(state, tops, start)
        head = heads[place]
        slot = slot_of(keys, head & ~U63, start)
        if slot - (head & ~U63) < head & U63 and rows[U4 * slot + START] <= last:
            return EXISTS
        if head & U63 < ROOM:
            put(state, heads, keys, rows, place, slot, start, last, addr, perm)
            return OK
        if not split(state, tops, heads, keys, rows, place, slot):
            return FULL


@kernel(counted=False)
def insert(state, tops, heads, keys, rows, entries, first):
    """Insert the rows (start, last, addr, perm) of uint64[n, 4] from row `first` on, in order.

    Returns (next, error): rows before `next` are in; error is 0, or says why row `next` is not: -EEXIST it overlaps an
    entry, -EFAULT last < start (vhost_iotlb_add_range), -EINVAL perm is none of RO, WO, RW, -ENOBUFS the tree has to
    grow first. [0, 2^64 - 1] becomes two entries, as its size would overflow (vhost_iotlb_add_range_ctx).
    """
    for i in range(first, np.uint64(entries.shape[0])):
        start, last, addr, perm = entries[i, 0], entries[i, 1], entries[i, 2], entries[i, 3]
        if last < start:
            return i, FAULT
        if perm == U0 or perm > RW:
            return i, INVALID
        if start == U0 and last == ONES:
            if state[ENTRIES] != U0:
                return i, EXISTS
            _add(state, tops, heads, keys, rows, start, MIDDLE, addr, perm)
            start, addr = MIDDLE + U1, addr + (MIDDLE + U1)
        error = _add(state, tops, heads, keys, rows, start, last, addr, perm)
        if error != OK:
            return i, error
    return np.uint64(entries.shape[0]), OK


@kernel(counted=False)
def first(state, tops, heads, keys, rows, start, last):
    """The slot of the first entry that overlaps [start, last], or NO_SLOT (vhost_iotlb_itree_first)."""
    slot, there = find(state, tops, heads, keys, start)
    return slot if there and rows[U4 * slot + START] <= last else NO_SLOT


@kernel(counted=False)
def remove(state, tops, heads, keys, rows, start, last, taken):
    """Remove whole every entry that overlaps [start, last] into `taken`, uint64[n, 4] of (start, last, addr, perm).

    Returns how many; when `taken` is full there may be more (vhost_vdpa_pa_unmap, vhost_iotlb_del_range).
    """
    done, space = U0, np.uint64(taken.shape[0])
    while done < space:
        place = leaf_of(state, tops, start)
        base, end = heads[place] & ~U63, (heads[place] & ~U63) + (heads[place] & U63)
        slot = slot_of(keys, base, start)
        to = slot
        while to < end and done < space and rows[U4 * to + START] <= last:
            taken[done, 0], taken[done, 1] = rows[U4 * to + START], keys[to]
            taken[done, 2], taken[done, 3] = rows[U4 * to + ADDR], rows[U4 * to + PERM]
            to += U1
            done += U1
        if to == slot:
            break
        cut(state, tops, heads, keys, rows, place, slot, to - slot)
    return done


@kernel(counted=False)
def entries_from(state, tops, heads, keys, rows, start, out):
    """Copy entries in order, from the first that ends at or after `start`, to uint64[n, 4]; returns how many.

    vhost_iotlb_itree_first, then vhost_iotlb_itree_next.
    """
    done, space = U0, np.uint64(out.shape[0])
    place = leaf_of(state, tops, start)
    slot = slot_of(keys, heads[place] & ~U63, start)
    while True:
        end = (heads[place] & ~U63) + (heads[place] & U63)
        for at in range(slot, min(end, slot + (space - done))):
            out[done, 0], out[done, 1] = rows[U4 * at + START], keys[at]
            out[done, 2], out[done, 3] = rows[U4 * at + ADDR], rows[U4 * at + PERM]
            done += U1
        place += U1
        if done == space or place == state[LEAVES]:
            return done
        slot = heads[place] & ~U63
