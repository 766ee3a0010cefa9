"""Bitmap kernels beside own C, built on the spot: `python -m tests.bench.bitmap`.

Candidates take turns round by round in one process; a figure is the median of the paired ratios (other / ours), so that
above 1 is faster than C. "twin" is the same algorithm in C, "peer" QEMU's way; both gcc -O3 -march=native.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vdpa_lab.kernels import bitmap, bitmap_sync

SOURCE = Path(__file__).with_name("bitmap.c")
PAGES_PER_GIB = 1 << 18
RUN_PAGES = 512  # of the clustered set
MARKS = 1 << 20


def build(folder):
    """The C functions, or None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = Path(folder) / "bitmap.so"
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", library, SOURCE]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def in_c(function, *arguments):
    """A call of no arguments; arrays are passed as pointers, numbers as size_t."""
    made = [
        ctypes.c_void_p(each.ctypes.data) if isinstance(each, np.ndarray) else ctypes.c_size_t(each)
        for each in arguments
    ]
    function.restype = ctypes.c_uint64
    return lambda: function(*made)


def measure(candidates, prepare, rounds):
    """{name: [ns]} of {name: call}; `prepare` runs before each call, untimed. Numbers that calls return must agree."""
    names, times = list(candidates), {name: [] for name in candidates}
    random = np.random.default_rng(3)  # in a fixed order, whoever follows the slowest would always be slower
    answers = set()
    for turn in range(rounds + 1):
        for name in random.permutation(names).tolist():
            prepare()
            start = time.perf_counter_ns()
            answer = candidates[name]()
            stop = time.perf_counter_ns()
            answers |= {int(answer)} if answer is not None else set()
            if turn:  # the first round warms up
                times[name].append(stop - start)
    assert len(answers) < 2, f"candidates disagree: {answers}"
    return times


