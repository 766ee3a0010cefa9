"""Prices drawn from their intervals: draw number n of a price is the same in every plan, run order and process."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from math import log

import numpy as np

from vdpa_lab.library import Cost
from vdpa_lab.migration.uncertainty import NINETY

BLOCK = 1024  # draws that come from one generator


def drawn(costs: Mapping[str, Cost], keys: Sequence[str], seed: int, first: int, last: int) -> np.ndarray:
    """Prices in ns of draws first .. last - 1, float64 [draws, keys].

    Each price is log-normal with its low and high as a 90 % interval, independent of the others, as in
    `migration.uncertainty`; one without an interval keeps its value.
    """
    found = np.empty((last - first, len(keys)))
    for column, key in enumerate(keys):
        cost = costs[key]
        if not cost.uncertain:
            found[:, column] = cost.value
            continue
        sigma = log(cost.high / cost.low) / (2 * NINETY)
        normal = _normal(seed, zlib.crc32(key.encode()), first, last)
        found[:, column] = (cost.low * cost.high) ** 0.5 * np.exp(sigma * normal)
    return found


def _normal(seed: int, stream: int, first: int, last: int) -> np.ndarray:
    """Standard normal numbers first .. last - 1 of a stream."""
    low, high = first // BLOCK, -(-last // BLOCK)
    blocks = [np.random.default_rng((seed, stream, block)).standard_normal(BLOCK) for block in range(low, high)]
    return np.concatenate(blocks or [np.empty(0)])[first - low * BLOCK : last - low * BLOCK]
