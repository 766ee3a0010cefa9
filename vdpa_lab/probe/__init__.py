"""This host's own prices, measured without special hardware or rights, written as a calibration."""

from __future__ import annotations

import errno
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vdpa_lab.kernels import bitmap, bitmap_sync
from vdpa_lab.library import Cost
from vdpa_lab.probe.pages import IoUring, Mlock, pin_times
from vdpa_lab.units import GIB, MIB, PAGE_SIZE, bytes_text, format_bytes
from vdpa_lab.words import InputError

BACKINGS = ("4k", "thp", "2M")
SMALLEST, LARGEST_UNASKED = 16 * MIB, GIB
SOURCE = "probe"  # a source of its own kind: this host, now
COPY_BYTES = 64 * MIB
# What a fit may leave over, and a probe cannot know: nothing, until traces of this host say more.
UNEXPLAINED = tuple(f"unexplained.{window}" for window in ("svq_switch", "source_teardown", "destination_setup"))


@dataclass
class Probe:
    """What was measured, and in words what was not and why. way: how pages were pinned."""

    host: str
    way: str = ""
    costs: list[Cost] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def host_text() -> str:
    """Processor, kernel and memory of this host, as a calibration's rows name it."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{name}, {platform.system()} {platform.release()}, {format_bytes(memory)}"


def _cost(key: str, ns: list[float], locator: str, conditions: str) -> Cost:
    low, _, high = statistics.quantiles(ns, n=4, method="inclusive") if len(ns) > 1 else ns * 3
    return Cost(key, statistics.median(ns), low, high, "ns", "measured", SOURCE, locator, conditions)


def _timed(work: Callable[[], object], units: int, rounds: int) -> list[float]:
    work()
    found = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        work()
        found.append((time.perf_counter_ns() - start) / units)
    return found


def _pinner(missing: list[str]) -> IoUring | Mlock:
    try:
        return IoUring()
    except OSError as error:
        missing.append(f"io_uring cannot be used here ({error}); pages were locked by mlock instead")
        return Mlock()


def _pins(into: Probe, memory: int, rounds: int, tell: Callable[[str], None]) -> None:
    pinner = _pinner(into.missing)
    into.way = pinner.way
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    try:
        for backing in BACKINGS:
            tell(f"pinning, {backing} pages")
            try:
                times = pin_times(pinner, memory, backing, rounds)
            except OSError as error:
                why = "no free huge pages: set vm.nr_hugepages" if backing == "2M" else f"{error}"
                if backing != "2M" and error.errno in (errno.ENOMEM, errno.EPERM) and memory > limit >= 0:
                    why += f"; RLIMIT_MEMLOCK is {format_bytes(limit)}: raise it with ulimit -l, or probe less memory"
                into.missing.append(f"pages of {backing}: {why}")
                continue
            for kind, ns in times.items():
                into.costs.append(_cost(f"{kind}.{backing}", ns, f"{bytes_text(memory)}, {pinner.way}", into.host))
    finally:
        pinner.close()


def _bandwidths(into: Probe, rounds: int, tell: Callable[[str], None]) -> None:
    tell("memory copy")
    source, target = np.ones(COPY_BYTES, np.uint8), np.zeros(COPY_BYTES, np.uint8)
    pages = COPY_BYTES // PAGE_SIZE
    copied = _timed(lambda: np.copyto(target, source), pages, rounds)
    into.costs.append(_cost("ram.copy_page", copied, f"{bytes_text(COPY_BYTES)} copied by one thread", into.host))
    tell("zero pages")
    zero = np.zeros(COPY_BYTES // 8, np.uint64)
    looked = _timed(lambda: zero.any(), pages, rounds)
    into.costs.append(_cost("ram.zero_page", looked, f"{bytes_text(COPY_BYTES)} of zeros looked through", into.host))
    tell("bitmap sync")
    words, bmap = bitmap.new_words(COPY_BYTES)[0], bitmap.new_words(COPY_BYTES)[0]

    def sync() -> None:
        words[:] = bitmap.ONES
        bitmap_sync.sync(words, bmap)

    synced = _timed(sync, words.size, rounds)
    into.costs.append(_cost("bitmap.sync_word", synced, f"{words.size} words, all dirty, filled each time", into.host))


def probe(
    memory: int = 256 * MIB, rounds: int = 5, *, allowed: int = LARGEST_UNASKED, tell: Callable[[str], None] = str
) -> Probe:
    """Measure pin and unpin by backing and warmth, memory copy, zero pages and bitmap sync.

    memory: bytes pinned at a time, at most `allowed`; `tell` is told what comes next. Raises InputError for a size out
    of bounds; what the host refuses is listed in `missing`.
    """
    if memory % (2 * MIB) or not SMALLEST <= memory <= allowed:
        raise InputError(
            f"{bytes_text(memory)} to pin is not a multiple of 2MiB from {bytes_text(SMALLEST)} to "
            f"{bytes_text(allowed)}; more has to be allowed (--yes)"
        )
    if rounds < 1:
        raise InputError(f"{rounds} rounds are none; measure at least once")
    found = Probe(host_text())
    _pins(found, memory, rounds, tell)
    _bandwidths(found, rounds, tell)
    found.costs += [Cost(key, 0.0, 0.0, 0.0, "ms", "guess", SOURCE, "not fitted", "") for key in UNEXPLAINED]
    return found
