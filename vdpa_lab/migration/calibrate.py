"""Fits few prices to published rows: bounded least squares with the micro-benchmarks as priors.

On a serial critical path a window is linear in the prices, so each row is linearised at the present prices, fitted, and
linearised again. Physical prices are shared by all testbeds; what they leave is one constant a testbed and window,
grade "guess". Rows marked predicted or shown never enter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path

import numpy as np

from vdpa_lab.library import Calibration, Cost, costs_text, priors
from vdpa_lab.library.calibration import SHARED
from vdpa_lab.migration.compare import (
    AS_PRINTED,
    UNEXPLAINED,
    Observation,
    observations,
    quantity_parts,
    ratio,
    reading_testbed,
)
from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.words import InputError

PHYSICAL = (
    "mlx5.command",
    "mlx5.mkey_create",
    "mlx5.mkey_create_cpu",
    "mlx5.mkey_destroy",
    "mlx5.mkey_destroy_cpu",
    "mlx5.mtt",
    "pin_warm.4k",
    "pin_warm.thp",
    "pin_cold.thp",
    "unpin.4k",
    "unpin.thp",
)
CONSTANT_WINDOWS = {
    "svq_switch": "svq_switch",
    "source_teardown": "source_teardown",
    "network_outage": "source_teardown",
}
SOURCES = {"tatulea2024": "tatulea2024mkey"}  # the bibliography's key where it is not the testbed's name
ROUNDS = 6
NINETY = 1.645  # half-width of a 90 % interval in standard deviations
ROW_SIGMA = 0.1  # how well a published row can be expected to hold, relative: unstated hardware and rounding
ROBUST = 4.0  # misses beyond so many sigmas count linearly: rows that contradict each other cannot both be met
NULL = 1e-3  # a direction whose curvature is this much flatter than the steepest is not determined by the rows


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted prices with 90 % intervals, per row the ratio reached, and directions that the rows leave open."""

    costs: tuple[Cost, ...]
    constants: dict[str, tuple[Cost, ...]]
    rows: tuple[tuple[Observation, float], ...]
    null_directions: tuple[tuple[tuple[str, float], ...], ...]
    reading: str

    def calibration(self, testbed: str) -> Calibration:
        """Micro-benchmarks, then the shared fit, then the testbed's constants."""
        return priors().with_costs(self.costs).with_costs(self.constants.get(testbed, no_constants(testbed)), testbed)


def save(fit: Fit, folder: Path) -> None:
    """Write a fit as the files that `read_calibration` reads: shared prices, and the constants of each testbed.

    A fit of another reading becomes calibrations of its own for the testbeds whose tables are read so.
    """
    if fit.reading == AS_PRINTED:
        save_text(costs_text(fit.costs), folder / f"{SHARED}.csv")
        for testbed, costs in fit.constants.items():
            save_text(costs_text(costs), folder / f"{testbed}.csv")
    for testbed in {row.testbed for row, _ in fit.rows if row.reading == fit.reading != AS_PRINTED}:
        costs = (*fit.costs, *fit.constants[testbed])
        save_text(costs_text(costs), folder / f"{reading_testbed(testbed, fit.reading)}.csv")


def no_constants(testbed: str) -> tuple[Cost, ...]:
    """Constants of zero: a testbed about which nothing is left over."""
    names = ("svq_switch", "source_teardown", "destination_setup")
    return tuple(_constant(name, testbed, 0.0, 0.0, 0.0, "no row asks for one") for name in names)


def _constant(name: str, testbed: str, value: float, low: float, high: float, why: str) -> Cost:
    return Cost(
        f"{UNEXPLAINED}{name}",
        value,
        low,
        high,
        "ms",
        "guess",
        SOURCES.get(testbed, testbed),
        "left over by the shared prices",
        why,
    )


def _coefficients(row: Observation, calibration: Calibration, names: Sequence[str]) -> tuple[dict[str, float], float]:
    """How often each fitted price counts in the row, and the ns that other prices make up."""
    parts = quantity_parts(row.run(calibration), row.quantity)
    counts, rest = dict.fromkeys(names, 0.0), 0.0
    for part in parts:
        name = f"{row.testbed}/{part.key}" if part.key.startswith(UNEXPLAINED) else part.key
        if name in counts:
            counts[name] += part.ns / calibration[part.key].value
        else:
            rest += part.ns
    return counts, rest


def fitted_rows(
    names: Iterable[str] = (), reading: str = AS_PRINTED, testbeds: Iterable[str] = ()
) -> list[Observation]:
    """The rows of use `fitted`; a figure that lacks the reading is taken as printed."""
    testbeds = set(testbeds)
    rows = [each for each in observations(tuple(names)) if each.row.use == "fitted" and each.low is not None]
    having = {each.figure.name for each in rows if each.reading == reading}
    return [
        each
        for each in rows
        if each.reading == (reading if each.figure.name in having else AS_PRINTED)
        and (not testbeds or each.testbed in testbeds)
    ]


