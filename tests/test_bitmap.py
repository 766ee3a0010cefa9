"""Dirty bitmaps, logs, rings and writers against sets of pages; the traps of dirty tracking by name."""

import hashlib
import math

import naive_bitmap as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.kernels import bitmap, bitmap_sync, bitmap_writers, dirty_ring
from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.machine.dirty import DirtyBitmap

PAGES = 1500 if DISABLED else 70_000  # of the bitmaps below; over the seam of a summary word when compiled
EXAMPLES = settings(max_examples=80 if DISABLED else 200, deadline=None)
NONE = bitmap.NO_SUMMARY
GIB_PAGES = 1 << 18

page = st.integers(0, PAGES - 1)
some_pages = st.sets(page, max_size=40)
ranges = st.lists(st.tuples(page, st.integers(0, 300)), max_size=6)


@st.composite
def page_sets(draw):
    """Pages here and there, and runs, some of which touch each other or the end."""
    pages = set(draw(some_pages))
    for start, length in draw(ranges):
        pages.update(range(start, min(start + length, PAGES)))
    return pages


def u64(*values):
    return tuple(np.uint64(value) for value in values)


def array(values):
    return np.array(list(values), np.uint64)


def bits_of(pages, size=PAGES):
    words, summary = bitmap.new_words(size)
    assert bitmap.mark_pages(words, summary, array(sorted(pages)), *u64(0, size)) == 0
    return words, summary


