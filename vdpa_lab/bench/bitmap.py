"""Dirty bitmaps: sync, popcount, dirty runs, marking. "peer" is QEMU's way (an atomic exchange a word, find_next_bit).

"update" reads and writes each word of both bitmaps in place: its ratio is the share of that bandwidth a sync reaches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import numpy as np

from vdpa_lab.bench.harness import OURS, Case, in_c
from vdpa_lab.kernels import bitmap, bitmap_sync

PAGES_PER_GIB = 1 << 18
RUN_PAGES = 512  # of the clustered set
MARKS = 1 << 20
Words = np.ndarray


def dirty_sets(pages: int) -> Iterator[tuple[str, Words, Words]]:
    """(name, words, summary) of a guest of so many pages."""
    random = np.random.default_rng(1)

    def marked(numbers: Words) -> tuple[Words, Words]:
        words, summary = bitmap.new_words(pages)
        bitmap.mark_pages(words, summary, numbers, np.uint64(0), np.uint64(pages))
        return words, summary

    full, lines = bitmap.new_words(pages)
    bitmap.mark_range(full, lines, np.uint64(0), np.uint64(pages))
    yield "all dirty", full, lines
    tenth, lines = bitmap.new_words(pages)
    for words in np.split(tenth, max(1, tenth.size >> 18)):
        words.view(np.uint8)[:] = np.packbits(random.random(words.size * 64, np.float32) < 0.1, bitorder="little")
    lines[:] = bitmap.ONES
    yield "10 % random", tenth, lines
    yield "0.1 % random", *marked(random.integers(0, pages, pages // 1000, np.uint64))
    starts = random.integers(0, pages - RUN_PAGES, max(1, pages // 100 // RUN_PAGES), np.uint64)
    words, summary = bitmap.new_words(pages)
    bitmap.mark_ranges(words, summary, np.stack([starts, starts + np.uint64(RUN_PAGES)], axis=1))
    yield "1 % in runs", words, summary


def mute(*calls: Callable[[], object]) -> Callable[[], None]:
    """For C functions that return nothing."""

    def silent() -> None:
        for call in calls:
            call()

    return silent


def _sync(c: ctypes.CDLL | None, of: str, pages: int, words: Words, lines: Words, room: tuple) -> Iterator[Case]:
    source, summary, bmap, edges = room
    size = source.size

    def restore() -> None:
        np.copyto(source, words)
        np.copyto(summary, lines)
        bmap[:] = 0

    def runs() -> int:
        at, total = np.uint64(0), 0
        while at < size:
            n, at = bitmap.dirty_runs(source, edges, np.uint64(at))
            total += n
        return total

    sync = {
        OURS: lambda: bitmap_sync.sync_summed(source, summary, bmap),
        "plain": lambda: bitmap_sync.sync(source, bmap),
    }
    counts = {OURS: lambda: bitmap.count(source)}
    found = {OURS: runs}
    if c:
        sync |= {
            "twin": in_c(c.sync_summed, source, summary, bmap, summary.size),
            "peer": in_c(c.sync_exchange, source, bmap, size),
            "update": mute(in_c(c.update, source, size), in_c(c.update, bmap, size)),
        }
        counts["twin"] = in_c(c.count, source, size)
        every = np.zeros(2 * pages // 4 + 1000, np.uint64)
        found |= {
            "twin": in_c(c.runs_edges, source, size, every),
            "peer": in_c(c.runs_find, source, size, every),
        }
    yield Case("bitmap sync", of, pages, pages, sync, restore)
    yield Case("popcount", of, pages, pages, counts, restore)
    if not of.endswith("all dirty"):
        yield Case("dirty runs", of, pages, pages, found, restore)


def _marks(c: ctypes.CDLL | None, of: str, pages: int, marks: int) -> Iterator[Case]:
    random = np.random.default_rng(2)
    words, summary = bitmap.new_words(pages)
    limits = np.uint64(0), np.uint64(pages)
    orders = {
        "uniform": random.integers(0, pages, marks, np.uint64),
        "sequential": (np.arange(marks, dtype=np.uint64) + np.uint64(1000)) % limits[1],
        "hot 10 %": random.integers(0, pages // 10, marks, np.uint64),
    }
    for name, numbers in orders.items():
        calls = {
            OURS: mute(lambda numbers=numbers: bitmap.mark_pages(words, bitmap.NO_SUMMARY, numbers, *limits)),
            "summed": mute(lambda numbers=numbers: bitmap.mark_pages(words, summary, numbers, *limits)),
        }
        if c:
            calls["twin"] = mute(in_c(c.mark_plain, words, numbers, marks))
            calls["peer"] = mute(in_c(c.mark_atomic, words, numbers, marks))
        yield Case(f"mark pages, {name}", of, pages, marks, calls)
    for length in (10, 1000):
        starts = random.integers(0, pages - length, max(1, marks // 50), np.uint64)
        ranges = np.stack([starts, starts + np.uint64(length)], axis=1)
        calls = {OURS: mute(lambda ranges=ranges: bitmap.mark_ranges(words, bitmap.NO_SUMMARY, ranges))}
        if c:
            calls["twin"] = mute(in_c(c.mark_ranges, words, ranges, len(ranges)))
        yield Case(f"mark ranges of {length}", of, pages, len(ranges), calls)


def cases(library: ctypes.CDLL | None, quick: bool) -> Iterator[Case]:
    """Guests of 128 GiB and of 1 TiB."""
    for gib in (1,) if quick else (128, 1024):
        pages = gib * PAGES_PER_GIB
        room = *bitmap.new_words(pages), bitmap.new_words(pages)[0], np.zeros(1 << 16, np.uint64)
        for name, words, lines in dirty_sets(pages):
            yield from _sync(library, f"{gib} GiB, {name}", pages, words, lines, room)
        yield from _marks(library, f"{gib} GiB", pages, MARKS >> (6 if quick else 0))
