"""The shadow virtqueue against a slow twin that follows QEMU, against its documented limits, and against random bytes.

Un-jitted, and with NUMBA_BOUNDSCHECK=1 and a cache of its own, as tests/test_rings.py tells.
"""

import struct

import naive_rings as naive
import naive_svq
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vdpa_lab.bench import harness
from vdpa_lab.kernels import _jit, split, svq, svq_translate
from vdpa_lab.kernels.bitmap import new_words
from vdpa_lab.kernels.ring_errors import RingError
from vdpa_lab.kernels.ring_layout import NEXT_AVAIL

SLOW = _jit.DISABLED
PAGE = 4096
ORIGIN = 0x10000
# (gpa, bytes, iova, ram_addr): two neighbours after the first, then a hole of 12 pages.
MAPS = (
    (0x0, 0x20000, 0x5000, 0x0),
    (0x20000, 0x3000, 0x100000, 0x40000),
    (0x23000, 0x1000, 0x40000, 0x20000),
    (0x30000, 0x8000, 0x200000, 0x30000),
)
PAGES = 0x43


def u64(*values):
    return np.array(values, np.uint64)


def pages_of(words):
    return {64 * int(at) + bit for at in np.flatnonzero(words) for bit in range(64) if int(words[at]) >> bit & 1}


class World:
    """A guest, a shadow virtqueue and a device; guest and device are slow twins, the shadow is ours or slow too."""

    def __init__(self, ours, size=8, *, base=0, event_idx=False, maps=MAPS, summary=False, batched=False):
        self.memory, self.at = np.zeros(1 << 13, np.uint8), split.layout(size)
        for area in self.at[1:3]:
            struct.pack_into("<H", self.memory, area + 2, base)
        self.size, self.known = size, {"event_idx": event_idx, "in_order": False}
        self.driver = naive.SplitDriver(self.memory, size, self.at, origin=ORIGIN, base=base, **self.known)
        self.ours, where = ours, svq.layout(size)
        if ours:
            self.words, self.summary = new_words(PAGES)
            both = (self.words, self.summary) if summary else (self.words,)
            known = {"origin": ORIGIN, "event_idx": event_idx, "batched": batched, "base": base}
            self.q = svq.new(self.memory, size, *self.at[:3], svq_translate.directory(maps), *both, **known)
            self.shadow_memory = self.q.s8
        else:
            self.shadow_memory = bytearray(where.end)
            known = {"event_idx": event_idx, "origin": ORIGIN, "base": base}
            self.q = naive_svq.Svq(self.memory, size, self.at, maps, self.shadow_memory, where, **known)
        self.new_device()

    def new_device(self):
        where = svq.layout(self.size)
        self.device = naive.SplitDevice(self.shadow_memory, self.size, where, origin=0, base=0, **self.known)
        self.taken = []

    def add(self, *buffers):
        """Heads of buffers (outs, ins), as far as they find room; the guest publishes them."""
        heads = [self.driver.add(*each) for each in buffers]
        self.driver.publish()
        return heads

    def forward(self):
        return svq.checked(svq.forward_avail(self.q)) if self.ours else self.q.forward_avail()

    def back(self):
        return svq.checked(svq.forward_used(self.q)) if self.ours else self.q.forward_used()

    def take(self):
        found = self.device.pop(self.size)
        self.taken += found
        return [each[1:] for each in found]

    def use(self, number, written=0):
        """The device uses the buffer that is `number` in the order in which it took those it still has."""
        head, *_ = self.taken.pop(number)
        self.device.push([(head, written)])

    def stop(self):
        base = svq.checked(svq.stop(self.q)) if self.ours else self.q.stop()
        self.new_device()
        return base

    def start(self, base):
        svq.start(self.q, base) if self.ours else self.q.start(base)
        self.new_device()

    @property
    def dirty(self):
        return pages_of(self.words) if self.ours else self.q.dirty

    @property
    def parked(self):
        return bool(self.q.state[svq.PARKED]) if self.ours else self.q.parked is not None

    @property
    def told(self):
        return tuple(map(int, self.q.state[[svq.KICKS, svq.CALLS]])) if self.ours else (self.q.kicks, self.q.calls)

    def used_ring(self):
        return bytes(self.memory[self.at.used + 2 : self.at.used + 4 + 8 * self.size])