def pages_of(words):
    """The layout itself: bit p % 8 of byte p // 8."""
    return set(np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")).tolist())


def lines_of(pages):
    return {page >> 9 for page in pages}


# Bitmaps


@EXAMPLES
@given(page_sets())
def test_marked_pages_are_the_bits_of_kvms_layout(pages):
    words, summary = bits_of(pages)
    assert pages_of(words) == pages
    assert pages_of(summary) == lines_of(pages)
    assert bitmap.count(words) == len(pages)
    plain = np.zeros_like(words)
    bitmap.mark_pages(plain, NONE, array(pages), *u64(0, PAGES))
    assert (plain == words).all()


def test_pages_beyond_the_bitmap_are_told_and_not_written():
    words, summary = bitmap.new_words(100)
    outside = array([5, 99, 100, 1 << 40, (1 << 64) - 1])
    assert bitmap.mark_pages(words, summary, outside, *u64(64, 100)) == 3
    assert bitmap.mark_pages(words, NONE, outside, *u64(0, 100)) == 3
    assert pages_of(words) == {69, 163, 5, 99}


def test_pages_far_apart_and_pages_side_by_side_are_marked_alike():
    far = [90_000, 1, 70_000, 69_999, 1, 5, 40_000]
    near = [*range(500, 700), 64, 65, 64]
    for numbers in (far, near, far + near * 4 + far):
        for summed in (False, True):
            words, summary = bitmap.new_words(100_000)
            told = bitmap.mark_pages(words, summary if summed else NONE, array(numbers), *u64(3, 99_997))
            assert told == 0
            assert pages_of(words) == {page + 3 for page in numbers}
            assert pages_of(summary) == (lines_of(pages_of(words)) if summed else set())


@EXAMPLES
@given(page_sets(), ranges)
def test_marked_ranges(pages, more):
    words, summary = bits_of(pages)
    spans = [(start, min(start + length, PAGES)) for start, length in more]
    wanted = pages.union(*(range(*span) for span in spans))
    together, lines = words.copy(), summary.copy()
    bitmap.mark_ranges(together, lines, array(spans).reshape(-1, 2))
    for span in spans:
        bitmap.mark_range(words, summary, *u64(*span))
    assert pages_of(words) == pages_of(together) == wanted
    assert pages_of(summary) == pages_of(lines) == lines_of(wanted)


@EXAMPLES
@given(page_sets(), page, page)
def test_counted_found_and_cleared_in_a_range(pages, start, stop):
    words, _ = bits_of(pages)
    inside = {page for page in pages if start <= page < stop}
    assert bitmap.count_range(words, *u64(start, stop)) == len(inside)
    if start <= stop:
        assert bitmap.next_run(words, *u64(start, stop)) == naive.next_run(pages, start, stop)
    assert bitmap.clear_range(words, *u64(start, stop)) == len(inside)
    assert pages_of(words) == pages - inside


@EXAMPLES
@given(page_sets(), st.integers(65, 90))
def test_all_runs_whatever_the_room_for_them(pages, room):
    words, _ = bits_of(pages)
    edges, at, found = np.zeros(room, np.uint64), 0, []
    while at < words.size:
        n, after = bitmap.dirty_runs(words, edges, np.uint64(at))
        assert after > at or n > 0
        found += edges[: int(n)].tolist()
        at = int(after)
    assert list(zip(found[::2], found[1::2], strict=True)) == naive.runs(pages)


def test_a_run_to_the_very_end_of_the_bitmap_ends_there():
    words = np.full(8, bitmap.ONES)
    edges = np.zeros(65, np.uint64)
    assert bitmap.dirty_runs(words, edges, np.uint64(0)) == (2, 8)
    assert edges[:2].tolist() == [0, 512]
    assert bitmap.dirty_runs(words, edges[:1], np.uint64(8)) == (1, 8)
    assert bitmap.dirty_runs(words, edges[:0], np.uint64(8)) == (0, 7)
    assert bitmap.next_run(words, *u64(100, 512)) == (100, 512)


def test_runs_never_overfill_the_room_for_them():
    words = np.full(16, 0x5555_5555_5555_5555, np.uint64)
    edges = np.full(200, 7, np.uint64)
    assert bitmap.dirty_runs(words, edges[:65], np.uint64(0)) == (64, 1)
    assert bitmap.dirty_runs(words, edges[:64], np.uint64(0)) == (0, 0)
    assert bitmap.dirty_runs(words, edges[:150], np.uint64(3)) == (128, 5)
    assert set(edges[128:].tolist()) == {7}
    assert edges[:4].tolist() == [192, 193, 194, 195]


def test_runs_that_begin_and_end_with_a_line():
    for pages in ({*range(512)}, {*range(100, 512)}, {*range(512, 2048)}, {*range(1024, 1500), *range(4096, 8192)}):
        words, _ = bits_of(pages, 8192)
        edges = np.zeros(100, np.uint64)
        n, _ = bitmap.dirty_runs(words, edges, np.uint64(0))
        assert edges[: int(n)].tolist() == [edge for run in naive.runs(pages) for edge in run]


def test_bitmaps_are_padded_to_words_of_the_summary():
    assert [tuple(each.size for each in bitmap.new_words(pages)) for pages in (0, 1, 32768, 32769)] == [
        (0, 0),
        (512, 1),
        (512, 1),
        (1024, 2),
    ]
    with pytest.raises(ValueError, match="no fewer"):
        bitmap.new_words(-1)


# Sync


@EXAMPLES
@given(page_sets(), page_sets())
def test_sync_counts_what_is_new_and_leaves_nothing(dirty, unsent):
    (source, summary), (bmap, _) = bits_of(dirty), bits_of(unsent)
    plain, plain_bmap = source.copy(), bmap.copy()
    new = len(dirty - unsent)
    assert bitmap_sync.sync_summed(source, summary, bmap) == new
    assert bitmap_sync.sync(plain, plain_bmap) == new
    assert pages_of(bmap) == pages_of(plain_bmap) == dirty | unsent
    assert not source.any()
    assert not plain.any()
    assert not summary.any()
    assert bitmap_sync.sync_summed(source, summary, bmap) == 0


@pytest.mark.parametrize("lines", [1, 43, 44, 63, 64])
def test_sync_of_few_and_of_many_dirty_lines(lines):
    dirty = {line * 512 + line for line in range(lines)}
    source, summary = bits_of(dirty, 32768)
    bmap = np.zeros_like(source)
    assert bitmap_sync.sync_summed(source, summary, bmap) == lines
    assert pages_of(bmap) == dirty


@pytest.mark.parametrize("counts", [(64, 64, 3), (0, 64, 44), (43, 64, 0, 64, 64), (64, 43, 44, 1)])
def test_sync_of_stretches_of_dirty_lines(counts):
    dirty = {group * 32768 + line * 512 + 7 for group, lines in enumerate(counts) for line in range(lines)}
    source, summary = bits_of(dirty, 32768 * len(counts))
    bmap = np.zeros_like(source)
    assert bitmap_sync.sync_summed(source, summary, bmap) == len(dirty)
    assert pages_of(bmap) == dirty
    assert not source.any()
    assert not summary.any()


def test_a_summary_of_another_size_is_refused():
    words, summary = bitmap.new_words(40_000)
    for wrong in [(words[:512], summary, words), (words, summary[:1], words), (words, summary, words[:512])]:
        with pytest.raises(ValueError, match="512 words"):
            bitmap_sync.sync_summed(*wrong)


@EXAMPLES
@given(page_sets(), page_sets(), st.integers(0, 300))
def test_a_slot_is_merged_wherever_it_lies(slot, before, first):
    (bits, _), (words, summary) = bits_of(slot), bits_of(before, PAGES + 300)
    wanted = before | {page + first for page in slot}
    bitmap_sync.merge(bits, words, summary, np.uint64(first))
    assert pages_of(words) == wanted
    assert lines_of(wanted) == pages_of(summary)
    plain, _ = bits_of(before, PAGES + 300)
    bitmap_sync.merge(bits, plain, NONE, np.uint64(first))
    assert (plain == words).all()


@EXAMPLES
@given(page_sets(), page_sets(), page, page)
def test_clearing_takes_only_what_was_reported(kernel, reported, start, stop):
    (bits, _), (slot, _) = bits_of(kernel), bits_of(reported)
    asked = {page for page in reported if start <= page < stop}
    assert bitmap_sync.clear_dirty_log(bits, slot, *u64(start, stop)) == len(asked & kernel)
    assert pages_of(bits) == kernel - asked
    assert pages_of(slot) == reported - asked


@given(page_sets(), st.booleans())
@settings(max_examples=10)
def test_the_kernel_keeps_its_bits_under_manual_protection_only(pages, manual):
    bits, _ = bits_of(pages)
    slot, _ = bits_of({0, PAGES - 1})
    bitmap_sync.get_dirty_log(bits, slot, manual)
    assert pages_of(slot) == pages
    assert pages_of(bits) == (pages if manual else set())


# vhost's log, shadow virtqueues


@EXAMPLES
@given(page_sets(), page, page, st.integers(0, 300))
def test_a_section_takes_its_pages_out_of_vhosts_log_and_no_others(pages, start, stop, first):
    log, _ = bits_of(pages)
    words, summary = bitmap.new_words(PAGES + 300)
    inside = {page for page in pages if start <= page < stop}
    moved = bitmap_sync.scan_vhost_log(log, *u64(start, stop), words, summary, np.uint64(first))
    assert moved == len(inside)
    assert pages_of(log) == pages - inside
    assert pages_of(words) == {page - start + first for page in inside}
    assert pages_of(summary) == lines_of(pages_of(words))


segment_lists = st.lists(st.tuples(st.integers(0, 60 * 4096), st.integers(0, 9000)), max_size=4)


@EXAMPLES
@given(st.lists(st.tuples(segment_lists, st.integers(0, 20_000)), max_size=3))
def test_trap_25_only_the_pages_of_len_bytes_are_dirty(elements):
    segments = [segment for chain, _ in elements for segment in chain]
    starts = np.cumsum([0] + [len(chain) for chain, _ in elements]).astype(np.uint64)
    words, summary = bitmap.new_words(100)
    table, lengths = array(segments).reshape(-1, 2), array(length for _, length in elements)
    bitmap_sync.mark_written(words, summary, table, starts, lengths)
    wanted = set().union(*(naive.pages_written(chain, length) for chain, length in elements))
    assert pages_of(words) == wanted
    assert pages_of(summary) == lines_of(wanted)
    dirty = DirtyBitmap([("low", 64), ("pc.ram", 100)])
    dirty.mark_written(1, table, starts, lengths)
    assert pages_of(dirty.migration) == {64 + page for page in wanted}


def test_trap_25_a_64_kib_receive_buffer_with_a_small_packet_dirties_one_page():
    dirty = DirtyBitmap([("pc.ram", 256)])
    buffer = array([0x10000, 0x10000]).reshape(1, 2)
    assert dirty.mark_written(0, buffer, array([0, 1]), array([78])) == 1
    assert dirty.mark_written(0, buffer, array([0, 1]), array([0])) == 0  # rewound, or transmitted
    assert dirty.sync() == 1
    assert dirty.next_run()[:3] == (0, 16, 17)


# Dirty rings


def test_a_ring_is_an_array_of_kvms_16_byte_entries():
    ring, state = dirty_ring.new_ring(1024)
    assert state[dirty_ring.SOFT_LIMIT] == 1024 - (64 + 512)
    assert dirty_ring.new_ring(1024, pml=False)[1][dirty_ring.SOFT_LIMIT] == 1024 - 64
    logged, _ = bitmap.new_words(500)
    dirty_ring.push_writes(ring, state, logged, *u64(0, 3), array([0x2A]), np.uint64(0))
    assert dirty_ring.push_writes(ring, state, logged, *u64(0, 3), np.arange(500, dtype=np.uint64), np.uint64(1)) == 449
    entry = np.dtype([("flags", "<u4"), ("slot", "<u4"), ("offset", "<u8")])
    assert ring.view(entry)[0].tolist() == [(1, 3, 0x2A)]
    for size in (1000, 512):
        with pytest.raises(ValueError, match="power of two"):
            dirty_ring.new_ring(size)


ring_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 1), st.lists(st.integers(0, 199), max_size=80)),
        st.tuples(st.just("reap"), st.integers(0, 100)),
        st.tuples(st.just("reset")),
    ),
    max_size=25,
)


