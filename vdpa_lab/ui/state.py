"""The state behind the dashboard: a scenario, its toggles and knobs, what follows. Knows no widget."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from traitlets import Dict, HasTraits, Instance, Int, Tuple, Unicode

from vdpa_lab.migration import Run, catalogue, simulate
from vdpa_lab.migration.optimization import known
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.ui.fields import FIELDS
from vdpa_lab.ui.history import History, Moment
from vdpa_lab.ui.presets import Preset, news, presets, settle, why_not
from vdpa_lab.words import InputError, nearest

KEPT = "kept"
COMPARISONS = {
    "shipped": "as shipped",
    "nothing": "stock",
    "own": "scenario's",
    KEPT: "kept run",
}
Knobs = dict[str, dict[str, int]]


@lru_cache(maxsize=64)
def _simulated(scenario: Scenario, names: tuple[str, ...], knobs: tuple) -> Run:
    return simulate(scenario, names, knobs={name: dict(turned) for name, turned in knobs})


def _run(scenario: Scenario, names: tuple[str, ...], knobs: Knobs) -> Run:
    turned = tuple((name, tuple(sorted(knobs[name].items()))) for name in names if knobs.get(name))
    return _simulated(scenario, names, turned)


class LabState(HasTraits):
    """What is chosen and what follows from it.

    base: the scenario as it was read; scenario: as edited; on: toggles in catalogue order; knobs: by toggle
    and name. run, previous, reference: the present run, the one before (None at first), the one to compare
    with (compare_with: a key of COMPARISONS). history: what was chosen before. notes: the user's own words.
    error: what was refused, in words; the last good run stays. notice: what else happened. revision rises by
    one after each change, once all the rest fits: views watch it alone.
    """

    base = Instance(Scenario)
    scenario = Instance(Scenario)
    on = Tuple()
    knobs = Dict()
    compare_with = Unicode("shipped")
    run = Instance(Run)
    previous = Instance(Run, allow_none=True)
    reference = Instance(Run)
    kept = Instance(Run, allow_none=True)
    notes = Unicode()
    error = Unicode()
    notice = Unicode()
    revision = Int()

    def __init__(self, scenario: Scenario):
        own = presets(scenario)["own"].names
        run = _run(scenario, own, {})
        reference = _run(scenario, presets(scenario)["shipped"].names, {})
        super().__init__(base=scenario, scenario=scenario, on=own, run=run, reference=reference)
        self.history = History()

    def reasons(self) -> dict[str, str]:
        """Per toggle why it cannot be switched on as things are, in words; "" where it can or is on."""
        driver = self.scenario.device.driver
        return {name: "" if name in self.on else why_not(name, self.on, driver) for name in catalogue()}

    def set_toggle(self, name: str, value: bool) -> None:
        """Switch a toggle; what cannot stay without it drops out, which the notice says."""
        known([name])
        each = catalogue()[name]
        if value == (name in self.on):
            return self._quietly()
        if not value:
            return self._change(on=[other for other in self.on if other != name], cause=f"{each.title} is off")
        if why := why_not(name, self.on, self.scenario.device.driver):
            return self._refuse(f"{each.title} cannot apply: {why}")
        return self._change(on=(*self.on, name))

    def set_knob(self, name: str, knob: str, value: int) -> None:
        """Turn a knob of a toggle; it counts while the toggle is on."""
        known([name])
        turned = self.knobs.get(name, {})
        return self._change(knobs={**self.knobs, name: {**turned, knob: value}})

    def edit(self, field: str, text: str) -> None:
        """Give a field of the scenario (a key of FIELDS) another value."""
        if field not in FIELDS:
            raise InputError(f"no field {field!r}; {nearest(field, FIELDS)}")
        try:
            scenario = FIELDS[field].put(self.scenario, str(text))
        except ValueError as error:
            return self._refuse(f"{FIELDS[field].title}: {error}")
        if scenario == self.scenario:
            return self._quietly()
        remark = news(self.presets()["shipped"], presets(scenario)["shipped"])
        return self._change(scenario=scenario, cause=f"{FIELDS[field].title} is {text}", remark=remark)

    def presets(self) -> dict[str, Preset]:
        """The presets of the scenario as edited."""
        return presets(self.scenario)

    def preset(self) -> str:
        """Key of the preset that is on, "" when the choice is the user's own."""
        return next((key for key, preset in self.presets().items() if preset.names == self.on), "")

    def use_preset(self, key: str) -> None:
        """Switch to a preset's toggles; knobs stay."""
        found = self.presets()
        if key not in found:
            raise InputError(f"no preset {key!r}; {nearest(key, found)}")
        if found[key].names == self.on:
            return self._quietly()
        return self._change(on=found[key].names)

    def ladder_step(self) -> int:
        """How many steps of the scenario's ladder are on without a gap."""
        ladder = [set(preset.names) for key, preset in self.presets().items() if key.startswith("ladder-")]
        return next((step for step, names in enumerate(ladder) if not names <= set(self.on)), len(ladder))

    def climb(self, steps: int) -> None:
        """Go up or down the scenario's ladder; below its first step nothing is on, at its top all of it."""
        found = self.presets()
        step = min(max(self.ladder_step() + steps, 0), sum(key.startswith("ladder-") for key in found))
        preset = found[f"ladder-{step}" if step else "nothing"]
        if preset.names == self.on:
            return self._quietly()
        return self._change(on=preset.names, remark=f"{preset.title}.")

    def reset(self) -> None:
        """The scenario, toggles and knobs as they were read."""
        return self._change(scenario=self.base, on=presets(self.base)["own"].names, knobs={})

    def moment(self) -> Moment:
        """What is chosen now."""
        return Moment(self.scenario, self.on, self.knobs)

    def run_of(self, moment: Moment) -> Run:
        """The run of a state that was good once; the latest ones are at hand."""
        return _run(moment.scenario, moment.on, moment.knobs)

    def put(self, moment: Moment) -> None:
        """Choose all of this at once: from a token, or a session."""
        return self._change(moment.scenario, moment.on, moment.knobs)

    def undo(self) -> None:
        """Back to what was chosen before."""
        return self._travel(self.history.back(self.moment()), "nothing to undo")

    def redo(self) -> None:
        """Forth to what was taken back."""
        return self._travel(self.history.forth(self.moment()), "nothing to redo")

    def _travel(self, moment: Moment | None, nothing: str) -> None:
        if moment is None:
            return self._refuse(nothing)
        return self._change(moment.scenario, moment.on, moment.knobs, recorded=False)

    def keep(self) -> None:
        """Compare with the present run from here on."""
        self.kept = self.run
        self.compare(KEPT)

    def compare(self, key: str) -> None:
        """Compare with another run (a key of COMPARISONS)."""
        if key not in COMPARISONS:
            raise InputError(f"no comparison {key!r}; {nearest(key, COMPARISONS)}")
        if key == KEPT and self.kept is None:
            return self._refuse("no run was kept: press “Keep this run” first")
        self.compare_with = key
        self.reference = self._reference(self.scenario)
        return self._quietly()

    def comparison(self) -> str:
        """What the present run is compared with, in a few words."""
        return COMPARISONS[self.compare_with]

    def _reference(self, scenario: Scenario) -> Run:
        if self.compare_with == KEPT and self.kept is not None:
            return self.kept
        return _run(scenario, presets(scenario)[self.compare_with].names, {})

    def _change(
        self,
        scenario: Scenario | None = None,
        on: Iterable[str] | None = None,
        knobs: Knobs | None = None,
        cause: str = "",
        remark: str = "",
        recorded: bool = True,
    ) -> None:
        """Run what is asked for and take it over, or say why it cannot be run and leave all as it was."""
        scenario = scenario or self.scenario
        knobs = self.knobs if knobs is None else knobs
        names, dropped = settle(self.on if on is None else on, scenario.device.driver)
        try:
            run, reference = _run(scenario, names, knobs), self._reference(scenario)
        except ValueError as error:
            return self._refuse(str(error))
        if recorded and self.moment() != Moment(scenario, names, knobs):
            self.history.leave(self.moment())
        self.previous, self.run, self.reference = self.run, run, reference
        self.scenario, self.on, self.knobs = scenario, names, knobs
        left = "; ".join(f"{catalogue()[name].title} ({why})" for name, why in dropped.items())
        self.notice = " ".join(filter(None, (f"{cause}. Dropped out with it: {left}." if left else "", remark)))
        self.error = ""
        self.revision += 1

    def _quietly(self) -> None:
        self.error = self.notice = ""
        self.revision += 1

    def _refuse(self, why: str) -> None:
        self.error = why
        self.revision += 1


_SESSIONS: dict[str, LabState] = {}


def session(scenario: str | Scenario) -> LabState:
    """The state of a scenario, kept while Python runs and the scenario reads the same."""
    read = find_scenario(scenario)
    kept = _SESSIONS.get(read.name)
    if kept is None or kept.base != read:
        kept = _SESSIONS[read.name] = LabState(read)
    return kept
