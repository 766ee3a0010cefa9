"""Which settings a sweep visits: each by its number alone, so that runs can be made in any order and anywhere."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vdpa_lab.migration import default_toggles
from vdpa_lab.migration.optimization import known
from vdpa_lab.model import Dirty, Scenario, Traffic
from vdpa_lab.model.record import Record
from vdpa_lab.sweep.axes import KNOB, PRICE, SET, Axis
from vdpa_lab.sweep.spec import Spec
from vdpa_lab.words import InputError

# What a logged list of sections follows from: where one of these varies, sections are derived from the guest instead.
LAYOUT = {"guest.memory", "guest.machine", "guest.firmware", "guest.vga"}
WORKLOADS = {frozenset(each.name for each in fields(cls)): cls for cls in (Dirty, Traffic)}


class Setting(NamedTuple):
    """What to plan, as `vdpa_lab.migration.plan` takes it."""

    scenario: Scenario
    names: tuple[str, ...]
    knobs: dict[str, dict[str, int]]


def needs_scipy() -> Any:
    """scipy.stats.qmc. Raises InputError that says how to install it."""
    try:
        from scipy.stats import qmc
    except ImportError:
        raise InputError("Latin hypercube and Sobol designs need SciPy: pip install 'vdpa-lab[fit]'") from None
    return qmc


@lru_cache(maxsize=4)
def shares(spec: Spec) -> np.ndarray | None:
    """The design's points in the unit cube, float64 [points, axes]; None where each follows from its number.

    Sobol: scrambled; its balance holds for a power of two of samples (scipy.stats.qmc.Sobol).
    """
    if spec.method in ("grid", "random"):
        return None
    qmc = needs_scipy()
    kind = qmc.LatinHypercube if spec.method == "latin-hypercube" else qmc.Sobol
    sampler = kind(len(spec.axes), rng=np.random.default_rng(spec.seed))
    if spec.method == "sobol":
        found = sampler.random_base2((spec.samples - 1).bit_length())[: spec.samples]
    else:
        found = sampler.random(spec.samples)
    return np.minimum(found, np.nextafter(1.0, 0.0))


def values(spec: Spec, point: int) -> dict[str, Any]:
    """Axis key -> value of point number 0 .. spec.points - 1, in base units.

    A grid varies prices fastest, then optimisations and knobs, then the scenario; among these the last axis named.
    """
    if spec.method == "grid":
        found = {}
        for axis in sorted(spec.axes, key=lambda axis: axis.floor)[::-1]:
            point, number = divmod(point, axis.count)
            found[axis.key] = axis.of_grid(number)
        return {axis.key: found[axis.key] for axis in spec.axes}
    table = shares(spec)
    if table is None:
        row = np.random.default_rng((spec.seed, point)).random(len(spec.axes))
    else:
        row = table[point]
    return {axis.key: axis.at(float(share)) for axis, share in zip(spec.axes, row, strict=True)}


def setting(spec: Spec, chosen: dict[str, Any]) -> Setting:
    """What these values are a plan of. Raises ScenarioError or InputError when they do not go together."""
    scenario = with_values(spec.scenario, {k: v for k, v in chosen.items() if Axis(k, ()).floor == 0})
    on = set(default_toggles(scenario) if spec.optimizations is None else spec.optimizations)
    knobs: dict[str, dict[str, int]] = {}
    for key, value in chosen.items():
        part, _, rest = key.partition(".")
        if key == SET:
            on = set(value)
        elif part == SET:
            on = on | {rest} if value else on - {rest}
        elif part == KNOB:
            name, _, knob = rest.partition(".")
            knobs.setdefault(name, {})[knob] = value
    return Setting(scenario, known(on), knobs)


def factors(chosen: dict[str, Any]) -> dict[str, float]:
    """Price key -> the factor on it."""
    return {key.removeprefix(f"{PRICE}."): value for key, value in chosen.items() if key.startswith(f"{PRICE}.")}


def with_values(scenario: Scenario, chosen: dict[str, Any]) -> Scenario:
    """The scenario with these dotted keys set, all at once. Raises ScenarioError.

    As in a file, a destination that is like the source and is not named stays like it; sections that were logged for
    one layout of guest memory are derived again when what they follow from is set. A workload that the scenario lacks
    starts from a sequential writer over all memory, and from traffic as `Traffic` has it.
    """
    if not chosen:
        return scenario
    memory = chosen.get("guest.memory", scenario.guest.memory)
    chosen = {**_lacking(scenario, chosen, "workload.dirty", Dirty("sequential", 0, memory)), **chosen}
    chosen = {**_lacking(scenario, chosen, "workload.traffic", Traffic()), **chosen}
    follows = scenario.destination == scenario.source and not any(key.startswith("destination.") for key in chosen)
    if LAYOUT & chosen.keys():
        chosen = {"guest.sections": None, **chosen}
    tree: dict[str, Any] = {"destination": None} if follows else {}
    for key, value in chosen.items():
        *path, name = key.split(".")
        at = tree
        for each in path:
            at = at.setdefault(each, {})
        at[name] = value
    return _with(scenario, tree)


def _lacking(scenario: Scenario, chosen: dict[str, Any], table: str, start: Record) -> dict[str, Any]:
    """The keys of a workload that is set in part and that the scenario has none of."""
    if getattr(scenario.workload, table.rpartition(".")[2]) or not any(key.startswith(f"{table}.") for key in chosen):
        return {}
    return {f"{table}.{each.name}": getattr(start, each.name) for each in fields(start)}


def _with(record: Record | None, tree: dict[str, Any]) -> Any:
    if record is None:
        return WORKLOADS[frozenset(tree)](**tree)
    return replace(
        record,
        **{name: _with(getattr(record, name), each) if isinstance(each, dict) else each for name, each in tree.items()},
    )
