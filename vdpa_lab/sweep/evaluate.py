"""The runs of a sweep by number: what every engine calls, in this process or in another."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vdpa_lab import __version__
from vdpa_lab.library import Calibration, costs_text, read_calibration
from vdpa_lab.migration import Plan, plan
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.simulate import SCENARIO_TIME, run_plan
from vdpa_lab.paths import data_dir
from vdpa_lab.sweep.axes import shown_value
from vdpa_lab.sweep.design import factors, setting, values
from vdpa_lab.sweep.draws import drawn
from vdpa_lab.sweep.spec import Spec
from vdpa_lab.sweep.vectorised import ABSENT, PricedPlan
from vdpa_lab.words import InputError

Row = tuple[Any, ...]
REFUSED = "refused"


def columns(spec: Spec) -> dict[str, type]:
    """Columns of the table and what they hold: the run's number, what varies, results, why it was refused."""
    return {
        "run": int,
        **{axis.key: axis.column for axis in spec.axes},
        **({"draw": int} if spec.draws else {}),
        "toggles": str,
        **{f"{name}_ns": int for name in spec.windows},
        "precopy_ns": int,
        "converged": bool,
        REFUSED: str,
    }


@contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection inside: plans make no cycles, and looking for some takes a fifth of their time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@gc_paused()
def evaluate(spec: Spec, numbers: Iterable[int]) -> list[Row]:
    """Rows of these runs, in order of their numbers; None where a run has no such result.

    Settings that cannot be (a refused scenario, an optimisation whose needs are not met) give a row that says why.
    """
    each = max(1, spec.draws)
    draws: dict[int, list[int]] = {}
    for number in sorted(numbers):
        draws.setdefault(number // each, []).append(number % each)
    of_plan = [axis.key for axis in spec.axes if axis.floor < 2]
    groups: dict[tuple, list[Point]] = {}  # the points of one plan differ in their prices only
    for number, those in draws.items():
        chosen = values(spec, number)
        groups.setdefault(tuple(chosen[key] for key in of_plan), []).append(Point(number, chosen, those))
    return sorted(row for group in groups.values() for row in _same_plan(spec, group))


class Point(NamedTuple):
    """A point of the design with its draws that are asked for."""

    number: int
    chosen: dict[str, Any]
    draws: list[int]


def _same_plan(spec: Spec, group: list[Point]) -> list[Row]:
    toggles, results = "", []
    why, passes = "", None
    try:
        one = setting(spec, group[0].chosen)
        toggles = "+".join(one.names)
        made = plan(*one)
        results = _windows(spec, made, read_calibration(one.scenario.testbed), group)
        passes = precopy(made.scenario)
    except ValueError as error:
        why = " ".join(str(error).split())  # a row is a line
    tail = (passes.total_ns, passes.converged, "") if passes else (None, None, why)
    rows: list[Row] = []
    for point in group:
        shown = [shown_value(value) for value in point.chosen.values()]
        for draw in point.draws:
            number = point.number * max(1, spec.draws) + draw
            lengths = results[len(rows)] if passes else (None,) * len(spec.windows)
            rows.append((number, *shown, *((draw,) if spec.draws else ()), toggles, *lengths, *tail))
    return rows


def _windows(spec: Spec, made: Plan, calibration: Calibration, group: list[Point]) -> list[tuple]:
    """Windows of all runs of one plan, point after point."""
    count = sum(len(point.draws) for point in group)
    if count == 1 and not spec.draws:
        run = run_plan(made, scaled(calibration, factors(group[0].chosen)))
        return [tuple(run.windows[name] for name in spec.windows)]
    priced = PricedPlan(made)
    base, place = priced.values(calibration), {key: i for i, key in enumerate(priced.keys)}
    costs = calibration.with_costs([SCENARIO_TIME])
    prices = np.empty((count, len(base)))
    at = 0
    for point in group:
        rows, draws = prices[at : at + len(point.draws)], point.draws
        rows[:] = base
        if spec.draws:
            rows[:] = drawn(costs, priced.keys, spec.seed, draws[0], draws[-1] + 1)[np.array(draws) - draws[0]]
        for key, factor in factors(point.chosen).items():
            if key in place:
                rows[:, place[key]] *= factor
        at += len(draws)
    chosen = [priced.names.index(name) for name in spec.windows]
    lengths = priced.windows(prices)[:, chosen].tolist()
    return [tuple(None if ns == ABSENT else ns for ns in row) for row in lengths]


def scaled(calibration: Calibration, by: Mapping[str, float]) -> Calibration:
    """The calibration with some prices times a factor."""
    changed = []
    for key, factor in by.items():
        cost = calibration[key]
        changed.append(replace(cost, value=cost.value * factor, low=cost.low * factor, high=cost.high * factor))
    return calibration.with_costs(changed)


@lru_cache(maxsize=1)
def _shipped_data() -> str:
    digest = hashlib.sha256()
    files = [path for pattern in ("*.csv", "*.toml", "calibration/*.csv") for path in data_dir().glob(pattern)]
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _own_code() -> str:
    return digest_of(Path(__file__).parents[1])


def digest_of(package: Path) -> str:
    """SHA-256 of the Python sources in a folder and below, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def identity(spec: Spec) -> dict[str, str]:
    """What results follow from: specification, version, code and data of the lab, prices of every testbed in it."""
    vary = [name for axis in spec.axes if axis.key == "testbed" for name in axis.values]
    prices = "".join(costs_text(read_calibration(name).values()) for name in (spec.scenario.testbed, *vary))
    return {
        "specification": spec.digest,
        "version": __version__,
        "code": _own_code(),
        "data": _shipped_data(),
        "prices": hashlib.sha256(prices.encode()).hexdigest(),
    }


def evaluate_as(expected: dict[str, str], spec: Spec, numbers: Iterable[int]) -> list[Row]:
    """`evaluate` on another machine; raises InputError when version, code, data or prices differ there."""
    here = identity(spec)
    for what, digest in expected.items():
        if here[what] != digest:
            raise InputError(
                f"a worker has another {what}: {here[what][:12]} there, {digest[:12]} here; install the same"
            )
    return evaluate(spec, numbers)
