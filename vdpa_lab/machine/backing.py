"""Guest RAM as physically contiguous chunks, by what backs it and by how it was populated.

vhost-vdpa makes an IOTLB entry of each run of consecutive page frames (Linux drivers/vhost/vdpa.c, vhost_vdpa_pa_map),
so their number depends on the allocation history and not on the page size alone. 4 KiB pages come out of the buddy
allocator (mm/page_alloc.c, expand) in runs that end with a free block, 2^0 to 2^10 pages; that such orders have
geometric weights is a guess, their mean is measured (data/backing.csv). Huge pages are whole, and neighbours at times.

A RAM block is laid out from its start and from a seed, so the sections that are cut out of one block agree.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from vdpa_lab.machine.sections import FOUR_GIB
from vdpa_lab.paths import data_dir
from vdpa_lab.units import PAGE_SIZE
from vdpa_lab.words import InputError, nearest

FILE = "backing.csv"
COLUMNS = ["backing", "history", "key", "value", "unit", "grade", "source", "note"]
GRADES = ("measured", "derived", "guess")
MAX_ORDER = 10  # of a free block: 4 MiB with 4 KiB pages (include/linux/mmzone.h, MAX_PAGE_ORDER)
UNIT_PAGES = {"4k": 1, "thp": 512, "2M": 512, "1G": 1 << 18, "mixed": 512}
TRANSPARENT = ("thp", "mixed")
HISTORIES = ("preallocated", "guest", "ram-load")
ENTRIES = "entries"  # evidence: the count of a run, from which means are derived
MEAN_RUN = "mean_run"  # mean length of a chunk, in 4 KiB pages or huge pages
SMALL_SHARE = "small_share"  # share of huge page ranges that 4 KiB pages back
WORDS = 1 << 64
BATCH = 1 << 15  # random words
KEPT = 1 << 21  # first pages of blocks that are kept, 8 MiB


@lru_cache(maxsize=4)
def _read(path: str) -> dict[tuple[str, str, str], float]:
    found = {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != COLUMNS:
            raise InputError(f"{path}, line 1: the columns are {rows.fieldnames}; they must be {COLUMNS}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            for field, allowed in (("backing", UNIT_PAGES), ("history", HISTORIES), ("grade", GRADES)):
                if row[field] not in allowed:
                    raise InputError(
                        f"{where}, {field}: {row[field]!r} is unknown; {nearest(str(row[field]), allowed)}"
                    )
            try:
                value = float(row["value"])
            except (TypeError, ValueError):
                raise InputError(f"{where}, value: {row['value']!r} is not a number; give one") from None
            top = {MEAN_RUN: 1 << MAX_ORDER, SMALL_SHARE: 1}.get(row["key"], float("inf"))
            if not 0 <= value <= top or (row["key"] == MEAN_RUN and value < 1):
                raise InputError(f"{where}, value: {value} is out of range for {row['key']}; at most {top} is")
            if row["key"] != ENTRIES:
                found[row["backing"], row["history"], row["key"]] = value
    return found


def value_of(backing: str, history: str, key: str) -> float:
    """A mean or share of data/backing.csv; 0 where the file has none. InputError for a wrong file or name."""
    for name, known in ((backing, UNIT_PAGES), (history, HISTORIES)):
        if name not in known:
            raise InputError(f"{name!r} is no way to back or populate guest memory; {nearest(name, known)}")
    return _read(str(data_dir() / FILE)).get((backing, history, key), 0.0)


def seed_of(*parts: str | int) -> int:
    """A seed of 64 bits from the parameters of a guest, the same on every machine."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=64)
def _order_limits(mean: float) -> np.ndarray:
    """uint64[10]: a random word below the k-th limit, and not below those before, is a free block of order k."""

    def weights(ratio: float) -> list[float]:
        found = [1.0]
        for _ in range(MAX_ORDER):
            found.append(found[-1] * ratio)
        return found

    low, high = 0.0, float(1 << MAX_ORDER)
    for _ in range(200):  # the mean grows with the ratio; halving leaves no choice to a platform's libm
        ratio = (low + high) / 2
        orders = weights(ratio)
        blocks = sum(orders)
        if sum(weight * (1 << k) for k, weight in enumerate(orders)) < mean * blocks:
            low = ratio
        else:
            high = ratio
    orders, limits, reached = weights(low), [], 0.0
    for weight in orders[:-1]:
        reached += weight
        limits.append(min(int(reached / sum(orders) * WORDS), WORDS - 1))
    return np.array(limits, np.uint64)


