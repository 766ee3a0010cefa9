"""IOTLB, IOVA tree and memory messages against plain lists; addresses of real runs; the traps of mapping by name."""

import naive_iotlb as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vdpa_lab.kernels import iova_alloc, pin
from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.kernels.iotlb_search import new_tree
from vdpa_lab.machine.address_space import LAST, AddressSpaces, Iotlb, MapError
from vdpa_lab.machine.iova_tree import Allocator, VhostIovaTree

EXAMPLES = settings(max_examples=30 if DISABLED else 150, deadline=None)
MACHINE = settings(max_examples=40 if DISABLED else 80, stateful_step_count=25, deadline=None)
MANY = 800 if DISABLED else 100_000
PAGE, MIB, GIB = 4096, 1 << 20, 1 << 30
RO, WO, RW = 1, 2, 3

near = st.integers(0, 3000)
address = st.one_of(near, near.map(lambda x: LAST - x), st.sampled_from([0, 1, LAST // 2, LAST // 2 + 1, LAST]))
perm = st.sampled_from([RO, WO, RW])


def outcome(call, *arguments):
    """What the call returns, or the name of its error."""
    try:
        return call(*arguments)
    except MapError as error:
        return error.name


def array(*rows):
    return np.array(rows, np.uint64).reshape(-1, 4)


def tuples(rows):
    return [tuple(row) for row in rows.tolist()]


# The IOTLB


class IotlbMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.ours, self.twin = Iotlb(), naive.Iotlb()

    def _add(self, *entry):
        assert outcome(self.ours.add, array(entry)) == self.twin.add(*entry)

    @rule(start=address, size=st.integers(0, 40), addr=st.integers(0, 1 << 62), perm=st.integers(0, 4))
    def insert(self, start, size, addr, perm):
        self._add(start, min(start + size, LAST), addr, perm)

    @rule(start=address, last=address)
    def insert_any_range(self, start, last):
        self._add(start, last, 0, RW)

    @rule(base=near, step=st.integers(1, 7), count=st.integers(60, 200), seed=st.one_of(st.none(), st.integers(0, 99)))
    def insert_many(self, base, step, count, seed):
        order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
        for i in order.tolist():
            start = base + 9 * i
            self._add(start, start + step - 1, PAGE * i, 1 + i % 3)

    @rule(start=address, last=address)
    def invalidate(self, start, last):
        assert tuples(self.ours.remove(start, last)) == self.twin.remove(start, last)

    @rule(start=near, size=st.integers(0, 60))
    def invalidate_some(self, start, size):
        assert tuples(self.ours.remove(start, start + size)) == self.twin.remove(start, start + size)

    @rule(addresses=st.lists(address, max_size=70))
    def lookup(self, addresses):
        physical, perms = self.ours.lookup(addresses)
        expected = [self.twin.lookup(each) or (LAST, 0) for each in addresses]
        assert list(zip(physical.tolist(), perms.tolist(), strict=True)) == expected

    @rule(start=address, last=address)
    def overlap(self, start, last):
        assert self.ours.overlaps(start, last) == bool(self.twin.overlapping(start, last))
        after = [entry for entry in sorted(self.twin.entries) if entry[1] >= start]
        assert tuples(self.ours.rows(start)) == after

    @rule(buffers=st.lists(st.tuples(address, st.integers(0, 50), perm), max_size=40), most=st.integers(0, 300))
    def translate(self, buffers, most):
        expected, ends = [], []
        for at, length, need in buffers:
            pieces = self.twin.translate(at, length, need)
            room = most - len(expected)
            if isinstance(pieces, str) or len(pieces) > room:
                break
            expected += pieces
            ends.append(len(expected))
        found = outcome(self.ours.translate, *zip(*buffers, strict=True), most) if buffers else None
        if buffers and len(ends) == len(buffers):
            assert tuples(found[0]) == expected
            assert found[1].tolist() == ends
        elif buffers:
            room = most - len(expected)
            single = naive_first_error(self.twin, *buffers[len(ends)], room)
            assert found == single

    @invariant()
    def same_entries(self):
        assert tuples(self.ours.rows()) == sorted(self.twin.entries)
        assert len(self.ours) == len(self.twin.entries)


def naive_first_error(twin, at, length, need, room):
    """Of a buffer that fails: too many pieces counts only if they come before the byte that is wrong."""
    for size in range(1, length + 1):
        pieces = twin.translate(at, size, need)
        if isinstance(pieces, str):
            return "ENOBUFS" if room == len(twin.translate(at, size - 1, need)) else pieces
        if len(pieces) > room:
            return "ENOBUFS"
    raise AssertionError("nothing is wrong with it")


TestIotlb = IotlbMachine.TestCase
TestIotlb.settings = MACHINE


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_many_entries_in_any_order_come_back_sorted_and_go_away_by_halves(order):
    random = np.random.default_rng(5)
    at = {"ascending": np.arange(MANY), "descending": np.arange(MANY)[::-1], "random": random.permutation(MANY)}[order]
    starts = at.astype(np.uint64) * np.uint64(8 * PAGE)
    rows = np.stack(
        [starts, starts + np.uint64(4 * PAGE - 1), starts + np.uint64(GIB), starts % np.uint64(3) + np.uint64(1)], 1
    )
    iotlb = Iotlb()
    iotlb.add(rows)
    rows = rows[np.argsort(rows[:, 0])]
    assert (iotlb.rows() == rows).all()
    probes = random.integers(0, 8 * PAGE * MANY, 1000).astype(np.uint64)
    physical, perms = iotlb.lookup(probes)
    held = probes % np.uint64(8 * PAGE) < np.uint64(4 * PAGE)
    assert (physical == np.where(held, probes + np.uint64(GIB), np.uint64(LAST))).all()
    assert (perms == np.where(held, rows[(probes // np.uint64(8 * PAGE)).astype(int), 3], 0)).all()
    half = MANY // 2
    assert (iotlb.remove(0, 8 * PAGE * half - 1) == rows[:half]).all()
    for row in rows[half::2][:400]:
        assert len(iotlb.remove(int(row[0]) + 5, int(row[0]) + 5)) == 1
    kept = np.concatenate([rows[half + 1 :: 2][:400], rows[half + 800 :]])
    assert (iotlb.rows() == kept).all()
    iotlb.add(rows[:half])  # the leaves that were given back are used again
    assert (iotlb.rows() == np.concatenate([rows[:half], kept])).all()


def test_the_whole_64_bit_space_becomes_two_entries():
    """vhost_iotlb_add_range_ctx: the size of [0, 2^64 - 1] would overflow."""
    iotlb = Iotlb()
    iotlb.add(array((0, LAST, 1 << 40, RW)))
    assert tuples(iotlb.rows()) == [(0, LAST // 2, 1 << 40, RW), (LAST // 2 + 1, LAST, (1 << 40) + (1 << 63), RW)]
    assert outcome(iotlb.add, array((0, LAST, 0, RW))) == "EEXIST"
    assert iotlb.lookup([0])[0].tolist() == [1 << 40]


def test_rows_before_a_wrong_one_are_in():
    iotlb = Iotlb()
    with pytest.raises(MapError, match=r"-EEXIST from vhost_iotlb_add_range: \[0x5, 0x7\]") as caught:
        iotlb.add(array((0, 5, 0, RO), (5, 7, 0, RO), (9, 9, 0, RO)))
    assert caught.value.function == "vhost_iotlb_add_range"
    assert tuples(iotlb.rows()) == [(0, 5, 0, RO)]


def test_a_buffer_runs_through_entries_until_something_is_wrong():
    """iotlb_translate: a piece for each entry, EINVAL for a gap or the end of the space, EPERM, ENOBUFS."""
    iotlb = Iotlb()
    iotlb.add(array(*[(10 * i, 10 * i + 9, 1000 * i, RW) for i in range(1, 100)]))
    iotlb.add(array((LAST - 4, LAST, 50, RW), (LAST - 9, LAST - 5, 80, RO)))
    pieces, ends = iotlb.translate([15, 700, 625], [20, 0, 10], [RO, RO, WO], 5)
    assert tuples(pieces) == [(1005, 5), (2000, 10), (3000, 5), (62005, 5), (63000, 5)]
    assert ends.tolist() == [3, 3, 5]
    assert tuples(iotlb.translate([LAST - 9], [10], [RO], 2)[0]) == [(80, 5), (50, 5)]
    wrong = {
        (15, 20, RO, 2): "ENOBUFS",
        (995, 6, RO, 5): "EINVAL",
        (5, 1, RO, 5): "EINVAL",
        (LAST - 1, 3, RO, 5): "EINVAL",
    }
    wrong |= {(LAST - 6, 1, WO, 5): "EPERM", (LAST - 4, LAST, WO, 5): "EINVAL"}
    for (at, length, need, most), name in wrong.items():
        assert outcome(iotlb.translate, [15, at], [1, length], [RO, need], most + 1) == name
    assert iotlb.translate([], [], [], 5)[0].size == 0


def test_an_empty_tree_holds_nothing_and_takes_all_again():
    iotlb = Iotlb()
    for _ in range(2):
        iotlb.add(array(*[(i, i, i, RO) for i in range(200)]))
        assert len(iotlb.remove(0, LAST)) == 200
        assert (len(iotlb), iotlb.lookup([0, 5, LAST])[1].tolist(), tuples(iotlb.rows())) == (0, [0, 0, 0], [])
    assert iotlb.tree.tops.size == 4  # leaves that were given back are used again
    iotlb.add(array(*[(10 * i, 10 * i, i, RO) for i in range(200)]))
    assert len(iotlb.remove(1000, LAST)) == 100  # the final leaves go
    iotlb.add(array((1500, LAST, 7, RW)))
    assert iotlb.lookup([990, 1000, 1500, LAST])[1].tolist() == [RO, 0, RW, RW]
    iotlb.remove(0, LAST)
    iotlb.add(array(*[(i, i, i, RO) for i in reversed(range(300))]))
    for end in range(299, 0, -1):  # from above: what a leaf held before it was halved is not found again
        assert len(iotlb.remove(end, LAST)) == 1
        assert iotlb.lookup([end - 1, end, end + 20, 300])[1].tolist() == [RO, 0, 0, 0]


def test_a_buffer_wants_three_lists_of_one_length():
    with pytest.raises(ValueError, match="an address, a length and a perm"):
        Iotlb().translate([1, 2], [1], [RO], 5)


def test_a_tree_has_a_power_of_two_of_leaves():
    with pytest.raises(ValueError, match="power of two"):
        new_tree(3)


# The IOVA tree


def assert_index(ours):
    """The gap index against the holes counted anew."""
    tree, gaps = ours.tree, ours.gaps.copy()
    expected, behind = [], None
    for head in tree.heads[: int(tree.state[1])].tolist():
        slots = range(head & ~63, (head & ~63) + (head & 63))
        spans = [(int(tree.rows[4 * slot]), int(tree.keys[slot])) for slot in slots]
        before = [behind, *(last for _, last in spans)]
        holes = [start - last - 1 for (start, _), last in zip(spans, before, strict=False) if last is not None]
        expected.append(max(holes, default=0))
        behind = before[-1]
    leaves = gaps.size // 2
    assert gaps[leaves:].tolist() == expected + [0] * (leaves - len(expected))
    iova_alloc.rebuild(gaps)
    assert (gaps == ours.gaps).all()


class IovaMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.ours, self.twin = Allocator(), naive.IovaTree()

    @rule(begin=address, last=address, size=st.integers(1, 60), perm=st.integers(0, 3))
    def allocate(self, begin, last, size, perm):
        self._allocate(begin, last, size, perm)

    @rule(begin=st.integers(0, 100), size=st.one_of(st.integers(1, 60), st.integers(1, LAST)))
    def allocate_low(self, begin, size):
        self._allocate(begin, LAST, size, RW)

    def _allocate(self, begin, last, size, perm):
        expected = self.twin.allocate(begin, last, size - 1, 7, perm)
        assert outcome(self.ours.allocate, begin, last, size, 7, perm) == expected

    @rule(iova=address, size=st.integers(1, 60), perm=st.integers(0, 3))
    def insert(self, iova, size, perm):
        assert outcome(self.ours.insert, iova, size, 7, perm) == self.twin.insert(iova, size - 1, 7, perm)

    @rule(count=st.integers(60, 150), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5), last=st.booleans())
    def fill(self, count, sizes, last):
        for i in range(count):
            self._allocate(10 if last else 0, LAST if last else 3000, sizes[i % len(sizes)], RW)

    @rule(base=near, step=st.integers(1, 40), count=st.integers(60, 150), seed=st.integers(0, 99))
    def scatter(self, base, step, count, seed):
        for i in np.random.default_rng(seed).permutation(count).tolist():
            self.insert_one(base + (step + i % 5) * i, 1 + i % 4)

    def insert_one(self, iova, size):
        assert outcome(self.ours.insert, iova, size, 7, RW) == self.twin.insert(iova, size - 1, 7, RW)

    @rule(iova=address, size=st.one_of(st.integers(1, 60), st.integers(1, 3000)))
    def remove(self, iova, size):
        size = min(size, LAST + 1 - iova)
        assert self.ours.remove(iova, size) == self.twin.remove(iova, size - 1)

    @invariant()
    def same_index(self):
        assert len(self.ours) == len(self.twin.entries)
        assert_index(self.ours)


TestIova = IovaMachine.TestCase
TestIova.settings = MACHINE


def test_first_fit_of_many_is_the_linear_walk():
    """Holes of mixed sizes over many leaves: each answer is the first hole that is wide enough."""
    random, ours, twin = np.random.default_rng(2), Allocator(), naive.IovaTree()
    for size in random.integers(1, 9, 300 if DISABLED else 1000).tolist():
        assert ours.allocate(PAGE, LAST, size * PAGE, 0, RW) == twin.allocate(PAGE, LAST, size * PAGE - 1, 0, RW)
    for i in random.permutation(len(twin.entries))[: len(twin.entries) // 2].tolist():
        iova = sorted(twin.entries)[i % len(twin.entries)][0]
        assert ours.remove(iova, 1) == twin.remove(iova, 0) == 1
        assert_index(ours)
    for size in random.integers(1, 20, 100 if DISABLED else 300).tolist():
        assert ours.allocate(PAGE, LAST, size * PAGE, 0, RW) == twin.allocate(PAGE, LAST, size * PAGE - 1, 0, RW)


def test_the_hole_behind_the_last_entry_never_gives_out_its_last_byte():
    """hole_last is HWADDR_MAX there, and `hole_last - hole_start > size - 1` asks for one byte more."""
    ours = Allocator()
    assert outcome(ours.allocate, LAST - 9, LAST, 10, 0, RW) == "IOVA_ERR_NOMEM"
    assert ours.allocate(LAST - 9, LAST, 9, 0, RW) == LAST - 9


def test_an_entry_across_the_first_address_is_taken_for_a_hole_and_then_overlaps():
    """iova_tree_alloc_map_in_hole: hole_last - hole_start wraps."""
    ours = Allocator()
    ours.insert(10, 10, 0, RW)
    assert outcome(ours.allocate, 15, LAST, 1, 0, RW) == "IOVA_ERR_OVERLAP"
    wide = LAST - 7  # more than what is left behind 15: the last address wraps to 6
    assert outcome(ours.allocate, 15, LAST, wide, 0, RW) == "IOVA_ERR_INVALID"
    assert outcome(ours.allocate, 15, 15, wide, 0, RW) == "IOVA_ERR_INVALID"
    twin = naive.IovaTree()
    twin.insert(10, 10, 0, RW)
    assert twin.allocate(15, LAST, wide - 1, 0, RW) == "IOVA_ERR_INVALID"


LEGACY = [(0x0, 0xC0000, RW), (0xC0000, 0x20000, RO), (0xE0000, 0x20000, RO)]
SEABIOS = [(0x0, 0xC3000, RW), (0xC3000, 0x21000, RO), (0xE4000, 0xC000, RW), (0xF0000, 0x10000, RO)]
BIG = [(0x100000, 0xFF00000, RW), (0xFFFC0000, 0x40000, RO)]
ONE_PAGE = [(0x1000, RO), (0x1000, RW)]
# What QEMU asked for, in its order, and the first and all IOVAs that it got: runs of QEMU 10.2 on Linux.
RUNS = {
    "qtest N=1 n=64": (
        ONE_PAGE * 4,
        LEGACY + BIG,
        [0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000, 0x8000],
        [0x9000, 0xC9000, 0xE9000, 0x109000, 0x10009000],
    ),
    "v-256-1d-r2": (
        [(0x2000, RO), (0x1000, RW)] * 2 + ONE_PAGE * 2,
        SEABIOS + BIG,
        [0x1000, 0x3000, 0x4000, 0x6000, 0x7000, 0x8000, 0x9000, 0xA000],
        [0xB000, 0xCE000, 0xEF000, 0xFB000, 0x10B000, 0x1000B000],
    ),
    "v-256-1d-2qp-r2": (
        [(0x2000, RO), (0x1000, RW)] * 4 + ONE_PAGE * 2,
        [*SEABIOS, BIG[0]],
        [0x1000, 0x3000, 0x4000, 0x6000, 0x7000, 0x9000, 0xA000, 0xC000, 0xD000, 0xE000, 0xF000, 0x10000],
        [0x11000, 0xD4000, 0xF5000, 0x101000, 0x111000],
    ),
    "v-256-1d-q10-r1": (
        [(0x5000, RO), (0x3000, RW)] * 2 + ONE_PAGE + [(0x5000, RO), (0x3000, RW)],
        SEABIOS + BIG,
        [0x1000, 0x6000, 0x9000, 0xE000, 0x11000, 0x12000, 0x13000, 0x18000],
        [0x1B000, 0xDE000, 0xFF000, 0x10B000, 0x11B000, 0x1001B000],
    ),
}
HVA, HVA_STEP = 0x7F00_0000_0000, 0x10_0000


def set_up(run):
    areas, sections, *_ = RUNS[run]
    tree = VhostIovaTree(0, LAST)
    rings = [tree.map_alloc(size, perm, HVA + HVA_STEP * i) for i, (size, perm) in enumerate(areas)]
    return tree, rings, [tree.map_alloc_gpa(size, perm, gpa) for gpa, size, perm in sections]


@pytest.mark.parametrize("run", RUNS)
def test_trap_5_and_6_shadow_virtqueue_set_up_gets_the_addresses_of_the_real_run(run):
    """Trap 5: RAM's IOVA is not its GPA. Trap 6: the first IOVA is 0x1000, page 0 is never used."""
    _, sections, rings, memory = RUNS[run]
    assert set_up(run)[1:] == (rings, memory)
    assert rings[0] == 0x1000
    assert all(iova != gpa for iova, (gpa, _, _) in zip(memory, sections, strict=True))


def test_reset_and_set_up_again_with_all_taken_away_gives_the_same_addresses():
    tree, rings, memory = set_up("v-256-1d-r2")
    areas, sections, *_ = RUNS["v-256-1d-r2"]
    for iova, (size, _) in zip(rings, areas, strict=True):
        tree.remove(iova, size)
    assert tree.map_alloc(0x2000, RO, HVA) == 0x1000
    for iova, (gpa, size, _) in zip(memory, sections, strict=True):
        tree.remove_gpa(gpa, iova, size)
    assert len(tree.iovas) == 1
    assert tree.find_gpa(0x100000) == (None, 0)


def test_lookups_both_ways_and_what_the_linear_walk_looks_at():
    tree, rings, memory = set_up("qtest N=1 n=64")
    assert tree.hva(rings[2] + 5) == HVA + 2 * HVA_STEP + 5
    assert tree.hva(memory[0]) is None
    assert tree.find_iova(HVA + 7 * HVA_STEP + 9) == (rings[7] + 9, 8)
    assert tree.find_iova(HVA - 1) == (None, 8)
    assert tree.find_gpa(0) == (memory[0], 1)
    assert tree.find_gpa(0x100000 + 77) == (memory[3] + 77, 4)
    assert tree.find_gpa(0xFFFC0000) == (memory[4], 5)  # what stands highest is looked at last
    assert tree.find_gpa(0x20000000) == (None, 5)


def test_errors_of_the_iova_tree():
    tree = VhostIovaTree(0, 0x5FFF)
    assert outcome(tree.map_alloc, 0x1000, 0, HVA) == "IOVA_ERR_INVALID"
    assert outcome(tree.map_alloc, 0, RW, HVA) == "IOVA_ERR_INVALID"
    assert outcome(tree.map_alloc, 2, RW, LAST) == "IOVA_ERR_INVALID"
    assert outcome(tree.map_alloc, 0x6000, RW, HVA) == "IOVA_ERR_NOMEM"
    assert tree.map_alloc_gpa(0x1000, RW, 0x9000) == 0x1000
    assert outcome(tree.map_alloc_gpa, 0x1000, RW, 0x9000) == "IOVA_ERR_OVERLAP"
    assert tree.map_alloc(0x1000, RW, HVA) == 0x3000  # the IOVA of the failed one stays taken, as in QEMU


# Messages


pfns = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5)), min_size=1, max_size=12).map(
    lambda runs: [1000 * first + i for first, length in runs for i in range(length)]
)


@EXAMPLES
@given(pfns, st.integers(0, 1 << 40), perm)
def test_chunks_are_the_runs_of_page_numbers(numbers, page, perm):
    iova = page * PAGE
    spaces = AddressSpaces("dma_map")
    work = spaces.update(0, iova, len(numbers) * PAGE, perm, numbers)
    expected = [(*each, perm) for each in naive.chunks(numbers, iova)]
    assert tuples(spaces.spaces[0].rows()) == expected
    assert (work.added, work.dma_map, work.set_map) == (len(expected), len(expected), 0)
    assert work.pinned == spaces.pinned == len(numbers)
    gone = spaces.invalidate(0, iova, len(numbers) * PAGE)
    assert (gone.unpinned, gone.dirtied) == (len(numbers), len(numbers) * (perm != RO))
    assert (gone.removed, gone.dma_unmap, spaces.pinned) == (len(expected), len(expected), 0)


@EXAMPLES
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=9))
def test_stretches_and_single_pages_say_the_same(runs):
    numbers = [10 * first + i for first, length in runs for i in range(length)]
    a, b = AddressSpaces("set_map"), AddressSpaces("set_map")
    if numbers:
        stretches = [10 * first for first, _ in runs], [length for _, length in runs]
        assert a.update(0, 0, len(numbers) * PAGE, RW, numbers) == b.update(0, 0, len(numbers) * PAGE, RW, *stretches)
        assert tuples(a.spaces[0].rows()) == tuples(b.spaces[0].rows())


def test_a_chunk_goes_on_through_pin_calls_of_512_pages():
    spaces = AddressSpaces("dma_map")
    work = spaces.update(0, 0, 1300 * PAGE, RW, [7], [1300])
    assert (work.pin_calls, work.pinned, work.added) == (3, 1300, 1)


def test_trap_4_a_batch_collapses_memory_maps_to_one_and_leaves_ring_maps_alone():
    """Trap 4: memory sections come in a batch, rings do not; without a batch each PFN chunk is a set_map."""
    scattered = [2 * i + 10 for i in range(9)]
    spaces = AddressSpaces("set_map")
    assert spaces.update(0, 0x1000, 2 * PAGE, RO, [1, 3])[8:10] == (2, 1 + 2)
    spaces.batch_begin(0)
    assert spaces.update(0, MIB, 9 * PAGE, RW, scattered).set_map == 0
    assert spaces.update(0, 2 * MIB, 9 * PAGE, RW, scattered).set_map == 0
    end = spaces.batch_end(0)
    assert (end.set_map, end.handed) == (1, 20)
    assert spaces.batch_end(0).set_map == 0  # no batch is open any more
    assert spaces.update(0, 0x3000, PAGE, RW, [5])[8:10] == (1, 21)
    unbatched = AddressSpaces("set_map")
    unbatched.update(0, 0x1000, 2 * PAGE, RO, [1, 3])
    work = unbatched.update(0, MIB, 9 * PAGE, RW, scattered)
    assert (work.set_map, work.handed) == (9, sum(range(3, 12)))


def test_an_invalidate_takes_entries_whole_and_rebuilds_even_for_nothing():
    """vhost_vdpa_pa_unmap: an entry is never split; vhost_vdpa_unmap: set_map comes in any case."""
    spaces = AddressSpaces("set_map")
    spaces.update(0, 0, 100 * PAGE, RW, [50], [100])
    work = spaces.invalidate(0, 40 * PAGE, PAGE)
    assert (work.removed, work.unpinned, work.dirtied, work.set_map, work.handed) == (1, 100, 100, 1, 0)
    assert spaces.invalidate(0, 40 * PAGE, PAGE)[5:10] == (0, 0, 0, 1, 0)
    spaces.batch_begin(0)
    assert spaces.invalidate(0, 0, PAGE).set_map == 0


def test_trap_7_superpages_are_lost_where_iovas_are_packed():
    """Trap 7: page-table leaves of an identity map against SVQ's IOVAs, 2 MiB pages: 512 times."""
    size, pfn = 64 * MIB, (1 << 30) // PAGE
    identity, packed = AddressSpaces("iommu"), AddressSpaces("iommu")
    near = identity.update(0, GIB, size, RW, [pfn], [size // PAGE]).leaves_set
    far = packed.update(0, 0x109000, size, RW, [pfn], [size // PAGE]).leaves_set
    assert near == (0, 32, 0)
    assert far == (0, 0, 32 * 512)
    assert packed.invalidate(0, 0, GIB).leaves_cleared == far


@EXAMPLES
@given(st.integers(0, 3 << 18), st.integers(0, 3 << 18), st.booleans(), st.booleans(), st.integers(1, 600))
def test_leaves_are_those_of_iommu_map(iova, physical, same_2m, same_1g, pages):
    physical += (iova - physical) % (1 << 18) if same_1g else (iova - physical) % 512 if same_2m else 0
    pages = (3 << 18) - pages if same_1g and not DISABLED else pages * 3
    found = np.zeros(3, np.uint64)
    rows = array((iova * PAGE, (iova + pages) * PAGE - 1, physical * PAGE, RW))
    pin.count_leaves(rows, np.uint64(1), found)
    assert tuple(found.tolist()) == naive.leaves(iova * PAGE, physical * PAGE, pages * PAGE)


@pytest.mark.parametrize("iova", [0, 512 - 3, (1 << 18) - 5 * 512 - 7])
def test_leaves_of_1_gib_need_both_addresses_aligned(iova):
    pages, found = (1 << 19) + 1000, np.zeros(3, np.uint64)
    rows = array((iova * PAGE, (iova + pages) * PAGE - 1, (iova + (5 << 18)) * PAGE, RW))
    pin.count_leaves(rows, np.uint64(1), found)
    assert tuple(found.tolist()) == naive.leaves(iova * PAGE, (iova + (5 << 18)) * PAGE, pages * PAGE)
    assert found[0] >= 1


def test_trap_12_pages_are_unpinned_one_by_one_also_inside_huge_pages():
    """Trap 12: the count of unpinned pages is linear in 4 KiB pages, whatever stands behind them."""
    for backing in (1, 512, 1 << 18):
        spaces = AddressSpaces("set_map")
        stretches = [backing * (3 * i + 1) for i in range((1 << 18) // backing // 4 or 1)]
        size = len(stretches) * backing
        spaces.update(0, 0, size * PAGE, RW, stretches, [backing] * len(stretches))
        work = spaces.invalidate(0, 0, size * PAGE)
        assert (work.removed, work.unpinned, work.dirtied) == (len(stretches), size, size)
        assert size == (1 << 18 if backing == 1 << 18 else 1 << 16)


def test_memlock_counts_each_device_and_refuses_before_anything():
    """Trap 39: npages + pinned_vm > RLIMIT_MEMLOCK is -ENOMEM; a process with D devices pins D times its memory."""
    first = AddressSpaces("set_map", limit=150)
    first.update(0, 0, 100 * PAGE, RW, [1], [100])
    second = AddressSpaces("set_map", limit=150, pinned=first.pinned)
    with pytest.raises(MapError, match="RLIMIT_MEMLOCK") as caught:
        second.update(0, 0, 100 * PAGE, RW, [1], [100])
    assert (caught.value.name, caught.value.work, len(second.spaces[0])) == ("ENOMEM", None, 0)
    assert second.update(0, 0, 50 * PAGE, RW, [1], [50]).pinned == 50


@pytest.mark.parametrize(
    ("parent", "batched"), [("set_map", False), ("set_map", True), ("dma_map", False), ("iommu", False)]
)
@pytest.mark.parametrize("there", [0, 511, 700, 1030, 1200])
def test_an_update_that_cannot_pin_all_is_undone(parent, batched, there):
    """vhost_vdpa_pa_map: chunks that were closed in earlier calls are mapped, then all of the message goes."""
    spaces = AddressSpaces(parent)
    spaces.update(0, GIB, PAGE, RO, [3])
    if batched:
        spaces.batch_begin(0)
    numbers = [5 * (i // 100) * 100 + i % 100 + 4096 for i in range(there)]
    with pytest.raises(MapError, match=f"only {there} of 1201") as caught:
        spaces.update(0, 0, 1201 * PAGE, RW, numbers)
    work, calls = caught.value.work, there // 512
    closed = len(naive.chunks(numbers[: calls * 512], 0)) - (calls > 0)
    pages = sum((last + 1 - start) // PAGE for start, last, _ in naive.chunks(numbers[: calls * 512], 0)[:closed])
    assert (work.pin_calls, work.pinned, work.unpinned) == (calls + 1, calls * 512, calls * 512)
    assert (work.added, work.removed, work.dirtied) == (closed, closed, pages)
    assert (work.dma_map, work.dma_unmap) == ((closed, closed) if parent == "dma_map" else (0, 0))
    assert work.set_map == (closed + 1 if parent == "set_map" and not batched else 0)
    assert work.leaves_set == work.leaves_cleared == ((0, 0, pages) if parent == "iommu" else (0, 0, 0))
    assert (len(spaces.spaces[0]), spaces.pinned) == (1, 1)


def test_an_overlap_pins_nothing():
    spaces = AddressSpaces("set_map")
    spaces.update(0, 0x5000, PAGE, RW, [3])
    with pytest.raises(MapError, match="-EEXIST from vhost_vdpa_process_iotlb_update") as caught:
        spaces.update(0, 0, 10 * PAGE, RW, [100], [10])
    assert (caught.value.work, spaces.pinned, len(spaces.spaces[0])) == (None, 1, 1)


def test_address_spaces_are_apart_and_a_batch_belongs_to_one():
    spaces = AddressSpaces("set_map", asids=2)
    spaces.update(0, 0x1000, PAGE, RW, [3])
    spaces.update(1, 0x1000, PAGE, RW, [4])
    spaces.batch_begin(1)
    for call in (spaces.invalidate, lambda *arguments: spaces.update(*arguments, RW, [9])):
        with pytest.raises(MapError, match="-EINVAL from vhost_vdpa_process_iotlb_msg: a batch of ASID 1"):
            call(0, 0x1000, PAGE)
    assert outcome(spaces.batch_begin, 0) == outcome(spaces.batch_end, 0) == "EINVAL"
    assert spaces.batch_end(1).handed == 1
    assert outcome(spaces.batch_begin, 2) == "EINVAL"
    assert outcome(AddressSpaces("set_map").invalidate, 0, 0, PAGE) == "EINVAL"  # nothing was ever mapped there


def test_messages_out_of_range_or_of_no_whole_pages():
    spaces = AddressSpaces("set_map", first=0x1000, last=0xFFFF)
    assert outcome(spaces.update, 0, 0, PAGE, RW, [1]) == "EINVAL"
    assert outcome(spaces.update, 0, 0x1000, 0, RW, []) == "EINVAL"
    assert outcome(spaces.update, 0, 0xF000, 2 * PAGE, RW, [1, 2]) == "EINVAL"
    whole = AddressSpaces("set_map")
    assert outcome(whole.update, 0, LAST + 1 - PAGE, 2 * PAGE, RW, [1, 2]) == "EINVAL"
    assert whole.update(0, LAST + 1 - PAGE, PAGE, RW, [1]).added == 1
    assert whole.spaces[0].lookup([LAST])[0].tolist() == [2 * PAGE - 1]
    with pytest.raises(ValueError, match="not whole pages"):
        whole.update(0, 5, PAGE, RW, [1])
    with pytest.raises(ValueError, match="none of VHOST_ACCESS"):
        whole.update(0, 0, PAGE, 0, [1])