@EXAMPLES
@given(ring_steps, st.integers(0, 2**40))
def test_a_ring_is_pushed_fetched_and_reset_like_a_queue(steps, already):
    ring, state = dirty_ring.new_ring(128, pml=False)
    state[: dirty_ring.SOFT_LIMIT] = already
    peer = naive.Ring(64)
    slots = array([0, 200, 256, 200]).reshape(2, 2)
    logged, _ = bitmap.new_words(456)
    for what, *rest in steps:
        words, summary = bitmap.new_words(456)
        match what:
            case "write":
                slot, pages = rest
                first = slots[slot, 0]
                done = dirty_ring.push_writes(ring, state, logged, first, np.uint64(slot), array(pages), np.uint64(0))
                assert done == peer.write(slot, pages)
            case "reap":
                wanted = {int(slots[slot, 0]) + page for slot, page in peer.reap(rest[0])}
                fetched, ignored = dirty_ring.reap(ring, state, words, summary, slots, np.uint64(rest[0]))
                assert (pages_of(words), ignored) == (wanted, 0)
                assert fetched == len(wanted)
            case "reset":
                assert dirty_ring.reset_ring(ring, state, logged, slots[:, 0].copy()) == peer.reset()
        assert pages_of(logged) == {int(slots[slot, 0]) + page for slot, page in peer.logged}


