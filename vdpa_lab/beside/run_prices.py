"""Prices from one's own recorded migrations: least absolute deviations over every matched operation.

A price is what makes the sum of |recorded - simulated| over operations smallest, so a long operation counts by its
time and a single interrupted one does not bend the rest. What a recording cannot tell keeps its price and is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vdpa_lab.beside.charges import PLACES, WITHIN, Charge, Matched, match
from vdpa_lab.library import Calibration, Cost, read_calibration
from vdpa_lab.migration.compare import UNEXPLAINED
from vdpa_lab.migration.simulate import run_plan
from vdpa_lab.timeline import intervals
from vdpa_lab.timeline.windows import WINDOWS
from vdpa_lab.traces import TraceRun
from vdpa_lab.words import InputError

SAMPLES, SEED = 100, 1
FEW = 3  # so few operations give no interval of their own
WIDE = 2.0  # the factor up and down that is assumed then
ALIKE = 1e-3  # a price whose amounts are so much those of others (relative residual) is not told apart from them


@dataclass(frozen=True)
class RunFit:
    """Prices fitted to recorded runs.

    costs: with 90 % intervals. constants: per window what no operation explains. charges: what was fitted.
    windows: (run, window, recorded ns, simulated ns). unknown: price -> its share of the windows, which rests on the
    testbed's price still. warnings: in words. base: the testbed whose other prices are kept.
    """

    runs: tuple[str, ...]
    costs: tuple[Cost, ...]
    constants: tuple[Cost, ...]
    charges: tuple[Charge, ...]
    windows: tuple[tuple[str, str, int, int], ...]
    unknown: dict[str, float]
    warnings: tuple[str, ...]
    base: str

    @cached_property
    def calibration(self) -> Calibration:
        """These prices over those of the testbed."""
        return read_calibration(self.base).with_costs([*self.costs, *self.constants], "recorded")

    def residuals(self) -> list[dict]:
        """By operation: how many, recorded and simulated ns in all, their ratio."""
        rows: dict[str, list[int]] = {}
        for each in self.charges:
            row = rows.setdefault(each.op, [0, 0, 0])
            row[0] += 1
            row[1] += each.ns
            row[2] += round(sum(n * self.calibration[key].value for key, n in each.amounts.items()))
        return [
            {"operation": op, "count": count, "recorded_ns": ns, "simulated_ns": ours,
             "ratio": ours / ns if ns else None}
            for op, (count, ns, ours) in sorted(rows.items(), key=lambda item: -item[1][1])
        ]  # fmt: skip


def calibrate_runs(runs: Sequence[TraceRun], samples: int = SAMPLES) -> RunFit:
    """Fit prices to recorded runs of one machine; intervals from so many resampled fits.

    Raises InputError where nothing of a run can be matched.
    """
    if not runs:
        raise InputError("name at least one recorded run")
    return _fit([match(run) for run in runs], samples)


def _fit(matched: Sequence[Matched], samples: int) -> RunFit:
    base = matched[0].simulated.scenario.testbed
    found = [charge for each in matched for charge in each.charges]
    warnings = [note for each in matched for note in each.notes]
    if {each.simulated.scenario.testbed for each in matched} != {base}:
        warnings.append("the runs are of different devices; their prices are joined all the same")
    costs, alike = _prices(found, base, samples)
    fitted = read_calibration(base).with_costs(costs, "recorded")
    constants = _constants(matched, fitted)
    whole = fitted.with_costs(constants)
    return RunFit(
        tuple(each.run.name for each in matched), tuple(costs), tuple(constants), tuple(found),
        tuple(row for each in matched for row in _windows(each, whole)),
        _unknown(matched, whole, {cost.key for cost in costs}), (*warnings, *alike), base,
    )  # fmt: skip


def _table(found: Sequence[Charge], keys: Sequence[str]) -> np.ndarray:
    return np.array([[each.amounts.get(key, 0) for key in keys] for each in found], dtype=np.float64)


def _solve(amounts: np.ndarray, ns: np.ndarray) -> np.ndarray:
    """Non-negative prices of least absolute deviation, as a linear programme."""
    try:
        from scipy.optimize import linprog
        from scipy.sparse import csr_matrix, eye, hstack, vstack
    except ImportError:
        raise InputError("calibrate needs SciPy: pip install 'vdpa-lab[fit]'") from None
    rows, keys = amounts.shape
    scale = amounts.max(axis=0)
    table, unit = csr_matrix(amounts / scale), eye(rows, format="csr")
    above = vstack([hstack([table, -unit]), hstack([-table, -unit])], format="csr")
    found = linprog(
        np.concatenate([np.zeros(keys), np.ones(rows)]), A_ub=above, b_ub=np.concatenate([ns, -ns]), method="highs"
    )
    if not found.success:
        raise InputError(f"these recordings determine no prices: {found.message}")
    return found.x[:keys] / scale


def _resampled(found: Sequence[Charge], amounts: np.ndarray, ns: np.ndarray, count: int) -> list[np.ndarray]:
    """Fits to operations drawn again with replacement: whole runs where there are enough, since runs differ most."""
    names = np.array([each.run for each in found])
    groups = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
    if len(groups) < FEW:
        groups = [np.array([row]) for row in range(len(found))]
    generator, fits = np.random.default_rng(SEED), []
    for _ in range(count):
        rows = np.concatenate([groups[i] for i in generator.integers(0, len(groups), len(groups))])
        if (amounts[rows] > 0).any(axis=0).all():
            fits.append(_solve(amounts[rows], ns[rows]))
    return fits


def _prices(found: Sequence[Charge], base: str, count: int) -> tuple[list[Cost], list[str]]:
    keys = sorted({key for each in found for key in each.amounts})
    amounts, ns = _table(found, keys), np.array([each.ns for each in found], dtype=np.float64)
    best, samples = _solve(amounts, ns), _resampled(found, amounts, ns, count)
    names = ", ".join(dict.fromkeys(each.run for each in found))
    prior, costs, warnings = read_calibration(base), [], []
    for column, key in enumerate(keys):
        used, value = int((amounts[:, column] > 0).sum()), float(best[column])
        said = f"{used} operations of {names}"
        if used <= FEW or not samples:
            low, high = value / WIDE, value * WIDE
            warnings.append(f"{key}: only {used} operations; its interval is assumed, a factor {WIDE:g} either way")
        else:
            low, high = np.quantile([each[column] for each in samples], [0.05, 0.95])
        if other := _like(amounts, column, keys):
            warnings.append(f"{key}: these recordings do not tell it from {other}; only their sum is known")
        if not value:
            warnings.append(f"{key}: comes out as nothing; what it pays for is within the other prices")
        low, high = min(float(low), value), max(float(high), value)
        was = f"was {prior[key].in_unit(prior[key].value):.4g} {prior[key].unit}"
        costs.append(Cost(key, value, low, high, prior[key].unit, "fitted", "own-runs", said, was))
    nothing = replace(prior[WITHIN], value=0.0, low=0.0, high=0.0, basis="derived", source="own-runs")
    costs.append(replace(nothing, locator="contained in the prices of pin and unpin", conditions=""))
    return costs, warnings


def _like(amounts: np.ndarray, column: int, keys: Sequence[str]) -> str:
    """The other prices whose amounts make up this one's, if they do."""
    others = [i for i in range(len(keys)) if i != column]
    if not others:
        return ""
    target = amounts[:, column]
    weights, *_ = np.linalg.lstsq(amounts[:, others], target, rcond=None)
    rest = np.linalg.norm(amounts[:, others] @ weights - target)
    if rest > ALIKE * np.linalg.norm(target):
        return ""
    return ", ".join(keys[others[i]] for i in np.flatnonzero(abs(weights) > ALIKE))


