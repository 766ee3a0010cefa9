"""The guest: its memory, how the host backs it, and what makes sections of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from vdpa_lab.model.kinds import choice, flag, hexadecimal, optional, power_of_two, records, share, size, values, whole
from vdpa_lab.model.record import Record, key
from vdpa_lab.units import MIB, PAGE_SIZE, TIB

ADDRESS_BITS = 52  # the widest guest physical address of x86-64 (Intel SDM volume 3A, 4.1.4, MAXPHYADDR)


@dataclass(frozen=True, slots=True)
class Section(Record):
    """A mapped range of guest physical memory: gpa and size in bytes, perm rw or ro. In a file: a row."""

    TABLE: ClassVar[str] = "section"
    ROW: ClassVar[bool] = True

    gpa: int = key(hexadecimal(ADDRESS_BITS, PAGE_SIZE))
    size: int = key(hexadecimal(ADDRESS_BITS, PAGE_SIZE))
    perm: str = key(choice("rw", "ro"))

    @property
    def end(self) -> int:
        """The first byte behind the section."""
        return self.gpa + self.size

    def _check(self) -> None:
        if not self.size or self.end > 1 << ADDRESS_BITS:
            self._refuse("size", f"a section has at least one page and ends below {1 << ADDRESS_BITS:#x}")


@dataclass(frozen=True, slots=True)
class Guest(Record):
    """A virtual machine.

    memory: bytes of RAM at the start; dimms: bytes of each pc-dimm plugged since. backing: host pages behind it (4k,
    thp, 2M or 1G hugetlbfs, mixed: thp with holes of 4 KiB pages). vga: a display, whose
    16 MiB of video RAM the device maps too. sections: what the vhost-vdpa listener maps, in GPA order; None =
    derived from machine, firmware, vga and memory. zero_pages: share of RAM that is zero at the start.
    dirty_ring_size: entries of a vCPU's dirty ring (property dirty-ring-size of the accelerator; KVM has at most
    65,536); 0 = the dirty log. Raises ScenarioError.
    """

    TABLE: ClassVar[str] = "guest"
    REFUSED: ClassVar = {
        "viommu": "a virtual IOMMU is not modelled: with one the guest maps and unmaps the device's memory "
        "itself, while shadow virtqueues translate guest physical addresses only. Leave the key out"
    }

    memory: int = key(size(4 * MIB, 4 * TIB, PAGE_SIZE))
    machine: str = key(choice("q35"), "q35")
    vcpus: int = key(whole(1, 1024), 1)
    backing: str = key(choice("4k", "thp", "2M", "1G", "mixed"), "4k")
    firmware: str = key(choice("seabios", "none"), "seabios")
    vga: bool = key(flag(), False)
    sections: tuple[Section, ...] | None = key(optional(records(Section, 4096)), None, quiet=True)
    zero_pages: float = key(share(), 0.0)
    dirty_ring_size: int = key(optional(power_of_two(1024, 65_536), 0), 0, quiet=True)
    dimms: tuple[int, ...] = key(values(size(2 * MIB, 4 * TIB, 2 * MIB), 256), (), quiet=True)

    @property
    def ram(self) -> int:
        """Bytes of RAM with all that was plugged in."""
        return self.memory + sum(self.dimms)

    def _check(self) -> None:
        if self.sections is None:
            return
        if not self.sections:
            self._refuse("sections", "must have at least one section, or be left out")
        for before, after in pairwise(self.sections):
            if after.gpa < before.end:
                self._refuse(
                    "sections",
                    f"must be sorted by address and not overlap: {after.gpa:#x} comes after "
                    f"{before.gpa:#x} .. {before.end:#x}",
                )
