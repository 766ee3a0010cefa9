"""The laws of the catalogue, applied to one optimisation that is not in it: a student's own.

The same laws as tests/test_laws.py, on fewer scenarios. Not asked: 6 (off is stock), since plans cannot be changed in
place; 8 (reads as recorded) and 9 (breakdowns sum up), which hold for the texts and the schedule of the lab.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch
from functools import lru_cache
from typing import NamedTuple

from vdpa_lab.library import bibliography, read_calibration, shipped
from vdpa_lab.migration.baseline import baseline
from vdpa_lab.migration.laws import check, check_writes, work_totals
from vdpa_lab.migration.optimization import LAYERS, Optimization, catalogue, known, prepared, rewrite
from vdpa_lab.migration.plan import Plan, PlanError
from vdpa_lab.migration.simulate import Run, run_plan
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.units import GIB, format_duration

MUST_NOT_GROW = ("svq_switch", "source_teardown", "destination_setup", "network_outage")
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


def _named(one: Optimization) -> Iterable[str]:
    texts = {key: getattr(one, key, "") for key in ("name", "title", "layer", "effect", "status")}
    yield from (
        f"{key} has to be a text that is not empty"
        for key, text in texts.items()
        if not (text and isinstance(text, str))
    )
    if texts["layer"] and texts["layer"] not in LAYERS:
        yield f"layer = {texts['layer']!r} has to be one of {', '.join(LAYERS)}"
    refs = getattr(one, "refs", ())
    if not refs:
        yield "refs names no source: where does the idea come from? keys are in data/references.bib"
    yield from (f"refs: {key!r} is not in data/references.bib" for key in refs if key not in bibliography())
    if not type(one).__doc__:
        yield "the class has no docstring that says what it does"
    needs = {each for need in one.requires for each in ((need,) if isinstance(need, str) else need)}
    unknown = sorted((needs | {*one.after, *one.before, *one.conflicts}) - {*catalogue(), one.name})
    if unknown:
        yield f"it names optimisations that do not exist: {', '.join(unknown)}"


def beside(one: Optimization, scenario: Scenario) -> tuple[str, ...] | None:
    """What is on beside it: what the preset's hosts ship, and what it requires; None where those two conflict."""
    found = [name for name in shipped(scenario) if not _clash(catalogue()[name], one)]
    for need in one.requires:
        choices = [catalogue()[name] for name in ((need,) if isinstance(need, str) else need)]
        fitting = [each for each in choices if not any(_clash(each, catalogue()[name]) for name in found)]
        if not fitting:
            return None
        found.append(fitting[0].name)
    return known(set(found) - {one.name})


def _clash(one: Optimization, other: Optimization) -> bool:
    return one.name in other.conflicts or other.name in one.conflicts


def _plans(one: Optimization, scenario: Scenario) -> tuple[Plan, Plan]:
    """The plan without and with it, each rewrite in its declared order; what declares none comes before `one`."""
    others = [catalogue()[name] for name in beside(one, scenario)]
    later = [each for each in others if each.name in one.before or one.name in each.after]
    ordered = [*(each for each in others if each not in later), one, *later]
    without = rewrite(baseline(prepared(scenario, others)), others)
    return without, rewrite(baseline(prepared(scenario, ordered)), ordered)


def _conserved(one: Optimization, before: dict[str, int], after: dict[str, int]) -> Iterable[str]:
    for key in sorted(before.keys() | after.keys()):
        more = after.get(key, 0) - before.get(key, 0)
        word, allowed = ("adds", one.adds) if more > 0 else ("removes", one.removes)
        if more and not any(fnmatch(key, pattern) for pattern in allowed):
            yield f"{word} has no pattern for {key}, which goes from {before.get(key, 0):,} to {after.get(key, 0):,}"


def _again(one: Optimization, plan: Plan) -> Iterable[str]:
    if (again := one.rewrite(plan)).steps != plan.steps:
        more = len(again.steps) - len(plan.steps)
        yield f"rewriting its own plan once more changes it ({more:+} steps): look for what is done already"


def _commutes(one: Optimization, scenario: Scenario) -> Iterable[str]:
    """It and each rewrite beside it in both orders, unless one of the two declares the order."""
    for name in beside(one, scenario):
        other = catalogue()[name]
        if {name} & {*one.after, *one.before, *one.requires} or one.name in other.after or other.requires:
            continue
        first = [catalogue()[each] for each in known(need for need in one.requires if isinstance(need, str))]
        start = rewrite(baseline(prepared(scenario, [*first, other, one])), first)
        either, turned = (_shape(rewrite(start, pair)) for pair in ((one, other), (other, one)))
        if either != turned:
            yield f"before and after {name!r} it makes different plans: name {name!r} in `after` (or in `before`)"


def _shape(plan: Plan) -> dict:
    return {step.name: step._replace(after=tuple(sorted(step.after))) for step in plan}


def _grown(one: Optimization, scenario: Scenario, without: Plan, having: Plan) -> Iterable[str]:
    if scenario.name in one.slower:
        return
    off, on = _run(without).windows, _run(having).windows
    for window in MUST_NOT_GROW:
        if (on[window] or 0) > (off[window] or 0):
            yield (
                f"{window} of {scenario.name} grows from {format_duration(off[window])} to "
                f"{format_duration(on[window])}; if that is meant, say why in `slower`"
            )


def _run(plan: Plan) -> Run:
    return run_plan(plan, read_calibration(plan.scenario.testbed))


LAWS = {
    1: "it says who it is", 2: "the plan keeps every safety order", 3: "work is conserved, or named",
    4: "twice is once", 5: "order does not matter, or is declared", 7: "no downtime grows",
}  # fmt: skip


def findings(one: Optimization) -> list[Finding]:
    """Each law, in order; after a plan that breaks law 2 the later ones are not asked."""
    broken: dict[int, list[str]] = {1: list(_named(one))}
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
    if not isinstance(made := one.rewrite(baseline(scenario)), Plan):
        raise PlanError(f"rewrite has to return a Plan, not a {type(made).__name__}")
    without, having = _plans(one, scenario)
    check(having, one.lifts)
    check_writes(having)
    broken.setdefault(3, []).extend(_conserved(one, work_totals(without), work_totals(having)))
    broken.setdefault(4, []).extend(_again(one, having))
    broken.setdefault(5, []).extend(_commutes(one, scenario))
    broken.setdefault(7, []).extend(_grown(one, scenario, without, having))


def _told(broken: dict[int, list[str]]) -> list[Finding]:
    return [
        Finding(law, LAWS[law], not whys, "; ".join(dict.fromkeys(whys)))
        for law, whys in sorted(broken.items())
    ]  # fmt: skip


def gain(one: Optimization, scenario: Scenario, window: str) -> tuple[int, int]:
    """The length of a window in ns without and with it."""
    without, having = _plans(one, scenario)
    return _run(without).windows[window] or 0, _run(having).windows[window] or 0
