"""RAM in precopy page by page: who wrote what, on KVM's and QEMU's own bitmaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import bitmap, bitmap_writers
from vdpa_lab.kernels import precopy as kernels
from vdpa_lab.kernels.bitmap_sync import CLEAR_SHIFT
from vdpa_lab.machine.dirty import DirtyBitmap
from vdpa_lab.migration.precopy_layout import PLAIN, Layout, Stream, Writer
from vdpa_lab.model import Dirty
from vdpa_lab.units import SECOND

BATCH = 1 << 16
HOT_PAGES, HOT_WRITES = 10, 0.9  # "hot": 90 % of writes go to a tenth of the pages
SEED = 1
REAPER = SECOND  # accel/kvm/kvm-all.c kvm_dirty_ring_reaper_thread


class Sent(NamedTuple):
    """Part of a ram_save_iterate: normal and zero pages, ns it took, bytes flushed, whether the rate stopped it.

    within: it stopped it in a host page that has to be sent whole, so that this ram_save_iterate goes on.
    """

    normal: int
    zero: int
    ns: int
    wire: int
    exceeded: bool
    within: bool = False


class ExactRam:
    """The guest's RAM; times in ns. `dirty_pages` are to be sent; `clear_calls` counts KVM's work.

    With a dirty ring one vCPU writes: it exits when the ring is full, and QEMU's reaper looks at it each second.
    """

    def __init__(
        self,
        layout: Layout,
        dirty: Dirty | None,
        page_ns: int,
        zero_ns: int,
        stream: Stream = PLAIN,
        *,
        seed: int = SEED,
        clear_shift: int = CLEAR_SHIFT,
    ) -> None:
        self.layout, self.dirty = layout, dirty
        self._bits = DirtyBitmap([("pc.ram", layout.pages)], clear_shift=clear_shift, ring_size=layout.ring)
        self._reaped = 0
        self._bits.start()
        self._zero = np.zeros_like(self._bits.bmap)
        bitmap.mark_range(self._zero, bitmap.NO_SUMMARY, np.uint64(layout.zero_first), np.uint64(layout.zero_stop))
        self._state = np.zeros(kernels.WORDS, np.uint64)
        self._limits = np.array(
            [layout.pages, self._bits.clear_shift, 0, 0, page_ns, zero_ns, 0, *stream, 0], np.uint64
        )
        self._writer = bitmap_writers.new_state(seed)
        self._writes = Writer(dirty.rate if dirty else 0)

    @property
    def dirty_pages(self) -> int:
        return self._bits.dirty_pages

    @property
    def clear_calls(self) -> int:
        return int(self._state[kernels.CLEARED])

    @property
    def ring_exits(self) -> int:
        return self._bits.ring_exits

    def sync(self) -> int:
        """migration_bitmap_sync: pages newly dirty."""
        return self._bits.sync()

    def write(self, ns: int, share: float = 1.0) -> None:
        """The guest runs for `ns`, its vCPUs for `share` of the time."""
        for pages in self._batches(ns, share):
            self._bits.mark(0, pages)
            kernels.clear_pages(self._zero, pages)
        self._reaped += ns
        if self.layout.ring and self._reaped >= REAPER:
            self._reaped %= REAPER
            self._bits.reap()

    def writes(self, ns: int) -> list[int]:
        """The pages that a run of `ns` writes, in order; they are not marked."""
        return [int(page) for pages in self._batches(ns, 1.0) for page in pages]

    def _batches(self, ns: int, share: float) -> Iterator[np.ndarray]:
        if not self.layout.written:
            return
        left = self._writes.run(ns, share)[1]
        while left:
            pages = np.empty(min(left, BATCH), np.uint64)
            left -= pages.size
            self._fill(pages)
            yield pages + np.uint64(self.layout.written_first)

    def _fill(self, pages: np.ndarray) -> None:
        count = np.uint64(self.layout.written)
        if self.dirty.pattern == "sequential":
            bitmap_writers.write_sequential(pages, self._writer, count)
        elif self.dirty.pattern == "hot" and count > 1:
            hot = np.uint64(max(1, self.layout.written // HOT_PAGES))
            share = bitmap_writers.threshold(HOT_WRITES)
            bitmap_writers.write_hot_cold(pages, self._writer, count, hot, share, np.uint64(1))
        else:
            bitmap_writers.write_uniform(pages, self._writer, count)

    def send(self, room: int | None, most_ns: int, last_stage: bool = False, waited: int | None = None) -> Sent:
        """ram_save_iterate: up to `room` bytes flushed (None: no rate limit) and `most_ns`, or all there is.

        waited: ns since the last call, which ended within a host page; None: a ram_save_iterate of its own.
        """
        limits, state = self._limits, self._state
        limits[kernels.ROOM] = kernels.NO_LIMIT if room is None else room
        limits[kernels.MOST_NS] = most_ns
        limits[kernels.LAST_STAGE] = last_stage
        limits[kernels.GOES_ON] = waited is not None
        state[kernels.SLICE] += np.uint64(waited or 0)
        before = state.copy()
        bits = self._bits
        pages = int(kernels.send(bits.bmap, self._zero, bits.kernel, bits.slots, bits.clear_bmaps[0], limits, state))
        bits.dirty_pages -= pages
        more = (state - before).astype(np.int64)
        return Sent(
            int(more[kernels.NORMAL]),
            int(more[kernels.ZERO]),
            int(more[kernels.ELAPSED]),
            int(more[kernels.WIRE]),
            bool(state[kernels.FULL]),
            bool(state[kernels.FULL] == kernels.WITHIN),
        )

    def alike(self, sent: Sent, most_ns: int) -> int:
        """How many more calls of `send` like this one follow for certain: page by page none is taken for granted."""
        return 0
