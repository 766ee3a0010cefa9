"""The IOTLB and the IOVA tree against the same algorithm in C, a red-black tree in C, a linear walk, and NumPy.

Times are per look-up, entry or buffer, of work on arrays that are there already: neither our trees nor the peer's
allocate memory meanwhile.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np

from vdpa_lab.bench.harness import Case, in_c
from vdpa_lab.kernels import iotlb, iotlb_batch, iova_alloc
from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.iotlb_search import ADDR, OK, ONES, START, U0, U1, U4, U63, Tree, new_tree
from vdpa_lab.units import PAGE_SIZE

SIZES, QUICK = (10**2, 10**4, 10**6), (10**2, 10**3)
PROBES, PASSES = 1 << 14, 4096  # look-ups of a call; allocations
STEP = 2 * PAGE_SIZE  # from entry to entry
BEGIN = np.uint64(PAGE_SIZE)
WALK = 10**8  # entries that the linear walk may visit in a call


@kernel(counted=False)
def _lookup_each(state, tops, heads, keys, rows, addresses):
    """One look-up after the other: each waits for the answer before."""
    total, before = U0, U0
    for i in range(np.uint64(addresses.size)):
        address = addresses[i] + (before >> U63)
        slot = iotlb.first(state, tops, heads, keys, rows, address, address)
        before = rows[U4 * slot + ADDR] + (address - rows[U4 * slot + START]) if slot != ONES else U0
        total += before
    return total


@kernel(counted=False)
def _remove_each(state, tops, heads, keys, rows, addresses, taken):
    removed = U0
    for i in range(np.uint64(addresses.size)):
        removed += iotlb.remove(state, tops, heads, keys, rows, addresses[i], addresses[i], taken)
    return removed


@kernel(counted=False)
def _allocate_free(state, tops, heads, keys, rows, gaps, begin, sizes):
    """The sum of the addresses that `sizes`, less one each, get one after the other, each freed at once."""
    total = U0
    for i in range(np.uint64(sizes.size)):
        iova, error = iova_alloc.allocate(state, tops, heads, keys, rows, gaps, begin, ONES, sizes[i], U0, U1)
        if error != OK:
            return ONES
        total += iova
        iova_alloc.remove(state, tops, heads, keys, rows, gaps, iova, U0)
    return total


def _room(entries: int) -> int:
    """A power of two of leaves that is enough in any order: each is at least half full."""
    return 1 << max(1, (entries // 28)).bit_length()


def _empty(tree: Tree) -> None:
    for each, new in zip(tree, _EMPTY, strict=True):
        each[: new.size] = new
    tree.tops.fill(ONES)
    tree.keys.fill(ONES)


_EMPTY = new_tree()


def _copy(to: Tree, source: Tree) -> None:
    for each, other in zip(to, source, strict=True):
        each[:] = other


def _entries(count: int, random: np.random.Generator) -> np.ndarray:
    starts = np.uint64(STEP) * (np.uint64(1) + random.permutation(count).astype(np.uint64))
    return np.stack([starts, starts + np.uint64(STEP - 1), 5 * starts, np.full_like(starts, 3)], 1)


def _lookups(library, count: int, probes: int, random: np.random.Generator) -> Iterator[Case]:
    of, rows = f"{count:,} entries", _entries(count, random)
    tree = new_tree(_room(count))
    iotlb.insert(*tree, rows, U0)
    at = random.integers(STEP, STEP * (count + 1), probes).astype(np.uint64)
    slots, physical = np.empty_like(at), np.empty_like(at)
    ordered = np.sort(rows[:, 0])
    each = {"ours": lambda: _lookup_each(*tree, at)}
    batch = {"ours": lambda: iotlb_batch.lookup_batch(*tree, at, slots, physical)}
    # 16 bytes to one and a half entries each
    lengths = random.integers(16, STEP + STEP // 2, probes).astype(np.uint64)
    lengths = np.minimum(lengths, np.uint64(STEP * (count + 1)) - at)
    perms, ends, pieces = np.ones_like(at), np.empty_like(at), np.empty((3 * probes, 2), np.uint64)
    buffers = {"ours": lambda: iotlb_batch.translate_batch(*tree, at, lengths, perms, ends, pieces)[0]}
    if library:
        peer = _peer(library, rows)
        each["twin"] = in_c(library.twin_lookup_each, *tree, at, probes)
        each["peer"] = in_c(library.peer_lookup_each, peer, at, probes)
        batch["twin"] = in_c(library.twin_lookup_batch, *tree, at, slots, physical, probes)
        batch["peer"] = in_c(library.peer_lookup_batch, peer, at, physical, probes)
        buffers["twin"] = in_c(library.twin_translate, *tree, at, lengths, perms, ends, pieces, probes, len(pieces))
    batch["numpy"] = lambda: int(np.searchsorted(ordered, at, "right").size)
    yield Case("IOTLB lookup, one after the other", of, count, probes, each)
    yield Case("IOTLB lookup in batch", of, count, probes, batch)
    yield Case("IOTLB translate in batch", of, count, probes, buffers)


def _peer(library, rows: np.ndarray) -> int:
    tree = in_c(library.peer_new, len(rows) + 1)()
    in_c(library.peer_insert, tree, rows, len(rows))()
    return tree


def _changes(library, count: int, random: np.random.Generator) -> Iterator[Case]:
    of, rows, leaves = f"{count:,} entries", _entries(count, random), _room(count)
    tree, full = new_tree(leaves), new_tree(leaves)
    iotlb.insert(*full, rows, U0)
    gone, taken = rows[random.permutation(count)[: count // 2], 0].copy(), np.empty((1, 4), np.uint64)
    insert = {"ours": lambda: iotlb.insert(*tree, rows, U0)[0]}
    remove = {"ours": lambda: _remove_each(*tree, gone, taken)}
    clear = copy = int
    if library:
        kept, peer = _peer(library, rows), in_c(library.peer_new, count + 1)()
        clear, copy = in_c(library.peer_clear, peer), in_c(library.peer_copy, peer, kept)
        insert["twin"] = in_c(library.twin_insert, *tree, rows, count, leaves)
        insert["peer"] = in_c(library.peer_insert, peer, rows, count)
        remove["twin"] = in_c(library.twin_remove_each, *tree, gone, gone.size)
        remove["peer"] = in_c(library.peer_remove_each, peer, gone, gone.size)
    yield Case("IOTLB insert in random order", of, count, count, insert, lambda: (_empty(tree), clear()))
    yield Case("IOTLB remove half in random order", of, count, gone.size, remove, lambda: (_copy(tree, full), copy()))


def _first_fit(library, count: int, passes: int, random: np.random.Generator) -> Case:
    """Entries of 1 to 8 pages; behind each a hole, of k pages with probability 2^-(k + 1); allocations of 1 to 16."""
    pages = random.integers(1, 9, count)
    holes = random.geometric(0.5, count) - 1
    starts = (PAGE_SIZE * (1 + np.cumsum(pages + holes) - pages - holes)).astype(np.uint64)
    last = starts + (PAGE_SIZE * pages - 1).astype(np.uint64)
    tree, gaps = new_tree(_room(count)), iova_alloc.new_gaps(_room(count))
    order = random.permutation(count)
    for i in order.tolist():
        iova_alloc.insert(*tree, gaps, starts[i], last[i] - starts[i], U0, U1)
    passes = max(1, min(passes, WALK // count)) if library else passes
    sizes = (PAGE_SIZE * random.integers(1, 17, passes) - 1).astype(np.uint64)
    calls = {"ours": lambda: _allocate_free(*tree, gaps, BEGIN, sizes)}
    if library:
        rows = np.stack([starts, last, starts, np.ones_like(starts)], 1)[order]
        calls["peer"] = in_c(library.peer_first_fit, _peer(library, rows), sizes, passes, BEGIN)
    # An allocator in use is warm; the walk before, over all entries, would have cleared the caches.
    return Case("IOVA first fit: allocate and free", f"{count:,} entries", count, passes, calls, calls["ours"])


def cases(library: ctypes.CDLL | None, quick: bool) -> Iterator[Case]:
    """Look-ups, changes and first fit at each size."""
    random = np.random.default_rng(11)
    for count in QUICK if quick else SIZES:
        yield from _lookups(library, count, 1000 if quick else PROBES, random)
        yield from _changes(library, count, random)
        yield _first_fit(library, count, 16 if quick else PASSES, random)