def test_entries_that_name_no_page_are_fetched_and_ignored():
    ring, state = dirty_ring.new_ring(128, pml=False)
    logged, _ = bitmap.new_words(64)
    slots = array([0, 10]).reshape(1, 2)
    dirty_ring.push_writes(ring, state, logged, *u64(0, 0), array([3, 10]), np.uint64(0))
    dirty_ring.push_writes(ring, state, logged, *u64(0, 9), array([4]), np.uint64(0))
    words, _ = bitmap.new_words(64)
    assert dirty_ring.reap(ring, state, words, NONE, slots, np.uint64(128)) == (3, 2)
    assert pages_of(words) == {3}


@pytest.mark.parametrize(
    ("pages", "calls"),
    [([], 0), ([5, 6, 68], 1), ([5, 69], 2), ([68, 5], 1), ([69, 5], 2), ([60, 70, 7], 1), ([60, 71, 7], 2)],
)
def test_reset_joins_within_64_consecutive_pages(pages, calls):
    dirty = DirtyBitmap([("pc.ram", 128)], ring_size=1024)
    dirty.mark(0, pages)
    assert dirty.reap() == len(pages)
    assert dirty.reset_calls == calls
    assert not dirty.kernel.any()


def test_a_vcpu_with_a_full_ring_exits_and_loses_nothing():
    dirty = DirtyBitmap([("pc.ram", 3000)], ring_size=1024, vcpus=2)
    written = np.arange(1000, dtype=np.uint64)
    dirty.mark(0, written, vcpu=1)
    assert dirty.ring_exits == 2  # 448 entries each
    dirty.mark_range(0, 2000, 2010)  # QEMU's own writes go into no ring, and are seen all the same
    assert dirty.sync() == 1010
    assert dirty.sync() == 0
    dirty.mark(0, [7, 8])
    assert dirty.sync() == 0
    assert dirty.send(0, 0, 3000) == 1010
    assert dirty.sync() == 0
    assert dirty.clear_calls == 0  # what was fetched is protected by the reset
    with pytest.raises(ValueError, match="3000 pages"):
        dirty.mark(0, [3000])


