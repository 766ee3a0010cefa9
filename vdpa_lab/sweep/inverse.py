"""Questions from the other end: what meets a target, and how far one can go before it is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any

from vdpa_lab.library import Calibration, read_calibration
from vdpa_lab.migration import catalogue, default_toggles, plan
from vdpa_lab.migration.optimization import known
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.simulate import run_plan
from vdpa_lab.model import Dirty, Scenario, find_scenario
from vdpa_lab.sweep.coalitions import Game, checked_window
from vdpa_lab.sweep.design import with_values
from vdpa_lab.units import GIB, MIB, TIB
from vdpa_lab.words import InputError

MOST_SETS = 4000  # sets simulated before a search for the smallest stops being exhaustive
FASTEST = 10**9  # pages per second: the most that a scenario may say


@dataclass(frozen=True, slots=True)
class SmallestSet:
    """The smallest set of toggles that meets a target; of those as small, the one with the shortest window.

    names: None when none was found; ns is then the shortest that was. exhaustive: every smaller set was simulated and
    misses the target; where it is False the set was found by adding what gains most and taking out what is not needed,
    and a smaller one may exist. also: other sets of the same size that meet the target (exhaustive only). tried: sets
    simulated.
    """

    target_ns: int
    names: tuple[str, ...] | None
    ns: int
    exhaustive: bool
    also: tuple[tuple[str, ...], ...]
    tried: int


def smallest_set(
    scenario: Scenario | str,
    target_ns: int,
    *,
    among: Iterable[str] | None = None,
    base: Iterable[str] = (),
    window: str = "network_outage",
    calibration: Calibration | None = None,
    most_sets: int = MOST_SETS,
    progress: Callable[[int], None] | None = None,
) -> SmallestSet:
    """The smallest set of optimisations that brings a window to the target or below.

    among: candidates (default: all for this driver that are no what-ifs). base: on in any case, and not counted.
    progress: called with the number of sets simulated after each; what it raises ends the work.
    """
    scenario = find_scenario(scenario)
    driver = scenario.device.driver
    if among is None:
        among = [each.name for each in catalogue().values() if each.layer != "what-if" and driver in each.drivers]
    game = Game(
        scenario, [name for name in known(among) if name not in known(base)], base, window, calibration, progress
    )
    if refused := game.refused(0):
        raise InputError("; ".join(f"{name} cannot be in the base: {why}" for name, why in refused.items()))
    shortest = game.ns(0)
    for size in range(len(game.toggles) + 1):
        words = _feasible_of_size(game, size, most_sets - game.priced)
        if words is None:
            return _greedy(game, target_ns)
        reached = sorted((game.ns(word), word) for word in words if game.ns(word) <= target_ns)
        if reached:
            ns, word = reached[0]
            also = tuple(game.names(other) for _, other in reached[1:])
            return SmallestSet(target_ns, game.names(word), ns, True, also, game.priced)
        shortest = min([shortest, *(game.ns(word) for word in words)])
    return SmallestSet(target_ns, None, shortest, True, (), game.priced)


def _feasible_of_size(game: Game, size: int, most: int) -> list[int] | None:
    """Feasible sets of a size; None when there are more than `most`."""
    found = []
    for chosen in combinations(range(len(game.toggles)), size):
        word = sum(1 << i for i in chosen)
        if game.feasible(word):
            found.append(word)
            if len(found) > most:
                return None
    return found


def _greedy(game: Game, target_ns: int) -> SmallestSet:
    """Add what gains most, with what it needs, until the target is met; then take out what is not needed."""
    word = 0
    while game.ns(word) > target_ns:
        steps = [each for i in range(len(game.toggles)) if (each := _with_needs(game, word, i)) not in (None, word)]
        after = min(steps, key=lambda each: (game.ns(each), each.bit_count()), default=word)
        if game.ns(after) >= game.ns(word):
            return SmallestSet(target_ns, None, game.ns(word), False, (), game.priced)
        word = after
    for i in range(len(game.toggles)):
        less = word & ~(1 << i)
        if less != word and game.feasible(less) and game.ns(less) <= target_ns:
            word = less
    return SmallestSet(target_ns, game.names(word), game.ns(word), False, (), game.priced)


def _with_needs(game: Game, word: int, i: int) -> int | None:
    """The set with one more toggle and the first of each group that it needs; None when that cannot be."""
    places = {name: at for at, name in enumerate(game.toggles)}
    waiting, found = [game.toggles[i]], word
    while waiting:
        name = waiting.pop()
        if name in places:
            found |= 1 << places[name]
        on = {*game.base, *game.names(found)}
        for need in catalogue()[name].requires:
            group = (need,) if isinstance(need, str) else need
            if not on & set(group):
                waiting.append(group[0])
                if group[0] not in places:
                    return None
    return found if game.feasible(found) else None


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest value that still meets a condition, by bisection in steps of `step`.

    value: None when even the smallest misses it. measured: (value, result) of every probe, in order of the value.
    monotone: no larger probe gave a smaller result; where that is False, larger values may meet the condition again.
    at_limit: the largest value allowed meets it.
    """

    value: int | None
    step: int
    measured: tuple[tuple[int, int], ...]
    monotone: bool
    at_limit: bool


