"""The laws that every optimisation keeps, each stated once: tests/test_laws.py asks them of the whole catalogue,
`judge_laws` of a student's own. A law yields what breaks it, in words; nothing where it holds. Law 2 is
`migration.laws.check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatch

from vdpa_lab.library import bibliography
from vdpa_lab.migration.optimization import LAYERS, Optimization, catalogue, knobs_of
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step
from vdpa_lab.model import scenario_names
from vdpa_lab.units import format_duration
from vdpa_lab.words import InputError

LAWS = {
    1: "it says who it is", 2: "the plan keeps every safety order", 3: "work is conserved, or named",
    4: "twice is once", 5: "order does not matter, or is declared", 7: "no downtime grows",
}  # fmt: skip
MUST_NOT_GROW = ("svq_switch", "source_teardown", "destination_setup", "network_outage")


def clash(one: Optimization, other: Optimization) -> bool:
    """Whether one of the two says that it cannot be on with the other."""
    return one.name in other.conflicts or other.name in one.conflicts


def choices(need: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names of which one meets this need."""
    return (need,) if isinstance(need, str) else need


def unsaid(one: Optimization) -> Iterable[str]:
    """Law 1: name, texts, layer, sources, docstring, what it needs, where it is slower, its knobs and their ends."""
    texts = {key: getattr(one, key, "") for key in ("name", "title", "layer", "effect", "status")}
    for key, text in texts.items():
        if not (text and isinstance(text, str)):
            yield f"{key} has to be a text that is not empty"
    if texts["layer"] and texts["layer"] not in LAYERS:
        yield f"layer = {texts['layer']!r} has to be one of {', '.join(LAYERS)}"
    refs = getattr(one, "refs", ())
    if not refs:
        yield "refs names no source: where does the idea come from? keys are in data/references.bib"
    yield from (f"refs: {key!r} is not in data/references.bib" for key in refs if key not in bibliography())
    if not type(one).__doc__:
        yield "the class has no docstring that says what it does"
    needs = {each for need in one.requires for each in choices(need)}
    unknown = sorted((needs | {*one.after, *one.before, *one.conflicts}) - {*catalogue(), texts["name"]})
    if unknown:
        yield f"it names optimisations that do not exist: {', '.join(unknown)}"
    for key in ("conflicts", "slower", "lifts"):
        yield from (f"{key}: {name!r} has no reason" for name, why in getattr(one, key).items() if not why)
    yield from (
        f"slower: {name!r} is no preset, and a wildcard is none" for name in one.slower if name not in scenario_names()
    )
    for name, about in knobs_of(one).items():
        yield from _loose(one, name, about)


def _loose(one: Optimization, name: str, about: Mapping) -> Iterable[str]:
    if not about.get("unit"):
        yield f"knob {name} has no unit"
    elif not about["low"] <= about["default"] <= about["high"]:
        yield f"knob {name} = {about['default']} does not lie from {about['low']} to {about['high']}"
    else:
        for beyond in (about["low"] - 1, about["high"] + 1):
            try:
                replace(one, **{name: beyond})
            except InputError:
                continue
            yield f"knob {name} takes {beyond}, which lies beyond its ends"


def unnamed_work(one: Optimization, before: Mapping[str, int], after: Mapping[str, int]) -> Iterable[str]:
    """Law 3: what it adds to or removes from the totals (`work_totals`) without a pattern for it."""
    for key in sorted(before.keys() | after.keys()):
        more = after.get(key, 0) - before.get(key, 0)
        word, allowed = ("adds", one.adds) if more > 0 else ("removes", one.removes)
        if more and not any(fnmatch(key, pattern) for pattern in allowed):
            yield f"{word} has no pattern for {key}, which goes from {before.get(key, 0):,} to {after.get(key, 0):,}"


def unsettled(one: Optimization, plan: Plan) -> Iterable[str]:
    """Law 4: `plan` has it already, so that rewriting it once more changes nothing."""
    if (again := one.rewrite(plan)).steps != plan.steps:
        more = len(again.steps) - len(plan.steps)
        yield f"rewriting its own plan once more changes it ({more:+} steps): look for what is done already"


def shape(plan: Plan) -> dict[str, Step]:
    """Law 5 holds for two orders whose plans have this in common: the same steps with the same waits, by name."""
    return {step.name: step.but(after=tuple(sorted(step.after))) for step in plan}


def grown(name: str, without: Mapping[str, int | None], having: Mapping[str, int | None]) -> Iterable[str]:
    """Law 7: the windows (name -> ns) of a scenario that it makes longer."""
    for window in MUST_NOT_GROW:
        before, after = without[window] or 0, having[window] or 0
        if after > before:
            yield f"{window} of {name} grows from {format_duration(before)} to {format_duration(after)}"
