"""The address spaces of one vhost-vdpa device, message by message, on compiled kernels.

    spaces = AddressSpaces("set_map", limit=1 << 20)
    work = spaces.update(0, iova=0x1000, size=0x2000, perm=3, pfns=[7, 8])

Addresses and sizes are bytes, pages 4 KiB. Sources: Linux drivers/vhost/vdpa.c, drivers/vhost/iotlb.c.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np

from vdpa_lab.kernels import iotlb, iotlb_batch, pin
from vdpa_lab.kernels.iotlb_search import FULL, PERM, grown, new_tree
from vdpa_lab.units import PAGE_SIZE

LAST = (1 << 64) - 1

Parent = Literal["dma_map", "set_map", "iommu"]


class MapError(ValueError):
    """What the kernel or QEMU refuses: `name` is the errno or IOVA_ERR_* name, `function` who says so."""

    def __init__(self, name: str, function: str, why: str) -> None:
        super().__init__(f"-{name} from {function}: {why}")
        self.name, self.function = name, function
        self.work: Work | None = None  # of a message that got half-way and was undone


def _u64(*values: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(value) for value in values)


def _array(values: Iterable[int] | np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.uint64)


class Iotlb:
    """The IOTLB of one address space (struct vhost_iotlb): rows (start, last, addr, perm), uint64, ends inclusive."""

    def __init__(self) -> None:
        self.tree = new_tree()

    def __len__(self) -> int:
        return int(self.tree.state[0])

    def add(self, rows: np.ndarray) -> None:
        """vhost_iotlb_add_range for each of uint64[n, 4]; MapError EEXIST, EFAULT, EINVAL: the rows before are in."""
        done, error = iotlb.insert(*self.tree, rows, np.uint64(0))
        while error == FULL:
            self.tree = grown(self.tree)
            done, error = iotlb.insert(*self.tree, rows, np.uint64(done))
        if error:
            start, last, _, perm = rows[int(done)].tolist()
            raise MapError(
                errno.errorcode[-int(error)], "vhost_iotlb_add_range", f"[{start:#x}, {last:#x}] perm {perm}"
            )

    def overlaps(self, start: int, last: int) -> bool:
        """Whether an entry overlaps [start, last] (vhost_iotlb_itree_first)."""
        return iotlb.first(*self.tree, *_u64(start, last)) != iotlb.NO_SLOT

    def remove(self, start: int, last: int) -> np.ndarray:
        """Remove whole every entry that overlaps [start, last]; the rows that went (vhost_iotlb_del_range)."""
        taken = np.empty((len(self), 4), np.uint64)
        return taken[: int(iotlb.remove(*self.tree, *_u64(start, last), taken))]

    def rows(self, start: int = 0) -> np.ndarray:
        """The entries in order from the first that ends at or after `start` (vhost_iotlb_itree_next)."""
        out = np.empty((len(self), 4), np.uint64)
        return out[: int(iotlb.entries_from(*self.tree, *_u64(start), out))]

    def lookup(self, addresses: Iterable[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Physical address and perm of each address, uint64; perm is 0 where no entry holds it."""
        wanted = _array(addresses)
        slots, physical = np.empty_like(wanted), np.empty_like(wanted)
        iotlb_batch.lookup_batch(*self.tree, wanted, slots, physical)
        held = slots != iotlb.NO_SLOT
        perms = np.zeros_like(wanted)
        perms[held] = self.tree.rows.reshape(-1, 4)[slots[held], int(PERM)]
        return physical, perms

    def translate(self, addresses, lengths, perms, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Buffers to at most `most` pieces (physical, bytes), and for each buffer where its pieces end.

        MapError EINVAL for an unmapped byte, EPERM, ENOBUFS for too many pieces (vringh.c, iotlb_translate).
        """
        wanted = _array(addresses), _array(lengths), _array(perms)
        if len({each.size for each in wanted}) > 1:
            raise ValueError("a buffer has an address, a length and a perm")
        ends, pieces = np.empty(wanted[0].size, np.uint64), np.empty((most, 2), np.uint64)
        done, error = iotlb_batch.translate_batch(*self.tree, *wanted, ends, pieces)
        if error:
            raise MapError(errno.errorcode[-int(error)], "iotlb_translate", f"buffer {int(done)}")
        return pieces[: int(ends[-1]) if ends.size else 0], ends


class Work(NamedTuple):
    """What a message did: set_map rebuilds, `handed` so many entries in all; leaves of 1 GiB, 2 MiB, 4 KiB."""

    pin_calls: int = 0
    pinned: int = 0
    unpinned: int = 0
    dirtied: int = 0
    added: int = 0
    removed: int = 0
    dma_map: int = 0
    dma_unmap: int = 0
    set_map: int = 0
    handed: int = 0
    leaves_set: tuple[int, int, int] = (0, 0, 0)
    leaves_cleared: tuple[int, int, int] = (0, 0, 0)


def _leaves(rows: np.ndarray) -> tuple[int, int, int]:
    found = np.zeros(3, np.uint64)
    pin.count_leaves(rows, np.uint64(len(rows)), found)
    return tuple(found.tolist())


class AddressSpaces:
    """One device's IOTLBs by ASID: vhost_vdpa_process_iotlb_msg with physical pages (not use_va).

    parent: the mapping operation of its driver. limit: pages of RLIMIT_MEMLOCK (None: none); `pinned` pages of the
    process count against it, those of its other devices included. first, last: the device's IOVA range.
    """

    def __init__(
        self,
        parent: Parent,
        *,
        asids: int = 2,
        first: int = 0,
        last: int = LAST,
        limit: int | None = None,
        pinned: int = 0,
    ) -> None:
        self.parent, self.asids, self.first, self.last = parent, asids, first, last
        self.limit, self.pinned, self.batch = limit, pinned, None
        self.spaces: dict[int, Iotlb] = {}

    def _space(self, asid: int, create: bool) -> Iotlb:
        function = "vhost_vdpa_process_iotlb_msg"
        if create and 0 <= asid < self.asids:  # vhost_vdpa_find_alloc_as
            self.spaces.setdefault(asid, Iotlb())
        if asid not in self.spaces:
            raise MapError("EINVAL", function, f"no address space has ASID {asid}")
        if self.batch not in (None, asid):
            raise MapError("EINVAL", function, f"a batch of ASID {self.batch} is open, the message is for {asid}")
        return self.spaces[asid]

    def batch_begin(self, asid: int) -> None:
        """VHOST_IOTLB_BATCH_BEGIN: MapError EINVAL for no such ASID, or inside another one's batch."""
        self._space(asid, create=True)
        self.batch = asid

    def batch_end(self, asid: int) -> Work:
        """VHOST_IOTLB_BATCH_END: one set_map, whatever the batch held."""
        space, rebuilds = self._space(asid, create=False), int(self.parent == "set_map" and self.batch is not None)
        self.batch = None
        return Work(set_map=rebuilds, handed=rebuilds * len(space))

    def _mapped(self, before: int, rows: np.ndarray) -> Work:
        """vhost_vdpa_map of each chunk, on top of `before` entries."""
        n = len(rows)
        rebuilds = n if self.parent == "set_map" and self.batch is None else 0
        return Work(
            added=n,
            dma_map=n * (self.parent == "dma_map"),
            set_map=rebuilds,
            handed=rebuilds * before + rebuilds * (rebuilds + 1) // 2,
            leaves_set=_leaves(rows) if self.parent == "iommu" else (0, 0, 0),
        )

    def _unmapped(self, space: Iotlb, iova: int, size: int) -> Work:
        """vhost_vdpa_unmap: entries of [iova, iova + size) go whole; one set_map, also when nothing went."""
        rows = space.remove(iova, (iova + size - 1) & LAST)
        pages, writable = map(int, pin.count_pages(rows, np.uint64(len(rows))))
        self.pinned -= pages
        rebuilds = int(self.parent == "set_map" and self.batch is None)
        return Work(
            unpinned=pages,
            dirtied=writable,
            removed=len(rows),
            dma_unmap=len(rows) * (self.parent == "dma_map"),
            set_map=rebuilds,
            handed=rebuilds * len(space),
            leaves_cleared=_leaves(rows) if self.parent == "iommu" else (0, 0, 0),
        )

    def update(self, asid: int, iova: int, size: int, perm: int, pfns, pages=None) -> Work:
        """VHOST_IOTLB_UPDATE: pin what stands behind `size` bytes and map it at `iova`, chunk by chunk.

        pfns: physical page numbers in virtual order; with `pages`, stretches of so many from each on. MapError EINVAL
        (ASID, batch, range), EEXIST (an overlap; nothing is pinned), ENOMEM (RLIMIT_MEMLOCK, or fewer pages than
        `size` needs: what was mapped until then is unmapped again, and `work` of the error says what that took).
        ValueError for what is no whole page. Sources: vhost_vdpa_process_iotlb_update, vhost_vdpa_pa_map.
        """
        space = self._space(asid, create=True)
        if iova % PAGE_SIZE or size % PAGE_SIZE:
            raise ValueError(f"[{iova:#x}, +{size:#x}) is not whole pages: QEMU's messages are")
        if perm not in (1, 2, 3):
            raise ValueError(f"perm {perm!r} is none of VHOST_ACCESS_RO 1, WO 2, RW 3")
        if not (self.first <= iova and size and iova + size - 1 <= min(self.last, LAST)):
            raise MapError("EINVAL", "vhost_vdpa_process_iotlb_update", f"[{iova:#x}, +{size:#x}) is out of range")
        if space.overlaps(iova, iova + size - 1):
            raise MapError("EEXIST", "vhost_vdpa_process_iotlb_update", f"an entry overlaps [{iova:#x}, +{size:#x})")
        needed = size // PAGE_SIZE
        if self.limit is not None and needed + self.pinned > self.limit:
            raise MapError("ENOMEM", "vhost_vdpa_pa_map", f"{needed} pages on {self.pinned} pinned: RLIMIT_MEMLOCK")
        stretches = _array(pfns), pin.SINGLE if pages is None else _array(pages)
        there = stretches[0].size if pages is None else int(stretches[1].sum())
        whole = there >= needed
        pinned = needed if whole else there // pin.PAGES_A_CALL * pin.PAGES_A_CALL  # a short call gives its pages back
        rows = np.empty((stretches[0].size, 4), np.uint64)
        made = int(pin.chunk(*stretches, *_u64(pinned, iova, perm), rows))
        rows = rows[: made if whole else max(made - 1, 0)]  # the chunk that is still open is only unpinned
        before = len(space)
        space.add(rows)
        self.pinned += int(pin.count_pages(rows, np.uint64(len(rows)))[0])
        work = self._mapped(before, rows)._replace(
            pin_calls=-(-pinned // pin.PAGES_A_CALL) + (not whole), pinned=pinned
        )
        if whole:
            return work
        undone = self._unmapped(space, iova, size)
        error = MapError("ENOMEM", "vhost_vdpa_pa_map", f"only {there} of {needed} pages can be pinned")
        error.work = work._replace(
            unpinned=pinned,
            dirtied=undone.dirtied,
            removed=undone.removed,
            dma_unmap=undone.dma_unmap,
            set_map=work.set_map + undone.set_map,
            handed=work.handed + undone.handed,
            leaves_cleared=undone.leaves_cleared,
        )
        raise error

    def invalidate(self, asid: int, iova: int, size: int) -> Work:
        """VHOST_IOTLB_INVALIDATE: MapError EINVAL for no such ASID or another's batch (vhost_vdpa_unmap)."""
        return self._unmapped(self._space(asid, create=False), iova, size)