def bisect_largest(measure: Callable[[int], int], target: int, low: int, high: int, step: int) -> Largest:
    """The largest low + k * step <= high whose measure is at most the target, taking the measure to grow."""
    measured: dict[int, int] = {}

    def meets(k: int) -> bool:
        value = low + k * step
        measured[value] = measure(value)
        return measured[value] <= target

    good, bad = 0, (high - low) // step
    if not meets(good):
        value = None
    elif meets(bad):
        value = good = bad
    else:
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if meets(middle) else (good, middle)
        value = good
    probes = tuple(sorted(measured.items()))
    monotone = all(a[1] <= b[1] for a, b in pairwise(probes))
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
    """The largest guest memory, in bytes, whose window meets the target; sections are derived from it.

    It is not below the workload's working set. names: the toggles (default: the scenario's own).
    """
    scenario = find_scenario(scenario)
    checked_window(window)
    on = default_toggles(scenario) if names is None else known(names)
    prices = calibration or read_calibration(scenario.testbed)
    dirty = scenario.workload.dirty
    low = max(step, -(-(dirty.working_set if dirty else 0) // step) * step, 4 * MIB)

    def measure(memory: int) -> int:
        return run_plan(plan(with_values(scenario, {"guest.memory": memory}), on), prices).windows[window] or 0

    return bisect_largest(measure, target_ns, low, most, step)


def convergence_frontier(
    scenario: Scenario | str,
    *,
    bandwidths: Iterable[int | None],
    downtime_limits: Iterable[int],
    names: Iterable[str] | None = None,
) -> list[dict[str, Any]]:
    """Per bandwidth (bytes/s, None: unlimited) and downtime limit (ns) the fastest writer with which precopy converges.

    dirty_rate: pages per second; None when precopy converges with no writer at all. monotone: no probe between
    contradicts it. pattern and working set are the scenario's, or sequential over all of memory.
    """
    scenario = find_scenario(scenario)
    dirty = scenario.workload.dirty or Dirty("sequential", 0, scenario.guest.memory)
    on = default_toggles(scenario) if names is None else known(names)
    limits, rows = list(downtime_limits), []
    for bandwidth in bandwidths:
        for limit in limits:
            tuned = with_values(scenario, {"migration.max_bandwidth": bandwidth, "migration.downtime_limit": limit})
            tuned = plan(tuned, on).scenario

            def fails(rate: int, tuned: Scenario = tuned) -> int:
                workload = replace(tuned.workload, dirty=replace(dirty, rate=rate))
                return int(not precopy(replace(tuned, workload=workload)).converged)

            found = bisect_largest(fails, 0, 0, FASTEST, 1)
            rows.append(
                {
                    "max_bandwidth": bandwidth, "downtime_limit_ns": limit, "dirty_rate": found.value,
                    "at_limit": found.at_limit, "monotone": found.monotone,
                }
            )  # fmt: skip
    return rows
