"""Precopy as QEMU runs it: windows of 100 ms, slices of 50, an estimate, an exact sync, and the stop.

Source: QEMU migration/migration.c (migration_iteration_run, migration_update_counters, migration_rate_limit),
migration/ram.c (ram_save_iterate, migration_trigger_throttle), migration/qemu-file.c.
"""

from __future__ import annotations

from functools import lru_cache

from vdpa_lab.migration.precopy_aggregate import AggregateRam
from vdpa_lab.migration.precopy_amounts import Amounts
from vdpa_lab.migration.precopy_exact import ExactRam, Sent
from vdpa_lab.migration.precopy_intervals import IntervalRam
from vdpa_lab.migration.precopy_layout import Costs, Layout, layout, page_costs
from vdpa_lab.migration.precopy_record import Iteration, Point, Precopy
from vdpa_lab.model import UNSET, Dirty, Migration, Scenario
from vdpa_lab.units import MS, PAGE_SIZE, SECOND

SECTION = 18  # header and footer of a section, and its end-of-section word
WINDOW = 100 * MS  # migration.c BUFFER_DELAY
MAX_WAIT = 51 * MS - 1  # ram.c: more than 50, in whole ms
STALLED = 12  # syncs without a new low, after which precopy is taken not to converge
MAX_SYNCS = 20_000
MAX_POINTS = 2000
THROTTLE_FIRST, THROTTLE_MORE, THROTTLE_MOST = 0.20, 0.10, 0.99  # options.c cpu-throttle-initial, -increment, max-
THROTTLE_SHARE, THROTTLE_TIMES = 0.5, 2  # throttle-trigger-threshold; ram.c migration_trigger_throttle
THROTTLE_SYNC = 5 * SECOND  # cpu-throttle.c CPU_THROTTLE_DIRTY_SYNC_TIMESLICE
PERIOD = SECOND  # ram.c: rates are looked at when a second has gone by


