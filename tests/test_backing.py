"""Guest RAM as physical chunks: counts of real runs, the allocation history, physical addresses, the data file."""

import csv
import hashlib
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.machine import backing
from vdpa_lab.machine.backing import HISTORIES, UNIT_PAGES, addresses, chunks, seed_of, value_of
from vdpa_lab.paths import data_dir
from vdpa_lab.units import GIB, MIB, PAGE_SIZE
from vdpa_lab.words import InputError

EXAMPLES = settings(max_examples=60 if DISABLED else 150, deadline=None)
RUN = 256 * MIB  # guest RAM of the measured runs
SEEDS = range(12)
HUGE = {"thp": 2 * MIB, "2M": 2 * MIB, "1G": GIB}

kinds = st.tuples(st.sampled_from(sorted(UNIT_PAGES)), st.sampled_from(HISTORIES))
page_counts = st.integers(0, 20_000)


def rows():
    with open(data_dir() / "backing.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counts_of(backing, history, source=""):
    """Entries per 256 MiB of the measured runs."""
    return [
        int(row["value"]) * 256 // int(row["unit"].split()[1])
        for row in rows()
        if (row["backing"], row["history"], row["key"]) == (backing, history, "entries") and source in row["note"]
    ]


def mean(values):
    """The geometric one: counts of hosts differ by factors."""
    return exp(sum(map(log, values)) / len(values))


def entries(backing, history):
    return mean([chunks(RUN, 0, backing, history, seed).size for seed in SEEDS])


# Counts of real runs


@pytest.mark.parametrize(
    ("kind", "history", "low", "high"),
    [
        ("4k", "preallocated", 129, 1604),
        ("4k", "guest", 323, 1816),
        ("4k", "ram-load", 837, 3000),
        ("thp", "preallocated", 35, 70),
    ],
)
def test_entries_are_of_the_order_of_real_runs(kind, history, low, high):
    """256 MiB were 129 to 1604 entries by pin, 1816 by a guest, 837 and 1433 by RAM load, 35 to 70 with THP."""
    assert low <= entries(kind, history) <= high
    ratio = entries(kind, history) / mean(counts_of(kind, history))
    assert 1 / 5 < ratio < 5


def test_the_history_decides_and_not_the_page_size_alone():
    """Trap 11: memory populated in the order of RAM load has several times the entries of preallocated memory."""
    by = {history: entries("4k", history) for history in HISTORIES}
    assert by["preallocated"] < by["guest"] < by["ram-load"]
    assert 1433 / 409 < by["ram-load"] / by["preallocated"] < 1433 / 192
    assert entries("thp", "preallocated") < by["preallocated"] / 3


def test_means_are_derived_from_the_counts_in_the_same_file():
    runs = mean([RUN / PAGE_SIZE / count for count in counts_of("4k", "preallocated")])
    assert value_of("4k", "preallocated", "mean_run") == pytest.approx(runs, rel=0.01)
    guest = counts_of("4k", "guest")[0] / mean([1044, 1445, 1604])
    assert value_of("4k", "guest", "mean_run") == pytest.approx(runs / guest, rel=0.02)
    load = mean([837 / mean([227, 196, 233]), 1433 / 192])
    assert value_of("4k", "ram-load", "mean_run") == pytest.approx(runs / load, rel=0.02)
    assert {1044, 1445, 1604, 227, 196, 233, 192} <= set(counts_of("4k", "preallocated"))
    assert {837, 1433} == set(counts_of("4k", "ram-load"))
    assert value_of("thp", "preallocated", "mean_run") == pytest.approx(
        RUN / HUGE["thp"] / mean(counts_of("thp", "preallocated")), rel=0.01
    )


@pytest.mark.parametrize("history", HISTORIES)
def test_runs_of_small_pages_are_buddy_blocks_of_the_mean_length(history):
    lengths = chunks(4 * GIB, 0, "4k", history, 3)[:-1]  # the last is cut where the section ends
    assert set(lengths.tolist()) <= {1 << order for order in range(11)}
    assert lengths.mean() == pytest.approx(value_of("4k", history, "mean_run"), rel=0.1)


def test_a_block_of_small_pages_ends_where_its_random_words_say(monkeypatch):
    """Word by word, with a search of each among the limits; and in batches the same as at once."""
    limits = backing._order_limits(value_of("4k", "guest", "mean_run")).tolist()
    words = np.random.PCG64([7, 0]).random_raw(4000).tolist()
    lengths, whole = [1 << bisect_right(limits, word) for word in words], 100_000
    edges = [0, *(edge for edge in accumulate(lengths) if edge < whole), whole]
    for batch in (backing.BATCH, 37):
        monkeypatch.setattr(backing, "BATCH", batch)
        assert chunks(whole * PAGE_SIZE, 0, "4k", "guest", 7).tolist() == np.diff(edges).tolist()


@pytest.mark.parametrize("kind", ["thp", "2M", "1G"])
def test_huge_pages_are_whole_and_join_at_times(kind):
    unit, gib = HUGE[kind] // PAGE_SIZE, 512
    lengths = chunks(gib * GIB, 0, kind, "guest", 3)
    assert (lengths % unit == 0).all()
    assert lengths.max() > unit
    assert gib * GIB / PAGE_SIZE / unit / lengths.size == pytest.approx(value_of(kind, "guest", "mean_run"), rel=0.05)


def test_a_section_that_begins_inside_a_huge_page_begins_with_its_rest():
    """Below-4G RAM begins 1 MiB into its block; the first page is cut there, all others are whole."""
    for kind, rest in (("thp", 256), ("2M", 256), ("1G", (GIB - MIB) // PAGE_SIZE)):
        lengths = chunks(4 * GIB - MIB, MIB, kind, "guest", 5)
        assert lengths[0] % (HUGE[kind] // PAGE_SIZE) == rest
        assert (lengths[1:] % (HUGE[kind] // PAGE_SIZE) == 0).all()


def test_a_block_that_is_no_whole_huge_page_ends_in_small_ones():
    """Transparent huge pages only: hugetlbfs rounds a block up to whole pages."""
    size = 8 * MIB + 17 * PAGE_SIZE
    ends = [chunks(size, 0, "thp", "ram-load", seed) for seed in range(40)]
    assert all(int(np.cumsum(each)[np.cumsum(each) <= 2048][-1]) == 2048 for each in ends)
    assert max(each.size for each in ends) > 5
    assert all(chunks(size, 0, "2M", "ram-load", seed)[-1] % 512 == 17 for seed in range(40))


def test_a_mixed_guest_has_small_pages_in_the_share_of_ranges_that_the_file_gives():
    ranges = 4096
    edges = np.cumsum([0, *chunks(ranges * 2 * MIB, 0, "mixed", "ram-load", 2).tolist()])
    broken = Counter((edges[edges % 512 != 0] // 512).tolist())
    assert len(broken) == pytest.approx(ranges * value_of("mixed", "ram-load", "small_share"), rel=0.25)
    assert mean(list(broken.values())) > 3  # 512 pages in runs of the length of 4 KiB backing


# Blocks and seeds


@given(kinds, page_counts, page_counts, st.integers(0, 1 << 64))
@EXAMPLES
def test_chunks_sum_to_their_section_and_sections_of_a_block_agree(kind, offset, size, seed):
    """The edges of a section are those of the whole block that lie inside it."""
    offset, size = offset * PAGE_SIZE, size * PAGE_SIZE
    lengths = chunks(size, offset, *kind, seed, 512 * MIB)
    assert lengths.dtype == np.uint32
    assert int(lengths.sum()) * PAGE_SIZE == size
    assert (lengths > 0).all()
    whole = np.cumsum(chunks(512 * MIB, 0, *kind, seed)) * PAGE_SIZE
    mine = offset + np.cumsum(lengths)[:-1] * PAGE_SIZE
    assert mine.tolist() == whole[(whole > offset) & (whole < offset + size)].tolist()


@given(kinds, page_counts, page_counts, st.integers(0, 1 << 64))
@EXAMPLES
def test_physical_addresses_are_consistent_and_never_follow_on(kind, offset, size, seed):
    """No two chunks overlap or touch, huge pages are aligned, and a block's sections see the same addresses."""
    offset, size = offset * PAGE_SIZE, size * PAGE_SIZE
    arguments = (*kind, seed, 512 * MIB)
    lengths, starts = chunks(size, offset, *arguments), addresses(size, offset, *arguments)
    assert starts.dtype == np.uint64
    assert starts.size == lengths.size
    ends = starts + lengths.astype(np.uint64) * np.uint64(PAGE_SIZE)
    order = np.argsort(starts)
    assert (ends[order][:-1] < starts[order][1:]).all()
    assert (starts >= 4 * GIB).all()
    unit = HUGE.get(kind[0], PAGE_SIZE)
    if 512 * MIB % unit == 0 and starts.size:
        inside = offset + np.cumsum([0, *lengths.tolist()])[:-1] * PAGE_SIZE
        assert (starts % np.uint64(unit) == inside.astype(np.uint64) % np.uint64(unit)).all()
        whole = addresses(512 * MIB, 0, *arguments)
        before = np.cumsum([0, *chunks(512 * MIB, 0, *arguments).tolist()]) * PAGE_SIZE
        number = np.searchsorted(before, inside, side="right") - 1
        assert (starts == whole[number] + (inside - before[number]).astype(np.uint64)).all()


def test_buddy_blocks_are_aligned_to_their_size():
    lengths, starts = (each[:-1] for each in (f(GIB, 0, "4k", "guest", 9) for f in (chunks, addresses)))
    assert (starts % (lengths.astype(np.uint64) * np.uint64(PAGE_SIZE)) == 0).all()
    assert int(starts[-1]) < 4 * GIB + 4 * GIB  # close together: rounding up takes no more than twice the memory


def test_the_same_parameters_give_the_same_memory_everywhere():
    """PCG64's words and integer arithmetic: this digest holds on every platform, for the means in backing.csv today."""
    found = [chunks(GIB, 0, "mixed", "ram-load", seed_of("talk", 8 * GIB, "mixed")) for _ in range(2)]
    assert (found[0] == found[1]).all()
    assert hashlib.sha256(found[0].astype("<u4").tobytes()).hexdigest()[:16] == "ddf239e288ead071"
    assert seed_of("talk", 8 * GIB, "mixed") != seed_of("talk", 8 * GIB, "4k")
    assert found[0].size != chunks(GIB, 0, "mixed", "ram-load", 1).size


# What is refused


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((PAGE_SIZE + 1, 0, "4k", "guest", 1), "not whole pages"),
        ((PAGE_SIZE, 12, "4k", "guest", 1), "not whole pages"),
        ((-PAGE_SIZE, 0, "4k", "guest", 1), "not whole pages"),
        ((PAGE_SIZE, 0, "4k", "guest", 1, 0), "of a RAM block of 0 bytes"),
        ((PAGE_SIZE, 0, "4m", "guest", 1), "'4m' is no way .* known: 1G, 2M, 4k"),
        ((PAGE_SIZE, 0, "4k", "gest", 1), "'gest' is no way .* did you mean 'guest'"),
    ],
)
def test_bad_arguments_are_named(arguments, why):
    with pytest.raises(InputError, match=why):
        chunks(*arguments)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("backing,history", "history,backing", "the columns are"),
        ("4k,guest,mean_run", "4q,guest,mean_run", "backing: '4q' is unknown; known: 1G, 2M, 4k, mixed, thp"),
        ("4k,guest,mean_run", "4k,gust,mean_run", "history: 'gust' is unknown; did you mean 'guest'"),
        ("pages,derived,the entries above,preallocated over 1.35", "pages,sure,,", "grade: 'sure'"),
        ("4k,guest,mean_run,156", "4k,guest,mean_run,many", "value: 'many' is not a number"),
        ("4k,guest,mean_run,156", "4k,guest,mean_run,nan", "value: nan is out of range for mean_run"),
        ("4k,guest,mean_run,156", "4k,guest,mean_run,0.5", "value: 0.5 is out of range"),
        ("4k,guest,mean_run,156", "4k,guest,mean_run,1025", "out of range for mean_run; at most 1024"),
    ],
)
def test_a_wrong_file_is_named_by_line_and_field(tmp_path, monkeypatch, old, new, why):
    text = (data_dir() / "backing.csv").read_text(encoding="utf-8")
    line = 1 + text[: text.index(old)].count("\n")
    (tmp_path / "backing.csv").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setenv("VDPA_LAB_DATA", str(tmp_path))
    backing._read.cache_clear()
    with pytest.raises(InputError, match=f"backing.csv, line {line}[,:].*{why}"):
        value_of("4k", "guest", "mean_run")


def test_every_row_has_a_source_and_a_grade():
    found = rows()
    assert all(row["source"] and row["grade"] in backing.GRADES for row in found)
    assert {row["grade"] for row in found if row["key"] == "entries"} == {"measured"}
    assert {(row["backing"], row["history"]) for row in found if row["key"] == "mean_run"} == {
        (kind, history) for kind in UNIT_PAGES for history in HISTORIES
    }


@pytest.mark.parametrize("kept", [1 << 21, 100])
def test_what_was_laid_out_before_changes_no_layout(kept, monkeypatch):
    """Small, large, small again, with all or few of the blocks kept: as laid out anew."""
    monkeypatch.setattr(backing, "KEPT", kept)
    sizes = [3 * MIB, 200 * MIB, 40 * MIB, 201 * MIB, 700 * MIB]

    def laid(size):
        return [chunks(size, 0, "4k", history, 7).tolist() for history in HISTORIES]

    backing._known_heads.cache_clear()
    one_after_the_other = [laid(size) for size in sizes]
    for size, found in zip(sizes, one_after_the_other, strict=True):
        backing._known_heads.cache_clear()
        assert laid(size) == found
    for small, large in zip(one_after_the_other[0], one_after_the_other[-1], strict=True):
        assert large[: len(small) - 1] == small[:-1]
    backing._known_heads.cache_clear()
