"""Guest memory as vhost-vdpa maps it: stretches of IOVA, each made of physically contiguous chunks.

Source: Linux drivers/vhost/vdpa.c (vhost_vdpa_pa_map): an IOTLB entry for each run of consecutive page frames.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vdpa_lab.machine.backing import UNIT_PAGES, chunks, seed_of
from vdpa_lab.machine.sections import FOUR_GIB, is_ram
from vdpa_lab.model import Guest, Section
from vdpa_lab.units import MIB, PAGE_SIZE


class Equal(NamedTuple):
    """Chunks of `page` bytes that never merge with a neighbour; the first may be shorter (`first` bytes)."""

    page: int
    first: int

    def lengths(self, size: int) -> np.ndarray:
        rest = size - self.first
        found = np.full(1 + -(-rest // self.page), self.page // PAGE_SIZE, np.uint32)
        found[0] = self.first // PAGE_SIZE
        if rest % self.page:
            found[-1] = rest % self.page // PAGE_SIZE
        return found


class Populated(NamedTuple):
    """A part of a RAM block whose chunks follow from what backs it and how it was populated; bytes.

    See `vdpa_lab.machine.backing.chunks`.
    """

    backing: str
    history: str
    offset: int
    block: int
    seed: int

    @property
    def page(self) -> int:
        """Size of the pages that back it."""
        return UNIT_PAGES[self.backing] * PAGE_SIZE

    @property
    def first(self) -> int:
        """Bytes up to the first boundary of such a page."""
        return self.page - self.offset % self.page

    def lengths(self, size: int) -> np.ndarray:
        return chunks(size, self.offset, self.backing, self.history, self.seed, self.block)


@lru_cache(maxsize=16)
def _lengths(of: Equal | Populated, size: int) -> np.ndarray:
    found = of.lengths(size)
    found.flags.writeable = False
    return found


@lru_cache(maxsize=4096)
def _entries(of: Equal | Populated, size: int) -> int:
    return _lengths(of, size).size


class Run(NamedTuple):
    """A mapped stretch of IOVA: iova and size in bytes, perm "ro" or "rw", and what physical chunks it is made of.

    kind is "ram" (guest RAM by the guest's backing), "rom" (the guest's ROM and video RAM) or "qemu" (rings, buffers).
    """

    iova: int
    size: int
    perm: str
    chunks: Equal | Populated
    kind: str

    @property
    def lengths(self) -> np.ndarray:
        """Pages of each chunk (uint32[entries]); an IOTLB entry each."""
        return _lengths(self.chunks, self.size)

    @property
    def entries(self) -> int:
        return _entries(self.chunks, self.size)

    @property
    def pages(self) -> int:
        return self.size // PAGE_SIZE

    def populated(self, history: str) -> Run:
        """The same stretch with pages that were first touched in this way; what QEMU allocates has no history."""
        if not isinstance(self.chunks, Populated) or self.chunks.history == history:
            return self
        return _populated(self, history)


@lru_cache(maxsize=4096)
def _populated(run: Run, history: str) -> Run:
    return run._replace(chunks=run.chunks._replace(history=history))


def page_run(iova: int, size: int, perm: str) -> Run:
    """A run of single pages, as QEMU's own allocations are: one IOTLB entry a page."""
    return Run(iova, size, perm, Equal(PAGE_SIZE, PAGE_SIZE), "qemu")


def memory_runs(guest: Guest, mapped: tuple[Section, ...], iovas: tuple[int, ...]) -> tuple[Run, ...]:
    """The runs of `mapped` sections placed at `iovas` (bytes), populated by the guest.

    Main memory is one RAM block, whose part above 4 GiB begins where the part below ends (hw/i386/pc.c). DIMMs are
    blocks of their own, and so are video RAM and ROM, of 4 KiB pages. The main memory of a larger guest begins as that
    of a smaller one does, and its ROM is the same.
    """
    low = next((section.end for section in mapped if section.gpa == MIB), 0)
    main, seed, runs = seed_of("guest", guest.backing), seed_of("guest", guest.memory, guest.backing), []
    for section, iova in zip(mapped, iovas, strict=True):
        offset = section.gpa if section.gpa < FOUR_GIB else low + section.gpa - FOUR_GIB
        ram, plugged = is_ram(section), guest.dimms and offset >= guest.memory
        if ram and not plugged:
            made = Populated(guest.backing, "guest", offset, max(guest.memory, offset + section.size), main)
        else:
            luck = seed if section.perm == "rw" else main
            made = Populated(guest.backing if ram else "4k", "guest", 0, section.size, seed_of(luck, section.gpa))
        runs.append(Run(iova, section.size, section.perm, made, "ram" if ram else "rom"))
    return tuple(runs)