def calibrate(names: Iterable[str] = (), reading: str = AS_PRINTED, testbeds: Iterable[str] = ()) -> Fit:
    """Fit the shared prices and the testbeds' constants to rows. Raises InputError without rows or without SciPy."""
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError("calibrate needs SciPy: pip install 'vdpa-lab[fit]'") from None
    rows = fitted_rows(names, reading, testbeds)
    if not rows:
        raise InputError("none of these figures has a row of use 'fitted'")
    prior = priors()
    constants = _constants_asked(rows)
    keys = [*PHYSICAL, *constants]
    values = {key: prior[key].value for key in PHYSICAL} | {
        key: 0.3 * min(row.low for row in rows if row.testbed == key.partition("/")[0] and row.low) for key in constants
    }
    low = np.array([log(prior[key].low) for key in PHYSICAL] + [log(1e3)] * len(constants))
    high = np.array([log(prior[key].high) for key in PHYSICAL] + [log(1e11)] * len(constants))
    centre = np.array([log(prior[key].value) for key in PHYSICAL])
    spread = np.array([max(0.05, log(prior[key].high / prior[key].low) / (2 * NINETY)) for key in PHYSICAL])
    sigma = np.array([max(ROW_SIGMA, row.resolution_ns() / row.low) for row in rows])
    for _ in range(ROUNDS):
        table = [_coefficients(row, _at(values, row.testbed), keys) for row in rows]
        counts = np.array([[each[key] for key in keys] for each, _ in table])
        rest = np.array([other for _, other in table])

        def misses(x, counts=counts, rest=rest):
            simulated = counts @ np.exp(x) + rest
            return (
                np.array([log(ratio(ns, row.low, row.high)) for ns, row in zip(simulated, rows, strict=True)]) / sigma
            )

        def residuals(x, misses=misses):
            return np.concatenate([misses(x), (x[: len(PHYSICAL)] - centre) / spread])

        start = np.clip([log(values[key]) for key in keys], low + 1e-9, high - 1e-9)
        found = least_squares(residuals, start, bounds=(low, high), loss="soft_l1", f_scale=ROBUST)
        values = {key: exp(x) for key, x in zip(keys, found.x, strict=True)}
    return _fit(rows, keys, found, misses, values, reading)


def _constants_asked(rows: Iterable[Observation]) -> list[str]:
    """One constant for each testbed and window among the rows."""
    asked = (
        f"{row.testbed}/{UNEXPLAINED}{CONSTANT_WINDOWS[row.quantity]}"
        for row in rows
        if row.quantity in CONSTANT_WINDOWS
    )
    return list(dict.fromkeys(asked))


def _at(values: dict[str, float], testbed: str) -> Calibration:
    costs = [replace(priors()[key], value=value) for key, value in values.items() if "/" not in key]
    own = {cost.key: cost for cost in no_constants(testbed)}
    for key, value in values.items():
        bed, _, name = key.partition("/")
        if bed == testbed:
            own[name] = replace(own[name], value=value)
    return priors().with_costs([*costs, *own.values()], testbed)


def _fit(rows, keys, found, misses, values, reading) -> Fit:
    jacobian = np.atleast_2d(found.jac)
    covariance = np.linalg.pinv(jacobian.T @ jacobian)
    half = {key: exp(min(NINETY * covariance[i, i] ** 0.5, 5.0)) for i, key in enumerate(keys)}
    names = sorted({row.figure.name for row in rows})
    where = f"fitted to {', '.join(names)}, {reading}"
    costs = tuple(
        replace(
            priors()[key],
            value=values[key],
            low=values[key] / half[key],
            high=values[key] * half[key],
            basis="fitted",
            locator=where,
            conditions=f"prior: {priors()[key].basis}, {priors()[key].locator}",
        )
        for key in PHYSICAL
    )
    constants: dict[str, tuple[Cost, ...]] = {}
    for testbed in dict.fromkeys(row.testbed for row in rows):
        own = {cost.key: cost for cost in no_constants(testbed)}
        for key in keys:
            bed, _, name = key.partition("/")
            if bed == testbed:
                value = values[key]
                own[name] = replace(
                    own[name], value=value, low=value / half[key], high=value * half[key], conditions=where
                )
        constants[testbed] = tuple(own.values())
    count = len(rows)
    scale, vectors = np.linalg.eigh(jacobian[:count].T @ jacobian[:count])
    directions = tuple(
        tuple((keys[i], round(float(vectors[i, j]), 2)) for i in np.argsort(-abs(vectors[:, j]))[:3])
        for j in range(len(keys))
        if scale[j] < NULL * scale[-1]
    )
    ratios = tuple((row, row_ratio(row, _at(values, row.testbed))) for row in rows)
    return Fit(costs, constants, ratios, directions, reading)


def row_ratio(row: Observation, calibration: Calibration) -> float:
    """Simulated over the nearest published bound of a row, under these prices."""
    ns = sum(part.ns for part in quantity_parts(row.run(calibration), row.quantity))
    return ratio(ns, row.low, row.high)


if __name__ == "__main__":
    import sys

    for each in (AS_PRINTED, "rows 1-2 transposed"):
        save(calibrate(reading=each), Path(sys.argv[1]))
