"""Many prices of one plan: the compiled loops beside one at a time, and beside SimPy on the same events; fresh plans.

SimPy's model is the scheduler's witness of the tests, so it runs in a checkout with SimPy installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import reduce
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import count, islice
from types import ModuleType

import numpy as np

from vdpa_lab.bench.harness import OURS, Case
from vdpa_lab.migration import default_toggles, plan, refusals, simulate
from vdpa_lab.migration.schedule import capacity
from vdpa_lab.migration.simulate import Run, run_plan
from vdpa_lab.model import find_scenario
from vdpa_lab.paths import bench_sources
from vdpa_lab.sweep.design import with_values
from vdpa_lab.sweep.evaluate import gc_paused
from vdpa_lab.sweep.vectorised import PricedPlan
from vdpa_lab.units import MIB

PRESETS = ("sim-256-1d", "talk", "tatulea2024")
FRESH_SIZES = ("sim-256-1d", "talk", "liu2023")
FRESH_SETS = ("talk", "tatulea2024")
FRESH_DEVICES = ("talk",)
RUNS = 10_000
BESIDE = 20_000  # steps that SimPy goes through in one turn
FRESH = 8


def witness() -> ModuleType | None:
    """The witness of the tests, or None without SimPy or a checkout."""
    folder = bench_sources()
    if folder is None or find_spec("simpy") is None or not (folder.parent / "witness.py").is_file():
        return None
    spec = spec_from_file_location("vdpa_lab_witness", folder.parent / "witness.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_simpy(module: ModuleType, ran: Run) -> Callable[[], int]:
    """A call that goes through a run's events in SimPy and gives the time that the VM is paused."""
    numbers = {step.name: number for number, step in enumerate(ran.plan)}
    jobs = [
        module.Job(
            span.ns, tuple(numbers[each] for each in step.after), step.lane, min(step.width, capacity(step.lane))
        )
        for step, span in zip(ran.plan, ran.timeline.spans, strict=True)
    ]
    begin, end = (ran.timeline.mark_spans[mark] for mark in ("vcpus-paused", "vcpus-resumed"))

    def call() -> int:
        times = module.run(jobs, capacity)
        return times[end][1] - times[begin][1]

    return call


def fresh_values(name: str, key: str, step: int) -> Callable[[], None]:
    """A call that plans and prices scenarios with values of a key that were not seen before."""
    scenario, costs = find_scenario(name), simulate(find_scenario(name)).calibration
    values = count(reduce(getattr, key.split("."), scenario) + step, step)

    @gc_paused()
    def call() -> None:
        for value in islice(values, FRESH):
            _ = run_plan(plan(with_values(scenario, {key: value})), costs).windows

    return call


def fresh_sets(name: str) -> Callable[[], None]:
    """A call that plans and prices the same guest with sets of toggles that were not on together before."""
    scenario, costs = find_scenario(name), simulate(find_scenario(name)).calibration
    on = default_toggles(scenario)
    words = np.random.default_rng(1).permutation(1 << len(on)).tolist()
    chosen = ([each for place, each in enumerate(on) if word >> place & 1] for word in words)
    sets = (names for names in chosen if not refusals(names, scenario.device.driver))

    @gc_paused()
    def call() -> None:
        for _ in range(FRESH):
            _ = run_plan(plan(scenario, next(sets)), costs).windows

    return call


def cases(library: object, quick: bool) -> Iterator[Case]:
    """Many pricings at once; a few beside the same one at a time and in SimPy; plans that nothing is known of."""
    module = witness()
    for name in PRESETS[:1] if quick else PRESETS:
        ran = simulate(find_scenario(name))
        priced = PricedPlan(ran.plan)
        values = priced.values(ran.calibration)
        column, steps = priced.names.index("vm_paused"), len(ran.plan.steps)
        of = f"{name}, {steps} steps"

        def at_once(prices: np.ndarray, priced=priced, column=column) -> Callable[[], int]:
            return lambda: int(priced.windows(prices)[:, column].sum())

        def repeated(call: Callable[[], int], times: int) -> Callable[[], int]:
            return lambda: sum(call() for _ in range(times))

        runs = 50 if quick else RUNS
        factors = np.exp(np.random.default_rng(1).normal(0, 0.2, (runs, len(values))))
        yield Case("a pricing, many at once", of, steps, runs, {OURS: at_once(values * factors)})
        few = max(4, BESIDE // steps) if not quick else 2
        calls = {
            OURS: at_once(np.repeat(values[None], few, axis=0)),
            "one_by_one": repeated(lambda ran=ran: run_plan(ran.plan, ran.calibration).windows["vm_paused"], few),
        }
        if module:
            calls["simpy"] = repeated(in_simpy(module, ran), few)
        yield Case("a pricing, a few beside others", of, steps, few, calls)
    for name in FRESH_SIZES[:1] if quick else FRESH_SIZES:
        yield Case("a guest of a fresh size, priced", name, 1, FRESH, {OURS: fresh_values(name, "guest.memory", MIB)})
    for name in () if quick else FRESH_DEVICES:
        yield Case("a fresh device setting, priced", name, 1, FRESH, {OURS: fresh_values(name, "device.vlans", 1)})
    for name in () if quick else FRESH_SETS:
        yield Case("a fresh set of toggles, priced", name, 1, FRESH, {OURS: fresh_sets(name)})
