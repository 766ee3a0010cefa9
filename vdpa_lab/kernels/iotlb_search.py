"""Disjoint intervals of the 64-bit space in sorted blocks: layout, search, and the two changes a block can see.

An entry is (start, last, addr, perm), both ends inclusive. Entries are sorted and live in leaves of up to 63: `keys`
holds their `last`, padded with ONES to 64, and `rows` four words each: start, addr, perm, and one to spare. `tops` has
for each leaf in order the `last` of its last entry, and ONES for the final leaf and from there on; `heads` the leaf's
first slot plus the number of its entries; the perm of a place without an entry is 0. So the first entry that ends at
or after an address is where a count of smaller keys leads, and every search is a fixed number of steps without a
branch. An empty leaf is given back; leaves are not merged (free-at-empty, Johnson and Shasha 1993).
"""

from __future__ import annotations

import errno
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels._jit import kernel

U0, U1, U2, U3, U4, U5, U7, U15, U31, U63 = map(np.uint64, (0, 1, 2, 3, 4, 5, 7, 15, 31, 63))
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
LEAF, HALF = np.uint64(64), np.uint64(32)
ROOM = U63  # entries of a leaf: one place stays free, so that a count never leads out of it

ENTRIES, LEAVES, STEPS, FREE, USED = map(np.uint64, range(5))  # words of `state`
START, ADDR, PERM = U0, U1, U2  # words of a row

OK = np.int64(0)
EXISTS = np.int64(-errno.EEXIST)
FAULT = np.int64(-errno.EFAULT)
INVALID = np.int64(-errno.EINVAL)
DENIED = np.int64(-errno.EPERM)
FULL = np.int64(-errno.ENOBUFS)  # no leaf is left: the caller grows the tree and tries again


class Tree(NamedTuple):
    """The five arrays, all uint64, in the order in which kernels take them."""

    state: np.ndarray
    tops: np.ndarray
    heads: np.ndarray
    keys: np.ndarray
    rows: np.ndarray


def _aligned(words: int) -> np.ndarray:
    """uint64[words] that begins with a cache line, so that no row lies across two."""
    room = np.empty(words + 8, np.uint64)
    skip = -room.ctypes.data % 64 // 8
    return room[skip : skip + words]


def new_tree(leaves: int = 1) -> Tree:
    """An empty tree with room for `leaves` leaves, a power of two."""
    if leaves < 1 or leaves & (leaves - 1):
        raise ValueError("a tree has a power of two of leaves")
    state = np.zeros(5, np.uint64)
    state[int(LEAVES)] = state[int(USED)] = 1
    tree = Tree(
        state, np.empty(leaves, np.uint64), np.zeros(leaves, np.uint64), _aligned(64 * leaves), _aligned(256 * leaves)
    )
    tree.tops.fill(ONES)
    tree.keys.fill(ONES)
    tree.rows.fill(0)
    return tree


def grown(tree: Tree) -> Tree:
    """The same entries with room for twice the leaves."""
    made = new_tree(2 * tree.tops.size)
    for old, new in zip(tree, made, strict=True):
        new[: old.size] = old
    return made


@kernel(inline=True)
def leaf_of(state, tops, at):
    """Position of the leaf that holds the first entry with last >= at, or of the final one."""
    place, shift = U0, state[STEPS]
    while shift > U0:
        shift -= U1
        place += np.uint64(tops[place + (U1 << shift) - U1] < at) << shift
    return place


@kernel(inline=True)
def slot_of(keys, base, at):
    """The slot of the first key >= at in the leaf that begins at `base`; one behind its entries if there is none."""
    base += np.uint64(keys[base + U31] < at) << U5
    base += np.uint64(keys[base + U15] < at) << U4
    base += np.uint64(keys[base + U7] < at) << U3
    base += np.uint64(keys[base + U3] < at) << U2
    base += np.uint64(keys[base + U1] < at) << U1
    return base + np.uint64(keys[base] < at)


@kernel(inline=True)
def find(state, tops, heads, keys, at):
    """(slot, whether an entry is there): the first entry with last >= at."""
    head = heads[leaf_of(state, tops, at)]
    slot = slot_of(keys, head & ~U63, at)
    return slot, slot - (head & ~U63) < head & U63


@kernel(inline=True)
def new_leaf(state, keys):
    """First slot of an empty leaf, or ONES when none is left."""
    if state[FREE] != U0:
        new = state[FREE] - U1
        state[FREE] = keys[new]
        keys[new] = ONES
        return new
    new = state[USED] * LEAF
    if new == np.uint64(keys.size):
        return ONES
    state[USED] += U1
    return new


@kernel(inline=True)
def split(state, tops, heads, keys, rows, place, slot):
    """Halve the full leaf at `place`, to insert before `slot`; False when no leaf is left.

    Where entries come in ascending order the final leaf stays full and gets an empty one behind it.
    """
    new, leaves = new_leaf(state, keys), state[LEAVES]
    if new == ONES:
        return False
    base, count = heads[place] & ~U63, heads[place] & U63
    keep = count if place + U1 == leaves and slot == base + count else HALF
    for i in range(count - keep):
        keys[new + i] = keys[base + keep + i]
        keys[base + keep + i] = ONES
    for i in range(U4 * (count - keep)):
        rows[U4 * new + i] = rows[U4 * (base + keep) + i]
        rows[U4 * (base + keep) + i] = U0
    for i in range(leaves - place):
        tops[leaves - i] = tops[leaves - i - U1]
        heads[leaves - i] = heads[leaves - i - U1]
    tops[place] = keys[base + keep - U1]
    heads[place], heads[place + U1] = base | keep, new | (count - keep)
    state[LEAVES] = leaves + U1
    if leaves == U1 << state[STEPS]:
        state[STEPS] += U1
    return True


@kernel(inline=True)
def put(state, heads, keys, rows, place, slot, start, last, addr, perm):
    """Insert before `slot` of the leaf at `place`, which has room."""
    end = (heads[place] & ~U63) + (heads[place] & U63)
    for i in range(end - slot):
        keys[end - i] = keys[end - i - U1]
    top = U4 * end + U3
    for i in range(U4 * (end - slot)):
        rows[top - i] = rows[top - i - U4]
    keys[slot] = last
    rows[U4 * slot + START], rows[U4 * slot + ADDR], rows[U4 * slot + PERM] = start, addr, perm
    heads[place] += U1
    state[ENTRIES] += U1


@kernel(inline=True)
def cut(state, tops, heads, keys, rows, place, slot, count):
    """Take `count` entries from `slot` on out of the leaf at `place`; whether the leaf went with them."""
    base, end = heads[place] & ~U63, (heads[place] & ~U63) + (heads[place] & U63)
    for i in range(slot, end - count):
        keys[i] = keys[i + count]
    for i in range(U4 * slot, U4 * (end - count)):
        rows[i] = rows[i + U4 * count]
    for i in range(end - count, end):
        keys[i] = ONES
        rows[U4 * i + PERM] = U0
    heads[place] -= count
    state[ENTRIES] -= count
    leaves = state[LEAVES]
    final = place + U1 == leaves
    if heads[place] & U63 != U0:
        if not final and slot + count == end:
            tops[place] = keys[end - count - U1]
        return False
    if leaves == U1:
        return False
    for i in range(place, leaves - U1):
        tops[i] = tops[i + U1]
        heads[i] = heads[i + U1]
    tops[leaves - U1] = ONES
    if final:
        tops[leaves - U2] = ONES
    state[LEAVES] = leaves - U1
    keys[base] = state[FREE]  # the list of free leaves runs through their first keys
    state[FREE] = base + U1
    return True