# A guest


def guest(sizes, **options):
    return DirtyBitmap([(f"block{number}", size) for number, size in enumerate(sizes)], **options)


def test_trap_21_a_page_dirty_again_before_it_was_sent_is_counted_once():
    dirty = guest([1000])
    dirty.mark(0, [10, 11])
    assert dirty.sync() == 2
    dirty.mark(0, [11, 12])
    assert dirty.sync() == 1
    assert dirty.dirty_pages == 3
    assert dirty.send(0, 10, 13) == 3
    dirty.mark(0, [11])
    assert dirty.sync() == 1


def test_trap_22_the_first_sync_of_a_migration_reports_0():
    dirty = guest([640, 100])
    dirty.start()
    dirty.mark(0, [1, 2, 3])
    dirty.mark_range(1, 0, 50)
    assert dirty.sync() == 0
    assert dirty.dirty_pages == 740


def test_trap_23_chunks_are_cleared_in_the_send_loop_when_a_page_of_theirs_is_sent():
    dirty = guest([3 * GIB_PAGES])
    dirty.start()
    dirty.sync()
    assert dirty.clear_calls == 0
    assert dirty.sync_clear_calls == 0
    dirty.send(0, 0, 1)
    assert (dirty.clear_calls, dirty.protected_pages) == (1, GIB_PAGES)
    dirty.send(0, 1, 500)
    assert dirty.clear_calls == 1
    dirty.send(0, GIB_PAGES - 1, GIB_PAGES + 1)
    assert (dirty.clear_calls, dirty.protected_pages) == (2, 2 * GIB_PAGES)
    dirty.send(0, 2 * GIB_PAGES, 3 * GIB_PAGES, last_stage=True)
    assert dirty.clear_calls == 2


def test_a_block_of_no_whole_number_of_64_pages_is_cleared_page_by_page_in_the_sync():
    dirty = guest([128, 100, 64])
    dirty.start()
    dirty.sync()
    assert dirty.sync_clear_calls == 100
    for number, block in enumerate(dirty.blocks):
        dirty.send(number, 0, block.pages)
    assert dirty.clear_calls == 2
    assert dirty.dirty_pages == 0
    assert not dirty.kernel.any()