class _Clock:
    """The migration thread: its windows, its decision, and what it has noted down."""

    def __init__(self, migration: Migration, ram: Amounts | ExactRam) -> None:
        self.migration, self.ram = migration, ram
        self.now = self.window = self.in_window = self.sent = self.threshold = 0
        self.throttle, self.high = 0.0, 0
        self.last_sync = self.period_start = self.period_sent = self.period_dirty = 0
        self.points: list[Point] = []

    def settings(self) -> tuple[int | None, int, int | None]:
        """Bytes a window may have, the downtime limit, and the ns until they change."""
        bandwidth, limit = self.migration.max_bandwidth, self.migration.downtime_limit
        until = None if self.migration.cancel_after is None else self.migration.cancel_after - self.now
        for change in self.migration.changes:
            if change.after > self.now:
                until = change.after - self.now if until is None else min(until, change.after - self.now)
                break
            bandwidth = bandwidth if change.max_bandwidth is UNSET else change.max_bandwidth
            limit = limit if change.downtime_limit is None else change.downtime_limit
        # qemu-file.h: a limit of 0 bytes a window is none
        return (bandwidth * WINDOW // SECOND or None) if bandwidth else None, limit, until

    def run(self, ns: int) -> None:
        """Time goes by, and the guest runs."""
        self.ram.write(ns, 1.0 - self.throttle)
        self.now += ns

    def exceeded(self, room: int | None) -> bool:
        return room is not None and self.in_window > room

    def update_counters(self, limit: int) -> None:
        """migration_update_counters: bandwidth of the window that ended, and the threshold that follows."""
        spent = self.now - self.window
        if spent < WINDOW:
            return
        self.threshold = self.threshold_of(self.in_window, spent, limit)
        self.window, self.in_window = self.now, 0
        self.note()

    def threshold_of(self, sent: int, spent: int, limit: int) -> int:
        """Bytes that would be sent within the downtime limit, after a window of so many bytes and ns."""
        available = self.migration.avail_switchover_bandwidth
        return (available * spent // SECOND if available else sent) * limit // spent

    def note(self) -> None:
        self.points.append(Point(self.now, self.ram.dirty_pages * PAGE_SIZE, self.sent, self.threshold))
        if len(self.points) > MAX_POINTS:
            self.points = self.points[::2]

    def sync(self) -> int:
        """migration_bitmap_sync, and auto-converge's look at the last period."""
        new = self.ram.sync()
        self.last_sync = self.now
        self.period_dirty += new
        if self.now - self.period_start > PERIOD:
            sent, dirtied = self.sent - self.period_sent, self.period_dirty * PAGE_SIZE
            if self.migration.auto_converge and dirtied > sent * THROTTLE_SHARE:
                self.high += 1
                if self.high >= THROTTLE_TIMES:
                    self.high = 0
                    more = self.throttle + THROTTLE_MORE if self.throttle else THROTTLE_FIRST
                    self.throttle = min(THROTTLE_MOST, more)
            self.period_start, self.period_sent, self.period_dirty = self.now, self.sent, 0
        self.note()
        return new

    def iterate(self, room: int | None) -> None:
        """One ram_save_iterate; where windows like one of its own follow, those at once.

        Within a host page ram_save_host_page waits for the next window itself, and decides nothing there.
        """
        more, waited = SECTION, None
        while True:
            sent = self.ram.send(None if room is None else room - self.in_window, MAX_WAIT, waited=waited)
            bytes_sent, more = sent.wire + more, 0
            self.sent += bytes_sent
            self.in_window += bytes_sent
            self.run(max(1, sent.ns))
            if self.in_window == bytes_sent and self.now == self.window + sent.ns < self.window + WINDOW:
                self.skip(sent, bytes_sent, room)
            if not sent.within:
                return
            waited = max(0, self.window + WINDOW - self.now)
            self.run(waited)
            room, limit, _ = self.settings()
            self.update_counters(limit)

    def skip(self, sent: Sent, bytes_sent: int, room: int | None) -> None:
        """Whole windows like the one that has just begun, of one call or more, up to a change or a decision."""
        calls = 1 if sent.exceeded else -(-WINDOW // max(1, sent.ns))
        span = WINDOW if sent.exceeded else calls * sent.ns
        if room is not None and not sent.exceeded and calls * bytes_sent > room:
            return
        if not (alike := self.ram.alike(sent, MAX_WAIT)):
            return
        limit, until = self.settings()[1:]
        threshold, pages = self.threshold_of(calls * bytes_sent, span, limit), calls * (sent.normal + sent.zero)
        undecided = self.ram.dirty_pages * PAGE_SIZE - max(self.threshold, threshold)
        bounds = [alike // calls, undecided // (pages * PAGE_SIZE) - 2]
        if until is not None:
            bounds.append(until // span - 2)
        if self.migration.auto_converge and self.throttle:
            bounds.append((THROTTLE_SYNC - (self.now - self.last_sync)) // span - 2)
        if (windows := min(bounds)) > 0:
            self.threshold = threshold
            self.note()
            self.ram.take(windows * pages)
            self.sent += windows * calls * bytes_sent
            self.run(windows * span)
            self.window += windows * span


@lru_cache(maxsize=256)
def precopy(scenario: Scenario, exact: bool = False) -> Precopy:
    """Precopy of this scenario until the VM stops, and the pages left then.

    exact: page by page on bitmaps; else by expectation, within a few percent of that and at a small part of the cost.
    """
    dirty = scenario.workload.dirty
    scattered = dirty is not None and dirty.rate and dirty.pattern != "sequential"
    kind = ExactRam if exact else AggregateRam if scattered else IntervalRam
    return _played(scenario.migration, kind, layout(scenario), dirty, page_costs(scenario))


@lru_cache(maxsize=256)
def _played(migration: Migration, kind: type, memory: Layout, dirty: Dirty | None, costs: Costs) -> Precopy:
    """One for all scenarios that are alike in these, whatever their devices and versions."""
    return play(migration, kind(memory, dirty, *costs))


def play(migration: Migration, ram: Amounts | ExactRam) -> Precopy:
    """The migration thread over RAM that is new, from the first sync until the last page is sent."""
    clock = _Clock(migration, ram)
    ram.sync()
    clock.note()
    iterations: list[Iteration] = []
    start, remaining, sent_before, syncs, best, stalled = 0, ram.dirty_pages * PAGE_SIZE, 0, 0, None, 0
    while True:
        room, limit, until = clock.settings()
        if clock.migration.cancel_after is not None and until <= 0:
            iterations.append(Iteration(start, remaining, clock.sent - sent_before, 0))
            return Precopy(
                clock.now, tuple(iterations), clock.sent, False, ram.dirty_pages, 0, syncs, tuple(clock.points),
                clock.throttle, ram.clear_calls, True, ram.ring_exits,
            )  # fmt: skip
        if not clock.exceeded(room):
            pending = ram.dirty_pages * PAGE_SIZE
            due = clock.throttle and clock.now - clock.last_sync >= THROTTLE_SYNC
            if pending < clock.threshold or not pending or due:
                new = clock.sync()
                syncs += 1
                iterations.append(Iteration(start, remaining, clock.sent - sent_before, new))
                pending = remaining = ram.dirty_pages * PAGE_SIZE
                start, sent_before = clock.now, clock.sent
                converged = pending <= clock.threshold
                stalled = 0 if best is None or pending < best else stalled + 1
                best = pending if best is None else min(best, pending)
                throttling = clock.migration.auto_converge and clock.throttle < THROTTLE_MOST
                if converged or (until is None and not throttling and stalled >= STALLED) or syncs >= MAX_SYNCS:
                    break
            clock.iterate(room)
        clock.update_counters(limit)
        if clock.exceeded(room):
            clock.run(max(0, clock.window + WINDOW - clock.now))
            clock.update_counters(limit)
    total = clock.now
    ram.sync()
    left = ram.dirty_pages
    final = ram.send(None, 1 << 62, last_stage=True)
    iterations.append(Iteration(total, left * PAGE_SIZE, final.wire, 0))
    return Precopy(
        total, tuple(iterations), clock.sent + final.wire, converged, left, final.zero, syncs + 1, tuple(clock.points),
        clock.throttle, ram.clear_calls, ring_exits=ram.ring_exits,
    )  # fmt: skip