def _orders(words: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """How many of the limits each word reaches (uint8); a pass a limit takes a fifth of a search for each word."""
    orders = np.zeros(words.size, np.uint8)
    for limit in limits:
        orders += words >= limit
    return orders


@lru_cache(maxsize=32)
def _known_heads(history: str, seed: int) -> list[np.ndarray]:
    """What `_small_heads` has laid out so far."""
    return [np.zeros(1, np.uint32)]


def _small_heads(pages: int, history: str, seed: int) -> np.ndarray:
    """First pages (uint32) of the buddy blocks of [0, pages), and the end of the last one.

    A larger RAM block begins as a smaller one does, so what was laid out is kept, and only what lies behind is new.
    """
    known = _known_heads(history, seed)
    heads = known[0]
    if heads[-1] < pages:
        heads = np.concatenate([heads, *_heads_behind(heads, pages, history, seed)])
        known[0] = heads if heads.size <= KEPT else heads[:KEPT].copy()
        heads.flags.writeable = known[0].flags.writeable = False
    return heads[: int(heads.searchsorted(np.uint32(pages))) + 1]


def _heads_behind(heads: np.ndarray, pages: int, history: str, seed: int) -> Iterator[np.ndarray]:
    """The blocks that follow `heads`, of one random word each, until one ends at `pages` or behind."""
    mean = value_of("4k", history, MEAN_RUN)
    limits, source = _order_limits(mean), np.random.PCG64([seed, 0]).advance(heads.size - 1)
    end, ahead = int(heads[-1]), heads.size // 8  # so that a slightly larger guest finds its blocks
    while end < pages:
        # Word by word the same, however many at a time: no more than stay in a cache.
        words = source.random_raw(min(int((pages - end) / mean) + 64 + ahead, BATCH))
        ends = np.cumsum(np.int64(1) << _orders(words, limits))
        ends += end
        yield ends.astype(np.uint32)
        end = int(ends[-1])


def _layout(end: int, backing: str, history: str, seed: int, block: int) -> np.ndarray:
    """Edges in pages of the chunks of [0, end) of a RAM block of `block` pages; the last one is at `end` or behind."""
    if backing == "4k":
        return _small_heads(end, history, seed)
    mean, unit = value_of(backing, history, MEAN_RUN), UNIT_PAGES[backing]
    ranges = -(-end // unit)
    words = np.random.PCG64([seed, 1]).random_raw(2 * ranges).reshape(ranges, 2)
    joins = words[:, 0] < np.uint64((1 - 1 / mean) * WORDS)
    small = words[:, 1] < np.uint64(value_of(backing, history, SMALL_SHARE) * WORDS)
    if backing in TRANSPARENT:  # hugetlbfs rounds a block up (QEMU, file_ram_alloc)
        small[block // unit :] = True
    joins[:1] = False
    joins[1:] &= ~(small[1:] | small[:-1])
    heads = np.flatnonzero(~joins) * unit
    if small.any():
        pages = _small_heads(ranges * unit, history, seed)[:-1]
        heads = np.union1d(heads, pages[small[pages // unit]])
    return np.append(heads, ranges * unit)


def _cut(
    size: int, offset: int, backing: str, history: str, seed: int, block: int | None
) -> tuple[np.ndarray, slice, int, int]:
    """(edges of the block's chunks, those that the section has a part of, the section's first page and its end)."""
    block = offset + size if block is None else block
    if size % PAGE_SIZE or offset % PAGE_SIZE or size < 0 or offset < 0 or offset + size > block:
        raise InputError(f"{size} bytes at {offset} are not whole pages of a RAM block of {block} bytes")
    first, last = offset // PAGE_SIZE, (offset + size) // PAGE_SIZE
    edges = _layout(last, backing, history, seed, -(-block // PAGE_SIZE))
    page = edges.dtype.type  # searched for as another type, all edges would be converted first
    low = int(edges.searchsorted(page(first), side="right")) - 1
    return edges, slice(low, int(edges.searchsorted(page(last))) if size else low), first, last


def chunks(size: int, offset: int, backing: str, history: str, seed: int, block: int | None = None) -> np.ndarray:
    """Lengths in 4 KiB pages (uint32, they sum to the section) of the chunks of a section of guest RAM.

    size, offset: bytes of the section and where it begins in its RAM block; block: bytes of the whole block, if more
    follows. backing: 4k, thp, 2M or 1G (hugetlb), or mixed (THP with holes of 4 KiB pages). history, what touched the
    pages first: "preallocated" (a pin, or prealloc=on), "guest", "ram-load" (a destination). Raises InputError.
    """
    edges, inside, first, last = _cut(size, offset, backing, history, seed, block)
    lengths = np.subtract(edges[1:][inside], edges[inside], dtype=np.uint32, casting="unsafe")
    if size:
        lengths[0] -= first - int(edges[inside.start])
        lengths[-1] -= int(edges[inside.stop]) - last
    return lengths


def addresses(
    size: int, offset: int, backing: str, history: str, seed: int, block: int | None = None, base: int = FOUR_GIB
) -> np.ndarray:
    """Physical address in bytes (uint64) of each chunk that `chunks` gives for the same arguments, from `base` up.

    Buddy blocks and huge pages are aligned to their size; behind each chunk lies at least a page of somebody else's.
    """
    edges, inside, first, _ = _cut(size, offset, backing, history, seed, block)
    edges = edges.astype(np.int64)
    lengths = np.diff(edges)
    align = np.minimum(lengths & -lengths, max(UNIT_PAGES[backing], 1 << MAX_ORDER if backing == "4k" else 1))
    room = base // PAGE_SIZE + np.cumsum(lengths + align) - lengths - align  # rounding up takes less than `align`
    starts = (room + align - 1 & -align)[inside]
    if size:
        starts[0] += first - edges[inside.start]
    return (starts * PAGE_SIZE).astype(np.uint64)
