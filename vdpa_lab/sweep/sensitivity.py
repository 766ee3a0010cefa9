"""How a window depends on the prices: all at once by chance (Monte Carlo), and one at a time (tornado)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vdpa_lab.library import Calibration, read_calibration
from vdpa_lab.migration import plan
from vdpa_lab.migration.simulate import SCENARIO_TIME
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.sweep.coalitions import checked_whole, checked_window, no_window
from vdpa_lab.sweep.draws import BLOCK, drawn
from vdpa_lab.sweep.factors import SCENARIO, Factors
from vdpa_lab.sweep.vectorised import ABSENT, PricedPlan

DRAWS = 4096


@dataclass(frozen=True, slots=True)
class Distribution:
    """A window over draws of the prices: `ns` is int64 [draws], in order of the draws; `nominal_ns` at the values."""

    window: str
    nominal_ns: int
    ns: np.ndarray

    def quantile(self, share: float) -> float:
        """The length in ns below which this share of the draws lies."""
        return float(np.quantile(self.ns, share))

    @property
    def interval(self) -> tuple[float, float]:
        """5th and 95th percentile in ns."""
        return self.quantile(0.05), self.quantile(0.95)


class Swing(NamedTuple):
    """One price at its low and at its high, all others at their values: the window in ns, and the price's grade.

    Or one axis at its first and at its last value; its grade is "scenario".
    """

    key: str
    low_ns: int
    high_ns: int
    basis: str

    @property
    def ns(self) -> int:
        return abs(self.high_ns - self.low_ns)


class Priced:
    """A scenario's plan, ready to be priced; what every question about prices starts from. Raises InputError."""

    def __init__(
        self, scenario: Scenario | str, names: Iterable[str] | None, window: str, calibration: Calibration | None,
        knobs: dict[str, dict[str, int]] | None = None,
    ):  # fmt: skip
        scenario = find_scenario(scenario)
        self.window = checked_window(window)
        self.plan = PricedPlan(plan(scenario, names, knobs))
        self.costs = (calibration or read_calibration(scenario.testbed)).with_costs([SCENARIO_TIME])
        self.values = self.plan.values(self.costs)
        self._column = self.plan.names.index(window)
        if self.ns(self.values[None])[0] == ABSENT:
            raise no_window(scenario, window)

    def ns(self, prices: np.ndarray) -> np.ndarray:
        """The window of each row of prices, int64 [rows]."""
        return self.plan.windows(prices)[:, self._column]

    @property
    def uncertain(self) -> list[int]:
        """Columns of the prices that have an interval."""
        return [i for i, key in enumerate(self.plan.keys) if self.costs[key].uncertain]


def monte_carlo(
    scenario: Scenario | str,
    names: Iterable[str] | None = None,
    *,
    window: str = "network_outage",
    draws: int = DRAWS,
    seed: int = 1,
    calibration: Calibration | None = None,
) -> Distribution:
    """The window over draws of all prices from their intervals (see `draws.drawn`), each schedule worked out anew.

    The same seed draws the same prices for every plan, so two sets of toggles can be compared draw by draw. Raises
    InputError.
    """
    checked_whole("draws", draws, 1, "draws")
    checked_whole("seed", seed, 0, "any size")
    priced = Priced(scenario, names, window, calibration)
    found = np.empty(draws, np.int64)
    for first in range(0, draws, BLOCK):
        last = min(first + BLOCK, draws)
        found[first:last] = priced.ns(drawn(priced.costs, priced.plan.keys, seed, first, last))
    return Distribution(window, int(priced.ns(priced.values[None])[0]), found)


def tornado(
    scenario: Scenario | str,
    names: Iterable[str] | None = None,
    *,
    axes: Mapping[str, Any] | None = None,
    window: str = "network_outage",
    calibration: Calibration | None = None,
) -> tuple[int, tuple[Swing, ...]]:
    """The window at the values in ns, and each price's swing between its low and high, the widest first.

    axes: what else is turned alone, as in a sweep's specification, from its first value to its last. Raises InputError.
    """
    priced = Priced(scenario, names, window, calibration)
    columns = priced.uncertain
    rows = np.repeat(priced.values[None], 1 + 2 * len(columns), axis=0)
    for i, column in enumerate(columns):
        cost = priced.costs[priced.plan.keys[column]]
        rows[1 + 2 * i, column], rows[2 + 2 * i, column] = cost.low, cost.high
    nominal, *ends = priced.ns(rows).tolist()
    swings = [
        Swing(priced.plan.keys[column], low, high, priced.costs[priced.plan.keys[column]].basis)
        for column, low, high in zip(columns, ends[::2], ends[1::2], strict=True)
    ]
    if axes:
        factors = Factors(scenario, names, axes, window, calibration, prices=False)
        swings += [Swing(axis.key, *factors.ends(axis), SCENARIO) for axis in factors.axes]
    return nominal, tuple(sorted(swings, key=lambda swing: (-swing.ns, swing.key)))
