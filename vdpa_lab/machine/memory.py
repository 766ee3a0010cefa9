"""Guest memory as vhost-vdpa maps it: the sections of a q35 guest, and their physically contiguous chunks.

Sources: QEMU hw/i386/pc_q35.c (lowmem split), `info mtree -f` and the listener's region_add lines of real runs.
"""

from __future__ import annotations

from typing import NamedTuple

from vdpa_lab.model import Guest, Section
from vdpa_lab.units import GIB, KIB, MIB, PAGE_SIZE

LOWMEM_SPLIT = 0xB000_0000  # pc_q35.c: RAM of this size or more keeps only 2 GiB below 4 GiB
FOUR_GIB = 4 * GIB
CHUNK_SIZE = {"4k": PAGE_SIZE, "thp": 2 * MIB, "2M": 2 * MIB, "1G": GIB}

# The first MiB as (start, end, perm). With firmware the shadow RAM of the PAM registers is opened piecewise; the
# boundaries inside c0000-e4000 follow the option ROMs, so they are those of the machines that were looked at.
_LEGACY = {
    ("none", False): ((0x0, 0xC0000, "rw"), (0xC0000, 0xE0000, "ro"), (0xE0000, 0x100000, "ro")),
    ("none", True): ((0x0, 0xA0000, "rw"), (0xC0000, 0xE0000, "ro"), (0xE0000, 0x100000, "ro")),
    ("seabios", False): (
        (0x0, 0xC3000, "rw"),
        (0xC3000, 0xE4000, "ro"),
        (0xE4000, 0xF0000, "rw"),
        (0xF0000, 0x100000, "ro"),
    ),
    ("seabios", True): (
        (0x0, 0xA0000, "rw"),
        (0xC0000, 0xCA000, "ro"),
        (0xCA000, 0xCD000, "rw"),
        (0xCD000, 0xE4000, "ro"),
        (0xE4000, 0xF0000, "rw"),
        (0xF0000, 0x100000, "ro"),
    ),
}
_VGA_RAM = (0xFD00_0000, 16 * MIB)
_BIOS = (0xFFFC_0000, 256 * KIB)


class Run(NamedTuple):
    """A mapped stretch of IOVA made of equal physically contiguous chunks: `size / chunk` IOTLB entries.

    iova, size, chunk and first are bytes; `first` is the length of the first chunk, which is shorter where the
    stretch begins inside a huge page (below-4G RAM begins 1 MiB into its block). perm is "ro" or "rw"; `kind`
    is "ram" (guest pages by the guest's backing) or "qemu" (rings, buffers, ROM: single 4 KiB pages).
    """

    iova: int
    size: int
    perm: str
    chunk: int
    first: int
    kind: str

    @property
    def entries(self) -> int:
        return 1 + -(-(self.size - self.first) // self.chunk)

    @property
    def pages(self) -> int:
        return self.size // PAGE_SIZE


def page_run(iova: int, size: int, perm: str) -> Run:
    """A run of single pages, as QEMU's own allocations are: one IOTLB entry a page."""
    return Run(iova, size, perm, PAGE_SIZE, PAGE_SIZE, "qemu")


def sections(guest: Guest) -> tuple[Section, ...]:
    """The RAM and ROM sections that the vhost-vdpa listener maps, in GPA order (bytes).

    Source: facts seen by `info mtree -f`: a VM with VGA maps 16 MiB of video RAM too, ROMs are mapped read-only.
    """
    if guest.sections is not None:
        return guest.sections
    low = guest.memory if guest.memory < LOWMEM_SPLIT else 2 * GIB
    found = [(start, end - start, perm) for start, end, perm in _LEGACY[guest.firmware, guest.vga]]
    found.append((MIB, low - MIB, "rw"))
    if guest.vga:
        found.append((*_VGA_RAM, "rw"))
    found.append((*_BIOS, "ro"))
    if guest.memory > low:
        found.append((FOUR_GIB, guest.memory - low, "rw"))
    return tuple(Section(gpa=gpa, size=size, perm=perm) for gpa, size, perm in found)


def memory_runs(guest: Guest, mapped: tuple[Section, ...], iovas: tuple[int, ...]) -> tuple[Run, ...]:
    """The runs of `mapped` sections placed at `iovas` (bytes), chunked by the guest's page backing.

    Worst case of the allocator: neighbouring chunks never merge (random placement of pages in physical memory).
    """
    low = next((s.gpa + s.size for s in mapped if s.gpa == MIB), 0)
    runs = []
    for section, iova in zip(mapped, iovas, strict=True):
        is_ram = section.perm == "rw" and not FOUR_GIB - 64 * MIB <= section.gpa < FOUR_GIB
        if not is_ram:
            runs.append(page_run(iova, section.size, section.perm))
            continue
        chunk = CHUNK_SIZE[guest.backing]
        offset = section.gpa if section.gpa < FOUR_GIB else low + section.gpa - FOUR_GIB
        first = min(section.size, chunk - offset % chunk)
        runs.append(Run(iova, section.size, section.perm, chunk, first, "ram"))
    return tuple(runs)
