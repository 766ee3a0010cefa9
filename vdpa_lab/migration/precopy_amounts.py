"""The send loop where pages of one kind go out together: what `kernels.precopy.send` does page by page."""

from __future__ import annotations

from abc import ABC, abstractmethod

from vdpa_lab.migration.precopy_exact import Sent
from vdpa_lab.migration.precopy_layout import PLAIN, ZERO_WIRE, Stream

FLUSHED_TOGETHER = 32  # whole pages, two entries each of the I/O vector's 64 (qemu-file.c MAX_IOV_SIZE)
LOOK = 64  # ram_save_iterate looks at the clock after the first page, and every 64 pages
BUFFERED_TOGETHER = 32768 // ZERO_WIRE  # pages of zeros in a buffer (IO_BUF_SIZE)


class Amounts(ABC):
    """RAM whose pages go out in amounts; which they are is for those that inherit."""

    def __init__(self, page_ns: int, zero_ns: int, stream: Stream = PLAIN) -> None:
        self.page_ns, self.zero_ns, self.stream = page_ns, zero_ns, stream
        self._queued = self._unsent = self._slice = 0

    dirty_pages: int
    clear_calls = ring_exits = 0  # not counted here

    @abstractmethod
    def next_pages(self) -> tuple[int, bool]:
        """How many pages of one kind are sent next, and are they zero? Called only while there are some."""

    @abstractmethod
    def ahead(self) -> tuple[int, bool]:
        """The same, only to know; no pages at the end of a round, and where KVM's log is to be cleared first."""

    @abstractmethod
    def take(self, pages: int) -> None:
        """So many of them are sent."""

    @abstractmethod
    def host_left(self) -> int:
        """Dirty pages that are left of the host page in which the last one was."""

    @abstractmethod
    def host_size(self) -> int:
        """Dirty pages of a host page around here."""

    @abstractmethod
    def still(self) -> bool:
        """The guest writes nothing of what comes next."""

    def end_round(self) -> None:
        """The scan begins anew: channels of multifd send what they have and synchronise."""
        self._unsent += self.stream.sync_wire + (self.stream.packet_wire if self._queued else 0)
        self._queued = 0

    def _wire(self, pages: int, zeros: bool) -> int:
        """Bytes of so many pages, with the headers of packets that they fill; the open packet grows."""
        how = self.stream
        size, self._unsent = pages * (how.zero_wire if zeros else how.page_wire) + self._unsent, 0
        if how.packet_pages and (how.zero_queued or not zeros):
            packets, self._queued = divmod(self._queued + pages, how.packet_pages)
            size += packets * how.packet_wire
        return size

    def _flush(self, zeros: bool) -> tuple[int, int]:
        """Pages that go out together, and their bytes."""
        how = self.stream
        one = how.zero_wire if zeros else how.page_wire
        if how.packet_pages and (how.zero_queued or not zeros):
            return how.packet_pages, how.packet_pages * one + how.packet_wire
        together = BUFFERED_TOGETHER if zeros else FLUSHED_TOGETHER
        return together, together * one

    def send(self, room: int | None, most_ns: int, last_stage: bool = False, waited: int | None = None) -> Sent:
        """ram_save_iterate: up to `room` bytes flushed (None: no rate limit) and `most_ns`, or all there is.

        waited: ns since the last call, which ended within a host page; None: a ram_save_iterate of its own.
        """
        normal = zero = ns = wire = 0
        before = 0 if waited is None else self._slice + waited
        exceeded = room is not None and room < 0
        whole = self.stream.host_pages > 1
        while self.dirty_pages and not exceeded:
            most, zeros = self.next_pages()
            left, done, inside = most_ns - before - ns, normal + zero, self.host_left() if whole else 0
            if left < 0 and (not inside if whole else done % LOOK == 1):
                break
            cost, (together, size) = self.zero_ns if zeros else self.page_ns, self._flush(zeros)
            if whole and left < 0:
                most = min(most, inside)
            elif whole and cost:
                unit = self.host_size()
                units = 1 + -(-(left // (cost * unit)) // LOOK) * LOOK
                most = min(most, inside + (units - (inside > 0)) * unit)
            elif cost:
                most = min(most, _in_time(max(0, left), cost, done))
            if room is not None:
                most = min(most, ((room - wire) // size + 1) * together)
            normal, zero = (normal, zero + most) if zeros else (normal + most, zero)
            ns, wire = ns + most * cost, wire + self._wire(most, zeros)
            exceeded = room is not None and wire > room
            self.take(most)
        if last_stage:
            self.end_round()
            wire, self._unsent = wire + self._unsent, 0
        self._slice = before + ns
        return Sent(normal, zero, ns, wire, exceeded, exceeded and whole and bool(self.host_left()))

    def alike(self, sent: Sent, most_ns: int) -> int:
        """How many more calls like this one follow, stopped by the rate or by time, all of one kind of pages."""
        pages, zeros = sent.normal or sent.zero, not sent.normal
        if not self.dirty_pages or not pages or (sent.normal and sent.zero):
            return 0
        if sent.exceeded:
            whole_call = pages % self._flush(zeros)[0] == 0
        else:
            whole_call = self.stream.host_pages == 1 and pages == _in_time(most_ns, sent.ns // pages)
        if not whole_call:  # a piece of another stretch was in it
            return 0
        ahead, kind = self.ahead()
        return max(0, ahead // pages - 1) if kind == zeros and (not zeros or self.still()) else 0


def _in_time(ns: int, cost: int, done: int = 0) -> int:
    """Pages that go out until a look at the clock finds more than `ns` gone by, after `done` in the same call."""
    return -(-(done + ns // cost) // LOOK) * LOOK - done + 1
