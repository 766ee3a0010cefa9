"""Precopy in rounds: how long it takes and what is left when the source stops. Aggregate, not page-exact.

Each round sends what the round before left dirty; a round's length sets how much the guest dirties meanwhile.
Source: QEMU migration/migration.c (migration_iteration_run), migration/ram.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from vdpa_lab.model import UNSET, Dirty, Scenario
from vdpa_lab.units import MIB, PAGE_SIZE, SECOND

PAGE_HEADER = 8  # ram.c save_page_header
ZERO_PAGE = 9  # header and one byte
MAX_ROUNDS = 200
DEVICE_STATE = MIB  # an upper bound for the non-iterable state that the last pass carries


class Iteration(NamedTuple):
    """One pass: its start in ns, bytes of dirty pages then, bytes sent, pages dirtied meanwhile."""

    start_ns: int
    remaining_bytes: int
    sent_bytes: int
    dirty_pages: int


class Precopy(NamedTuple):
    """`converged` False: the downtime limit was never met, and the rest is sent with the VM stopped all the same."""

    total_ns: int
    iterations: tuple[Iteration, ...]
    transferred_bytes: int
    converged: bool
    left_pages: int

    @property
    def left_bytes(self) -> int:
        return self.left_pages * (PAGE_SIZE + PAGE_HEADER)


def dirtied(dirty: Dirty | None, ns: int) -> int:
    """Distinct pages that the guest dirties in `ns`: a sequential writer wraps, a random one hits pages again."""
    if dirty is None or not dirty.rate:
        return 0
    writes, pages = dirty.rate * ns / SECOND, dirty.working_set // PAGE_SIZE
    if dirty.pattern == "sequential":
        return int(min(writes, pages))
    if dirty.pattern == "random":
        return int(pages * (1 - (1 - 1 / pages) ** writes)) if pages > 1 else int(min(writes, 1))
    hot = max(1, pages // 10)  # the measured runs' "hot": 90 % of writes to 10 % of pages
    return sum(
        int(count * (1 - (1 - 1 / count) ** part)) if count > 1 else int(min(part, 1))
        for count, part in ((hot, 0.9 * writes), (max(1, pages - hot), 0.1 * writes))
    )


def _settings(scenario: Scenario, ns: int) -> tuple[int | None, int]:
    """Bandwidth limit and downtime limit in force at `ns`."""
    bandwidth, limit = scenario.migration.max_bandwidth, scenario.migration.downtime_limit
    for change in scenario.migration.changes:
        if change.after <= ns:
            bandwidth = bandwidth if change.max_bandwidth is UNSET else change.max_bandwidth
            limit = limit if change.downtime_limit is None else change.downtime_limit
    return bandwidth, limit


def wire_ns(size: int, bandwidth: int | None) -> int:
    """Time on the wire of `size` bytes."""
    return 0 if bandwidth is None else -(-size * SECOND // bandwidth)


def page_ns(pages: int, bandwidth: int | None) -> int:
    """Time on the wire of whole pages with their headers."""
    return wire_ns(pages * (PAGE_SIZE + PAGE_HEADER), bandwidth)


def slower(first: int | None, second: int | None) -> int | None:
    """The lower of two rates; None is no limit."""
    return min((rate for rate in (first, second) if rate is not None), default=None)


@lru_cache(maxsize=256)
def precopy(scenario: Scenario) -> Precopy:
    """The passes of this scenario until what is left fits the downtime limit."""
    pages = scenario.guest.memory // PAGE_SIZE
    zero = int(pages * scenario.guest.zero_pages)
    size = (pages - zero) * (PAGE_SIZE + PAGE_HEADER) + zero * ZERO_PAGE
    now, left, iterations, sent, converged, previous = 0, pages, [], 0, True, None
    while True:
        bandwidth, limit = _settings(scenario, now)
        rate = slower(bandwidth, scenario.link.bandwidth)
        budget = None if rate is None else rate * limit // SECOND
        if iterations and (budget is None or left * PAGE_SIZE <= budget):
            break
        pending = any(change.after > now for change in scenario.migration.changes)
        if len(iterations) >= MAX_ROUNDS or (previous is not None and left >= previous and not pending):
            converged = False
            break
        took = wire_ns(size, rate)
        fresh = dirtied(scenario.workload.dirty, took)
        iterations.append(Iteration(now, left * PAGE_SIZE, size, fresh))
        previous = left if len(iterations) > 1 else None
        now, sent, left = now + max(took, 1), sent + size, fresh
        size = left * (PAGE_SIZE + PAGE_HEADER)
    return Precopy(now, tuple(iterations), sent, converged, left)
