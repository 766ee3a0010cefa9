"""mlx5 memory regions entry by entry, against a table of pages; published sizes; their deferred deletion."""

import naive_mr
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vdpa_lab.kernels import mlx5_mr as mr
from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.machine import mr_lifetime
from vdpa_lab.machine.backing import UNIT_PAGES, addresses, chunks
from vdpa_lab.machine.iova import shadow_layout
from vdpa_lab.machine.memory import memory_runs
from vdpa_lab.machine.mlx5 import memory_region
from vdpa_lab.machine.mr_lifetime import GC_DELAY, Lifetime, Rebuild, lifetime, region_bytes
from vdpa_lab.machine.sections import FOUR_GIB, is_ram, sections
from vdpa_lab.model import Guest, VdpaDevice
from vdpa_lab.units import GIB, MIB, MS, PAGE_SIZE

EXAMPLES = settings(max_examples=200 if DISABLED else 300, deadline=None)
PERMS = {"ro": 1, "rw": 3}  # VHOST_ACCESS_RO, VHOST_ACCESS_RW
ENTRY = np.dtype([("iova", np.uint64), ("size", np.uint64), ("perm", np.uint8)])
SMALL = 16  # pages of a window in the small cases


def compact(stretches):
    """The compact form of [(iova, perm, chunk lengths in pages)]."""
    lengths = [np.asarray(pages, np.uint32) for _, _, pages in stretches]
    starts = np.cumsum([0, *map(len, lengths)]).astype(np.uint64)
    iova, perm = (np.array([stretch[i] for stretch in stretches], np.uint64) for i in (0, 1))
    return iova, perm, starts, np.concatenate([np.zeros(0, np.uint32), *lengths])


def totals_of(stretches, window=int(mr.WINDOW_PAGES)):
    return tuple(map(int, mr.region(*compact(stretches), window)[0]))


def from_entries(entries, window=int(mr.WINDOW_PAGES)):
    table = np.array(entries, ENTRY)
    columns = (np.ascontiguousarray(table[name]) for name in ("iova", "size", "perm"))
    return mr.region(*mr.sections_of(*columns), window)


def stretches_of(runs):
    return [(run.iova, PERMS[run.perm], run.lengths) for run in runs]


def identity_runs(guest, history="preallocated"):
    found = sections(guest)
    return [run.populated(history) for run in memory_runs(guest, found, tuple(section.gpa for section in found))]


def identity(guest):
    return stretches_of(identity_runs(guest))


def equal_chunks(guest, shift=0):
    """(IOVA, size, perm, chunk, first chunk) in bytes of each section, if no two huge or small pages are neighbours."""
    found = sections(guest)
    low = next(section.end for section in found if section.gpa == MIB)
    for section in found:
        offset = section.gpa if section.gpa < FOUR_GIB else low + section.gpa - FOUR_GIB
        chunk = UNIT_PAGES[guest.backing] * PAGE_SIZE if is_ram(section) else PAGE_SIZE
        first = min(section.size, chunk - offset % chunk)
        yield section.gpa + shift, section.size, PERMS[section.perm], chunk, first


# Against the twin


@st.composite
def layouts(draw):
    """Entries of a few pages in IOVA order, with and without gaps; windows are 16 pages."""
    at, entries = draw(st.integers(0, 40)), []
    for _ in range(draw(st.integers(0, 12))):
        at += draw(st.sampled_from((0, 0, 0, 0, 0, 1, 7, 16, 33)))
        same = draw(st.integers(1, 4) | st.just(40))
        pages, perm = draw(st.sampled_from((1, 2, 3, 4, 6, 8, 16, 24, 50))), draw(st.sampled_from((1, 3, 3, 3)))
        for _ in range(same if pages < 10 else 1):
            entries.append((at * PAGE_SIZE, pages * PAGE_SIZE, perm))
            at += pages
    return entries


