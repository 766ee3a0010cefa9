"""How mlx5_vdpa builds a memory region from the IOTLB: chains, windows of 1 GiB, MTTs, KLMs, mailbox blocks.

Source: Linux drivers/vdpa/mlx5/core/mr.c (create_user_mr, map_direct_mr, fill_indir), mlx5/core/cmd.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from vdpa_lab.machine.memory import Run
from vdpa_lab.units import GIB

WINDOW = GIB  # LOG_MAX_KLM_SIZE 30: the largest range of one direct MKEY
MTT_BYTES = 8
MTT_ALIGN = 16  # the MTT list is padded to 16 bytes inside the CREATE_MKEY inbox
MAILBOX_BLOCK = 512  # MLX5_CMD_DATA_BLOCK_SIZE


class MemoryRegion(NamedTuple):
    """Size of one mlx5_vdpa memory region: IOTLB entries, direct MKEYs, KLM entries, MTTs, 512-byte mailbox blocks."""

    entries: int = 0
    direct: int = 0
    klms: int = 0
    mtts: int = 0
    blocks: int = 0


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


def _clipped_sizes(run: Run, start: int, end: int) -> int:
    """gcd of the sizes of the run's entries after clipping to [start, end); 0 when none lies inside."""
    low, high = max(start, run.iova), min(end, run.iova + run.size)
    if low >= high:
        return 0
    edge = run.iova + run.first  # the first chunk boundary inside the run
    head = edge if low < edge else edge + -(-(low - edge) // run.chunk) * run.chunk
    if head >= high:
        return high - low
    tail = (high - edge) % run.chunk
    return gcd(gcd(head - low, tail), run.chunk if high - tail > head else 0)


@lru_cache(maxsize=4096)
def chain_region(chain: tuple[Run, ...]) -> MemoryRegion:
    """Windows are cut from the chain's start, not by absolute alignment; their MTT size is the gcd of entry sizes."""
    start, end = chain[0].iova, chain[-1].iova + chain[-1].size
    direct = mtts = blocks = 0
    for low in range(start, end, WINDOW):
        high = min(low + WINDOW, end)
        common = 0
        for run in chain:
            common = gcd(common, _clipped_sizes(run, low, high))
        entity = 1 << (common.bit_length() - 1)
        count = -(-(high - low) // entity)
        direct += 1
        mtts += count
        inbox = -(-count * MTT_BYTES // MTT_ALIGN) * MTT_ALIGN
        blocks += -(-inbox // MAILBOX_BLOCK)
    return MemoryRegion(sum(run.entries for run in chain), direct, direct, mtts, blocks)


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
