"""RAM in precopy as numbers of pages by kind: what the bitmaps come to on average, for sweeps.

Random writers are taken by their expectation; pages go out in the order of kinds, not of addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp

from vdpa_lab.kernels.bitmap_sync import CLEAR_SHIFT
from vdpa_lab.migration.precopy_amounts import Amounts
from vdpa_lab.migration.precopy_exact import HOT_PAGES, HOT_WRITES
from vdpa_lab.migration.precopy_layout import PLAIN, Layout, Stream
from vdpa_lab.model import Dirty
from vdpa_lab.units import SECOND

CHUNK = 1 << CLEAR_SHIFT
STILL = -1  # the kind of pages that the workload does not write
PIECES = 64  # in which zeros of the working set come up to be sent, each with what has been written to it by then


class _Written:
    """Pages [first, stop) of the working set, which get `share` of the writes, all alike."""

    def __init__(self, first: int, stop: int, share: float) -> None:
        self.first, self.stop, self.share = first, stop, share

    @property
    def pages(self) -> int:
        return self.stop - self.first

    def touched(self, first: int, stop: int, before: float, writes: float) -> float:
        """Expected distinct pages of [first, stop) of the working set, by the writes after the first `before`."""
        if writes <= before or stop <= first:
            return 0.0
        return (stop - first) * (1 - exp(-(writes - before) / self.pages))


class AggregateRam(Amounts):
    """The guest's RAM with a random or hot writer. The same calls as `precopy_exact.ExactRam`."""

    def __init__(self, layout: Layout, dirty: Dirty | None, page_ns: int, zero_ns: int, stream: Stream = PLAIN) -> None:
        super().__init__(page_ns, zero_ns, stream)
        self.layout = layout
        self.rate = dirty.rate if dirty else 0
        self.written = _kinds(layout, dirty)
        used = layout.written_first + layout.written
        self._queue = [row for row in _first_pass(layout, self.written) if row.pages]
        self._writes = self._ever = 0.0
        self._first_pass, self._sent = True, 0
        low, high = layout.written_first // CHUNK, -(-used // CHUNK)
        self._cleared = dict.fromkeys(range(low, high), 0.0)  # chunk -> writes before it was cleared in KVM
        self._next_chunk = low
        self._at_sync: dict[int, float] = {}

    @property
    def dirty_pages(self) -> int:
        return sum(row.pages for row in self._queue)

    def write(self, ns: int, share: float = 1.0) -> None:
        """The guest runs for `ns`, its vCPUs for `share` of the time."""
        writes = self.rate * ns / SECOND * share
        self._writes, self._ever = self._writes + writes, self._ever + writes

    def sync(self) -> int:
        """migration_bitmap_sync: pages newly dirty, the first time none."""
        if self._first_pass and not self._sent:
            return 0
        total = 0
        for number, each in enumerate(self.written):
            writes = self._writes * each.share
            unsent = sum(row.pages for row in self._queue if row.kind == number)
            fresh = self._fresh(number, each, writes)
            fresh *= (each.pages - unsent) / each.pages
            self._at_sync[number] = unsent + fresh
            if new := round(fresh):
                origin = self.layout.written_first
                self._queue.append(_Pages(number, new, False, origin + each.first, origin + each.stop))
                total += new
        self.end_round()
        self._writes, self._first_pass = 0.0, False
        return total

    def _fresh(self, number: int, each: _Written, writes: float) -> float:
        """Distinct pages written since the last sync and after their chunk was cleared."""
        if self.layout.ring:  # protected anew at each sync
            return each.touched(each.first, each.stop, 0.0, writes)
        origin = self.layout.written_first
        chunks = [
            (max(each.first, chunk * CHUNK - origin), min(each.stop, (chunk + 1) * CHUNK - origin), before)
            for chunk, before in self._cleared.items()
        ]
        chunks = [row for row in chunks if row[1] > row[0]]
        if self._first_pass:
            return sum(each.touched(low, high, before * each.share, writes) for low, high, before in chunks)
        whole = each.touched(each.first, each.stop, 0.0, writes)
        unsent = min(1.0, self._at_sync.get(number, 0.0) / each.pages)
        late = [each.touched(low, high, writes * i / len(chunks), writes) for i, (low, high, _) in enumerate(chunks)]
        return (1 - unsent) * whole + unsent * sum(late)

    def _settle(self) -> None:
        """What has been written of the zeros that come next is zeros no more."""
        row = self._queue[0]
        if row.settled or not row.zero or row.kind == STILL:
            return
        each = self.written[row.kind]
        piece, at = min(row.pages, -(-each.pages // PIECES)), row.at
        written = round(each.touched(0, piece, 0.0, self._ever * each.share))
        rest = [(written, False, at, at + piece), (piece - written, True, at, at + piece)]
        found = [_Pages(row.kind, pages, zero, low, high, True) for pages, zero, low, high in rest if pages]
        if row.pages > piece:
            found.append(_Pages(row.kind, row.pages - piece, True, at + piece, row.stop))
        self._queue[:1] = found

    def next_pages(self) -> tuple[int, bool]:
        self._settle()
        return self.ahead()

    def ahead(self) -> tuple[int, bool]:
        row = self._queue[0]
        ahead = self._next_chunk * CHUNK - self._sent  # to the chunk of the working set that is cleared next
        if self._first_pass and self._next_chunk in self._cleared and ahead > 0:
            return min(row.pages, ahead), row.zero
        return row.pages, row.zero

    def still(self) -> bool:
        return self._queue[0].kind == STILL

    def host_left(self) -> int:
        if not self._queue:
            return 0
        at = self._queue[0].at
        return self._dirty(min(-at % self.stream.host_pages, self._queue[0].stop - at))

    def host_size(self) -> int:
        return max(1, self._dirty(self.stream.host_pages))

    def _dirty(self, pages: int) -> int:
        """How many of the next so many pages are to be sent."""
        row = self._queue[0]
        return min(row.pages, ceil(pages * row.density))

    def take(self, pages: int) -> None:
        self._queue[0].pages -= pages
        if not self._queue[0].pages:
            self._queue.pop(0)
        self._sent += pages
        while self._first_pass and self._next_chunk in self._cleared and self._next_chunk * CHUNK < self._sent:
            self._cleared[self._next_chunk] = self._writes
            self._next_chunk += 1


@dataclass
class _Pages:
    """Dirty pages of one kind (the number of a `_Written`, or STILL) that go out one after the other.

    They lie evenly among the pages [first, stop) of RAM. settled: what was written to these zeros is told apart.
    """

    kind: int
    pages: int
    zero: bool
    first: int
    stop: int
    settled: bool = False

    def __post_init__(self) -> None:
        self.density = self.pages / (self.stop - self.first) if self.pages else 0.0

    @property
    def at(self) -> int:
        """The page of RAM that comes next."""
        return self.stop - int(self.pages / self.density)


def _first_pass(layout: Layout, written: list[_Written]) -> Iterator[_Pages]:
    """All of RAM in send order, cut where kinds change and where the zero pages begin and end."""
    first, used = layout.written_first, layout.written_first + layout.written
    kinds = [(number, first + each.first, first + each.stop) for number, each in enumerate(written)]
    for kind, start, stop in ((STILL, 0, first), *kinds, (STILL, used, layout.pages)):
        edges = sorted({start, stop, *(at for at in (layout.zero_first, layout.zero_stop) if start < at < stop)})
        for low, high in pairwise(edges):
            yield _Pages(kind, high - low, layout.zero_first <= low < layout.zero_stop, low, high)


def _kinds(layout: Layout, dirty: Dirty | None) -> list[_Written]:
    if dirty is None or not dirty.rate or not layout.written:
        return [_Written(0, layout.written, 0.0)] if layout.written else []
    if dirty.pattern == "hot" and layout.written > 1:
        hot = max(1, layout.written // HOT_PAGES)
        return [_Written(0, hot, HOT_WRITES), _Written(hot, layout.written, 1 - HOT_WRITES)]
    return [_Written(0, layout.written, 1.0)]
