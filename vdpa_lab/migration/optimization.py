"""What an optimisation is, which there are, and how several are applied to a plan."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

from vdpa_lab.library import shipped
from vdpa_lab.migration.baseline import stock
from vdpa_lab.migration.cancel import without_switchover
from vdpa_lab.migration.laws import check_writes
from vdpa_lab.migration.outline import Outline, filled, open_places, outline
from vdpa_lab.migration.plan import Plan
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.words import InputError, nearest

PACKAGE = "vdpa_lab.migration.optimizations"
LAYERS = ("kernel", "qemu", "device", "what-if")
# Presets (names of scenarios) to which an exception to the law that no downtime grows may refer.
SIM_PRESETS = (
    "sim-128-1d", "sim-256-1d", "sim-256-1d-2qp", "sim-256-1d-q10", "sim-256-1d-svq", "sim-256-2d",
)  # fmt: skip
MLX5_PRESETS = (
    "eperezma2023", "liu2023", "palmer2025", "palmer2025-128g", "talk", "tatulea2024", "tatulea2024precreate",
    "tatulea2024vq",
)  # fmt: skip


def knob(default: int, *, low: int, high: int, unit: str) -> Any:
    """A number that the researcher may turn, with its bounds and unit."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit})


@dataclass(frozen=True, slots=True)
class Optimization:
    """A rewrite of a plan. The class attributes describe it; every table, widget and law reads them.

    effect: one line. status: merged where, posted, or proposed. refs: keys of data/references.bib. requires: names of
    which each, or one of each group, has to be on. conflicts: with the reason in words. after: rewrites that come first
    when both are on; before: that come later; the order of all others does not matter. removes, adds: cost keys whose
    total it may lower or raise. slower: presets (scenario names) on which a downtime may grow, with the reason. lifts:
    safety orders of stock QEMU that it does without, with the reason.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    layer: ClassVar[str]
    effect: ClassVar[str]
    status: ClassVar[str]
    refs: ClassVar[tuple[str, ...]]
    requires: ClassVar[tuple[str | tuple[str, ...], ...]] = ()
    conflicts: ClassVar[dict[str, str]] = {}
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    drivers: ClassVar[tuple[str, ...]] = ("mlx5", "vdpa_sim", "iommu")
    removes: ClassVar[tuple[str, ...]] = ()
    adds: ClassVar[tuple[str, ...]] = ()
    slower: ClassVar[dict[str, str]] = {}
    lifts: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        for each in fields(self):
            value, about = getattr(self, each.name), each.metadata
            if not isinstance(value, int) or not about["low"] <= value <= about["high"]:
                raise InputError(
                    f"{self.name}.{each.name} = {value!r} {about['unit']} is not allowed; "
                    f"from {about['low']} to {about['high']}"
                )

    def prepare(self, scenario: Scenario) -> Scenario:
        """The scenario with the settings that this optimisation is, or needs; before a plan is written."""
        return scenario

    def rewrite(self, plan: Plan) -> Plan:
        """The plan with this optimisation; the same plan where there is nothing for it to do.

        The plan's scenario may be an `Outline`: amounts are filled in behind all rewrites.
        """
        return plan

    def unmet(self, on: Iterable[str], driver: str) -> str:
        """Why it cannot apply beside the toggles that are `on`, in words; empty when it can."""
        on = set(on)
        if driver not in self.drivers:
            return f"only for {' and '.join(self.drivers)} devices, not {driver}"
        for need in self.requires:
            names = (need,) if isinstance(need, str) else need
            if not on & set(names):
                return f"needs {' or '.join(names)}"
        for other, why in self.conflicts.items():
            if other in on:
                return f"conflicts with {other}: {why}"
        return ""


@lru_cache(maxsize=8)
def catalogue(package: str = PACKAGE) -> dict[str, Optimization]:
    """Every optimisation of the package, by name, in an order in which each comes after those it names in `after`."""
    module = import_module(package)
    found: dict[str, Optimization] = {}
    for info in pkgutil.iter_modules(module.__path__, f"{package}."):
        for thing in vars(import_module(info.name)).values():
            if isinstance(thing, type) and issubclass(thing, Optimization) and thing.__module__ == info.name:
                if thing.name in found:
                    raise InputError(f"{info.name}: a second optimisation is named {thing.name!r}")
                found[thing.name] = thing()
    ordered: dict[str, Optimization] = {}
    firsts = predecessors(found)

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise InputError(f"optimisations come after each other in a circle: {' -> '.join((*path, name))}")
        for first in firsts[name]:
            visit(first, (*path, name))
        ordered.setdefault(name, found[name])

    for name in sorted(found):
        visit(name, ())
    return ordered


def predecessors(found: dict[str, Optimization]) -> dict[str, tuple[str, ...]]:
    """Per name, those of `found` that come first when both are on."""
    return {
        name: tuple(other for other in sorted(found) if other in one.after or name in found[other].before)
        for name, one in found.items()
    }


def known(names: Iterable[str], among: dict[str, Optimization] | None = None) -> tuple[str, ...]:
    """The names in catalogue order, each once. Raises InputError with the nearest known name."""
    among = among or catalogue()
    wanted = set(names)
    for name in sorted(wanted):
        if name not in among:
            raise InputError(f"no optimisation {name!r}; {nearest(name, among)}")
    return tuple(name for name in among if name in wanted)


def default_toggles(scenario: Scenario) -> tuple[str, ...]:
    """What the scenario names, or else what its hosts ship."""
    return known(shipped(scenario) if scenario.optimizations is None else scenario.optimizations)


def refusals(names: Iterable[str], driver: str, among: dict[str, Optimization] | None = None) -> dict[str, str]:
    """Toggles that cannot apply, each with the reason in words."""
    among = among or catalogue()
    on = known(names, among)
    return {name: why for name in on if (why := among[name].unmet(on, driver))}


def rewrite(plan: Plan, optimizations: Iterable[Optimization]) -> Plan:
    """The plan after each of `optimizations`, in the order given."""
    for each in optimizations:
        plan = each.rewrite(plan).with_applied(each.name)
    return plan


def plan(
    scenario: Scenario | str, names: Iterable[str] | None = None, knobs: dict[str, dict[str, int]] | None = None
) -> Plan:
    """The plan of a scenario with these toggles (None: its default ones). Raises InputError when one cannot apply."""
    scenario = find_scenario(scenario)
    on = default_toggles(scenario) if names is None else known(names)
    if refused := refusals(on, scenario.device.driver):
        raise InputError("; ".join(f"{name} cannot apply: {why}" for name, why in refused.items()))
    turned, moved = [], []
    for name in on:
        changes = (knobs or {}).get(name, {})
        each = catalogue()[name]
        for knob_name in changes:
            if knob_name not in {f.name for f in fields(each)}:
                raise InputError(
                    f"{name} has no knob {knob_name!r}; {nearest(knob_name, [f.name for f in fields(each)])}"
                )
        turned.append(replace(each, **changes) if changes else each)
        moved += [(name, knob_name, value) for knob_name, value in changes.items() if value != getattr(each, knob_name)]
    ready = prepared(scenario, turned)
    found, places = _planned(outline(ready), tuple(turned))
    made = filled(found, ready, places)
    return replace(made, turned=tuple(sorted(moved))) if moved else made


def prepared(scenario: Scenario, optimizations: Iterable[Optimization]) -> Scenario:
    """The scenario as these optimisations set it, before a plan is written."""
    for each in optimizations:
        scenario = each.prepare(scenario)
    return scenario


@lru_cache(maxsize=128)
def _planned(of: Outline, turned: tuple[Optimization, ...]) -> tuple[Plan, tuple[int, ...]]:
    """The plan with nothing filled in yet, and where something is to be."""
    made = _rewritten(of, turned)
    check_writes(made)
    made = without_switchover(made)
    return made, open_places(made)


@lru_cache(maxsize=128)
def _rewritten(of: Outline, turned: tuple[Optimization, ...]) -> Plan:
    """Each rewrite is kept, so that turning one toggle repeats only those that come after it."""
    return rewrite(_rewritten(of, turned[:-1]), turned[-1:]) if turned else stock(of)


def knobs_of(optimization: Optimization) -> dict[str, dict[str, Any]]:
    """Name -> default, low, high, unit of each knob."""
    return {
        each.name: {"default": each.default if each.default is not MISSING else None, **each.metadata}
        for each in fields(optimization)
    }
