"""Memory regions of mlx5_vdpa over time: built under a lock, swapped in, and destroyed later under the same lock.

set_map builds the new region before it drops the old one. A dropped region goes on a list, and a delayed work destroys
all of the list 2000 ms after the first was put there; if the lock is taken then, it tries again 2000 ms later. A
set_map that comes while it destroys has to wait. Both address spaces of a device share the lock, list and work.
Source: Linux drivers/vdpa/mlx5/core/mr.c (mlx5_vdpa_create_mr, mlx5_vdpa_update_mr, mlx5_vdpa_put_mr,
mlx5_vdpa_mr_gc_handler); queue_delayed_work leaves a work that is pending already as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdpa_lab.units import MS

GC_DELAY = 2000 * MS  # MLX5_VDPA_MR_GC_TRIGGER_MS
SCATTERLIST_BYTES = 32  # struct scatterlist on x86-64: one for each MTT stays with the region
IOTLB_MAP_BYTES = 96  # struct vhost_iotlb_map on x86-64: the region keeps a copy of the IOTLB (dup_iotlb)


class Rebuild(NamedTuple):
    """One set_map: asked for at `time`, takes `build` to build and `destroy` to destroy later (ns), `size` bytes.

    A reset with VDPA_RESET_F_CLEAN_MAP drops a region and builds none: build, destroy and size 0.
    """

    time: int
    build: int
    destroy: int
    size: int
    asid: int = 0


class Lifetime(NamedTuple):
    """What became of the rebuilds, in their order (ns), and of the regions they dropped.

    starts, finishes: when each was built; waits: how long each stood behind a deferred deletion. collections: (start,
    finish) of each run of the delayed work that got the lock. peak: most bytes of old and new regions at one time.
    """

    starts: tuple[int, ...]
    finishes: tuple[int, ...]
    waits: tuple[int, ...]
    collections: tuple[tuple[int, int], ...]
    peak: int


def region_bytes(entries: int, mtts: int) -> int:
    """Host memory that a region holds: its scatter list and its copy of the IOTLB."""
    return SCATTERLIST_BYTES * mtts + IOTLB_MAP_BYTES * entries


class _Collector:
    """The list of dropped regions and the delayed work that destroys them."""

    def __init__(self) -> None:
        self.dropped: list[Rebuild] = []
        self.due: int | None = None
        self.runs: list[tuple[int, int]] = []
        self.held = 0  # bytes of all regions
        self.building = (0, 0)

    def put(self, region: Rebuild, now: int) -> None:
        self.dropped.append(region)
        if self.due is None:
            self.due = now + GC_DELAY

    def run_until(self, now: int | None) -> int:
        """Run what is due by `now` (None: everything); the time from which the lock is free."""
        while self.due is not None and (now is None or self.due <= now):
            if self.building[0] <= self.due < self.building[1]:  # mutex_trylock fails
                self.due += GC_DELAY
                continue
            at = self.due
            for region in self.dropped:
                at += region.destroy
                self.held -= region.size
            self.runs.append((self.due, at))
            self.dropped, self.due = [], None
        return self.runs[-1][1] if self.runs else 0


def lifetime(rebuilds: Iterable[Rebuild]) -> Lifetime:
    """Place the set_maps of one device in time; `rebuilds` in the order of asking (vhost-vdpa holds d->mutex).

    Where the delayed work and a set_map want the lock at one instant, the work gets it. Raises ValueError for rebuilds
    out of order.
    """
    collector, live = _Collector(), {}
    starts, finishes, waits = [], [], []
    before = peak = 0
    for rebuild in rebuilds:
        if rebuild.time < before:
            raise ValueError(f"a rebuild at {rebuild.time} ns comes after one at {before} ns")
        before = rebuild.time
        asked = max(rebuild.time, finishes[-1] if finishes else 0)
        start = max(asked, collector.run_until(asked))
        finish = start + rebuild.build
        collector.building = (start, finish)
        collector.held += rebuild.size
        peak = max(peak, collector.held)
        if rebuild.asid in live:
            collector.put(live[rebuild.asid], finish)
        live[rebuild.asid] = rebuild
        starts.append(start)
        finishes.append(finish)
        waits.append(start - asked)
    collector.run_until(None)
    return Lifetime(tuple(starts), tuple(finishes), tuple(waits), tuple(collector.runs), peak)
