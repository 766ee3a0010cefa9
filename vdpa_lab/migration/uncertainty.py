"""How far a result can be off for what its prices are not known: a 90 % interval by sampling the prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log

import numpy as np

from vdpa_lab.library import Cost
from vdpa_lab.timeline import Part

SAMPLES = 4000
SEED = 1
NINETY = 1.645  # half-width of a 90 % interval in standard deviations


def interval_ns(parts: Iterable[Part], prices: Mapping[str, Cost]) -> tuple[float, float]:
    """5th and 95th percentile of the parts' sum in ns.

    Each price is log-normal with its low and high as a 90 % interval, independent of the others (the fit's own
    correlations are not used, so the interval is on the wide side); the critical path is kept.
    """
    totals: dict[str, int] = {}
    for part in parts:
        totals[part.key] = totals.get(part.key, 0) + part.ns
    generator = np.random.default_rng(SEED)
    samples = np.zeros(SAMPLES)
    for key in sorted(totals):
        cost = prices.get(key)
        if cost is None or not cost.uncertain:
            samples += totals[key]
            continue
        sigma = log(cost.high / cost.low) / (2 * NINETY)
        middle = (cost.low * cost.high) ** 0.5 / cost.value
        samples += totals[key] * middle * np.exp(sigma * generator.standard_normal(SAMPLES))
    low, high = np.quantile(samples, [0.05, 0.95])
    return float(low), float(high)