@given(layouts())
@example([])
@example([(0, 3 * PAGE_SIZE, 1), (3 * PAGE_SIZE, 3 * PAGE_SIZE, 1)])  # a gcd that is no power of two
@EXAMPLES
def test_totals_and_windows_are_those_of_the_twin(entries):
    totals, windows = from_entries(entries, SMALL)
    assert tuple(map(int, totals)) == naive_mr.totals(entries, SMALL * PAGE_SIZE)
    rows = [
        (int(row[mr.IOVA]), int(row[mr.SIZE]), 1 << int(row[mr.LOG_SIZE]), int(row[mr.NSG]),
         list(range(int(row[mr.FIRST]), int(row[mr.LAST]) + 1)))
        for row in windows
    ]  # fmt: skip
    assert rows == naive_mr.windows(entries, SMALL * PAGE_SIZE)[0]


@given(
    st.sampled_from((1, 2, 3, 4, 8)),
    st.integers(60, 700),
    st.lists(st.tuples(st.integers(0, 699), st.integers(1, 16)), max_size=4),
    st.sampled_from((50, 128, 1000)),
)
@example(4, 100, [(0, 3)], 1000)  # a gcd of 3, and then a lesser one in a group
@settings(EXAMPLES, max_examples=40 if DISABLED else 150)
def test_long_stretches_of_equal_entries_may_be_broken_anywhere(usual, many, exceptions, window):
    """Entries are looked at in groups, whose gcd is that of each of them."""
    lengths = [usual] * many
    for place, pages in exceptions:
        lengths[place % many] = pages
    edges = np.cumsum([0, *lengths]).tolist()
    entries = [(at * PAGE_SIZE, pages * PAGE_SIZE, 3) for at, pages in zip(edges, lengths, strict=False)]
    totals, windows = mr.region(*compact([(0, 3, lengths)]), window)
    assert tuple(map(int, totals)) == naive_mr.totals(entries, window * PAGE_SIZE)
    expected = naive_mr.windows(entries, window * PAGE_SIZE)[0]
    assert [1 << int(row[mr.LOG_SIZE]) for row in windows] == [entity for _, _, entity, _, _ in expected]


