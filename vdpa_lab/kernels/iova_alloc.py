"""QEMU's IOVA tree: first-fit allocation, as a linear walk in order would have it, without the walk.

A Tree of iotlb_search plus `gaps`, uint64[2 * leaves], a heap of maxima: gaps[leaves + p] is the widest hole in front
of an entry of the leaf at position p, gaps[i] the larger of gaps[2 * i] and gaps[2 * i + 1]. Sizes are given less one,
as DMAMap.size has them. Source: QEMU util/iova-tree.c; a hole is taken when `hole_end - hole_start > size - 1`, and as
the hole behind the last entry ends at 2^64 - 1 there, that last byte is never given out.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.iotlb_search import (
    ADDR,
    FULL,
    LEAVES,
    OK,
    ONES,
    ROOM,
    START,
    U0,
    U1,
    U4,
    U63,
    cut,
    leaf_of,
    put,
    slot_of,
    split,
)

INVALID, OVERLAP, NOMEM = np.int64(-1), np.int64(-2), np.int64(-3)  # IOVA_ERR_*
NO_IOVA = ONES


def new_gaps(leaves: int) -> np.ndarray:
    """The gap index of an empty tree with room for `leaves` leaves."""
    return np.zeros(2 * leaves, np.uint64)


@kernel(inline=True)
def _measure(tops, heads, keys, rows, gaps, place):
    """Bring the widest hole of the leaf at `place`, and the maxima above it, up to date."""
    base, count = heads[place] & ~U63, heads[place] & U63
    # behind: the first address after the entry before. A search looks at the hole in front of all entries by itself.
    widest, behind = U0, tops[place - U1] + U1 if place > U0 else rows[U4 * base + START]
    for i in range(base, base + count):
        widest = max(widest, rows[U4 * i + START] - behind)
        behind = keys[i] + U1 if keys[i] != ONES else U0  # no entry comes after that one
    at = (np.uint64(gaps.size) >> U1) + place
    gaps[at] = widest
    at >>= U1
    while at > U0:
        widest = max(gaps[at << U1], gaps[at << U1 | U1])
        if gaps[at] == widest:
            break
        gaps[at] = widest
        at >>= U1


@kernel(inline=True)
def _raise(gaps, place, leaves):
    """The maxima above the leaves from `place` to `leaves`, inclusive."""
    half = np.uint64(gaps.size) >> U1
    low, high = (half + place) >> U1, (half + min(leaves, half - U1)) >> U1
    while low > U0:
        for at in range(low, high + U1):
            gaps[at] = max(gaps[at << U1], gaps[at << U1 | U1])
        low >>= U1
        high >>= U1


@kernel(counted=False)
def rebuild(gaps):
    """All maxima, from those of the leaves."""
    leaves = np.uint64(gaps.size) >> U1
    for i in range(U1, leaves):
        at = leaves - i
        gaps[at] = max(gaps[at << U1], gaps[at << U1 | U1])


@kernel(inline=True)
def _insert(state, tops, heads, keys, rows, gaps, start, last, addr, perm):
    half = np.uint64(gaps.size) >> U1
    while True:
        place = leaf_of(state, tops, start)
        head = heads[place]
        slot = slot_of(keys, head & ~U63, start)
        if slot - (head & ~U63) < head & U63 and rows[U4 * slot + START] <= last:
            return OVERLAP
        if head & U63 < ROOM:
            put(state, heads, keys, rows, place, slot, start, last, addr, perm)
            _measure(tops, heads, keys, rows, gaps, place)
            return OK
        leaves = state[LEAVES]
        if not split(state, tops, heads, keys, rows, place, slot):
            return FULL
        for i in range(leaves - place - U1):
            gaps[half + leaves - i] = gaps[half + leaves - i - U1]
        _raise(gaps, place, leaves)
        _measure(tops, heads, keys, rows, gaps, place)
        _measure(tops, heads, keys, rows, gaps, place + U1)


@kernel(counted=False)
def insert(state, tops, heads, keys, rows, gaps, start, more, addr, perm):
    """Insert [start, start + more]: 0, INVALID (it wraps, or perm is none), OVERLAP, or -ENOBUFS (iova_tree_insert)."""
    if more > ONES - start or perm == U0:
        return INVALID
    return _insert(state, tops, heads, keys, rows, gaps, start, start + more, addr, perm)


@kernel(inline=True)
def _next_wide(gaps, place, more):
    """The first leaf from `place` on with a hole of more than `more` bytes, or one behind the last possible leaf."""
    half = np.uint64(gaps.size) >> U1
    if place >= half:
        return half
    at = half + place
    while gaps[at] <= more:
        while at & U1 != U0:
            at >>= U1
        if at == U0:
            return half
        at += U1
    while at < half:
        at <<= U1
        at += np.uint64(gaps[at] <= more)
    return at - half


@kernel(inline=True)
def _first_fit(state, tops, heads, keys, rows, gaps, begin, more):
    """Where iova_tree_alloc_traverse stops: the start of the first hole from `begin` on, NO_IOVA if there is none."""
    place = leaf_of(state, tops, begin)
    base, count = heads[place] & ~U63, heads[place] & U63
    slot, free = slot_of(keys, base, begin), begin
    if slot < base + count:
        # The difference wraps where an entry lies across `begin`: QEMU takes that for a hole, and then overlaps.
        start = rows[U4 * slot + START]
        hole = start - begin if start >= begin else ONES - (begin - start) + U1
        if hole > more:
            return begin
        if gaps[(np.uint64(gaps.size) >> U1) + place] > more:
            for i in range(slot + U1, base + count):
                if rows[U4 * i + START] - keys[i - U1] - U1 > more:
                    return keys[i - U1] + U1
        place = _next_wide(gaps, place + U1, more)
        if place < state[LEAVES]:
            free = tops[place - U1] + U1
            for i in range(heads[place] & ~U63, (heads[place] & ~U63) + (heads[place] & U63)):
                if rows[U4 * i + START] - free > more:
                    return free
                free = keys[i] + U1
        final = heads[state[LEAVES] - U1]
        end = keys[(final & ~U63) + (final & U63) - U1]
        free = begin if end == ONES else max(end + U1, begin)
    return free if ONES - free > more else NO_IOVA


@kernel(counted=False)
def allocate(state, tops, heads, keys, rows, gaps, begin, last, more, addr, perm):
    """Insert more + 1 bytes into the first hole of [begin, last]; returns (iova, error).

    error: 0, INVALID (last < begin, or no perm), NOMEM, OVERLAP, or -ENOBUFS. Source: iova_tree_alloc_map.
    """
    if last < begin:
        return NO_IOVA, INVALID
    iova = _first_fit(state, tops, heads, keys, rows, gaps, begin, more)
    wraps = more > ONES - iova
    end = more - (ONES - iova) - U1 if wraps else iova + more
    if iova == NO_IOVA or end > last:
        return NO_IOVA, NOMEM
    if wraps or perm == U0:  # an entry across `begin` again: what wraps is small enough for QEMU, until it is inserted
        return NO_IOVA, INVALID
    return iova, _insert(state, tops, heads, keys, rows, gaps, iova, end, addr, perm)


@kernel(counted=False)
def remove(state, tops, heads, keys, rows, gaps, start, more):
    """Remove every entry that overlaps [start, start + more]; how many those were (iova_tree_remove)."""
    removed, last, half = U0, start + min(more, ONES - start), np.uint64(gaps.size) >> U1
    while True:
        place = leaf_of(state, tops, start)
        base, end = heads[place] & ~U63, (heads[place] & ~U63) + (heads[place] & U63)
        slot = slot_of(keys, base, start)
        to = slot
        while to < end and rows[U4 * to + START] <= last:
            to += U1
        if to == slot:
            return removed
        removed += to - slot
        leaves = state[LEAVES]
        if cut(state, tops, heads, keys, rows, place, slot, to - slot):
            for i in range(half + place, half + leaves - U1):
                gaps[i] = gaps[i + U1]
            gaps[half + leaves - U1] = U0
            _raise(gaps, place, leaves)
        else:
            _measure(tops, heads, keys, rows, gaps, place)
            place += U1
        if place < state[LEAVES]:
            _measure(tops, heads, keys, rows, gaps, place)


@kernel(counted=False)
def find_translated(state, heads, rows, keys, addr, more):
    """The first entry in order whose translated bytes overlap [addr, addr + more]: (slot, entries looked at).

    A walk over all entries, as QEMU's is; the slot is ONES if there is none. Source: iova_tree_find_iova.
    """
    seen = U0
    for place in range(state[LEAVES]):
        base = heads[place] & ~U63
        for i in range(base, base + (heads[place] & U63)):
            seen += U1
            at = rows[U4 * i + ADDR]
            if at + (keys[i] - rows[U4 * i + START]) >= addr and addr + more >= at:
                return i, seen
    return ONES, seen