@pytest.mark.parametrize(("asked", "taken"), [(0, 6), (6, 6), (18, 18), (31, 31), (60, 31)])
def test_the_clear_shift_is_clamped(asked, taken):
    assert guest([64], clear_shift=asked).clear_shift == taken


SIZES = [640, 100, 64, 320]
block_pages = st.integers(0, 3).flatmap(lambda b: st.tuples(st.just(b), st.lists(st.integers(0, SIZES[b] - 1))))
block_range = st.integers(0, 3).flatmap(
    lambda b: st.tuples(st.just(b), st.integers(0, SIZES[b]), st.integers(0, SIZES[b])).map(
        lambda t: (t[0], min(t[1:]), max(t[1:]))
    )
)
guest_steps = st.lists(
    st.one_of(
        st.tuples(st.just("mark"), block_pages),
        st.tuples(st.just("qemu"), block_range),
        st.tuples(st.just("send"), block_range, st.booleans()),
        st.tuples(st.just("run"), block_pages),
        st.tuples(st.just("sync")),
    ),
    max_size=30,
)


@EXAMPLES
@given(st.booleans(), guest_steps)
def test_a_guest_is_tracked_as_by_sets(started, steps):
    dirty, peer = guest(SIZES, clear_shift=7), naive.Tracking(SIZES, 7)
    if started:
        dirty.start()
        peer.start()

    def flat(pages):
        return {dirty.first[block] + page for block, page in pages}

    for what, *rest in steps:
        match what:
            case "mark":
                dirty.mark(rest[0][0], array(rest[0][1]))
                peer.mark(*rest[0])
            case "qemu":
                dirty.mark_range(*rest[0])
                peer.mark_qemu(rest[0][0], range(*rest[0][1:]))
            case "sync":
                assert dirty.sync() == peer.sync()
            case "send":
                assert dirty.send(*rest[0], last_stage=rest[1]) == peer.send(*rest[0], rest[1])
            case "run":
                block, pages = rest[0]
                start = max(pages, default=0)
                assert dirty.next_run(block, start) == next_in_send_order(peer.todo, block, start)
        assert pages_of(dirty.bmap) == flat(peer.todo)
        assert pages_of(dirty.kernel) == flat(peer.kernel)
        assert pages_of(dirty.migration) == flat(peer.migration)
        assert (dirty.clear_calls, dirty.dirty_pages) == (peer.clears, len(peer.todo))
    dirty.sync()
    assert flat(peer.unsent) <= pages_of(dirty.bmap)  # nothing that was written is forgotten


def next_in_send_order(todo, block, start):
    order = [(b % 4, page, b >= 4) for b in range(block, block + 4) for page in range(SIZES[b % 4])]
    order = order[start:] + [(block, page, True) for page in range(start)]
    for number, page, wrapped in order:
        if (number, page) in todo:
            end = start if wrapped and number == block else SIZES[number]
            return number, *naive.next_run({p for b, p in todo if b == number}, page, end), wrapped
    return None


def test_pages_of_zeros_cost_9_bytes_and_others_4104():
    dirty = guest([640, 64])
    dirty.start()
    assert dirty.send(0, 0, 100, zero=90) == 100
    assert (dirty.normal_pages, dirty.zero_pages) == (10, 90)
    name = 1 + len("block0")
    assert dirty.wire_bytes == name + 90 * 9 + 10 * 4104
    dirty.send(0, 100, 101)
    dirty.send(1, 0, 1)
    assert dirty.wire_bytes == 2 * name + 90 * 9 + 12 * 4104
    with pytest.raises(ValueError, match="zeros"):
        dirty.send(0, 101, 103, zero=3)
    assert dirty.send(0, 0, 100) == 0  # nothing dirty, nothing on the wire
    assert dirty.wire_bytes == bitmap_sync.wire_bytes(12, 90, 2 * name)


