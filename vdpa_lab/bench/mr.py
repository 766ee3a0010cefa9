"""mlx5 memory regions: planning the MKEYs from chunk lengths, and filling in their MTTs, against C."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np

from vdpa_lab.bench.harness import OURS, Case, in_c
from vdpa_lab.kernels import mlx5_mr as mr
from vdpa_lab.machine.backing import addresses, chunks, seed_of
from vdpa_lab.units import GIB, MIB, TIB, bytes_text

START, RW = 4 * GIB, 3
PLANS = (("2M", (128 * GIB, 256 * GIB, 512 * GIB, TIB)), ("thp", (128 * GIB, TIB)), ("ram-load", (128 * GIB, TIB)))
PAGE_EXACT = (8 * GIB, 32 * GIB, 128 * GIB)
FILLS = (("2M", (256 * GIB, TIB)), ("ram-load", (8 * GIB, 32 * GIB)))


def _guest(of: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(pages, physical address) of each chunk of a section: all single pages, or by backing, or 4k by history."""
    if of == "pages":
        pages = size // 4096
        return np.ones(pages, np.uint32), np.arange(1, pages + 1, dtype=np.uint64) << np.uint64(13)
    backing, history = ("4k", of) if of == "ram-load" else (of, "guest")
    arguments = (size, 0, backing, history, seed_of("bench", of))
    return chunks(*arguments), addresses(*arguments)


def _plan(library: ctypes.CDLL | None, of: str, size: int) -> Case:
    counts, _ = _guest(of, size)
    iova, perm = np.array([START], np.uint64), np.array([RW], np.uint64)
    starts = np.array([0, counts.size], np.uint64)
    windows, totals = np.empty((mr.most_windows(1, size // 4096), 7), np.uint64), np.zeros(5, np.uint64)

    def ours() -> int:
        mr.plan(iova, perm, starts, counts, mr.WINDOW_PAGES, windows, totals)
        return int(totals[3])

    calls = {OURS: ours}
    if library is not None:
        found, rows = np.zeros(5, np.uint64), np.empty_like(windows)
        twin = in_c(library.plan, iova, perm, starts, counts, 1, mr.WINDOW_PAGES, rows, found)
        sizes = counts.astype(np.uint64) << np.uint64(12)
        iovas, perms = START + np.cumsum(sizes) - sizes, np.full(counts.size, RW, np.uint64)
        entries = np.zeros(5, np.uint64)
        peer = in_c(library.plan_entries, iovas, sizes, perms, counts.size, entries)
        calls["twin"] = lambda: (twin(), int(found[3]))[1]
        calls["peer"] = lambda: (peer(), int(entries[3]))[1]
    return Case(f"plan of MKEYs, {of}", bytes_text(size), counts.size, counts.size, calls)


def _fill(library: ctypes.CDLL | None, of: str, size: int) -> Case:
    counts, physical = _guest(of, size)
    one = np.array([START], np.uint64), np.array([RW], np.uint64), np.array([0, counts.size], np.uint64)
    _, windows = mr.region(*one, counts)
    windows = np.ascontiguousarray(windows)
    mtts = np.zeros(mr.mtt_places(windows), np.uint64)
    calls = {OURS: lambda: int(mr.fill_mtts(counts, physical, windows, mtts))}
    if library is not None:
        other = np.zeros_like(mtts)
        calls["twin"] = in_c(library.fill_mtts, counts, physical, windows, windows.shape[0], other)
    return Case(f"fill of MTTs, {of}", bytes_text(size), mtts.size, mtts.size, calls)


def cases(library: ctypes.CDLL | None, quick: bool) -> Iterator[Case]:
    """Huge pages, single pages, and chunks by allocation history; nanoseconds are by IOTLB entry, or by MTT."""
    for of, sizes in (*PLANS, ("pages", PAGE_EXACT)):
        for size in (64 * MIB,) if quick else sizes:
            yield _plan(library, of, size)
    for of, sizes in (*FILLS, ("pages", PAGE_EXACT)):
        for size in (64 * MIB,) if quick else sizes:
            yield _fill(library, of, size)
