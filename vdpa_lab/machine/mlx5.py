"""How mlx5_vdpa builds a memory region from the IOTLB: chains, windows of 1 GiB, MTTs, KLMs, mailbox blocks.

Source: Linux drivers/vdpa/mlx5/core/mr.c (create_user_mr, map_direct_mr, fill_indir), mlx5/core/cmd.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels.mlx5_mr import FIRST, IOVA, LAST, LOG_SIZE, NSG, SIZE, region
from vdpa_lab.machine.memory import Run
from vdpa_lab.units import GIB, PAGE_SIZE

WINDOW = GIB  # LOG_MAX_KLM_SIZE 30: the largest range of one direct MKEY


class MemoryRegion(NamedTuple):
    """Size of one mlx5_vdpa memory region: IOTLB entries, direct MKEYs, KLM entries, MTTs, 512-byte mailbox blocks."""

    entries: int = 0
    direct: int = 0
    klms: int = 0
    mtts: int = 0
    blocks: int = 0


class Window(NamedTuple):
    """One direct MKEY: IOVA and size in bytes, bytes of an MTT's entity, MTTs, and IOTLB entries that lie in it."""

    iova: int
    size: int
    entity: int
    mtts: int
    entries: int


def chains(runs: Iterable[Run]) -> Iterator[tuple[Run, ...]]:
    """Neighbours in IOVA order joined while contiguous and of one permission."""
    chain: list[Run] = []
    for run in runs:
        if chain and (chain[-1].iova + chain[-1].size != run.iova or chain[-1].perm != run.perm):
            yield tuple(chain)
            chain = []
        chain.append(run)
    if chain:
        yield tuple(chain)


@lru_cache(maxsize=4096)
def chain_region(chain: tuple[Run, ...]) -> MemoryRegion:
    """Windows are cut from the chain's start, not by absolute alignment; an MTT's size is ilog2 of the gcd."""
    return MemoryRegion(*_laid(chain)[0].tolist())


def _laid(chain: tuple[Run, ...]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [run.lengths for run in chain]
    return region(
        np.array([run.iova for run in chain], np.uint64),
        np.zeros(len(chain), np.uint64),
        np.cumsum([0, *map(len, lengths)]).astype(np.uint64),
        np.concatenate(lengths) if len(lengths) > 1 else lengths[0],
        WINDOW // PAGE_SIZE,
    )


def memory_windows(runs: Iterable[Run]) -> tuple[Window, ...]:
    """The direct MKEYs of a whole address space; `runs` in IOVA order."""
    return tuple(
        Window(*(int(row[column]) for column in (IOVA, SIZE)), 1 << int(row[LOG_SIZE]), int(row[NSG]),
               int(row[LAST] - row[FIRST]) + 1)
        for chain in chains(runs)
        for row in _laid(chain)[1]
    )  # fmt: skip


def memory_region(runs: Iterable[Run]) -> MemoryRegion:
    """The region of a whole address space; `runs` in IOVA order. Gaps are padded with null-key KLMs of <= 1 GiB."""
    total, previous_end = [0, 0, 0, 0, 0], None
    for chain in chains(runs):
        part = chain_region(chain)
        for i, value in enumerate(part):
            total[i] += value
        if previous_end is not None:
            total[2] += -(-(chain[0].iova - previous_end) // WINDOW)
        previous_end = chain[-1].iova + chain[-1].size
    return MemoryRegion(*total)