def test_vhosts_log_reaches_the_block():
    dirty = guest([640, 640])
    log, _ = bits_of({0, 160, 200, 700}, 1024)
    assert dirty.scan_vhost_log(log, 1, 160, 640, at=3) == 2
    assert dirty.sync() == 2
    assert dirty.next_run(1)[:3] == (1, 3, 4)
    assert pages_of(log) == {0, 700}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dirty: DirtyBitmap([]),
        lambda dirty: DirtyBitmap([("pc.ram", 0)]),
        lambda dirty: DirtyBitmap([("pc.ram", 64)], ring_size=100),
        lambda dirty: dirty.mark(0, [64]),
        lambda dirty: dirty.mark_range(0, 0, 65),
        lambda dirty: dirty.mark_range(0, -1, 5),
        lambda dirty: dirty.send(0, 5, 4),
        lambda dirty: dirty.mark_written(0, [[64 * 4096 - 1, 2]], [0, 1], [1]),
        lambda dirty: dirty.mark_written(0, [[2**63, 2**63 + 4]], [0, 1], [1]),
        lambda dirty: dirty.mark_written(0, [[0, 2]], [0, 2], [1]),
        lambda dirty: dirty.mark_written(0, [[0, 2]], [1, 0], [1]),
        lambda dirty: dirty.mark_written(0, [[0, 2]], [0, 1, 1], [1]),
        lambda dirty: dirty.scan_vhost_log(bitmap.new_words(64)[0], 0, 0, 40_000),
        lambda dirty: dirty.scan_vhost_log(bitmap.new_words(64)[0], 0, 0, 65),
        lambda dirty: bitmap_writers.zipf_table(0, 1),
        lambda dirty: bitmap_writers.zipf_table(10, -1),
        lambda dirty: bitmap_writers.threshold(1.5),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\w"):
        wrong(guest([64]))


# Writers


def test_the_generator_is_marsaglias_xorshift():
    state = bitmap_writers.new_state(5)
    peer = naive.Xorshift(int(state[0]))
    pages = np.zeros(50, np.uint64)
    bitmap_writers.write_uniform(pages, state, np.uint64(1000))
    assert pages.tolist() == [(peer.next() >> 32) * 1000 >> 32 for _ in range(50)]
    assert state[0] == peer.word
    assert len({int(bitmap_writers.new_state(seed)[0]) for seed in range(-5, 5)}) == 10
    assert bitmap_writers.new_state(-0x9E37_79B9_7F4A_7C15)[0] == 1  # the word that would be 0


@given(st.integers(1, 50), st.lists(st.integers(0, 120), max_size=4), st.integers(0, 2**63))
@settings(max_examples=20, deadline=None)
def test_sequential_and_recorded_writes_go_round(count, lengths, position):
    for write in ("sequential", "recorded"):
        state = bitmap_writers.new_state(1)
        state[bitmap_writers.POSITION] = position
        found, record = [], array(range(1000, 1000 + count))
        for length in lengths:
            pages = np.zeros(length, np.uint64)
            if write == "sequential":
                bitmap_writers.write_sequential(pages, state, np.uint64(count))
                found += pages.tolist()
            else:
                bitmap_writers.write_recorded(pages, state, record)
                found += (pages - np.uint64(1000)).tolist()
        assert found == [(position + i) % count for i in range(sum(lengths))]


DRAWS = 4000 if DISABLED else 200_000


@pytest.mark.parametrize("scattered", [False, True])
def test_nine_writes_of_ten_go_to_a_tenth_of_the_pages(scattered):
    count, hot, pages = 1000, 100, np.zeros(DRAWS, np.uint64)
    stride = bitmap_writers.scatter_stride(count) if scattered else 1
    share = bitmap_writers.threshold(0.9)
    bitmap_writers.write_hot_cold(pages, bitmap_writers.new_state(3), *u64(count, hot), share, np.uint64(stride))
    warm = {rank * stride % count for rank in range(hot)}
    assert sum(page in warm for page in pages.tolist()) / DRAWS == pytest.approx(0.9, abs=0.02)
    assert len(set(pages.tolist()) - warm) > 300
    assert max(pages) < count


