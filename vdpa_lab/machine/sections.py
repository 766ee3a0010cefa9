"""The RAM and ROM sections of a q35 guest that the vhost-vdpa listener maps.

Sources: QEMU hw/i386/pc_q35.c (lowmem split), `info mtree -f` and the listener's region_add lines of real runs.
"""

from __future__ import annotations

from vdpa_lab.model import Guest, Section
from vdpa_lab.units import GIB, KIB, MIB

LOWMEM_SPLIT = 0xB000_0000  # pc_q35.c: RAM of this size or more keeps only 2 GiB below 4 GiB
FOUR_GIB = 4 * GIB
DIMM_ALIGN = 2 * MIB  # QEMU_VMALLOC_ALIGN

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
    at = -(-(FOUR_GIB + guest.memory - low) // GIB) * GIB  # pc_get_device_memory_range
    for size in guest.dimms:
        align = GIB if guest.backing == "1G" else DIMM_ALIGN  # memory_device_get_free_addr
        at = -(-at // align) * align
        found.append((at, size, "rw"))
        at += size
    return tuple(Section(gpa=gpa, size=size, perm=perm) for gpa, size, perm in found)


def is_ram(section: Section) -> bool:
    """Guest RAM; ROM is read-only, video RAM lies just below 4 GiB."""
    return section.perm == "rw" and not FOUR_GIB - 64 * MIB <= section.gpa < FOUR_GIB