def _windows(each: Matched, prices: Calibration) -> list[tuple[str, str, int, int]]:
    """(run, window, recorded ns, simulated ns under these prices) of the three windows, where both have them."""
    recorded, ours = each.run.windows(), run_plan(each.simulated.plan, prices).windows
    return [
        (each.run.name, window, recorded[window], ns)
        for window in PLACES.values()
        if window in recorded and (ns := ours[window]) is not None
    ]


def _constants(matched: Sequence[Matched], fitted: Calibration) -> list[Cost]:
    """A device's share of each window that no operation explains: QEMU's own work, and what tracing costs."""
    none = [replace(fitted[f"{UNEXPLAINED}{window}"], value=0.0, low=0.0, high=0.0) for window in PLACES.values()]
    bare = fitted.with_costs(none)
    left: dict[str, list[float]] = {window: [] for window in PLACES.values()}
    for each in matched:
        for _, window, recorded, ns in _windows(each, bare):
            summed = WINDOWS[window].combine == "sum"
            devices = len(intervals(each.run.timeline, WINDOWS[window])) if summed else 1
            left[window].append(max(0.0, (recorded - ns) / devices))
    return [
        replace(
            each,
            value=float(np.median(rest)) if rest else 0.0,
            low=min(rest, default=0.0),
            high=max(rest, default=0.0),
            basis="guess",
            source="own-runs",
            locator="left over by the fitted prices, a device",
            conditions=f"{len(rest)} runs; the interval is their range",
        )
        for each, rest in zip(none, left.values(), strict=True)
    ]


def _unknown(matched: Sequence[Matched], prices: Calibration, known: set[str]) -> dict[str, float]:
    """Prices that the windows use and the recordings say nothing of, by their share of the windows' time."""
    totals: dict[str, int] = {}
    for each in matched:
        run = run_plan(each.simulated.plan, prices)
        for window in PLACES.values():
            for part in run.breakdown(window):
                totals[part.key] = totals.get(part.key, 0) + part.ns
    whole = sum(totals.values()) or 1
    kept = {key: ns / whole for key, ns in totals.items() if key in prices and key not in known | {WITHIN}}
    return dict(sorted(((k, v) for k, v in kept.items() if not k.startswith(UNEXPLAINED)), key=lambda row: -row[1]))


def leave_one_out(runs: Sequence[TraceRun]) -> list[dict]:
    """Each run's windows predicted from the other runs alone. Raises InputError with fewer than two runs."""
    if len(runs) < 2:
        raise InputError("leaving one out needs at least two recorded runs")
    matched = [match(run) for run in runs]
    rows = []
    for index, left in enumerate(matched):
        fit = _fit([*matched[:index], *matched[index + 1 :]], samples=0)
        for name, window, recorded, ns in _windows(left, fit.calibration):
            rows.append(
                {"run": name, "window": window, "recorded_ns": recorded, "predicted_ns": ns, "ratio": ns / recorded}
            )
    return rows
