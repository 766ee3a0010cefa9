"""Guest addresses to IOVAs for the shadow virtqueue, in one step whatever the number of maps.

QEMU walks a tree of maps for each buffer (vhost_svq_translate_addr, util/iova-tree.c). Here a directory says for each
cell of the guest's address space which map is the first that ends in it or after it; the map wanted is that one or
the next. A cell that more than two maps touch has a table of smaller cells, down to one page. Everything is in one
uint64 array: root shift, last root cell, pages that a bitmap must have, the cells, then four words a map.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np

from vdpa_lab.kernels._jit import kernel

U0, U1, U4, U12, U16, U32, U48 = (np.uint64(value) for value in (0, 1, 4, 12, 16, 32, 48))
LOW16, LOW32 = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF)

PAGE_SHIFT = 12  # the listener maps whole pages only
SHIFT, LAST_CELL, PAGES, CELLS = 0, 1, 2, 3
ROOT = np.uint64(CELLS)
FIRST, LAST, IOVA, RAM = (np.uint64(word) for word in range(4))  # the words of a map
NODE = np.uint64(1 << 63)  # a cell that is a table: its first word in bits 0-31, its shift in 32-47, its mask above
NOWHERE = (1 << 64) - 1
ROOT_BITS = (8, 12)  # a root of 256 to 4096 cells, about two a map: more would only need more cache
TABLE_BITS = 6

NOT_MAPPED, CROSSES = -101, -102
ERRORS = {
    NOT_MAPPED: "a buffer begins where nothing is mapped for the device",
    CROSSES: "a buffer runs beyond what is mapped for the device",
}


def directory(maps: Iterable[tuple[int, ...]]) -> np.ndarray:
    """uint64[] for the kernels, from (gpa, bytes, iova) or (gpa, bytes, iova, ram_addr) of each map, in any order.

    ram_addr: where the migration bitmap has the map's pages; the guest address if it is not given. ValueError for a
    map that is empty, is not of whole pages, overlaps another or ends beyond 2^63.
    """
    found = sorted((*each, each[0])[:4] for each in maps)
    end = 0
    for gpa, size, iova, ram in found:
        if size < 1 or min(gpa, iova, ram) < 0 or max(gpa, iova, ram) + size > 1 << 63:
            raise ValueError(f"the map at {gpa:#x} is empty or outside the 63-bit address space")
        if (gpa | size | iova | ram) % (1 << PAGE_SHIFT):
            raise ValueError(f"the map at {gpa:#x} is not of whole 4 KiB pages")
        if gpa < end:
            raise ValueError(f"the map at {gpa:#x} overlaps the one before it")
        end = gpa + size
    return _Builder(found, end).words


class _Builder:
    """The cells, from the root down; `words` is the whole directory."""

    def __init__(self, maps: list[tuple[int, ...]], end: int) -> None:
        self.starts = [gpa for gpa, *_ in maps]
        self.ends = [gpa + size for gpa, size, *_ in maps]
        least, most = ROOT_BITS
        bits = min(max((2 * len(maps) - 1).bit_length(), least), most)
        shift = max(PAGE_SHIFT, end.bit_length() - bits)
        count = -(-end >> shift)
        pages = max((ram + size for _, size, _, ram in maps), default=0) >> PAGE_SHIFT
        self.cells = [shift, count, pages] + [-1 - len(maps)] * (count + 1)
        self.fill(CELLS, 0, shift, count)
        base = len(self.cells)
        records = [word for gpa, size, iova, ram in maps for word in (gpa, gpa + size - 1, iova, ram)]
        records += [NOWHERE, 0, 0, 0] * 2
        words = [base + 4 * (-1 - cell) if cell < 0 else cell for cell in self.cells]
        self.words = np.array(words + records, np.uint64)

    def fill(self, at: int, low: int, shift: int, count: int) -> None:
        """Write `count` cells of 2^shift bytes from address `low` on; a map's number n stands as -1 - n meanwhile."""
        for place in range(at, at + count):
            high = low + (1 << shift)
            first = bisect_right(self.ends, low)
            if first + 2 < len(self.starts) and self.starts[first + 2] < high:
                finer = max(PAGE_SHIFT, shift - TABLE_BITS)
                size, table = 1 << (shift - finer), len(self.cells)
                self.cells[place] = int(NODE) | (size - 1) << 48 | finer << 32 | table
                self.cells += [0] * size
                self.fill(table, low, finer, size)
            else:
                self.cells[place] = -1 - first
            low = high


@kernel(inline=True, counted=False)
def map_of(maps, shift, last_cell, where):
    """The first word of the map that has guest address `where`, if any has; shift, last_cell: of the directory."""
    entry = maps[ROOT + min(where >> shift, last_cell)]
    while entry >= NODE:
        entry = maps[(entry & LOW32) + ((where >> ((entry >> U32) & LOW16)) & ((entry ^ NODE) >> U48))]
    return entry + U4 * np.uint64(where > maps[entry + LAST])


@kernel(inline=True, counted=False)
def outside(maps, found, where):
    """Whether the map `found` does not have guest address `where`."""
    return (where < maps[found]) | (where > maps[found + LAST])


@kernel(counted=False)
def translate(maps, addr, length, word, to):
    """Write a `word` (IOVA or RAM) of each buffer of one byte or more to `to`; how many (vhost_svq_translate_addr).

    addr: guest addresses, length: bytes, all uint64[]. Stops before the first buffer that is not in one map, and
    returns NOT_MAPPED or CROSSES if that is the first one.
    """
    count = min(np.uint64(addr.size), np.uint64(length.size), np.uint64(to.size))
    for each in range(count):
        where = addr[each]
        found = map_of(maps, maps[SHIFT], maps[LAST_CELL], where)
        error = NOT_MAPPED if outside(maps, found, where) else 0
        if not error and length[each] - U1 > maps[found + LAST] - where:
            error = CROSSES
        if error:
            return np.int64(each) if each else np.int64(error)
        to[each] = maps[found + word] + (where - maps[found])
    return np.int64(count)
