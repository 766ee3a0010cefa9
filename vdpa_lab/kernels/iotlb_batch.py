"""Many look-ups at once: they do not wait for each other's memory, and no step of theirs is a branch."""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.iotlb_search import (
    ADDR,
    DENIED,
    FULL,
    INVALID,
    OK,
    ONES,
    PERM,
    START,
    STEPS,
    U0,
    U1,
    U2,
    U4,
    U63,
    find,
)

GROUP = np.uint64(32)  # look-ups that go side by side
LEAF_STEPS = np.uint64(6)


@kernel(inline=True)
def _search(sorted_keys, steps, addresses, slots, low, high):
    """Move each of slots[low:high] on by the number of keys below its address among the 2^steps - 1 from there on."""
    shift = steps
    while shift > U0:
        shift -= U1
        jump = (U1 << shift) - U1
        for i in range(low, high):
            slots[i] += np.uint64(sorted_keys[slots[i] + jump] < addresses[i]) << shift


@kernel(inline=True)
def locate(state, tops, heads, keys, addresses, slots, low, high):
    """For each of addresses[low:high] the slot of the first entry that ends at or after it."""
    for i in range(low, high):
        slots[i] = U0
    _search(tops, state[STEPS], addresses, slots, low, high)
    for i in range(low, high):
        slots[i] = heads[slots[i]] & ~U63
    _search(keys, LEAF_STEPS, addresses, slots, low, high)


@kernel(counted=False)
def lookup_batch(state, tops, heads, keys, rows, addresses, slots, physical):
    """For each address the slot of its entry and its physical address, both ONES where no entry holds it.

    addresses, slots, physical: uint64[n]. Returns how many are mapped. vhost_iotlb_itree_first of one byte, for each.
    """
    total, size = U0, np.uint64(addresses.size)
    for low in range(U0, size, GROUP):
        high = min(low + GROUP, size)
        locate(state, tops, heads, keys, addresses, slots, low, high)
        for i in range(low, high):
            row, address = U4 * slots[i], addresses[i]
            start = rows[row + START]
            held = (rows[row + U2] != U0) & (start <= address)
            total += np.uint64(held)
            slots[i] = slots[i] if held else ONES
            physical[i] = rows[row + ADDR] + (address - start) if held else ONES
    return total


@kernel(counted=False)
def translate_batch(state, tops, heads, keys, rows, addresses, lengths, perms, ends, pieces):
    """Turn buffers into pieces (physical address, bytes), one for each entry that a buffer runs through.

    addresses, lengths, perms: uint64[n]; pieces: uint64[m, 2]; the pieces of buffer i are those from ends[i - 1] to
    ends[i]. Returns (done, error): buffers before `done` are translated; error is 0, or says why buffer `done` is not:
    -EINVAL no entry holds one of its bytes, -EPERM an entry lacks the access, -ENOBUFS too many pieces. Each entry
    stands alone, even where its neighbour goes on in physical memory. Source: iotlb_translate (drivers/vhost/vringh.c).
    """
    made, size, room = U0, np.uint64(addresses.size), np.uint64(pieces.shape[0])
    for low in range(U0, size, GROUP):
        high = min(low + GROUP, size)
        locate(state, tops, heads, keys, addresses, ends, low, high)
        for i in range(low, high):
            slot, at, left, need = ends[i], addresses[i], lengths[i], perms[i]
            while left > U0:
                row = U4 * slot
                start, perm = rows[row + START], rows[row + PERM]
                if made == room:
                    return i, FULL
                if perm == U0 or start > at:
                    return i, INVALID
                if perm & need == U0:
                    return i, DENIED
                more = keys[slot] - at  # one less than the bytes that the entry still has
                pieces[made, 0] = rows[row + ADDR] + (at - start)
                pieces[made, 1] = min(left - U1, more) + U1
                made += U1
                if left - U1 <= more:
                    break
                if keys[slot] == ONES:
                    return i, INVALID
                at, left = keys[slot] + U1, left - more - U1
                slot, _ = find(state, tops, heads, keys, at)
            ends[i] = made
    return size, OK
