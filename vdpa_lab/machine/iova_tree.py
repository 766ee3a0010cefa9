"""QEMU's IOVA tree of one vhost-vdpa device: addresses for rings, buffers and guest memory, first fit.

Sources: QEMU util/iova-tree.c, hw/virtio/vhost-iova-tree.c. All addresses and sizes are bytes.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import iova_alloc
from vdpa_lab.kernels.iotlb_search import ADDR, FULL, ONES, START, grown, new_tree
from vdpa_lab.machine.address_space import LAST, Iotlb, MapError
from vdpa_lab.units import PAGE_SIZE

NAMES = {
    int(iova_alloc.INVALID): "IOVA_ERR_INVALID",
    int(iova_alloc.OVERLAP): "IOVA_ERR_OVERLAP",
    int(iova_alloc.NOMEM): "IOVA_ERR_NOMEM",
}


class Allocator:
    """struct IOVATree as an allocator: entries [iova, iova + size), found and given out first fit."""

    def __init__(self) -> None:
        self.tree, self.gaps = new_tree(), iova_alloc.new_gaps(1)

    def __len__(self) -> int:
        return int(self.tree.state[0])

    def _grow(self) -> None:
        leaves, self.tree = self.tree.tops.size, grown(self.tree)
        gaps = iova_alloc.new_gaps(2 * leaves)
        gaps[2 * leaves : 3 * leaves] = self.gaps[leaves:]
        iova_alloc.rebuild(gaps)
        self.gaps = gaps

    def insert(self, iova: int, size: int, addr: int, perm: int) -> None:
        """MapError IOVA_ERR_INVALID if it wraps or has no perm, IOVA_ERR_OVERLAP (iova_tree_insert)."""
        entry = tuple(map(np.uint64, (iova, size - 1, addr, perm)))
        while (error := iova_alloc.insert(*self.tree, self.gaps, *entry)) == FULL:
            self._grow()
        if error:
            raise MapError(NAMES[int(error)], "iova_tree_insert", f"[{iova:#x}, +{size:#x})")

    def allocate(self, begin: int, last: int, size: int, addr: int, perm: int) -> int:
        """The start of the first hole of [begin, last] that takes `size` bytes, now taken (iova_tree_alloc_map).

        MapError IOVA_ERR_NOMEM without such a hole, IOVA_ERR_INVALID, IOVA_ERR_OVERLAP for an entry across `begin`.
        """
        wanted = tuple(map(np.uint64, (begin, last, size - 1, addr, perm)))
        iova, error = iova_alloc.allocate(*self.tree, self.gaps, *wanted)
        while error == FULL:
            self._grow()
            iova, error = iova_alloc.allocate(*self.tree, self.gaps, *wanted)
        if error:
            raise MapError(NAMES[int(error)], "iova_tree_alloc_map", f"{size:#x} bytes in [{begin:#x}, {last:#x}]")
        return int(iova)

    def remove(self, iova: int, size: int) -> int:
        """Remove every entry that overlaps [iova, iova + size); how many those were (iova_tree_remove)."""
        return int(iova_alloc.remove(*self.tree, self.gaps, np.uint64(iova), np.uint64(size - 1)))


class VhostIovaTree:
    """struct VhostIOVATree: the IOVA-only tree, IOVA -> HVA (rings, buffers) and GPA -> IOVA (guest memory).

    first, last: the device's IOVA range; page 0 is never given out.
    """

    def __init__(self, first: int = 0, last: int = LAST) -> None:
        self.first, self.last = max(first, PAGE_SIZE), last
        self.iovas, self.to_hva, self.gpas = Allocator(), Iotlb(), Iotlb()

    def _allocate(self, size: int, perm: int, addr: int, function: str) -> int:
        if not 1 <= size <= LAST + 1 - addr or not perm:
            raise MapError("IOVA_ERR_INVALID", function, f"{size:#x} bytes at {addr:#x}, perm {perm}")
        return self.iovas.allocate(self.first, self.last, size, addr, perm)

    def map_alloc(self, size: int, perm: int, hva: int) -> int:
        """An IOVA for `size` bytes of QEMU's own at `hva`; MapError as Allocator (vhost_iova_tree_map_alloc)."""
        iova = self._allocate(size, perm, hva, "vhost_iova_tree_map_alloc")
        self.to_hva.add(np.array([[iova, iova + size - 1, hva, perm]], np.uint64))
        return iova

    def map_alloc_gpa(self, size: int, perm: int, gpa: int) -> int:
        """An IOVA for guest memory (vhost_iova_tree_map_alloc_gpa).

        MapError as Allocator; IOVA_ERR_OVERLAP for a GPA that is mapped: the IOVA is taken all the same, as in QEMU.
        """
        iova = self._allocate(size, perm, gpa, "vhost_iova_tree_map_alloc_gpa")
        if self.gpas.overlaps(gpa, gpa + size - 1):
            raise MapError("IOVA_ERR_OVERLAP", "gpa_tree_insert", f"GPA [{gpa:#x}, +{size:#x}) is mapped")
        self.gpas.add(np.array([[gpa, gpa + size - 1, iova, perm]], np.uint64))
        return iova

    def remove(self, iova: int, size: int) -> None:
        """vhost_iova_tree_remove."""
        self.to_hva.remove(iova, iova + size - 1)
        self.iovas.remove(iova, size)

    def remove_gpa(self, gpa: int, iova: int, size: int) -> None:
        """vhost_iova_tree_remove_gpa."""
        self.gpas.remove(gpa, gpa + size - 1)
        self.iovas.remove(iova, size)

    def hva(self, iova: int) -> int | None:
        """The HVA behind an IOVA of QEMU's own, or None (iova_tree_find)."""
        found, perm = self.to_hva.lookup([iova])
        return int(found[0]) if perm[0] else None

    def find_iova(self, hva: int, size: int = 1) -> tuple[int | None, int]:
        """(IOVA of `hva` or None, entries that QEMU's walk looks at) (vhost_iova_tree_find_iova)."""
        tree = self.to_hva.tree
        slot, seen = iova_alloc.find_translated(
            tree.state, tree.heads, tree.rows, tree.keys, np.uint64(hva), np.uint64(size - 1)
        )
        if slot == ONES:
            return None, int(seen)
        row = tree.rows[4 * int(slot) : 4 * int(slot) + 4].tolist()
        return row[int(START)] + hva - row[int(ADDR)], int(seen)

    def find_gpa(self, gpa: int, size: int = 1) -> tuple[int | None, int]:
        """(IOVA of `gpa` or None, entries that QEMU's walk in GPA order looks at) (vhost_iova_tree_find_gpa)."""
        before = int((self.gpas.rows()[:, 1] < gpa).sum())
        for start, _, iova, _ in self.gpas.rows(gpa)[:1].tolist():
            if start <= gpa + size - 1:
                return iova + gpa - start, before + 1
        return None, len(self.gpas)
