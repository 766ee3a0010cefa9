"""A virtqueue on the bench: one memory, a driver and a device, one step at a time, and what each byte means.

It is the kernels of the package that write the bytes (`kernels.split`, `kernels.packed`); this names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import packed, ring_layout, split
from vdpa_lab.kernels.ring_errors import RingError, raised
from vdpa_lab.words import InputError

KERNELS = {"split": split, "packed": packed}
DESCRIPTOR_FLAGS = ((1, "NEXT"), (2, "WRITE"), (4, "INDIRECT"), (1 << 7, "AVAIL"), (1 << 15, "USED"))
MOST = 64  # entries: what can be looked at byte by byte


class Element(NamedTuple):
    """One piece of a buffer: guest address and length in bytes; writable by the device or readable."""

    addr: int
    length: int
    writable: bool = False


class Cell(NamedTuple):
    """A field of the ring in memory: its place and size in bytes, area, name, and value."""

    at: int
    size: int
    area: str
    name: str
    value: int


def flag_names(flags: int) -> str:
    """The names of a descriptor's flags, "-" for none."""
    return " ".join(name for bit, name in DESCRIPTOR_FLAGS if flags & bit) or "-"


class RingBench:
    """A new virtqueue of `size` entries, kind "split" or "packed", driver and device beside each other.

    base: where a split ring's two indices start. room: bytes of memory, at least those of the ring. Raises InputError
    for a kind or a size that cannot be.
    """

    def __init__(self, kind: str = "split", size: int = 8, *, event_idx: bool = False, base: int = 0, room: int = 0):
        if kind not in KERNELS:
            raise InputError(f"a ring is split or packed, not {kind!r}")
        if not 1 <= size <= MOST:
            raise InputError(f"a ring of {size} entries: on the bench it has 1 to {MOST}")
        self.kind, self.size, self.kernels = kind, size, KERNELS[kind]
        self.at = self.kernels.layout(size)
        self.memory = np.zeros(-(-max(self.at.end, room) // 8) * 8, np.uint8)
        self.views = ring_layout.views(self.memory)
        settings = {"event_idx": event_idx} | ({"base": base} if kind == "split" else {})
        if kind == "split":
            for area in self.at[1:3]:
                self.views.m16[area // 2 + 1] = base
        try:
            self.driver, self.device = (
                self.kernels.state(self.memory, size, *self.at[:3], **settings) for _ in ("driver", "device")
            )
        except ValueError as error:
            raise InputError(f"a {kind} ring of {size} entries: {error}") from None
        self.book = ring_layout.new_shadow(size)
        self.taken: list[tuple[int, int]] = []  # (head or id, descriptors) that the device holds, oldest first

    def add(self, *elements: Iterable) -> int:
        """The driver places a buffer; returns its head (split) or id (packed). ValueError names a broken clause.

        On a split ring the device does not see it before `publish`; on a packed ring it is available at once.
        """
        pieces = [Element(*each) for each in elements]
        if sorted(p.writable for p in pieces) != [p.writable for p in pieces]:
            raise ValueError(str(RingError.READABLE_AFTER_WRITABLE))
        lists = ([p.addr for p in pieces], [p.length for p in pieces])
        counts = ([sum(not p.writable for p in pieces)], [sum(p.writable for p in pieces)])
        arrays, one = (np.array(each, np.uint64) for each in (*lists, *counts)), np.zeros(1, np.uint64)
        seen = (self.views.m64, self.views.m16) if self.kind == "split" else (self.views.m64,)
        raised(self.kernels.add_batch(*seen, self.driver, self.book, *arrays, one, 1))
        return int(one[0])

    def publish(self) -> None:
        """The driver moves the available index of a split ring up to what it placed (2.7.13.3)."""
        if self.kind == "split":
            split.publish(self.views.m16, self.driver)

    def take(self) -> int | None:
        """The device takes the next available buffer: its head or id, or None. ValueError for a broken ring."""
        out = [np.zeros(self.size, np.uint64) for _ in range(6)]
        v = self.views
        if self.kind == "split":
            heads, outs, ins, addr, length, _ = out
            found = raised(split.pop_batch(v.m8, v.m64, v.m16, self.device, heads, outs, ins, addr, length, 1))
            slots = outs + ins
        else:
            heads, slots, outs, ins, addr, length = out
            found = raised(packed.pop_batch(v.m8, v.m64, self.device, heads, slots, outs, ins, addr, length, 1))
        if not found:
            return None
        self.taken.append((int(heads[0]), int(slots[0])))
        return int(heads[0])

    def give(self, written: int = 0) -> int | None:
        """The device gives back the oldest buffer it holds, `written` bytes written to it; its head or id, or None."""
        if not self.taken:
            return None
        head, slots = self.taken.pop(0)
        one, many, wrote = (np.array([each], np.uint64) for each in (head, slots, written))
        if self.kind == "split":
            raised(split.push_batch(self.views.m32, self.views.m16, self.device, one, wrote, 1))
        else:
            raised(packed.push_batch(self.views.m64, self.device, one, many, wrote, 1))
        return head

    def reap(self) -> tuple[int, int] | None:
        """The driver takes a used buffer back: (head or id, bytes written), or None."""
        ids, lens = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
        seen = (self.views.m32, self.views.m16) if self.kind == "split" else (self.views.m64,)
        if not raised(self.kernels.get_batch(*seen, self.driver, self.book, ids, lens, 1)):
            return None
        return int(ids[0]), int(lens[0])

    def _seen(self) -> tuple[np.ndarray, ...]:
        return (self.views.m16,) if self.kind == "split" else (self.views.m16, self.views.m64)

    def ask_used(self, wanted: bool = True, after: int = 1) -> None:
        """The driver asks for an interrupt once `after` more are used, or for none (2.7.7, 2.8.10)."""
        self.kernels.want_used(*self._seen(), self.driver, wanted, after)

    def ask_available(self, wanted: bool = True) -> None:
        """The device asks to be notified of the next available buffer, or of none (2.7.10, 2.8.10)."""
        self.kernels.want_available(*self._seen(), self.device, wanted)

    def notifies(self) -> bool:
        """Whether the driver has to notify of what it made available since the last call."""
        return bool(self.kernels.need_notify(self.views.m16, self.driver))

    def interrupts(self) -> bool:
        """Whether the device has to interrupt for what it gave back since the last call."""
        return bool(self.kernels.need_interrupt(self.views.m16, self.device))

    @property
    def free(self) -> int:
        """Descriptors that the driver has free."""
        return int(self.driver[ring_layout.ROOM])

    def cells(self) -> Iterator[Cell]:
        """Every field of the ring, in the order of memory."""
        for at, size, area, name in (_split if self.kind == "split" else _packed)(self.at, self.size):
            yield Cell(at, size, area, name, int.from_bytes(self.memory[at : at + size].tobytes(), "little"))

    def index(self, area: str) -> int:
        """The index `idx` of the "available ring" or the "used ring" as it stands in memory (split)."""
        return next(cell.value for cell in self.cells() if (cell.area, cell.name) == (area, "idx"))


def _split(at: split.Layout, size: int) -> Iterator[tuple[int, int, str, str]]:
    for i in range(size):
        for offset, width, name in ((0, 8, "addr"), (8, 4, "len"), (12, 2, "flags"), (14, 2, "next")):
            yield at.table + 16 * i + offset, width, "descriptor table", f"[{i}].{name}"
    yield at.avail, 2, "available ring", "flags"
    yield at.avail + 2, 2, "available ring", "idx"
    for i in range(size):
        yield at.avail + 4 + 2 * i, 2, "available ring", f"ring[{i}]"
    yield at.avail + 4 + 2 * size, 2, "available ring", "used_event"
    yield at.used, 2, "used ring", "flags"
    yield at.used + 2, 2, "used ring", "idx"
    for i in range(size):
        yield at.used + 4 + 8 * i, 4, "used ring", f"ring[{i}].id"
        yield at.used + 8 + 8 * i, 4, "used ring", f"ring[{i}].len"
    yield at.used + 4 + 8 * size, 2, "used ring", "avail_event"


def _packed(at: packed.Layout, size: int) -> Iterator[tuple[int, int, str, str]]:
    for i in range(size):
        for offset, width, name in ((0, 8, "addr"), (8, 4, "len"), (12, 2, "id"), (14, 2, "flags")):
            yield at.table + 16 * i + offset, width, "descriptor ring", f"[{i}].{name}"
    for start, area in ((at.driver, "driver event suppression"), (at.device, "device event suppression")):
        yield start, 2, area, "desc"
        yield start + 2, 2, area, "flags"