# ---- translation ----


def linear(maps, gpa, length):
    """vhost_svq_translate_addr by looking at each map: the IOVA, or what is wrong."""
    found = naive_svq.find(maps, gpa)
    if found is None:
        return svq_translate.NOT_MAPPED
    start, size, iova, _ = found
    return svq_translate.CROSSES if gpa + length > start + size else gpa - start + iova


def translated(directory, gpa, length, word=svq_translate.IOVA):
    to = u64(0)
    got = int(svq_translate.translate(directory, u64(gpa), u64(length), word, to))
    return int(to[0]) if got == 1 else got


@st.composite
def some_maps(draw, most=24):
    """Maps of 1 to 4095 pages, next to each other or with holes of up to 2^30 pages between them."""
    found, at = [], 0
    for _ in range(draw(st.integers(1, most))):
        at += draw(st.sampled_from([0, 0, 0, 1, 3, 1 << 9, (1 << 18) - 1, 1 << 30])) * PAGE
        size = draw(st.sampled_from([1, 1, 2, 3, 7, 64, 4095])) * PAGE
        found.append((at, size, PAGE * draw(st.integers(1, 1 << 20))))
        at += size
    return found


@settings(max_examples=60 if SLOW else 150)
@given(some_maps(), st.data())
def test_the_directory_gives_what_a_walk_over_all_maps_gives(maps, data):
    directory = svq_translate.directory(data.draw(st.permutations(maps)))
    edges = [edge for start, size, _ in maps for edge in (start - 1, start, start + size - 1, start + size)]
    for gpa in [*edges, data.draw(st.integers(0, (1 << 64) - 1)), (1 << 64) - 1, 1 << 63]:
        for length in (1, 2, PAGE + 1, (1 << 32) - 1):
            if gpa >= 0:
                assert translated(directory, gpa, length) == linear(maps, gpa, length), (hex(gpa), length)


@pytest.mark.parametrize("count", [2, 8, 64, 512])
def test_the_cells_of_equal_maps_need_no_second_look(count):
    span = (16 << 30) // count
    maps = [(i * span, span - PAGE, PAGE + i * (span - PAGE)) for i in range(count)]
    directory = svq_translate.directory(maps)
    cells = directory[svq_translate.CELLS :][: int(directory[svq_translate.LAST_CELL])]
    assert not (cells >= svq_translate.NODE).any()
    random = np.random.default_rng(0)
    for gpa in random.integers(0, 16 << 30, 50).tolist():
        assert translated(directory, gpa, 1) == linear(maps, gpa, 1)


def test_a_page_among_terabytes_costs_a_bounded_directory():
    maps = [(0, PAGE, PAGE), (PAGE, PAGE, 9 * PAGE), (2 * PAGE, PAGE, 4 * PAGE), (1 << 50, 1 << 40, 1 << 40)]
    directory = svq_translate.directory(maps)
    assert directory.size < 64 + 64 * 7 + 8 * 6
    for gpa in (0, PAGE, 2 * PAGE, 3 * PAGE, (1 << 50) - 1, 1 << 50, (1 << 50) + (1 << 40)):
        assert translated(directory, gpa, 1) == linear(maps, gpa, 1)


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ([(0, 0, 0)], "empty"),
        ([(0, 100, 0)], "whole 4 KiB"),
        ([(0, PAGE, 7)], "whole 4 KiB"),
        ([(-PAGE, PAGE, 0)], "63-bit"),
        ([(1 << 63, PAGE, 0)], "63-bit"),
        ([(0, 2 * PAGE, 0), (PAGE, PAGE, 0)], "overlaps"),
    ],
)
def test_maps_that_cannot_be_are_refused(maps, words):
    with pytest.raises(ValueError, match=words):
        svq_translate.directory(maps)


