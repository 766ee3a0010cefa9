"""Questions from the other end: how large, how fast or how busy a guest may be before a target is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isqrt
from typing import Any

from vdpa_lab.library import Calibration, read_calibration
from vdpa_lab.migration import default_toggles, plan
from vdpa_lab.migration.optimization import known
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.simulate import run_plan
from vdpa_lab.model import Dirty, Scenario, find_scenario
from vdpa_lab.sweep.coalitions import checked_whole, checked_window, no_window
from vdpa_lab.sweep.design import with_values
from vdpa_lab.units import GIB, MIB, PAGE_SIZE, TIB
from vdpa_lab.words import InputError

FASTEST = 10**9  # pages per second: the most that a scenario may say
FINE = 100  # a frontier is found to a hundredth: next to it precopy takes thousands of syncs to make up its mind


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest value that still meets a condition, by bisection in steps of `step`.

    value: None when even the smallest misses it. measured: (value, result) of every probe, in order of the value; a
    result of None misses every target. monotone: no larger probe gave a smaller result; where that is False, larger
    values may meet the condition again. at_limit: the largest value allowed meets it.
    """

    value: int | None
    step: int
    measured: tuple[tuple[int, int | None], ...]
    monotone: bool
    at_limit: bool


def bisect_largest(
    measure: Callable[[int], int | None], target: int, low: int, high: int, step: int, fine: int = 0
) -> Largest:
    """The largest low + k * step <= high whose measure is at most the target, taking the measure to grow.

    fine: it is enough to be within k / fine steps of it, which is looked for by the factor; 0: exact.
    """
    measured: dict[int, int | None] = {}

    def meets(k: int) -> bool:
        value = low + k * step
        found = measured[value] = measure(value)
        return found is not None and found <= target

    good, bad = 0, (high - low) // step
    if not meets(good):
        value = None
    elif meets(bad):
        value = good = bad
    else:
        while bad - good > (max(1, good // fine) if fine else 1):
            middle = min(max(isqrt(max(good, 1) * bad), good + 1), bad - 1) if fine else (good + bad) // 2
            good, bad = (middle, bad) if meets(middle) else (good, middle)
        value = good
    probes = tuple(sorted(measured.items()))
    monotone = all(b is None or (a is not None and a <= b) for (_, a), (_, b) in pairwise(probes))
    at_limit = value is not None and value == (high - low) // step
    return Largest(None if value is None else low + value * step, step, probes, monotone, at_limit)


def largest_guest(
    scenario: Scenario | str,
    target_ns: int,
    names: Iterable[str] | None = None,
    *,
    window: str = "network_outage",
    calibration: Calibration | None = None,
    most: int = 4 * TIB,
    step: int = GIB,
) -> Largest:
    """The largest guest memory, in bytes, whose window meets the target and whose precopy converges.

    Sections are derived from it; it is not below the workload's working set. A guest whose precopy does not converge
    has None as its result. names: the toggles (default: the scenario's own). most, step: bytes, step in whole pages.
    Raises InputError, also when the migration has no such window.
    """
    scenario, target_ns = find_scenario(scenario), checked_whole("target_ns", target_ns, 0, "ns")
    checked_window(window)
    if checked_whole("step", step, PAGE_SIZE, "bytes") % PAGE_SIZE:
        raise InputError(f"step = {step}; a multiple of {PAGE_SIZE} bytes")
    on = default_toggles(scenario) if names is None else known(names)
    prices = calibration or read_calibration(scenario.testbed)
    dirty = scenario.workload.dirty
    low = max(step, -(-(dirty.working_set if dirty else 0) // step) * step, 4 * MIB)
    checked_whole("most", most, low, "bytes")

    def measure(memory: int) -> int | None:
        made = plan(with_values(scenario, {"guest.memory": memory}), on)
        ns = run_plan(made, prices).windows[window]
        if ns is None:
            raise no_window(scenario, window)
        return ns if precopy(made.scenario).converged else None

    return bisect_largest(measure, target_ns, low, most, step)


def convergence_frontier(
    scenario: Scenario | str,
    *,
    bandwidths: Iterable[int | None],
    downtime_limits: Iterable[int],
    names: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Per bandwidth (bytes/s, None: unlimited) and downtime limit (ns) the fastest writer with which precopy converges.

    dirty_rate: pages per second, to a hundredth; None when precopy converges with no writer at all. monotone: no probe
    between contradicts it. pattern and working set are the scenario's, or sequential over all of memory. progress:
    called with rows done and all; what it raises ends the work.
    """
    scenario = find_scenario(scenario)
    dirty = scenario.workload.dirty or Dirty("sequential", 0, scenario.guest.memory)
    on = default_toggles(scenario) if names is None else known(names)
    rates, limits, rows = list(bandwidths), list(downtime_limits), []
    for bandwidth in rates:
        for limit in limits:
            tuned = with_values(scenario, {"migration.max_bandwidth": bandwidth, "migration.downtime_limit": limit})
            tuned = plan(tuned, on).scenario

            def fails(rate: int, tuned: Scenario = tuned) -> int:
                workload = replace(tuned.workload, dirty=replace(dirty, rate=rate))
                return int(not precopy(replace(tuned, workload=workload)).converged)

            found = bisect_largest(fails, 0, 0, FASTEST, 1, FINE)
            rows.append(
                {
                    "max_bandwidth": bandwidth, "downtime_limit_ns": limit, "dirty_rate": found.value,
                    "at_limit": found.at_limit, "monotone": found.monotone,
                }
            )  # fmt: skip
            if progress:
                progress(len(rows), len(rates) * len(limits))
    return rows