@given(layouts(), st.randoms(use_true_random=False))
@EXAMPLES
def test_translations_are_those_of_the_twin_and_of_the_pages(entries, random):
    """Each list is the twin's, padded to 16 bytes; where the entity divides every entry it translates each page.

    It does not where the gcd is no power of two: map_direct_mr rounds it down all the same.
    """
    physical = [random.randrange(1 << 30) * PAGE_SIZE for _ in entries]
    table = np.array(entries, ENTRY)
    counts = (table["size"] // PAGE_SIZE).astype(np.uint32)
    _, windows = from_entries(entries, SMALL)
    mtts = np.full(mr.mtt_places(windows) + 1, 7, np.uint64)
    assert mr.fill_mtts(counts, np.array(physical, np.uint64), windows, mtts) == mtts.size - 1
    expected = naive_mr.mtts(entries, physical, SMALL * PAGE_SIZE)
    assert mtts[:-1].tolist() == [address for each in expected for address in each + [0] * (len(each) % 2)]
    assert mtts[-1] == 7
    pages = naive_mr.page_table(entries)
    for (iova, size, entity, _, inside), listed in zip(
        naive_mr.windows(entries, SMALL * PAGE_SIZE)[0], expected, strict=True
    ):
        clipped = [min(iova + size, sum(entries[number][:2])) - max(iova, entries[number][0]) for number in inside]
        if all(each % entity == 0 for each in clipped):
            for at in range(iova, iova + size, PAGE_SIZE):
                number, _, page = pages[at // PAGE_SIZE]
                assert listed[(at - iova) // entity] + (at - iova) % entity == physical[number] + page * PAGE_SIZE


@given(layouts(), st.lists(st.integers(0, 12), max_size=5))
@EXAMPLES
def test_how_a_chain_is_cut_into_sections_does_not_matter(entries, cuts):
    """Sections that touch are one chain, and one without an entry is not there."""
    whole, windows = from_entries(entries, SMALL)
    stretches = []
    for number, (iova, size, perm) in enumerate(entries):
        if number in cuts:
            stretches.append((iova, 4 - perm, []))
        stretches.append((iova, perm, [size // PAGE_SIZE]))
    totals, same = mr.region(*compact(stretches), SMALL)
    assert totals.tolist() == whole.tolist()
    assert same.tolist() == windows.tolist()


@pytest.mark.parametrize("backing", ["thp", "2M", "1G"] if DISABLED else ["4k", "thp", "2M", "1G"])
@pytest.mark.parametrize("vga", [False, True])
def test_equal_chunks_give_the_region_of_the_closed_form(backing, vga):
    """A whole guest whose pages never have neighbours, which a formula can sum."""
    guest = Guest(memory=7 * GIB, backing=backing, vga=vga)
    for shift in (0, PAGE_SIZE, GIB):
        equal = list(equal_chunks(guest, shift))
        stretches = []
        for iova, size, perm, chunk, first in equal:
            edges = [0, *range(first, size, chunk), size]
            stretches.append((iova, perm, np.diff(edges) // PAGE_SIZE))
        assert totals_of(stretches) == naive_mr.closed_form(equal)


@pytest.mark.parametrize("backing", ["4k", "thp", "2M", "1G"])
def test_the_model_asks_for_the_same_region(backing):
    """`memory_region` adds up chain by chain what is one call here; in passthrough and behind the shadow rings."""
    guest = Guest(memory=7 * GIB, backing=backing, vga=True)
    rings, packed = shadow_layout(guest, VdpaDevice(queue_pairs=2))
    shadow = sorted((*(a for pair in rings.data for a in pair), *rings.buffers, *rings.cvq, *packed))
    for runs in (identity_runs(guest), shadow):
        assert totals_of(stretches_of(runs)) == tuple(memory_region(runs))


# What is refused


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([(0, PAGE_SIZE + 1, 3)], "not a whole number of pages"),
        ([(8, PAGE_SIZE, 3)], "not a whole number of pages"),
        ([(0, 0, 3)], "not a whole number of pages"),
        ([(PAGE_SIZE, PAGE_SIZE, 3), (0, PAGE_SIZE, 3)], "begins before the one in front of it ends"),
        ([(0, 2 * PAGE_SIZE, 3), (PAGE_SIZE, PAGE_SIZE, 3)], "begins before the one in front of it ends"),
        ([(0, 1 << 44, 3)], "16 TiB"),
    ],
)
def test_what_is_no_iotlb_is_refused(entries, why):
    with pytest.raises(ValueError, match=why):
        from_entries(entries)


def test_a_buffer_that_is_too_short_is_left_alone():
    iova, perm, starts, counts = compact([(0, 3, [1, 1, 1])])
    _, windows = mr.region(iova, perm, starts, counts)
    short = np.zeros(3, np.uint64)
    assert mr.fill_mtts(counts, np.arange(1, 4, dtype=np.uint64), windows, short) == mr.NO_ROOM
    assert short.tolist() == [0, 0, 0]


def test_the_indirect_key_has_its_list_padded():
    assert [mr.indirect_bytes(klms) for klms in (0, 1, 4, 5, 140)] == [0, 64, 64, 128, 2240]


# The table of real sizes: post-SeaBIOS layout with a display, identity map


@pytest.mark.parametrize(
    ("gib", "backing", "entries", "direct", "klms", "mtts", "blocks"),
    [
        (16, "4k", None, 24, 28, (4.19e6, 4.2e6), (65_500, 65_700)),
        (16, "2M", (7_900, 8_400), 24, 28, (9_000, 13_500), (150, 220)),
        (16, "thp", (2_700, 3_900), 24, 28, (9_000, 13_500), (150, 220)),
        (128, "2M", (63_000, 66_500), 136, 140, (69_500, 71_000), (1_050, 1_150)),
        (256, "2M", (127_000, 132_000), 264, 268, (135_000, 137_000), (2_080, 2_200)),
        (256, "1G", (250, 500), 264, 268, (4_400, 5_750), (80, 345)),
    ],
)
def test_sizes_of_large_guests(gib, backing, entries, direct, klms, mtts, blocks):
    """Keys are exact; entries, MTTs and mailbox blocks lie where the published figures are."""
    found = totals_of(identity(Guest(memory=gib * GIB, backing=backing, vga=True)))
    assert found[1:3] == (direct, klms)
    assert entries is None or entries[0] <= found[0] <= entries[1]
    assert mtts[0] <= found[3] <= mtts[1]
    assert blocks[0] <= found[4] <= blocks[1]


def test_scattered_pages_are_an_entry_and_an_mtt_each():
    """16 GiB of 4 KiB pages of which no two are neighbours: 4.2 million entries, 32 MiB of MTTs."""
    gib = 1 if DISABLED else 16
    found = sections(Guest(memory=gib * GIB, vga=True))
    pages = sum(section.size for section in found) // PAGE_SIZE
    totals = totals_of([(s.gpa, PERMS[s.perm], np.ones(s.size // PAGE_SIZE, np.uint32)) for s in found])
    assert totals[0] == totals[3] == pages
    if not DISABLED:
        assert totals[:3] == (pages, 24, 28)
        assert pages == pytest.approx(4.2e6, rel=0.01)
        assert totals[4] == pytest.approx(65_600, rel=0.005)


def test_low_memory_has_an_mtt_for_each_half_of_a_huge_page():
    """Its chain begins 1 MiB into the block, so each window cuts a page: 1024 MTTs a GiB; above 4 GiB 512, or one."""
    for backing, above in (("2M", 512), ("1G", 1)):
        guest = Guest(memory=8 * GIB, backing=backing)  # low memory ends at 2 GiB
        _, windows = mr.region(*compact(identity(guest)))
        sizes = {int(row[mr.IOVA]): (int(row[mr.LOG_SIZE]), int(row[mr.NSG])) for row in windows}
        assert sizes[MIB] == (20, 1024)
        assert all(sizes[at * GIB] == (sizes[4 * GIB][0], above) for at in range(4, 10))


def test_shadow_rings_have_keys_of_their_own_and_video_memory_spoils_a_window():
    """16 queue pairs add 67 direct MKEYs; video memory of single pages in a window of RAM: 262,144 MTTs."""
    guest = Guest(memory=256 * GIB, backing="2M", vga=True)
    rings, packed = shadow_layout(guest, VdpaDevice(queue_pairs=16))
    shadow = sorted((*(a for pair in rings.data for a in pair), *rings.buffers, *rings.cvq, *packed))
    fragmented = [
        (run.iova, PERMS[run.perm], np.ones(run.pages) if run.size == 16 * MIB else run.lengths) for run in shadow
    ]
    before, (after, windows) = totals_of(identity(guest)), mr.region(*compact(fragmented))
    assert int(after[1]) - before[1] == 67
    assert windows[:, mr.NSG].max() == GIB // PAGE_SIZE
    assert 200_000 < int(after[3]) - before[3] <= GIB // PAGE_SIZE


# Traps


@pytest.mark.parametrize("chunk", [512, 1 << 18])
def test_one_small_page_fills_a_window_with_mtts(chunk):
    """Trap 8: MTTs are not RAM over page size; one 4 KiB hole-filler in a window of 1 GiB makes 262,144 of them."""
    gib = 1 << 18
    whole = [chunk] * (3 * gib // chunk)
    assert totals_of([(4 * GIB, 3, whole)])[3] == 3 * gib // chunk
    broken = [*whole[: len(whole) // 3], 1, *whole[len(whole) // 3 :]]  # the second window begins with the filler
    totals, windows = mr.region(*compact([(4 * GIB, 3, broken)]))
    # Each window behind the filler ends a page before a huge page does, and the last is that page alone.
    assert windows[:, mr.NSG].tolist() == [gib // chunk, gib, gib, 1]
    swapped = [*whole[: len(whole) // 3], 1, chunk - 1, *whole[len(whole) // 3 + 1 :]]  # a filler in place of a page
    totals, windows = mr.region(*compact([(4 * GIB, 3, swapped)]))
    assert windows[:, mr.NSG].tolist() == [gib // chunk, gib, gib // chunk]
    assert int(totals[4]) == sum(-(-(n + n % 2) // 64) for n in windows[:, mr.NSG].tolist())


def test_windows_begin_with_the_chain():
    """Trap 8: windows are cut from the chain's start, not where an address is a whole GiB."""
    _, windows = mr.region(*compact([(GIB - 2 * MIB, 3, [512] * 1024)]))
    assert windows[:, mr.IOVA].tolist() == [GIB - 2 * MIB, 2 * GIB - 2 * MIB]
    assert windows[:, mr.NSG].tolist() == [512, 512]


@given(st.integers(0, 1 << 20), st.lists(st.integers(1, 40), max_size=30))
@EXAMPLES
def test_addresses_do_not_matter_for_mtts(shift, lengths):
    """Trap 9: the gcd is over sizes; the whole layout may be moved by a page, or by any number of them."""
    stretches = [(MIB, 3, lengths), (GIB, 1, [512, 512])]
    for pages in (1, shift):
        moved = [(iova + pages * PAGE_SIZE, perm, each) for iova, perm, each in stretches]
        assert totals_of(moved, SMALL) == totals_of(stretches, SMALL)


def test_neighbours_join_by_permission_only():
    """Trap 10: read-only beside read-write splits a chain; the same permission joins two sections; a gap is a key."""
    a, b = (0x1000, 3, [1]), (0x2000, 3, [1])
    assert totals_of([a, b]) == (2, 1, 1, 2, 1)
    assert totals_of([a, (0x2000, 1, [1])]) == (2, 2, 2, 2, 2)
    assert totals_of([a, (0x3000, 3, [1])])[1:3] == (2, 3)
    assert totals_of([a, (0x2000 + 3 * GIB, 3, [1])])[2] == 5
    assert totals_of([a, (0x3000 + 3 * GIB, 3, [1])])[2] == 6
    assert totals_of([]) == (0, 0, 0, 0, 0)


def test_the_history_of_a_guest_is_in_its_entries_but_not_in_its_mtts():
    """Trap 11: K is not RAM over page size; with 4 KiB pages every window has an MTT a page, however they lie."""
    found = {history: totals_of([(0, 3, chunks(GIB, 0, "4k", history, 5))]) for history in ("preallocated", "ram-load")}
    assert found["ram-load"][0] > 3 * found["preallocated"][0]
    assert {each[1:] for each in found.values()} == {(1, 1, GIB // PAGE_SIZE, 4096)}


@pytest.mark.parametrize("backing", ["4k", "thp", "2M", "mixed"])
def test_a_build_of_a_real_layout_translates_every_entity(backing):
    """Backing to chunks to plan to MTTs: a page taken anywhere is found where the allocator put it."""
    size = 64 * MIB if DISABLED else 3 * GIB
    arguments = (size, MIB, backing, "guest", 11)
    counts, physical = chunks(*arguments), addresses(*arguments)
    _, windows = mr.region(*compact([(0x109000, 3, counts)]))
    mtts = np.empty(mr.mtt_places(windows), np.uint64)
    assert mr.fill_mtts(counts, physical, windows, mtts) == mtts.size
    edges = np.cumsum([0, *counts.tolist()])
    places = np.cumsum([0, *((windows[:, mr.NSG] + 1) // 2 * 2).tolist()])
    for page in np.linspace(0, size // PAGE_SIZE - 1, 500).astype(int).tolist():
        row = page // int(mr.WINDOW_PAGES)
        log_size, inside = int(windows[row, mr.LOG_SIZE]), page % int(mr.WINDOW_PAGES) * PAGE_SIZE
        number = int(np.searchsorted(edges, page, side="right")) - 1
        mtt = int(mtts[places[row] + (inside >> log_size)])
        assert mtt + inside % (1 << log_size) == int(physical[number]) + (page - int(edges[number])) * PAGE_SIZE


# Deferred deletion


def at(ms, build=10, destroy=100, size=5, asid=0):
    return Rebuild(ms * MS, build * MS, destroy * MS, size, asid)


def test_a_set_map_waits_behind_the_deletion_of_a_region():
    """Trap 32: deletion is not free: 2 s after a swap it holds the lock, and old and new regions were both held."""
    found = lifetime([at(0), at(50), at(2100, asid=1)])
    assert found.starts == (0, 50 * MS, 2160 * MS)
    assert found.waits == (0, 0, 60 * MS)  # the work runs from 2060 to 2160
    assert found.collections == ((2060 * MS, 2160 * MS),)
    assert found.peak == 10
    assert lifetime([at(0), at(50), at(2059, asid=1)]).waits == (0, 0, 0)


def test_the_work_tries_again_when_the_lock_is_taken():
    """A build that is under way when the work is due puts it off by another 2 s, with all that was dropped since."""
    found = lifetime([at(0), at(50), at(2055), at(4070)])
    assert found.waits == (0, 0, 0, 190 * MS)
    assert found.collections == ((4060 * MS, 4260 * MS), (6270 * MS, 6370 * MS))
    assert found.finishes[-1] == 4270 * MS


def test_rebuilds_in_quick_succession_pile_up():
    """Six rebuilds of all RAM inside a switchover: six old regions stay until 2 s after the first was dropped."""
    found = lifetime([at(0), *(at(1000 + 12 * step) for step in range(6))])
    assert found.peak == 7 * 5
    assert found.waits == (0,) * 7
    assert found.collections == ((3010 * MS, 3610 * MS),)


def test_rebuilds_of_one_device_follow_each_other():
    found = lifetime([at(0), at(5), at(5, asid=1)])
    assert found.starts == (0, 10 * MS, 20 * MS)
    assert found.waits == (0, 0, 0)  # behind a build, not behind a deletion
    assert lifetime([]) == Lifetime((), (), (), (), 0)


def test_rebuilds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="after one at"):
        lifetime([at(5), at(4)])


def test_a_region_holds_its_scatter_list_and_a_copy_of_the_iotlb():
    entries, _, _, mtts, _ = totals_of([(0, 3, [1] * 512)])
    assert region_bytes(entries, mtts) == 512 * (32 + 96)


rebuild_lists = st.lists(
    st.builds(
        Rebuild, st.integers(0, 60), st.integers(0, 25), st.integers(0, 25), st.integers(0, 9), st.integers(0, 1)
    ),
    max_size=8,
).map(sorted)


@given(rebuild_lists.map(sorted))
@EXAMPLES
def test_the_lifetime_of_regions_is_that_of_a_ticking_clock(rebuilds):
    mr_lifetime.GC_DELAY = 20
    try:
        assert tuple(lifetime(rebuilds)) == naive_mr.lifetime(rebuilds, 20)
    finally:
        mr_lifetime.GC_DELAY = GC_DELAY


def test_a_window_is_what_it_is_in_the_driver():
    assert int(mr.WINDOW_PAGES) * PAGE_SIZE == GIB
    assert int(mr.MTTS_A_BLOCK) * 8 == 512
