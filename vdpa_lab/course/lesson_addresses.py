"""Lesson 3: four kinds of addresses, address spaces by ASID, and what it means to pin memory.

Sources: Linux drivers/vhost/vdpa.c (vhost_vdpa_pa_map, vhost_vdpa_pa_unmap); QEMU hw/virtio/vhost-iova-tree.c,
hw/virtio/vhost-vdpa.c (vhost_vdpa_listener_region_add), net/vhost-vdpa.c (vhost_vdpa_net_cvq_start).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from vdpa_lab.course.exercise import Exercise, Message, Question, Slip, judge_number, judge_table
from vdpa_lab.machine.address_space import AddressSpaces, MapError
from vdpa_lab.machine.iotlb import Map
from vdpa_lab.machine.iova_tree import VhostIovaTree
from vdpa_lab.migration.optimization import plan
from vdpa_lab.model import find_scenario
from vdpa_lab.units import GIB, KIB, MIB, PAGE_SIZE

RW = 3
RINGS = 8  # areas of one page: two of each of three virtqueues, and the control queue's two buffers
LOW, HIGH = (0, 640 * KIB), (MIB, 255 * MIB)  # GPA and bytes of two RAM sections
GUEST_GIB, DEVICES = 8, 3
HUGE = 2 * MIB // PAGE_SIZE
QEMU_BASE = 0x7F00_0000_0000  # some HVA, for the figure


class Place(NamedTuple):
    """One entry of the device's address space: what it is, IOVA, GPA (None: QEMU's own memory), bytes."""

    what: str
    iova: int
    gpa: int | None
    size: int


def layout(shadowed: bool, rings: int = RINGS) -> tuple[Place, ...]:
    """Where the two RAM sections of a small guest lie for the device; shadowed: after QEMU's own rings."""
    sections = (("low RAM", *LOW), ("high RAM", *HIGH))
    if not shadowed:
        return tuple(Place(what, gpa, gpa, size) for what, gpa, size in sections)
    tree, found = VhostIovaTree(), []
    for number in range(rings):
        iova = tree.map_alloc(PAGE_SIZE, RW, QEMU_BASE + number * PAGE_SIZE)
        found.append(Place(f"QEMU's area {number + 1}", iova, None, PAGE_SIZE))
    found += [Place(what, tree.map_alloc_gpa(size, RW, gpa), gpa, size) for what, gpa, size in sections]
    return tuple(found)


def unpins(huge: bool, size: int = GIB) -> int:
    """Pages that vhost-vdpa unpins one by one when `size` bytes of RAM leave the map; huge: 2 MiB pages behind it."""
    spaces, each = AddressSpaces("set_map"), HUGE if huge else 1
    count = size // PAGE_SIZE // each
    # Frames with gaps between them, so that no two pages are neighbours.
    spaces.update(0, GIB, size, RW, [2 * each * n for n in range(count)], [each] * count)
    return spaces.invalidate(0, GIB, size).unpinned


def _unpins_huge() -> int:
    return unpins(True)


def _judge_layout(answer: Any) -> Message:
    places = {place.what: place.iova for place in layout(True)}
    expected = {"first_ring": places["QEMU's area 1"], "low": places["low RAM"], "high": places["high RAM"]}
    after_low = RINGS * PAGE_SIZE + LOW[1]
    slips = {
        "first_ring": [Slip(0, "QEMU never gives out page 0, so that no valid address is 0 (vhost-iova-tree.c).")],
        "low": [
            Slip(
                LOW[0],
                "That is its GPA. With shadow virtqueues IOVA = GPA no longer holds: QEMU's rings are in the way.",
            ),
            Slip(RINGS * PAGE_SIZE, "The rings begin at page 1, so they end one page later."),
        ],
        "high": [
            Slip(
                HIGH[0], "That is its GPA. The allocator knows no GPAs: it takes the first hole that is large enough."
            ),
            Slip(after_low, "The rings begin at page 1, so all that follows is one page later."),
            Slip(
                HIGH[0] + (RINGS + 1) * PAGE_SIZE, "The hole between 640 KiB and 1 MiB of GPAs is not kept: first fit."
            ),
        ],
    }
    why = (
        "First fit from page 1, in the order of mapping; the GPA plays no part. So a shadowed queue translates "
        "each address."
    )
    return judge_table(
        answer, expected, why, slips, look="vdpa_lab.machine.iova_tree.VhostIovaTree.map_alloc, map_alloc_gpa"
    )


@lru_cache(maxsize=1)
def asids() -> dict[str, int]:
    """The ASID of RAM and of the control queue's rings, in passthrough and while the data queues are shadowed."""
    wanted = {
        "ram_passthrough": ("start", "vhost_vdpa_listener_region_add"),
        "cvq_passthrough": ("start", "vhost_vdpa_svq_map_rings (CVQ)"),
        "ram_shadowed": ("switch", "vhost_vdpa_listener_region_add"),
        "cvq_shadowed": ("switch", "vhost_vdpa_svq_map_rings (CVQ)"),
    }
    steps = plan(find_scenario("sim-256-1d")).steps
    return {
        name: next(s.effect.asid for s in steps if (s.path, s.caller) == place and isinstance(s.effect, Map))
        for name, place in wanted.items()
    }