def test_a_batch_stops_before_the_first_buffer_that_is_not_mapped():
    directory, to = svq_translate.directory(MAPS), u64(0, 0, 0)
    addr, length = u64(0x1000, 0x24000, 0x2000), u64(1, 1, 1)
    assert svq_translate.translate(directory, addr, length, svq_translate.IOVA, to) == 1
    assert to.tolist() == [0x6000, 0, 0]
    assert svq_translate.translate(directory, addr[1:], length, svq_translate.IOVA, to) == svq_translate.NOT_MAPPED
    assert svq_translate.translate(directory, u64(0x1FFFF), u64(2), svq_translate.RAM, to) == svq_translate.CROSSES
    assert svq_translate.translate(svq_translate.directory([]), addr, length, svq_translate.IOVA, to) < 0


# ---- one queue ----

OUT, IN = ([(0x100, 60)], []), ([], [(0x1000, 2048)])


@pytest.mark.parametrize("ours", [True, False])
def test_a_descriptor_becomes_several_where_it_crosses_maps(ours):
    world = World(ours)
    world.add(([(0x1FFF0, 0x3020)], [(0x22FFF, 2)]))
    world.forward()
    outs, ins = world.take()[0]
    assert outs == [(0x24FF0, 0x10), (0x100000, 0x3000), (0x40000, 0x10)]
    assert ins == [(0x102FFF, 1), (0x40000, 1)]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    ("written", "pages"),
    [(0, set()), (1, {0x41}), (0x1000, {0x41, 0x42}), (0x1801, {0x41, 0x42, 0x20}), (99999, {0x41, 0x42, 0x20})],
)
def test_trap_25_only_the_pages_of_the_bytes_written_are_dirty(ours, written, pages):
    """Trap 25: `len` bytes of the writable descriptors, in order, whatever size the buffer has; and the used ring."""
    world = World(ours)
    world.add(([(0x5000, 100)], [(0x21800, 0x1800), (0x23000, 0x800)]))
    world.forward()
    world.take()
    world.use(0, written)
    world.back()
    assert world.dirty == pages | {ORIGIN // PAGE}
    assert world.driver.get(1) == [(0, written)]


def test_a_used_ring_across_two_pages_dirties_the_pages_that_were_written():
    world = World(True, 8)
    at = split.Layout(16, 512, PAGE - 4 - 16, 0)  # entry 2 and all after it lie on the second page
    assert at.used % 4 == 0
    q = svq.new(world.memory, 8, *at[:3], svq_translate.directory(MAPS), world.words, origin=ORIGIN)
    driver = naive.SplitDriver(world.memory, 8, at, event_idx=False, in_order=False, origin=ORIGIN, base=0)
    device = naive.SplitDevice(q.s8, 8, svq.layout(8), event_idx=False, in_order=False, origin=0, base=0)
    for turn in range(9):
        driver.add(*OUT)
        driver.publish()
        assert svq.forward_avail(q) == 1
        world.words[:] = 0
        device.push([(device.pop(1)[0][0], 0)])
        assert svq.forward_used(q) == 1
        entry = ORIGIN + at.used + 4 + 8 * (turn % 8)
        assert pages_of(world.words) == {(ORIGIN + at.used + 2) // PAGE, entry // PAGE}
        driver.get(1)


def test_entries_over_the_end_of_the_used_ring_dirty_both_its_ends():
    """A used ring of 1024 entries from the end of a page on: index, last and first entry lie on three pages."""
    memory, size, base = np.zeros(10 * PAGE, np.uint8), 1024, 1023
    at = split.Layout(0, 4 * PAGE, 6 * PAGE - 4, 0)
    for area in at[1:3]:
        struct.pack_into("<H", memory, area + 2, base)
    known = {"event_idx": False, "in_order": False}
    words, _ = new_words(PAGES)
    q = svq.new(memory, size, *at[:3], svq_translate.directory(MAPS), words, origin=ORIGIN, base=base)
    driver = naive.SplitDriver(memory, size, at, origin=ORIGIN, base=base, **known)
    device = naive.SplitDevice(q.s8, size, svq.layout(size), origin=0, base=0, **known)
    for _ in range(2):
        driver.add(*OUT)
    driver.publish()
    assert svq.forward_avail(q) == 2
    device.push([(head, 0) for head, *_ in device.pop(2)])
    words[:] = 0
    assert svq.forward_used(q) == 2
    assert pages_of(words) == {ORIGIN // PAGE + page for page in (5, 6, 7)}


def test_a_stop_gives_the_device_nothing_new():
    world = World(True, 4)
    world.add(*[([(0x1FFFF, 2)], [])] * 3)
    world.forward()
    assert world.parked
    world.take()
    world.use(0)
    assert world.stop() == 1
    assert int(world.q.state[svq.FORWARDED]) == world.told[0] == 2


@pytest.mark.parametrize("ours", [True, False])
def test_a_queue_goes_on_behind_buffers_that_the_device_has_taken_and_not_used(ours):
    """A base ahead of the used index, as a device answers that tells what it has fetched: entries stay in order."""
    world = World(ours, 4)
    world.add(OUT, IN)
    world.start(1)
    world.forward()
    assert world.take() == [([], [(0x6000, 2048)])]
    world.use(0, 60)
    world.back()
    assert world.driver.get(2) == [(1, 60)]


def test_trap_24_a_packet_just_before_suspend_is_in_the_final_dirty_set():
    """Trap 24: the device used it and no notification came: the stop marks its pages."""
    world = World(True, summary=True)
    world.add(IN, IN)
    world.forward()
    world.take()
    world.words[:] = world.summary[:] = 0
    world.use(0, 1514)
    assert world.stop() == 1
    assert world.dirty == {1, ORIGIN // PAGE}
    assert world.driver.get(2) == [(0, 1514)]
    assert int(world.summary[0]) == 1


@pytest.mark.parametrize("ours", [True, False])
def test_trap_26_each_unused_buffer_is_offered_again_exactly_once(ours):
    """Trap 26: stop with two in flight and one parked, go on: the device sees each of them once more, in order."""
    world = World(ours, 4)
    first = world.add(OUT)
    world.forward()
    world.take()
    world.use(0)
    world.back()
    assert world.driver.get(1) == [(first[0], 0)]
    heads = world.add(([(0x200, 60)], []), ([(0x1FFFF, 2)], []), ([(0x1FFFE, 4)], []))
    world.forward()
    assert world.parked
    base = world.stop()
    assert base == 1
    world.start(base)
    world.forward()
    assert [outs for outs, _ in world.take()] == [[(0x5200, 60)], [(0x24FFF, 1), (0x100000, 1)]]
    world.use(0)
    world.use(0)
    world.back()
    assert [outs for outs, _ in world.take()] == [[(0x24FFE, 2), (0x100000, 2)]]
    world.use(0)
    world.back()
    assert world.driver.get(4) == [(head, 0) for head in heads]
    assert not world.driver.outstanding


@pytest.mark.parametrize("ours", [True, False])
def test_trap_27_a_stop_after_completions_out_of_order_loses_the_skipped_and_repeats_the_completed(ours):
    """Trap 27: vhost_svq_stop steps last_avail_idx back once for each unused buffer, whichever they are.

    Of buffers 0, 1, 2 the device completes only 2. The window of two that is offered again is [1, 3): buffer 1 as it
    should, buffer 2 although the guest has it back; buffer 0 is lost.
    """
    world = World(ours, 4)
    heads = world.add(*(([(0x1000 * i, 60)], []) for i in (1, 2, 3)))
    world.forward()
    world.take()
    world.use(2)
    base = world.stop()
    assert base == 1
    assert world.driver.get(4) == [(heads[2], 0)]
    world.start(base)
    world.forward()
    assert [outs for outs, _ in world.take()] == [[(0x2000 + 0x5000, 60)], [(0x3000 + 0x5000, 60)]]
    for _ in range(2):
        world.use(0)
    world.back()
    returned = [struct.unpack_from("<I", world.memory, world.at.used + 4 + 8 * i)[0] for i in range(3)]
    assert returned == [heads[2], heads[1], heads[2]]  # heads[0] never; heads[2] twice


@pytest.mark.parametrize("event_idx", [False, True])
def test_trap_28_indices_wrap(event_idx):
    """Trap 28: the guest's indices run over 65535 while the shadow ring starts at 0; and the shadow ring's wrap too."""
    world, twin = (World(ours, 2, base=65530, event_idx=event_idx) for ours in (True, False))
    for each in (world, twin):
        if each is twin:
            each.q.driver.idx = each.q.driver.told = each.q.driver.last = 65530
        else:
            split.restart(each.q.driver, 65530)
        each.device = naive.SplitDevice(each.shadow_memory, 2, svq.layout(2), origin=0, base=65530, **each.known)
        for area in svq.layout(2)[1:3]:
            struct.pack_into("<H", each.shadow_memory, area + 2, 65530)
    for turn in range(12):
        for each in (world, twin):
            each.add(IN)
            each.forward()
            assert len(each.take()) == 1
            each.use(0, turn)
            each.back()
            assert each.driver.get(2) == [(each.driver.free[-1], turn)]
    assert world.told == twin.told
    assert world.driver.idx == twin.driver.idx == (65530 + 12) % 65536
    assert world.stop() == twin.stop() == 6


@pytest.mark.parametrize("event_idx", [False, True])
def test_each_buffer_is_published_and_kicked_on_its_own_unless_batched(event_idx):
    for batched in (False, True):
        world = World(True, 8, event_idx=event_idx, batched=batched)
        world.add(OUT, OUT, OUT)
        assert world.forward() == 3
        assert world.told == ((1 if batched or event_idx else 3), 0)  # with event idx the device asked for the first
        assert world.device.want(True)  # looks from what it took: that there is more
        world.take()
        world.device.want(False)
        world.add(OUT)
        world.forward()
        assert world.told[0] == (1 if batched or event_idx else 3)
        assert len(world.take()) == 1


@pytest.mark.parametrize("ours", [True, False])
def test_a_buffer_without_room_is_parked_until_others_are_used(ours):
    world = World(ours, 4)
    world.add(([(0x1FFFF, 2)], []), ([(0x1FFFE, 4)], []), ([(0x1FFFD, 6)], []))
    world.forward()
    assert world.parked
    assert len(world.take()) == 2
    assert not world.driver.need_notify()  # kicks are not wanted
    world.add(OUT)
    world.forward()  # a kick that comes all the same
    assert world.parked
    assert world.take() == []
    world.use(1)
    world.back()
    assert world.parked  # the third went out, and there was no room for the fourth
    assert [outs for outs, _ in world.take()] == [[(0x24FFD, 3), (0x100000, 3)]]
    world.use(0)
    world.back()
    assert not world.parked
    assert [outs for outs, _ in world.take()] == [[(0x5100, 60)]]


@pytest.mark.parametrize("ours", [True, False])
def test_a_buffer_with_more_pieces_than_the_ring_is_parked_for_good(ours):
    world = World(ours, 2)
    world.add(([(0x1FFFF, 0x3002)], []), OUT)
    world.forward()
    assert world.parked
    assert world.take() == []
    assert world.stop() == 0


def test_the_way_of_kernels_of_split_gives_the_same_shadow_ring():
    """One pass from ring to ring writes what pop_batch, translate and add_batch write one after the other."""
    random = np.random.default_rng(5)
    for _ in range(3 if SLOW else 20):
        world = World(True, 16)
        for _ in range(7):
            elements = [(int(a) * 8, int(n)) for a, n in random.integers(1, 0x3000, (2, 2))]
            world.add((elements[:1], elements[1:]) if random.integers(2) else ([], elements))
        other, at = World(True, 16), svq.layout(16)
        device = split.state(world.memory, 16, *world.at[:3])
        arrays = [np.zeros(16, np.uint64) for _ in range(6)]
        heads, outs, ins, addr, length, iova = arrays
        views = world.q
        assert split.pop_batch(views.g8, views.g64, views.g16, device, heads, outs, ins, addr, length, 16) == 7
        elements = int((outs + ins)[:7].sum())
        assert svq_translate.translate(world.q.maps, addr[:elements], length, svq_translate.IOVA, iova) == elements
        to = other.q
        assert split.add_batch(to.s64, to.s16, to.driver, to.book, iova, length, outs, ins, heads, 7) == 7
        split.publish(to.s16, to.driver)
        assert svq.forward_avail(world.q) == 7
        assert (world.q.s8[: at.used] == to.s8[: at.used]).all()
        assert (world.q.book[:16] == to.book[:16]).all()
        assert (world.q.driver[[9, 8, NEXT_AVAIL]] == to.driver[[9, 8, NEXT_AVAIL]]).all()


# ---- what is wrong ----


def put_descriptor(world, number, addr, length, flags, following=0):
    struct.pack_into("<QIHH", world.memory, world.at.table + 16 * number, addr, length, flags, following)


@pytest.mark.parametrize(
    ("descriptors", "error"),
    [
        ([(0x24000, 4, 0)], svq_translate.NOT_MAPPED),
        ([(0x100, 4, 1, 1), (1 << 63, 4, 0)], svq_translate.NOT_MAPPED),
        ([(0x23FFF, 2, 0)], svq_translate.CROSSES),
        ([(0xFFFF_FFFF_FFFF_FFFF, 2, 2)], svq_translate.NOT_MAPPED),
        ([(0x100, 0, 0)], -RingError.ZERO_LENGTH),
        ([(0x100, 16, 4)], -RingError.INDIRECT_NOT_NEGOTIATED),
        ([(0x100, 16, 3, 1), (0x100, 16, 0)], -RingError.READABLE_AFTER_WRITABLE),
        ([(0x100, 16, 1, 4)], -RingError.NEXT_OUT_OF_RANGE),
        ([(0x100, 16, 1, 0)], -RingError.CHAIN_LOOPS),
    ],
)
def test_a_wrong_buffer_is_named_and_what_came_before_it_is_forwarded(descriptors, error):
    world = World(True, 4)
    for number, each in enumerate(descriptors):
        put_descriptor(world, number, *each)
    put_descriptor(world, 3, 0x200, 8, 0)
    struct.pack_into("<HHHHHH", world.memory, world.at.avail, 0, 2, 3, 0, 0, 0)
    assert svq.forward_avail(world.q) == error
    assert world.take() == [([(0x5200, 8)], [])]
    assert svq.forward_avail(world.q) == error
    assert world.q.guest[NEXT_AVAIL] == 1
    with pytest.raises(ValueError, match=r"\w{5}"):
        svq.checked(error)


def test_a_chain_beyond_4_gib_is_refused():
    maps = [(0, 1 << 40, PAGE)]
    q = World(True, 4).q._replace(maps=svq_translate.directory(maps), words=np.zeros(1 << 22, np.uint64))
    for at, flags in ((0, 1), (1, 1), (2, 0)):
        struct.pack_into("<QIHH", q.g8, 16 * at, 0, 0xFFFF_FFFF, flags, at + 1)
    struct.pack_into("<H", q.g8, int(q.guest[6]) * 2 + 2, 1)
    assert svq.forward_avail(q) == -RingError.CHAIN_TOO_BIG


def test_an_index_or_a_head_out_of_range_is_named():
    world = World(True, 4)
    struct.pack_into("<HH", world.memory, world.at.avail, 0, 5)
    assert svq.forward_avail(world.q) == -RingError.AVAIL_TOO_FAR
    struct.pack_into("<HHH", world.memory, world.at.avail, 0, 1, 4)
    assert svq.forward_avail(world.q) == -RingError.HEAD_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("idx", "head", "error"),
    [(3, 0, RingError.USED_TOO_FAR), (1, 4, RingError.USED_OUT_OF_RANGE), (1, 3, RingError.USED_NOT_OUTSTANDING)],
)
def test_a_device_that_returns_what_it_was_not_given_is_named_by_the_checks_of_get_buf(idx, head, error):
    world = World(True, 4)
    world.add(OUT, IN)
    world.forward()
    struct.pack_into("<HHI", world.shadow_memory, svq.layout(4).used, 0, idx, head)
    assert svq.forward_used(world.q) == svq.stop(world.q) == -error
    assert world.driver.get(4) == []


def test_a_parked_buffer_is_read_again_and_may_be_wrong_by_then():
    """QEMU keeps what it has read of it; here it stays in the guest's ring, where only a guest that errs changes it."""
    world = World(True, 4)
    heads = world.add(*[([(0x1FFFF, 2)], [])] * 3)
    world.forward()
    world.take()
    put_descriptor(world, heads[2], 0x24000, 8, 0)
    world.use(0)
    assert svq.forward_used(world.q) == svq_translate.NOT_MAPPED
    assert world.driver.get(4) == [(heads[0], 0)]


def test_a_bitmap_or_a_used_ring_that_is_too_small_is_refused():
    world = World(True)
    small = world.q._replace(words=world.words[:1])
    assert svq.forward_avail(small) == svq.forward_used(small) == svq.stop(small) == svq.NO_BITMAP
    beyond = svq_translate.directory([*MAPS, (1 << 36, PAGE, PAGE)])
    high = world.q._replace(maps=beyond, words=np.zeros((1 << 18) + 1, np.uint64), summary=np.zeros(1, np.uint64))
    assert svq.forward_avail(high) == svq.NO_BITMAP
    with pytest.raises(ValueError, match="bitmap is smaller"):
        svq.checked(svq.NO_BITMAP)
    with pytest.raises(ValueError, match="used ring is not in one map"):
        svq.new(world.memory, 8, *world.at[:3], world.q.maps, world.words, origin=0x20000 - 208)


# ---- both together ----

MAPPED = [0x0, 0xFFF, 0x1FFFE, 0x1FFFF, 0x20000, 0x21FFF, 0x22FFF, 0x23000, 0x30000, 0x37000]


@st.composite
def elements(draw):
    """One mapped stretch of at most 0x3010 bytes."""
    gpa = draw(st.sampled_from(MAPPED))
    return gpa, draw(st.sampled_from([1, 2, 60, 0x801, 0x1000]))


class Both(RuleBasedStateMachine):
    """Our shadow virtqueue and the twin in two equal worlds; every buffer comes back once, whatever happens."""

    @initialize(size=st.sampled_from([2, 4, 8]), event_idx=st.booleans(), base=st.sampled_from([0, 7, 65530]))
    def begin(self, size, event_idx, base):
        self.worlds = [World(ours, size, base=base, event_idx=event_idx, summary=True) for ours in (True, False)]
        self.size, self.added, self.returned = size, 0, 0

    def each(self, act):
        """What both worlds answer, which is the same."""
        ours, twin = [act(world) for world in self.worlds]
        assert ours == twin
        return ours

    @rule(chain=st.lists(elements(), min_size=1, max_size=3), readable=st.integers(0, 3), count=st.integers(1, 3))
    def add(self, chain, readable, count):
        while sum(len(naive_svq.pieces(MAPS, *each)) for each in chain) > self.size:
            chain = chain[1:]
        heads = self.each(lambda world: world.add(*[(chain[:readable], chain[readable:])] * count))
        self.added += sum(head is not None for head in heads)
        if self.each(lambda world: world.driver.need_notify()):
            self.kick()

    @rule()
    def kick(self):
        self.each(lambda world: (world.forward(), world.parked)[1])

    @rule()
    def take(self):
        self.each(lambda world: world.take())

    @rule(
        places=st.lists(st.integers(0, 7), min_size=1, max_size=3),
        written=st.sampled_from([0, 1, 60, 0x1001, 0x5000]),
        in_order=st.booleans(),
    )
    def use(self, places, written, in_order):
        self.take()
        for place in places[: len(self.worlds[0].taken)]:
            number = 0 if in_order else place % len(self.worlds[0].taken)
            self.each(lambda world, number=number: world.use(number, written))
        if self.each(lambda world: world.device.need_interrupt()):
            self.back()

    @rule()
    def back(self):
        self.each(lambda world: (world.back(), world.parked)[1])

    @rule()
    def get(self):
        self.returned += len(self.each(lambda world: world.driver.get(self.size)))

    @rule()
    def stop_and_start(self):
        """Only with nothing skipped: what the others would do, trap 27 tells."""
        while self.worlds[0].taken and self.out_of_order():
            self.each(lambda world: world.use(0))
        base = self.each(lambda world: world.stop())
        self.each(lambda world: world.start(base))
        self.kick()

    def out_of_order(self):
        """Whether the device has used a buffer and not one that it took before it."""
        oldest = struct.unpack_from("<H", self.worlds[0].shadow_memory, svq.layout(self.size).used + 2)[0]
        world = self.worlds[0]
        ring = [
            struct.unpack_from("<H", world.shadow_memory, svq.layout(self.size).avail + 4 + 2 * (i % self.size))[0]
            for i in range(oldest, world.device.last)
        ]
        return sorted(ring) != sorted(head for head, *_ in world.taken)

    @invariant()
    def same(self):
        if not hasattr(self, "worlds"):
            return
        self.each(lambda world: world.used_ring())
        self.each(lambda world: world.dirty)
        self.each(lambda world: world.told)
        self.each(lambda world: world.driver.idx)

    def teardown(self):
        if not hasattr(self, "worlds"):
            return
        self.same()
        for _ in range(4 * self.size):
            self.kick()
            self.take()
            while self.worlds[0].taken:
                self.each(lambda world: world.use(0, 1))
            self.back()
            self.get()
        self.same()
        assert self.returned == self.added
        assert not self.worlds[0].driver.outstanding


TestBoth = Both.TestCase
TestBoth.settings = settings(
    max_examples=250,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def plausible(random, size):
    """A descriptor table, an available ring and used entries in which a lot is nearly right."""
    choose = random.choice
    table = [
        struct.pack("<QIHH", *map(int, (choose([*MAPPED, 0x24000, 1 << 63]), choose([1, 9, 0x1000, 0, 1 << 31]),
                    choose([0, 1, 1, 2, 3, 3, 4]), random.integers(0, size + 2))))
        for _ in range(size)
    ]  # fmt: skip
    heads = random.integers(0, size + (random.integers(6) == 0), size).astype("<u2")
    ids = random.integers(0, size + (random.integers(6) == 0), size).astype("<u4")
    return b"".join(table), heads.tobytes(), np.stack([ids, ids * 999], 1).astype("<u4").tobytes()


@pytest.mark.parametrize("part", range(4))
def test_random_rings_give_an_error_value_and_nothing_else(part):
    """Whatever guest or device wrote: no exception, no access outside (with bounds checks), errors that have a name."""
    random = np.random.default_rng(part)
    world, size, errors = World(True, 8, event_idx=part > 1, summary=part % 2), 8, set()
    q, guest, shadow = world.q, split.layout(size), svq.layout(size)
    for _ in range(250 if SLOW else 1200):
        svq.start(q, int(random.integers(1 << 16)))
        world.memory[guest.avail + 2 : guest.avail + 4] = world.memory[guest.used + 2 : guest.used + 4]
        split.restart(q.guest, struct.unpack_from("<H", world.memory, guest.avail + 2)[0])
        for _ in range(4):
            if random.integers(8) == 0:
                world.memory[: guest.end] = random.integers(0, 256, guest.end, np.uint8)
                q.s8[: shadow.end] = random.integers(0, 256, shadow.end, np.uint8)
            table, heads, entries = plausible(random, size)
            for at, those in ((guest.table, table), (guest.avail + 4, heads), (guest.used + 4, entries)):
                world.memory[at : at + len(those)] = np.frombuffer(those, np.uint8)
            q.s8[shadow.used + 4 : shadow.used + 4 + len(entries)] = np.frombuffer(entries, np.uint8)
            for memory, at in ((world.memory, guest.avail), (q.s8, shadow.used)):
                (idx,) = struct.unpack_from("<H", memory, at + 2)
                struct.pack_into("<H", memory, at + 2, int(idx + random.integers(0, 4)) % 65536)
            errors |= {min(int(act(q)), 0) for act in (svq.forward_avail, svq.forward_used)}
        errors.add(min(int(svq.stop(q)), 0))
    for each in errors - {0}:
        with pytest.raises(ValueError, match=r"\w{5}"):
            svq.checked(each)
    assert len(errors) > (6 if SLOW else 11)


def test_the_candidates_of_the_benchmark_do_the_same():
    """Ours, the twin and the peer in C: the same addresses at the device, kicks, calls and buffers returned."""
    cases = list(harness.cases_of("svq", quick=True))
    assert len(cases) == 4
    for case in cases[:: 3 if SLOW else 1]:
        harness.measure(case, 1)
