"""The send loop where pages of one kind go out together: what `kernels.precopy.send` does page by page."""

from __future__ import annotations

from abc import ABC, abstractmethod

from vdpa_lab.migration.precopy_exact import Sent
from vdpa_lab.migration.precopy_layout import PLAIN, ZERO_WIRE, Stream

FLUSHED_TOGETHER = 32  # whole pages, two entries each of the I/O vector's 64 (qemu-file.c MAX_IOV_SIZE)
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
        """How many pages of one kind come next, and are they zero? Called only while there are some."""

    @abstractmethod
    def take(self, pages: int) -> None:
        """So many of them are sent."""

    @abstractmethod
    def host_left(self) -> int:
        """Dirty pages that are left of the host page in which the last one was."""

    @abstractmethod
    def host_size(self) -> int:
        """Dirty pages of a host page around here."""

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
            late, inside = before + ns > most_ns, self.host_left() if whole else 0
            if late and not inside:
                break
            cost, (together, size) = self.zero_ns if zeros else self.page_ns, self._flush(zeros)
            if late:
                most = min(most, inside)
            elif whole and cost:
                unit = self.host_size()
                units = 1 + -(-((most_ns - before - ns) // (cost * unit)) // 64) * 64
                most = min(most, inside + (units - (inside > 0)) * unit)
            elif cost:
                most = min(most, ((most_ns - before - ns) // cost // 64 + 1) * 64 + 1)
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

    def alike(self, sent: Sent) -> int:
        """How many more windows in which only whole pages went out follow, with nothing else among them."""
        if sent.zero or not sent.normal or not self.dirty_pages:
            return 0
        pages, zeros = self.next_pages()
        return 0 if zeros else max(0, pages // sent.normal - 1)

    def skip(self, windows: int, sent: Sent) -> None:
        """So many windows like the one just sent."""
        self.take(windows * sent.normal)
