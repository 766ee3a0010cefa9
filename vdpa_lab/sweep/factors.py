"""What a window may depend on: keys of a scenario, toggles, knobs and prices, each a share from 0 to 1 of its way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vdpa_lab.library import Calibration, Cost, read_calibration
from vdpa_lab.migration import Plan, plan
from vdpa_lab.migration.schedule import price
from vdpa_lab.migration.simulate import SCENARIO_TIME, run_plan
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.sweep.axes import PRICE, Axis
from vdpa_lab.sweep.coalitions import checked_window, no_window
from vdpa_lab.sweep.design import factors, setting
from vdpa_lab.sweep.evaluate import gc_paused, scaled
from vdpa_lab.sweep.spec import Spec, read_spec
from vdpa_lab.sweep.vectorised import PricedPlan
from vdpa_lab.words import InputError

BELOW_ONE = np.nextafter(1.0, 0.0)
SCENARIO = "scenario"  # the grade of a factor that is no price


def between(cost: Cost, share: np.ndarray | float) -> Any:
    """The price at a share of the way from its low to its high, evenly in the logarithm; its value without a way."""
    return cost.low * (cost.high / cost.low) ** share if cost.uncertain else cost.value


class Factors:
    """A window as a function of factors: first the axes, as a sweep's specification spells them, then the prices.

    prices: every price with an interval that a plan uses, of the scenario or of an end of an axis; they vary between
    their low and high, evenly in the logarithm. progress: called with the number of rows after each piece of work; what
    it raises ends the work. Raises InputError for axes that a sweep would refuse, without any factor, and when the
    migration has no such window.
    """

    def __init__(
        self, scenario: Scenario | str, names: Iterable[str] | None, axes: Mapping[str, Any] | None, window: str,
        calibration: Calibration | None, prices: bool = True, progress: Callable[[int], None] | None = None,
    ):  # fmt: skip
        self.scenario, self.window, self.calibration = find_scenario(scenario), checked_window(window), calibration
        self.progress, self._done = progress, 0
        self.spec: Spec = read_spec(
            {
                "name": "factors", "scenario": self.scenario, "windows": [window], "axes": dict(axes or {}),
                "optimizations": None if names is None else list(names),
                **({"method": "random", "samples": 1} if axes else {}),
            }
        )  # fmt: skip
        self.axes: tuple[Axis, ...] = self.spec.axes
        nominal = self._run({})
        if nominal is None:
            raise no_window(self.scenario, window)
        self.nominal_ns = nominal
        self.prices = self._uncertain() if prices else ()
        self.keys = (*(axis.key for axis in self.axes), *self.prices)
        if not self.keys:
            raise InputError(f"{self.scenario.name}: nothing varies: name an axis, or let the prices vary")

    @gc_paused()
    def ns(self, shares: np.ndarray) -> np.ndarray:
        """The window at each row of shares, int64 [rows]. shares: float64 [rows, keys], 0 .. 1.

        Raises InputError with the values of a row that cannot be.
        """
        found, groups = np.empty(len(shares), np.int64), {}
        count = len(self.axes)
        for row, each in enumerate(np.minimum(shares[:, :count], BELOW_ONE).tolist()):
            at = tuple(axis.at(share) for axis, share in zip(self.axes, each, strict=True))
            groups.setdefault(at, []).append(row)
        for at, rows in groups.items():
            found[rows] = self._ns(dict(zip(self.keys, at, strict=False)), shares[rows, count:])
            self._done += len(rows)
            if self.progress:
                self.progress(self._done)
        return found

    def ends(self, axis: Axis) -> tuple[int, int]:
        """The window with an axis at its first and at its last value, all else as it is."""
        first, last = ({axis.key: axis.at(share)} for share in (0.0, BELOW_ONE))
        return self._run(first) or 0, self._run(last) or 0

    def _uncertain(self) -> tuple[str, ...]:
        """Prices with an interval that a plan uses, of the scenario or of an end of an axis, and that are no axis."""
        ends = [{axis.key: axis.at(share)} for axis in self.axes for share in (0.0, BELOW_ONE)]
        found: dict[str, None] = {}
        for chosen in ({}, *ends):
            costs = self._costs(chosen)
            terms = price(self._plan(chosen), costs)
            found |= dict.fromkeys(term.key for each in terms for term in each if costs[term.key].uncertain)
        return tuple(key for key in sorted(found) if f"{PRICE}.{key}" not in {axis.key for axis in self.axes})

    def _plan(self, chosen: dict[str, Any]) -> Plan:
        try:
            return plan(*setting(self.spec, chosen))
        except ValueError as error:
            at = ", ".join(f"{key} = {value!r}" for key, value in chosen.items()) or self.scenario.name
            raise InputError(f"{at}: {error}; every value of an axis has to be possible") from None

    def _costs(self, chosen: dict[str, Any]) -> Calibration:
        costs = self.calibration or read_calibration(chosen.get("testbed", self.scenario.testbed))
        return scaled(costs.with_costs([SCENARIO_TIME]), factors(chosen))

    def _run(self, chosen: dict[str, Any], prices: Iterable[Cost] = ()) -> int | None:
        return run_plan(self._plan(chosen), self._costs(chosen).with_costs(prices)).windows[self.window]

    def _ns(self, chosen: dict[str, Any], shares: np.ndarray) -> np.ndarray | int:
        """The window at these values of the axes, for each row of shares of the prices; 0 where there is none."""
        costs = self._costs(chosen)
        if len(shares) == 1:
            of = [(costs[key], at) for key, at in zip(self.prices, shares[0].tolist(), strict=True) if key in costs]
            return self._run(chosen, [replace(cost, value=between(cost, at)) for cost, at in of]) or 0
        priced = PricedPlan(self._plan(chosen))
        rows = np.repeat(priced.values(costs)[None], len(shares), axis=0)
        for column, key in enumerate(self.prices):
            if key in priced.keys:
                rows[:, priced.keys.index(key)] = between(costs[key], shares[:, column])
        return np.maximum(priced.windows(rows)[:, priced.names.index(self.window)], 0)
