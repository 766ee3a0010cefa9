"""A guest's dirty pages on their way from a vCPU's or a device's write to the wire, on real bitmaps.

Layers, all uint64 words of one bit a 4 KiB page in the order of ram_addr: `kernel` (KVM's slot bitmaps), `slots`
(QEMU's copy), `migration` (ram_list.dirty_memory) and `bmap` (what is still to be sent). Sources: QEMU
migration/ram.c, accel/kvm/kvm-all.c, system/physmem.c; Linux virt/kvm/kvm_main.c, virt/kvm/dirty_ring.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import bitmap, bitmap_sync, dirty_ring

EMPTY = bitmap.NO_SUMMARY


class Block(NamedTuple):
    """A RAMBlock: its idstr and its size in 4 KiB pages."""

    name: str
    pages: int


class Run(NamedTuple):
    """Dirty pages [start, stop) of one block; `wrapped`: the search went over the end of the last block."""

    block: int
    start: int
    stop: int
    wrapped: bool


class DirtyBitmap:
    """The dirty tracking of one guest, with manual protection, as QEMU sets it up, or with dirty rings.

    blocks: (name, pages) each, in send order; a KVM slot each. clear_shift: a clear chunk is 2^shift pages, clamped
    to 6..31. ring_size: entries of a dirty ring for each of `vcpus`; 0 takes the slot bitmaps. ValueError for a guest
    without blocks, a block without pages, or an impossible ring size.

    Counters since `start`: `dirty_pages` to be sent (RAMState.migration_dirty_pages); `syncs`; `clear_calls`
    (KVM_CLEAR_DIRTY_LOG) and `protected_pages` of the send loop; `sync_clear_calls`, made by a sync, page by page, for
    a block of no whole number of 64 pages; `normal_pages`, `zero_pages`, `wire_bytes`; `ring_exits` and `reset_calls`
    of dirty rings.
    """

    def __init__(
        self,
        blocks: Iterable[tuple[str, int]],
        *,
        clear_shift: int = bitmap_sync.CLEAR_SHIFT,
        ring_size: int = 0,
        vcpus: int = 1,
    ) -> None:
        self.blocks = tuple(Block(*block) for block in blocks)
        if not self.blocks or any(block.pages < 1 for block in self.blocks):
            raise ValueError("a guest has blocks, and a block has pages")
        self.clear_shift = bitmap_sync.clamp_clear_shift(clear_shift)
        self.first: list[int] = []  # ram_addr of each block, in pages; find_ram_offset aligns it to 64
        end = 0
        for block in self.blocks:
            self.first.append(end)
            end += -(-block.pages // 64) * 64
        self.migration, self.summary = bitmap.new_words(end)
        self.kernel, self.slots, self.bmap = (np.zeros_like(self.migration) for _ in range(3))
        self.clear_bmaps = [bitmap.new_words(-(-block.pages >> self.clear_shift))[0] for block in self.blocks]
        self.rings = [dirty_ring.new_ring(ring_size) for _ in range(vcpus)] if ring_size else []
        sizes = [block.pages for block in self.blocks]
        self._slots = np.array([*zip(self.first, sizes, strict=True)], np.uint64)
        self._slot_first = self._slots[:, 0].copy()
        self._restart()

    def _restart(self) -> None:
        for words in (self.kernel, self.slots, self.migration, self.summary, self.bmap, *self.clear_bmaps):
            words[:] = 0
        for ring, state in self.rings:
            ring[:] = 0
            state[: dirty_ring.SOFT_LIMIT] = 0
        self._last = -1  # the block of the last page sent, whose name the next page need not carry
        self.dirty_pages = self.syncs = self.clear_calls = self.protected_pages = self.sync_clear_calls = 0
        self.normal_pages = self.zero_pages = self.wire_bytes = self.ring_exits = self.reset_calls = 0

    @property
    def pages(self) -> int:
        """Pages of all blocks."""
        return sum(block.pages for block in self.blocks)

    def start(self) -> None:
        """Begin a migration: everything is to be sent. QEMU ram_list_init_bitmaps, memory_global_dirty_log_start.

        The bmaps start all ones, and so do KVM's bitmaps (KVM_DIRTY_LOG_INITIALLY_SET), hence the first sync reports 0.
        """
        self._restart()
        for number, block in enumerate(self.blocks):
            for words in (self.bmap,) if self.rings else (self.bmap, self.kernel):
                bitmap.mark_range(words, EMPTY, *self._range(number, 0, block.pages))
        self.dirty_pages = self.pages

    def mark(self, block: int, pages: np.ndarray, vcpu: int = 0) -> None:
        """A vCPU writes pages (uint64 numbers within the block). KVM mark_page_dirty_in_slot.

        ValueError for a page beyond the block. A vCPU that finds its dirty ring full has it fetched on the spot.
        """
        size = np.uint64(self.blocks[block].pages)
        pages = np.ascontiguousarray(pages, np.uint64)
        if not self.rings:
            if bitmap.mark_pages(self.kernel, EMPTY, pages, self._slots[block, 0], size):
                raise ValueError(f"block {self.blocks[block].name} has {size} pages")
            return
        if pages.size and pages.max() >= size:
            raise ValueError(f"block {self.blocks[block].name} has {size} pages")
        ring, state = self.rings[vcpu]
        at, slot = np.uint64(0), np.uint64(block)
        while True:
            at = dirty_ring.push_writes(ring, state, self.kernel, self._slots[block, 0], slot, pages, np.uint64(at))
            if at == pages.size:
                return
            self.ring_exits += 1  # KVM_EXIT_DIRTY_RING_FULL
            self.reap()

    def mark_range(self, block: int, start: int, stop: int) -> None:
        """QEMU writes pages [start, stop) itself: straight into ram_list. cpu_physical_memory_set_dirty_range."""
        bitmap.mark_range(self.migration, self.summary, *self._range(block, start, stop))

    def mark_written(self, block: int, segments: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> int:
        """A shadow virtqueue hands back used buffers; returns pages marked. See `bitmap_sync.mark_written`.

        Segments hold byte offsets in the block; ValueError for one beyond it.
        """
        segments = np.array(segments, np.uint64).reshape(-1, 2)
        starts, lengths = np.array(starts, np.uint64), np.array(lengths, np.uint64)
        size = np.uint64(self.blocks[block].pages << 12)
        if (segments > size).any() or (segments.sum(axis=1) > size).any():
            raise ValueError(f"a segment lies beyond block {self.blocks[block].name}")
        if starts.size != lengths.size + 1 or (np.diff(starts.astype(np.int64)) < 0).any():
            raise ValueError("starts ascend, and are one more than the lengths")
        if starts[-1] > len(segments):
            raise ValueError(f"there are {len(segments)} segments")
        segments[:, 0] += self._slots[block, 0] << np.uint64(12)
        return int(bitmap_sync.mark_written(self.migration, self.summary, segments, starts, lengths))

    def scan_vhost_log(self, log: np.ndarray, block: int, start: int, stop: int, at: int = 0) -> int:
        """Take pages [start, stop) of guest memory out of a vhost log; `start` is page `at` of the block.

        Returns the pages logged. ValueError for pages beyond the log or the block. QEMU vhost_dev_sync_region.
        """
        if not 0 <= start <= stop <= log.size * 64:
            raise ValueError(f"a log of {log.size} words has {log.size * 64} pages")
        first, _ = self._range(block, at, at + stop - start)
        pages = np.uint64(start), np.uint64(stop)
        return int(bitmap_sync.scan_vhost_log(log, *pages, self.migration, self.summary, first))

    def reap(self) -> int:
        """Fetch all dirty rings into `slots` and let KVM take them back. QEMU kvm_dirty_ring_reap; returns entries."""
        total = 0
        for ring, state in self.rings:
            total += int(dirty_ring.reap(ring, state, self.slots, EMPTY, self._slots, np.uint64(len(ring)))[0])
        for ring, state in self.rings:
            self.reset_calls += int(dirty_ring.reset_ring(ring, state, self.kernel, self._slot_first)[1])
        return total

    def sync(self) -> int:
        """Bring all dirty bits to the bmaps; returns the pages newly dirty. QEMU migration_bitmap_sync.

        A page dirty again before it was sent is not counted again. Nothing is cleared in KVM: every chunk of the clear
        bitmap is set instead, and cleared when a page of it is sent.
        """
        if self.rings:
            self.reap()
        else:
            bitmap_sync.get_dirty_log(self.kernel, self.slots, True)
        bitmap_sync.merge(self.slots, self.migration, self.summary, np.uint64(0))
        new = int(bitmap_sync.sync_summed(self.migration, self.summary, self.bmap))
        if self.rings:
            self.slots[:] = 0  # kvm_slot_reset_dirty_pages
        else:
            for number, block in enumerate(self.blocks):
                if block.pages % 64:  # the slow path, cpu_physical_memory_test_and_clear_dirty, clears page by page
                    bitmap_sync.clear_dirty_log(self.kernel, self.slots, *self._range(number, 0, block.pages))
                    self.sync_clear_calls += block.pages
                else:
                    chunks = np.uint64(-(-block.pages >> self.clear_shift))
                    bitmap.mark_range(self.clear_bmaps[number], EMPTY, np.uint64(0), chunks)
        self.dirty_pages += new
        self.syncs += 1
        return new

    def next_run(self, block: int = 0, page: int = 0) -> Run | None:
        """The next dirty pages in send order from a page on, over the end of the last block back to it; None if clean.

        A run ends with its block. QEMU find_dirty_block, pss_find_next_dirty.
        """
        count = len(self.blocks)
        for step in range(count + 1):
            number = (block + step) % count
            start = page if step == 0 else 0
            stop = self.blocks[number].pages
            if start >= stop:
                continue
            base, end = self.first[number], self._slots[number, 0] + np.uint64(stop)
            found, after = (int(at) for at in bitmap.next_run(self.bmap, np.uint64(base + start), end))
            if found < end:
                return Run(number, found - base, after - base, block + step >= count)
        return None

    def send(self, block: int, start: int, stop: int, *, zero: int = 0, last_stage: bool = False) -> int:
        """The send loop goes over pages [start, stop): bits and clear chunks are cleared; returns the pages sent.

        zero: how many of them hold only zeros (9 bytes instead of 4104); ValueError if more than were dirty. With
        `last_stage` no chunk is cleared. QEMU ram_save_host_page, migration_bitmap_clear_dirty.
        """
        first, end = self._range(block, start, stop)
        if not 0 <= zero <= int(bitmap.count_range(self.bmap, first, end)):
            raise ValueError("more pages of zeros than dirty pages")
        if not last_stage:
            self.clear_chunks(block, start, stop)
        sent = int(bitmap.clear_range(self.bmap, first, end))
        name = 1 + len(self.blocks[block].name) if sent and block != self._last else 0
        self._last = block if sent else self._last
        self.dirty_pages -= sent
        self.normal_pages += sent - zero
        self.zero_pages += zero
        self.wire_bytes += bitmap_sync.wire_bytes(sent - zero, zero, name)
        return sent

    def clear_chunks(self, block: int, start: int, stop: int) -> int:
        """KVM_CLEAR_DIRTY_LOG for each chunk of pages [start, stop) that was not cleared since the last sync; how many.

        None with dirty rings, whose reset protects. QEMU migration_clear_memory_region_dirty_bitmap.
        """
        calls, size, bits = 0, self.blocks[block].pages, self.clear_bmaps[block]
        end = np.uint64(-(-stop >> self.clear_shift))
        at = np.uint64(start >> self.clear_shift)
        while start < stop and (at := np.uint64(bitmap.next_run(bits, at, end)[0])) < end:
            bitmap.clear_range(bits, at, at + np.uint64(1))
            low = int(at) << self.clear_shift
            chunk = self._range(block, low, min(size, low + (1 << self.clear_shift)))
            self.protected_pages += int(bitmap_sync.clear_dirty_log(self.kernel, self.slots, *chunk))
            calls += 1
        self.clear_calls += calls
        return calls

    def _range(self, block: int, start: int, stop: int) -> tuple[np.uint64, np.uint64]:
        """Pages of a block in the order of ram_addr; ValueError beyond it."""
        if not 0 <= start <= stop <= self.blocks[block].pages:
            raise ValueError(f"block {self.blocks[block].name} has {self.blocks[block].pages} pages")
        return np.uint64(self.first[block] + start), np.uint64(self.first[block] + stop)
