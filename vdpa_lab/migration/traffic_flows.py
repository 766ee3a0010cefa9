"""Flows of packets: when each arrives, from a seed, in blocks, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vdpa_lab.model import Traffic as Load
from vdpa_lab.model import VdpaDevice
from vdpa_lab.units import SECOND
from vdpa_lab.words import InputError, nearest

RX, TX = "rx", "tx"
KINDS = ("constant", "poisson", "onoff", "list")
BLOCK = 1 << 16  # packets of one flow generated at once
BLOCKS = 1 << 20  # packets of all flows generated at once, with at least SMALLEST each
SMALLEST = 256
MOST_FLOWS = 1024


@dataclass(frozen=True)
class Flow:
    """Packets of one virtqueue.

    constant: evenly spaced at `pps`, the first at `offset` ns. poisson: `pps` on average. onoff: bursts of `burst`
    packets at `peak` pps, with exponential pauses that make `pps` on average. list: at `times` ns, in order.
    """

    device: int
    pair: int
    direction: str
    pps: int = 0
    kind: str = "constant"
    offset: int = 0
    burst: int = 64
    peak: int = 10_000_000
    times: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raises InputError for a flow that cannot be."""
        where = f"flow {self.direction} of device {self.device}, pair {self.pair}"
        if self.direction not in (RX, TX):
            raise InputError(f"{where}: the direction is rx or tx")
        if self.kind not in KINDS:
            raise InputError(f"{where}: kind {self.kind!r}; {nearest(self.kind, KINDS)}")
        if not 0 <= self.pps <= SECOND or self.offset < 0:
            raise InputError(f"{where}: pps has to be 0 to {SECOND}, and offset not below 0")
        if self.kind == "onoff" and not (self.burst > 0 and self.pps < self.peak <= SECOND):
            raise InputError(f"{where}: a burst has at least 1 packet, and peak is above pps and at most {SECOND}")
        if self.times and (self.times[0] < 0 or any(a > b for a, b in zip(self.times, self.times[1:], strict=False))):
            raise InputError(f"{where}: times have to be in order, none below 0; sort them")

    def blocks(self, rng: np.random.Generator, block: int) -> Iterator[np.ndarray]:
        """Times of arrival in ns, uint64 in order, at most `block` at once; endless unless a list."""
        if self.kind == "list":
            times = np.array(self.times, np.uint64)
            yield from (times[at : at + block] for at in range(0, times.size, block))
        elif self.pps == 0:
            return
        elif self.kind == "constant":
            ticks, first = np.arange(block, dtype=np.uint64) * np.uint64(SECOND), 0
            while True:
                whole, rest = divmod(first * SECOND, self.pps)
                yield (ticks + np.uint64(rest)) // np.uint64(self.pps) + np.uint64(self.offset + whole)
                first += block
        else:
            base, rest, number = self.offset, 0.0, 0
            while True:
                at = np.cumsum(self._gaps(rng, block, number))
                at += rest
                yield at.astype(np.uint64) + np.uint64(base)
                whole = int(at[-1])
                base, rest, number = base + whole, float(at[-1]) - whole, number + block

    def _gaps(self, rng: np.random.Generator, block: int, number: int) -> np.ndarray:
        """Pauses in ns before packets number, number + 1, …"""
        if self.kind == "poisson":
            return rng.exponential(SECOND / self.pps, block)
        gaps = np.full(block, SECOND / self.peak)
        first = -number % self.burst
        pause = self.burst * (SECOND / self.pps - SECOND / self.peak)
        gaps[first :: self.burst] += rng.exponential(pause, gaps[first :: self.burst].size)
        return gaps


class Arrivals:
    """The next block of one flow, up to the horizon; then the one time that never comes."""

    def __init__(self, flow: Flow, seed: int, block: int, horizon: int):
        rng = np.random.Generator(np.random.PCG64(seed))
        self._blocks = flow.blocks(rng, block)
        self._horizon = np.uint64(horizon)

    def next(self, out: np.ndarray, latest: np.uint64) -> int:
        """Write the next arrivals to `out`; returns how many."""
        block = next(self._blocks, None)
        size = 0 if block is None else int(np.searchsorted(block, self._horizon))
        if block is not None:
            out[:size] = block[:size]
            if size == block.size:
                return size
        out[size] = latest
        return size + 1


def flows_of(load: Load, devices: int, device: VdpaDevice, kind: str = "constant") -> tuple[Flow, ...]:
    """The flows of a workload: each device's packets spread over its queue pairs in use, out of step with each other.

    Raises InputError when there are more than MOST_FLOWS.
    """
    pairs, count = device.pairs_in_use, 2 * devices * device.pairs_in_use
    if count > MOST_FLOWS:
        raise InputError(f"workload.traffic: {count} flows; at most {MOST_FLOWS}. Use fewer devices or active_pairs")
    found = []
    for number in range(count // 2):
        for direction, pps in ((RX, load.rx_pps), (TX, load.tx_pps)):
            share = pps // pairs + (number % pairs < pps % pairs)
            offset = SECOND * (2 * number + (direction == TX)) // (count * share) if share else 0
            peak = min(SECOND, max(10 * share, 1))
            found.append(Flow(number // pairs, number % pairs, direction, share, kind, offset, peak=peak))
    return tuple(found)
