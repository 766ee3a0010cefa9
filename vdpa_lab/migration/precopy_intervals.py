"""RAM in precopy as stretches of pages: exact for a guest that writes nothing, or page after page.

The same layers as on bitmaps (KVM's log, QEMU's copy of it, what is to be sent), each a short sorted list of stretches.
"""

from __future__ import annotations

from bisect import bisect_left

from vdpa_lab.kernels.bitmap_sync import CLEAR_SHIFT
from vdpa_lab.migration.precopy_amounts import Amounts
from vdpa_lab.migration.precopy_layout import PLAIN, Layout, Stream, Writer
from vdpa_lab.model import Dirty

Stretches = list[tuple[int, int]]  # [first, end) of pages, sorted, with gaps between them
CHUNK = 1 << CLEAR_SHIFT


def union(one: Stretches, other: Stretches) -> Stretches:
    """What is in either."""
    found: Stretches = []
    for first, end in sorted([*one, *other]):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((first, end))
    return found


def without(one: Stretches, other: Stretches) -> Stretches:
    """What is in the first and not in the other."""
    found: Stretches = []
    for first, end in one:
        for low, high in other:
            if high <= first or end <= low:
                continue
            if first < low:
                found.append((first, low))
            first = max(first, high)
            if first >= end:
                break
        if first < end:
            found.append((first, end))
    return found


def within(one: Stretches, first: int, end: int) -> Stretches:
    """The part of it in [first, end)."""
    return [(max(low, first), min(high, end)) for low, high in one if low < end and high > first]


def size(one: Stretches) -> int:
    return sum([end - first for first, end in one])


class IntervalRam(Amounts):
    """The guest's RAM with a sequential writer or none. The same calls as `precopy_exact.ExactRam`."""

    def __init__(self, layout: Layout, dirty: Dirty | None, page_ns: int, zero_ns: int, stream: Stream = PLAIN) -> None:
        super().__init__(page_ns, zero_ns, stream)
        self.layout, self._writes = layout, Writer(dirty.rate if dirty else 0)
        whole = [(0, layout.pages)]
        self.to_send, self.log, self.fetched = whole, [] if layout.ring else whole, []
        self.zero = [(layout.zero_first, layout.zero_stop)] if layout.zero_stop > layout.zero_first else []
        self.cursor = 0
        first, end = layout.written_first, layout.written_first + layout.written
        written = self._writes.rate and layout.written
        self.chunks = range(first // CHUNK, -(-end // CHUNK)) if written else range(0)  # of the working set
        self.uncleared: set[int] = set()

    @property
    def dirty_pages(self) -> int:
        return size(self.to_send)

    def write(self, ns: int, share: float = 1.0) -> None:
        """The guest runs for `ns`, its vCPUs for `share` of the time."""
        (before, count), pages = self._writes.run(ns, share), self.layout.written
        if not count or not pages:
            return
        first = self.layout.written_first
        at, end = before % pages, before % pages + count
        if count >= pages:
            fresh = [(first, first + pages)]
        elif end <= pages:
            fresh = [(first + at, first + end)]
        else:  # it begins again
            fresh = [(first, first + end - pages), (first + at, first + pages)]
        self.log, self.zero = union(self.log, fresh), without(self.zero, fresh)

    def sync(self) -> int:
        """migration_bitmap_sync: pages newly dirty."""
        self.fetched = self.log
        before, self.to_send = self.dirty_pages, union(self.to_send, self.fetched)
        if self.layout.ring or self.layout.pages % 64:
            self.log = []
        else:  # when chunks are cleared that the guest does not write is the same to all
            self.log = within(self.log, self.chunks.start * CHUNK, self.chunks.stop * CHUNK)
            self.uncleared = set(self.chunks)
        return self.dirty_pages - before

    def ahead(self) -> tuple[int, bool]:
        at = self._place()
        if at == len(self.to_send):
            return 0, False
        first, end = max(self.cursor, self.to_send[at][0]), self.to_send[at][1]
        chunk = first // CHUNK
        if chunk in self.uncleared:
            return 0, False
        if chunk in self.chunks:  # comes alone
            end = min(end, (chunk + 1) * CHUNK)
        elif chunk < self.chunks.start:
            end = min(end, self.chunks.start * CHUNK)
        for low, high in self.zero:
            if low <= first < high:
                return min(end, high) - first, True
            if first < low < end:
                end = low
        return end - first, False

    def _place(self) -> int:
        """Of the stretch of `to_send` that comes next; their number at the end of a round."""
        at = bisect_left(self.to_send, (self.cursor + 1,))  # the first that begins behind the cursor
        return at - 1 if at and self.to_send[at - 1][1] > self.cursor else at

    def next_pages(self) -> tuple[int, bool]:
        at = self._place()
        if at == len(self.to_send):
            at, self.cursor = 0, 0
            self.end_round()
        self.cursor = max(self.cursor, self.to_send[at][0])
        chunk = self.cursor // CHUNK
        if chunk in self.uncleared:
            self.uncleared.discard(chunk)
            cleared = within(self.fetched, chunk * CHUNK, (chunk + 1) * CHUNK)
            self.log, self.fetched = without(self.log, cleared), without(self.fetched, cleared)
        return self.ahead()

    def still(self) -> bool:
        return self.cursor // CHUNK not in self.chunks

    def host_left(self) -> int:
        end = self.cursor + -self.cursor % self.stream.host_pages
        return size(within(self.to_send, self.cursor, end))

    def host_size(self) -> int:
        first = self.cursor - self.cursor % self.stream.host_pages
        return max(1, size(within(self.to_send, first, first + self.stream.host_pages)))

    def take(self, pages: int) -> None:
        first = max(self.cursor, self.to_send[self._place()][0])
        self.cursor = first + pages
        self.to_send = without(self.to_send, [(first, self.cursor)])
