"""The laws of the catalogue (`catalogue_laws`), applied to one optimisation that is not in it: a student's own.

tests/test_laws.py asks the same of the catalogue, on more scenarios and in pairs. Not asked: 6 (off is stock), since
plans cannot be changed in place; 8 (reads as recorded) and 9 (breakdowns sum up), which hold for the texts and the
schedule of the lab.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from vdpa_lab.course.catalogue_laws import LAWS, choices, clash, grown, shape, unnamed_work, unsaid, unsettled
from vdpa_lab.library import read_calibration, shipped
from vdpa_lab.migration.baseline import baseline, stock
from vdpa_lab.migration.laws import check, work_totals
from vdpa_lab.migration.optimization import Optimization, catalogue, known, prepared, rewrite
from vdpa_lab.migration.outline import outline
from vdpa_lab.migration.plan import Plan, PlanError
from vdpa_lab.migration.simulate import Run, run_plan
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.units import GIB

PRESETS = ("liu2023", "sim-256-2d")
MEMORY = 5 * GIB


class Finding(NamedTuple):
    """One law: its number and words, whether it holds, and what exactly breaks it."""

    law: int
    title: str
    holds: bool
    why: str = ""


@lru_cache(maxsize=1)
def scenarios() -> tuple[Scenario, ...]:
    """Two presets, with less memory where there is much: the same kinds of steps, only fewer of each."""
    found = []
    for name in PRESETS:
        scenario = find_scenario(name)
        guest = scenario.guest
        if guest.sections is None:
            guest = replace(guest, memory=min(guest.memory, MEMORY))
        found.append(replace(scenario, guest=guest))
    return tuple(found)


def beside(one: Optimization, scenario: Scenario) -> tuple[str, ...] | None:
    """What is on beside it: what the preset's hosts ship, and what it requires; None where those two conflict."""
    found = [name for name in shipped(scenario) if not clash(catalogue()[name], one)]
    for need in one.requires:
        able = [catalogue()[name] for name in choices(need)]
        fitting = [each for each in able if not any(clash(each, catalogue()[name]) for name in found)]
        if not fitting:
            return None
        found.append(fitting[0].name)
    return known(set(found) - {one.name})


def _plans(one: Optimization, scenario: Scenario) -> tuple[Plan, Plan]:
    """The plan without and with it, each rewrite in its declared order; what declares none comes before `one`."""
    others = [catalogue()[name] for name in beside(one, scenario)]
    later = [each for each in others if each.name in one.before or one.name in each.after]
    ordered = [*(each for each in others if each not in later), one, *later]
    without = rewrite(baseline(prepared(scenario, others)), others)
    return without, rewrite(baseline(prepared(scenario, ordered)), ordered)


def _commutes(one: Optimization, scenario: Scenario) -> Iterable[str]:
    """It and each rewrite beside it in both orders, unless one of the two declares the order."""
    for name in beside(one, scenario):
        other = catalogue()[name]
        if {name} & {*one.after, *one.before, *one.requires} or one.name in other.after or other.requires:
            continue
        first = [catalogue()[each] for each in known(need for need in one.requires if isinstance(need, str))]
        start = rewrite(baseline(prepared(scenario, [*first, other, one])), first)
        either, turned = (shape(rewrite(start, pair)) for pair in ((one, other), (other, one)))
        if either != turned:
            yield f"before and after {name!r} it makes different plans: name {name!r} in `after` (or in `before`)"


def _run(plan: Plan) -> Run:
    return run_plan(plan, read_calibration(plan.scenario.testbed))


def findings(one: Optimization) -> list[Finding]:
    """Each law, in order; after a plan that breaks law 2 the later ones are not asked."""
    broken: dict[int, list[str]] = {1: list(unsaid(one))}
    if broken[1]:
        return _told(broken)
    broken[2] = []
    for scenario in scenarios():
        if scenario.device.driver not in one.drivers or beside(one, scenario) is None:
            continue
        try:
            _ask(one, scenario, broken)
        except PlanError as error:
            broken[2].append(f"{scenario.name}: {error}")
            break
        except Exception as error:  # the student's own code: whatever it raises is the finding
            broken[2].append(f"{scenario.name}: rewrite raises {type(error).__name__}: {error}")
            break
    return _told(broken)


def _ask(one: Optimization, scenario: Scenario, broken: dict[int, list[str]]) -> None:
    """Laws 2 to 7 on one scenario. Raises PlanError for a plan that breaks law 2."""
    if not isinstance(made := one.rewrite(stock(outline(scenario))), Plan):
        raise PlanError(f"rewrite has to return a Plan, not a {type(made).__name__}")
    without, having = _plans(one, scenario)
    check(having, one.lifts)
    broken.setdefault(3, []).extend(unnamed_work(one, work_totals(without), work_totals(having)))
    broken.setdefault(4, []).extend(unsettled(one, having))
    broken.setdefault(5, []).extend(_commutes(one, scenario))
    if scenario.name not in one.slower:
        longer = grown(scenario.name, _run(without).windows, _run(having).windows)
        broken.setdefault(7, []).extend(f"{each}; if that is meant, say why in `slower`" for each in longer)
    broken.setdefault(7, [])


def _told(broken: dict[int, list[str]]) -> list[Finding]:
    return [
        Finding(law, LAWS[law], not whys, "; ".join(dict.fromkeys(whys)))
        for law, whys in sorted(broken.items())
    ]  # fmt: skip


def gain(one: Optimization, scenario: Scenario, window: str) -> tuple[int, int]:
    """The length of a window in ns without and with it."""
    without, having = _plans(one, scenario)
    return _run(without).windows[window] or 0, _run(having).windows[window] or 0
