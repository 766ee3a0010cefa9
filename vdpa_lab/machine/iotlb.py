"""Replays the memory messages of one vhost-vdpa device and says what each map rebuild had to carry.

An unbatched UPDATE calls the parent's set_map once for each physically contiguous chunk, an INVALIDATE once, a batch
once at its end; every call hands over the whole address space. Source: Linux drivers/vhost/vdpa.c
(vhost_vdpa_process_iotlb_msg, vhost_vdpa_map, vhost_vdpa_unmap), drivers/vdpa/mlx5/core/mr.c.
"""

from __future__ import annotations

from functools import lru_cache
from operator import add
from typing import NamedTuple

from vdpa_lab.machine.memory import Run
from vdpa_lab.machine.mlx5 import MemoryRegion, memory_region
from vdpa_lab.units import PAGE_SIZE


class Map(NamedTuple):
    """IOTLB_UPDATE: `runs` enter address space `asid`; `cold` is the share of their pages never touched before.

    folios: huge pages are pinned as one folio, not page by page.
    """

    asid: int
    runs: tuple[Run, ...]
    cold: float = 0.0
    folios: bool = False


class Unmap(NamedTuple):
    """IOTLB_INVALIDATE: the `runs` of `asid` leave, whole entries at a time."""

    asid: int
    runs: tuple[Run, ...]
    folios: bool = False


class SetMap(NamedTuple):
    """The parent's set_map: once, or once for `each` chunk of the run mapped just before."""

    asid: int
    each: bool = False


class Clean(NamedTuple):
    """Device reset with VDPA_RESET_F_CLEAN_MAP: the device drops its memory regions; the IOTLB entries stay."""


Effect = Map | Unmap | SetMap | Clean


class Replay(NamedTuple):
    """What one SetMap or Clean did: number of rebuilds, their summed sizes, what was dropped, the entry counts.

    `sizes` are the entries handed over by each rebuild in order (empty where a run of huge length was mapped chunk by
    chunk: then only the sum is kept). `indirect` and `dropped_indirect` count indirect MKEYs.
    """

    rebuilds: int
    built: MemoryRegion
    indirect: int
    dropped: int
    dropped_indirect: int
    sizes: tuple[int, ...]


def _add(a: MemoryRegion, b: MemoryRegion) -> MemoryRegion:
    return MemoryRegion(*map(add, a, b))


EACH_LIMIT = 64  # ring areas have at most a few pages; longer runs are summed in closed form


class _AddressSpace:
    def __init__(self) -> None:
        self.runs: dict[int, Run] = {}
        self.last: Run | None = None
        self.region = MemoryRegion()

    def ordered(self) -> list[Run]:
        return [self.runs[iova] for iova in sorted(self.runs)]

    def rebuild(self, each: bool) -> Replay:
        final = memory_region(self.ordered())
        if not each or self.last is None or self.last.entries == 1:
            steps = [final]
        elif self.last.entries <= EACH_LIMIT:
            steps = [memory_region(self._partial(count)) for count in range(1, self.last.entries)] + [final]
        else:
            return self._growing(final)
        built = MemoryRegion()
        dropped = dropped_indirect = 0
        for region in steps:
            built = _add(built, region)
            dropped += self.region.direct
            dropped_indirect += self.region.direct > 0
            self.region = region
        indirect = sum(region.direct > 0 for region in steps)
        return Replay(len(steps), built, indirect, dropped, dropped_indirect, tuple(region.entries for region in steps))

    def _partial(self, chunks: int) -> list[Run]:
        last = self.last
        size = sum(last.lengths[:chunks].tolist()) * PAGE_SIZE
        return [run._replace(size=size) if run is last else run for run in self.ordered()]

    def _growing(self, final: MemoryRegion) -> Replay:
        """The sum over all chunks of a long run: content grows linearly from what was there to `final`."""
        count = self.last.entries
        before = memory_region([run for run in self.ordered() if run is not self.last])
        built = MemoryRegion(
            *(count * low + (high - low) * (count + 1) // 2 for low, high in zip(before, final, strict=True))
        )
        had = self.region.direct > 0
        self.region = final
        dropped = built.direct - final.direct + before.direct * had
        return Replay(count, built, count, dropped, count - 1 + had, ())


@lru_cache(maxsize=512)
def replay(effects: tuple[Effect, ...]) -> tuple[Replay | None, ...]:
    """One Replay for each SetMap and Clean of `effects`, None for the others; starts from empty address spaces.

    Unmapping what is not mapped, or mapping over an entry (-EEXIST in vhost_iotlb), raises ValueError.
    """
    spaces: dict[int, _AddressSpace] = {}
    results: list[Replay | None] = []
    for effect in effects:
        match effect:
            case Map(asid, runs):
                space = spaces.setdefault(asid, _AddressSpace())
                for run in runs:
                    if run.iova in space.runs:
                        raise ValueError(f"IOVA {run.iova:#x} of ASID {asid} is mapped already (-EEXIST)")
                    space.runs[run.iova] = run
                    space.last = run
                results.append(None)
            case Unmap(asid, runs):
                space = spaces.setdefault(asid, _AddressSpace())
                for run in runs:
                    if space.runs.pop(run.iova, None) is None:
                        raise ValueError(f"IOVA {run.iova:#x} of ASID {asid} is not mapped")
                results.append(None)
            case SetMap(asid, each):
                results.append(spaces.setdefault(asid, _AddressSpace()).rebuild(each))
            case Clean():
                live = [space.region.direct for space in spaces.values() if space.region.direct]
                for space in spaces.values():
                    space.region = MemoryRegion()
                results.append(Replay(0, MemoryRegion(), 0, sum(live), len(live), ()))
    return tuple(results)