def _judge_asids(answer: Any) -> Message:
    slips = {
        "cvq_passthrough": [
            Slip(0, "It would have to share the guest's addresses; it is isolated so that QEMU can map its own.")
        ],
        "cvq_shadowed": [
            Slip(1, "While data queues are shadowed QEMU maps for all of them, so the CVQ is back with them.")
        ],
    }
    why = "ASID 1 exists so that QEMU can shadow the control queue alone; during a migration everything is in ASID 0."
    return judge_table(
        answer, asids(), why, slips, look="lines IOTLB_UPDATE of `vdpa-lab plan sim-256-1d --kernel-ops`"
    )


def _locks(limit: int, devices: int) -> bool:
    """Whether so many devices can all map a guest of GUEST_GIB under RLIMIT_MEMLOCK = `limit` bytes."""
    pinned, pages = 0, GUEST_GIB * GIB // PAGE_SIZE
    for _ in range(devices):
        spaces = AddressSpaces("set_map", limit=limit // PAGE_SIZE, pinned=pinned)
        try:
            spaces.update(0, GIB, pages * PAGE_SIZE, RW, [0], [pages])
        except MapError:
            return False
        pinned = spaces.pinned
    return True


def _least_limit() -> int:
    return next(gib for gib in range(1, 1024) if _locks(gib * GIB, DEVICES))


def _judge_limit(answer: Any) -> Message:
    slips = [
        Slip(GUEST_GIB, "Enough for one device. Each vhost-vdpa device pins all of RAM, and counts it, for itself."),
        Slip(0, "Pinned pages count as locked memory (vhost_vdpa_pa_map adds them to pinned_vm and tests the limit)."),
    ]
    why = "The pages are the same, but they are counted once per device; the second map fails with ENOMEM otherwise."
    return judge_number(answer, _least_limit(), "GiB", why, slips, "AddressSpaces(..., limit=, pinned=).update")


QUESTION = Question(
    "3",
    "1 GiB of guest memory, backed by 2 MiB huge pages, is mapped for a vDPA device. When the map goes away, "
    "how many pages "
    "does vhost-vdpa unpin, one by one?",
    _unpins_huge,
    "vhost_vdpa_pa_unmap walks 4 KiB page frames, whatever backs them. Huge pages shrink maps, not this loop.",
)

EXERCISES = (
    Exercise(
        "3.1", "Where does the device see RAM?",
        f"QEMU shadows all virtqueues of a device: it maps {RINGS} areas of one page each, then guest RAM of GPA 0 "
        "(640 KiB) and of GPA 0x100000 (255 MiB). Give the IOVA of the first area and of both RAM sections, as "
        "a dict with "
        "the keys first_ring, low and high.",
        _judge_layout,
        (
            "The allocator takes the first hole that is large enough, from the first address it may give out.",
            "Page 0 is never given out. So the first area lies at 0x1000.",
            f"{RINGS} pages from 0x1000 on, then 640 KiB, then the rest: no hole is left between.",
        ),
        f"""
page = 0x1000
low = page + {RINGS} * page
answer = {{"first_ring": page, "low": low, "high": low + 640 * 1024}}
""",
        "A recorded run has RAM of GPA 0x100000 at IOVA 0x109000: there, ROM sections fill the hole below 1 MiB.",
    ),
    Exercise(
        "3.2", "Which address space?",
        "A device has two address spaces, ASID 0 and ASID 1. Where are guest RAM and the rings of the control "
        "virtqueue "
        "mapped, in passthrough and while the data virtqueues are shadowed? A dict with the keys ram_passthrough, "
        "cvq_passthrough, ram_shadowed and cvq_shadowed.",
        _judge_asids,
        (
            "In passthrough QEMU shadows the control queue only. In whose address space may it map rings of its own?",
            "With all queues shadowed there is nothing left that needs to be apart.",
        ),
        """
answer = {"ram_passthrough": 0, "cvq_passthrough": 1, "ram_shadowed": 0, "cvq_shadowed": 0}
""",
        "So a change of the control queue's maps rebuilds a tiny map in passthrough, and all of RAM's during a "
        "migration.",
    ),
    Exercise(
        "3.3", "How much may be locked?",
        f"A guest of {GUEST_GIB} GiB has {DEVICES} vDPA devices. What is the smallest RLIMIT_MEMLOCK of QEMU, "
        f"in GiB, with "
        "which all of them can map its memory?",
        _judge_limit,
        (
            "Does a device know which pages another one has pinned?",
            "Each device pins all of RAM, and each pin is counted.",
        ),
        f"""
answer = {GUEST_GIB} * {DEVICES}
""",
        "Rings and buffers of QEMU's own come on top, a few pages; leave room for them.",
    ),
)  # fmt: skip