def dirty_sets(pages):
    """{name: (words, summary)}."""
    random = np.random.default_rng(1)

    def marked(numbers):
        words, summary = bitmap.new_words(pages)
        bitmap.mark_pages(words, summary, numbers, np.uint64(0), np.uint64(pages))
        return words, summary

    full, lines = bitmap.new_words(pages)
    bitmap.mark_range(full, lines, np.uint64(0), np.uint64(pages))
    yield "all", (full, lines)
    tenth, lines = bitmap.new_words(pages)
    for words in np.split(tenth, max(1, tenth.size >> 18)):
        words.view(np.uint8)[:] = np.packbits(random.random(words.size * 64, np.float32) < 0.1, bitorder="little")
    lines[:] = bitmap.ONES
    yield "10 % random", (tenth, lines)
    yield "0.1 % random", marked(random.integers(0, pages, pages // 1000, np.uint64))
    starts = random.integers(0, pages - RUN_PAGES, pages // 100 // RUN_PAGES, np.uint64)
    words, summary = bitmap.new_words(pages)
    bitmap.mark_ranges(words, summary, np.stack([starts, starts + np.uint64(RUN_PAGES)], axis=1))
    yield "1 % in runs", (words, summary)


def bench_update(c, words, rounds):
    """GB/s of a loop that reads and writes each word in place, both counted: the most that a sync can have."""
    times = measure({"twin": in_c(c.update, words, words.size)}, lambda: None, rounds)["twin"]
    return 2 * words.nbytes / statistics.median(times)


def bench_guest(c, gib, rounds):
    """Rows (work, dirty set, unit of the times, {candidate: times}) for a guest of `gib` GiB."""
    pages = gib * PAGES_PER_GIB
    source, summary = bitmap.new_words(pages)
    bmap = np.zeros_like(source)
    edges = np.zeros(1 << 16, np.uint64)
    size = source.size

    def ours_runs():
        at, total = np.uint64(0), 0
        while at < size:
            n, at = bitmap.dirty_runs(source, edges, np.uint64(at))
            total += n
        return total

    all_edges = None
    for name, (words, lines) in dirty_sets(pages):

        def restore(words=words, lines=lines):
            np.copyto(source, words)
            np.copyto(summary, lines)
            bmap[:] = 0

        sync = {
            "ours": lambda: bitmap_sync.sync_summed(source, summary, bmap),
            "ours, no summary": lambda: bitmap_sync.sync(source, bmap),
            "twin": in_c(c.sync_summed, source, summary, bmap, summary.size),
            "twin, no summary": in_c(c.sync_plain, source, bmap, size),
            "peer": in_c(c.sync_exchange, source, bmap, size),
            # A loop that reads and writes the same bytes in place: update / ours is the share of its bandwidth.
            "update": mute(in_c(c.update, source, size), in_c(c.update, bmap, size)),
        }
        yield "sync", name, measure(sync, restore, rounds)
        restore()
        yield (
            "popcount",
            name,
            measure(
                {"ours": lambda: bitmap.count(source), "twin": in_c(c.count, source, size)}, lambda: None, 2 * rounds
            ),
        )
        if name != "all":
            if all_edges is None:
                all_edges = np.zeros(int(pages * 0.2) + 1000, np.uint64)
            runs = {
                "ours": ours_runs,
                "twin": in_c(c.runs_edges, source, size, all_edges),
                "peer": in_c(c.runs_find, source, size, all_edges),
            }
            yield "dirty runs", name, measure(runs, lambda: None, max(3, rounds // 2))


def bench_marks(c, gib, rounds):
    pages = gib * PAGES_PER_GIB
    random = np.random.default_rng(2)
    words, summary = bitmap.new_words(pages)
    limits = np.uint64(0), np.uint64(pages)
    orders = {
        "uniform": random.integers(0, pages, MARKS, np.uint64),
        "sequential": (np.arange(MARKS, dtype=np.uint64) + np.uint64(1000)) % limits[1],
        "hot 10 %": random.integers(0, pages // 10, MARKS, np.uint64),
    }
    for name, numbers in orders.items():
        calls = {
            "ours": lambda numbers=numbers: bitmap.mark_pages(words, bitmap.NO_SUMMARY, numbers, *limits),
            "ours, summary": lambda numbers=numbers: bitmap.mark_pages(words, summary, numbers, *limits),
            "twin": mute(in_c(c.mark_plain, words, numbers, MARKS)),
            "peer": mute(in_c(c.mark_atomic, words, numbers, MARKS)),
        }
        yield "mark", name, measure(calls, lambda: None, rounds)
    for length in (10, 1000, 100_000):
        starts = random.integers(0, pages - length, 20_000, np.uint64)
        ranges = np.stack([starts, starts + np.uint64(length)], axis=1)
        calls = {
            "ours": lambda ranges=ranges: bitmap.mark_ranges(words, bitmap.NO_SUMMARY, ranges),
            "ours, summary": lambda ranges=ranges: bitmap.mark_ranges(words, summary, ranges),
            "twin": mute(in_c(c.mark_ranges, words, ranges, len(ranges))),
        }
        yield "mark ranges", f"{length} pages", measure(calls, lambda: None, max(3, rounds // 2))


def mute(*calls):
    """For C functions that return nothing."""

    def silent():
        for call in calls:
            call()

    return silent


def rows(c, sizes, rounds):
    for gib in sizes:
        words = np.zeros(2 * gib * PAGES_PER_GIB // 64, np.uint64)  # as many bytes as source and bmap of a sync
        bandwidth = bench_update(c, words, 2 * rounds + 5)
        yield {"GiB": gib, "work": "update in place", "GB/s": round(bandwidth, 1)}
        for work, case, times in [*bench_guest(c, gib, rounds), *bench_marks(c, gib, rounds)]:
            row = {"GiB": gib, "work": work, "case": case}
            for name, taken in times.items():
                row[f"{name}, us"] = round(statistics.median(taken) / 1000, 1)
                if name != "ours":
                    paired = [other / ours for other, ours in zip(taken, times["ours"], strict=True)]
                    row[f"{name} / ours"] = round(statistics.median(paired), 2)
            yield row


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--gib", type=int, nargs="+", default=[128, 1024])
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        c = build(folder)
        if c is None:
            sys.exit("needs a C compiler")
        found = []
        for row in rows(c, asked.gib, asked.rounds):
            found.append(row)
            if not asked.json:
                print("  ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
        if asked.json:
            print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