@pytest.mark.parametrize("exponent", [0, 0.8, 1, 1.3])
def test_zipfs_law(exponent):
    count, pages = 5000, np.zeros(DRAWS, np.uint64)
    edges, below = bitmap_writers.zipf_table(count, exponent)
    assert (edges[0], edges[-1], len(edges)) == (0, count, len(below) + 1)
    law = np.arange(1, count + 1) ** -float(exponent)
    wanted = np.add.reduceat(law, edges[:-1].astype(int)) / law.sum()
    assert np.diff(below.astype(float), prepend=0) / 2**32 == pytest.approx(wanted, abs=2e-6)
    bitmap_writers.write_zipf(pages, bitmap_writers.new_state(4), np.uint64(count), edges, below, np.uint64(1))
    tail = 5 / math.sqrt(DRAWS)
    for top in (1, 10, 2000):
        assert (pages < top).mean() == pytest.approx(law[:top].sum() / law.sum(), abs=tail)
    assert max(pages) < count


def test_zipf_scatters_its_ranks():
    count = 300
    stride = np.uint64(bitmap_writers.scatter_stride(count))
    assert math.gcd(int(stride), count) == 1
    table = bitmap_writers.zipf_table(count, 1.0)
    near, far = np.zeros((2, 300), np.uint64)
    bitmap_writers.write_zipf(near, bitmap_writers.new_state(4), np.uint64(count), *table, np.uint64(1))
    bitmap_writers.write_zipf(far, bitmap_writers.new_state(4), np.uint64(count), *table, stride)
    assert (near * stride % np.uint64(count)).tolist() == far.tolist()


def test_compiled_and_plain_python_agree_to_the_bit():
    """One digest for both: the suite runs with the compiler and without."""
    count = 3000
    state, pages = bitmap_writers.new_state(2024), np.zeros(600, np.uint64)
    table = bitmap_writers.zipf_table(count, 1.1)
    share, stride = bitmap_writers.threshold(0.9), np.uint64(bitmap_writers.scatter_stride(count))
    writers = [
        lambda: bitmap_writers.write_uniform(pages, state, np.uint64(count)),
        lambda: bitmap_writers.write_hot_cold(pages, state, *u64(count, count // 10), share, stride),
        lambda: bitmap_writers.write_zipf(pages, state, np.uint64(count), *table, stride),
        lambda: bitmap_writers.write_sequential(pages, state, np.uint64(count)),
    ]
    trace = hashlib.sha256()
    for options in ({"clear_shift": 8}, {"ring_size": 1024}):
        dirty = guest([count, 640], **options)
        dirty.start()
        for write in writers:
            write()
            dirty.mark(0, pages)
            trace.update(f"{dirty.sync()} ".encode())
            run = dirty.next_run(0, 700)
            dirty.send(run.block, run.start, run.stop, zero=1)
            dirty.send(1, 0, 640)
            counters = (dirty.dirty_pages, dirty.clear_calls, dirty.protected_pages, dirty.reset_calls, *run)
            trace.update(repr([int(each) for each in counters]).encode())
            trace.update(pages.astype("<u8").tobytes() + dirty.bmap.astype("<u8").tobytes())
    assert trace.hexdigest()[:16] == "bdf340d89dec082d"


def test_an_empty_vhost_log_is_looked_through_all_the_same():
    """Trap 40: QEMU allocates one for vhost-vdpa and nobody writes it: every sync reads it and finds nothing."""
    dirty = DirtyBitmap([("pc.ram", 4096)])
    log = np.zeros(64, np.uint64)
    before = [words.copy() for words in (dirty.migration, dirty.bmap, log)]
    assert dirty.scan_vhost_log(log, 0, 0, 4096) == 0
    assert all((a == b).all() for a, b in zip(before, (dirty.migration, dirty.bmap, log), strict=True))
    log[63] = np.uint64(1 << 63)
    assert dirty.scan_vhost_log(log, 0, 0, 4096) == 1, "it is read to its last page"
    assert not log.any()
