"""A migration as data: its steps in order, and the verbs on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from vdpa_lab.migration.step import Step, tests
from vdpa_lab.model import Scenario
from vdpa_lab.timeline import Lane


class PlanError(ValueError):
    """A plan that cannot be carried out, or breaks a safety order; the message names the steps."""


Chains = Mapping[str, Sequence[Step]]  # in series, by the name of the step that they stand at


def _append_chain(
    steps: list[Step], seams: list[int], chain: Sequence[Step], after: tuple[str, ...]
) -> tuple[str, ...]:
    """What waits for the chain that begins behind `after` has to wait for."""
    seams.append(len(steps))
    for step in chain:
        steps.append(step.behind(after))
        after = (step.name,)
    return after


def _joining(steps: Sequence[Step], places: Iterable[int]) -> frozenset[str]:
    """Names of those in these places that wait for another than just the one in front of them."""
    return frozenset(
        [
            steps[i].name
            for i in places
            if i < len(steps) and (not i or len(after := steps[i].after) != 1 or after[0] != steps[i - 1].name)
        ]
    )


def _steps(chains: Chains) -> list[Step]:
    return [step for chain in chains.values() for step in chain]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one live migration, in an order in which each waits only for earlier ones.

    scenario: while it is rewritten, its outline (`vdpa_lab.migration.outline`). applied: the optimisations; turned:
    (optimisation, knob, value) of each knob that is not where it was.
    """

    scenario: Scenario
    steps: tuple[Step, ...]
    applied: tuple[str, ...] = ()
    turned: tuple[tuple[str, str, int], ...] = ()
    # Names of all steps that wait for another than just the one in front of them, and maybe of more; None: not known.
    _joins: frozenset[str] | None = field(default=None, init=False, compare=False, repr=False)

    def _made(self, steps: tuple[Step, ...], applied: tuple[str, ...], joins: frozenset[str] | None) -> Plan:
        made = Plan(self.scenario, steps, applied, self.turned)
        object.__setattr__(made, "_joins", joins)
        return made

    def _may_join(self) -> frozenset[str]:
        if self._joins is None:
            object.__setattr__(self, "_joins", _joining(self.steps, range(len(self.steps))))
        return self._joins

    def with_applied(self, name: str) -> Plan:
        """The same plan, told that this optimisation made it what it is."""
        return self._made(self.steps, (*self.applied, name), self._joins)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def select(self, **wanted: object) -> list[Step]:
        """The steps that match, in order (see `where`)."""
        found: Iterable[Step] = self.steps
        for place, values in tests(wanted):  # one after the other: few steps are left after the first
            found = [step for step in found if step[place] in values]
        side = wanted.get("side")
        return [step for step in found if side is None or step.lane.side == side]

    def devices(self, side: str, path: str) -> list[int]:
        """The devices that have steps on this side and path, in the order in which they are served."""
        return [device for _, device in self.served(side, path)]

    def served(self, side: str, *paths: str) -> dict[tuple[str, int], list[Step]]:
        """By (path, device) the steps of that device; by path in the order given, then as `devices`."""
        found: dict[tuple[str, int], list[Step]] = {}
        for step in [s for s in self.steps if s.path in paths and s.device >= 0 and s.lane.side == side]:
            found.setdefault((step.path, step.device), []).append(step)
        return {key: found[key] for key in sorted(found, key=lambda each: paths.index(each[0]))}

    def edit(
        self,
        gone: Iterable[Step] = (),
        before: Chains = MappingProxyType({}),
        after: Chains = MappingProxyType({}),
        beside: Chains = MappingProxyType({}),
    ) -> Plan:
        """Steps taken out and chains put in, by the name of the step that each goes before, after, or beside.

        What waited for one of `gone` waits for what that one waited for, or for the chains that stand in its place;
        what waited for the step that a chain goes after, waits for the chain. Beside it: nothing waits for the chain.
        """
        out = {step.name for step in gone}
        if not (out or before or after or beside):
            return self
        steps: list[Step] = []
        seams: list[int] = []  # where in them a step has another one in front of it than before
        instead: dict[str, tuple[str, ...]] = {}  # what waited for the key waits for these
        at = 0
        for index in self._of({*out, *before, *after, *beside}, {*out, *after}):
            if at < index:
                seams.append(len(steps))
                steps += self.steps[at:index]
            step, at = self.steps[index], index + 1
            name, waits = step.name, step.after
            if len(waits) == 1:
                waits = instead.get(waits[0], waits)
            elif not instead.keys().isdisjoint(waits):
                waits = tuple(dict.fromkeys([each for one in waits for each in instead.get(one, (one,))]))
            if name in before:
                waits = _append_chain(steps, seams, before[name], waits)
            if name not in out:
                seams.append(len(steps))
                steps.append(step.behind(waits))
                waits = (name,)
            if name in beside:
                _append_chain(steps, seams, beside[name], waits)
            if name in after:
                waits = _append_chain(steps, seams, after[name], waits)
            if name in out or name in after:
                instead[name] = waits
        seams.append(len(steps))
        steps += self.steps[at:]
        return self._made(tuple(steps), self.applied, _joining(steps, seams))  # all that joined were looked at

    def drop(self, steps: Iterable[Step]) -> Plan:
        """Without `steps`; what waited for one of them now waits for what that one waited for."""
        return self.edit(gone=steps)

    def _of(self, named: Collection[str], waited_for: Collection[str]) -> list[int]:
        """Places of all steps of these names and that wait for one of the others, and maybe of more."""
        look, places = self._may_join().union(named), []
        for index in [index for index, step in enumerate(self.steps) if step.name in look]:
            if not places or places[-1] != index:
                places.append(index)
            if self.steps[index].name in waited_for and index + 1 < len(self.steps):
                places.append(index + 1)
        return places

    def alter(self, steps: Iterable[Step], change: Callable[[Step], Step]) -> Plan:
        """With `change` applied to each of `steps`; their names stay."""
        names = {step.name for step in steps}
        if not names:
            return self
        steps, joins = list(self.steps), set(self._may_join())
        for index in [index for index, step in enumerate(steps) if step.name in names]:
            before, changed = steps[index], change(steps[index])
            steps[index] = changed
            if changed.after is not before.after:
                joins.add(changed.name)
        return self._made(tuple(steps), self.applied, frozenset(joins))

    def split(self, steps: Iterable[Step], in_flight: int) -> Plan:
        """With up to `in_flight` commands of each of `steps` on their lane's slots at a time."""
        return self.alter(steps, lambda step: step.but(width=max(step.width, in_flight)))

    def insert(self, new: Iterable[Step], *, before: Step | None = None, after: Step | None = None) -> Plan:
        """With the chain of `new` steps put in series just before, or just after, a step of the plan."""
        new = list(new)
        return self.insert_all({before.name: new} if before else {}, {after.name: new} if after else {})

    def insert_all(self, before: Chains, after: Chains) -> Plan:
        """Several insertions at once: chains of new steps by the name of the step that they go before, or after."""
        return self.edit(before=before, after=after)

    def move(self, steps: Iterable[Step], *, after: Step) -> Plan:
        """With `steps` taken out of their place and put in series just after another step."""
        return self.move_all({after.name: list(steps)})

    def reschedule(
        self, steps: Iterable[Step], *, after: Step, before: Step | None = None, lane: Lane | None = None
    ) -> Plan:
        """With `steps` taken out of their place and run in series once `after` is done, on `lane` if given.

        They run beside what else follows `after`; `before`, when given, waits for the last of them.
        """
        moved = [step.but(lane=lane) if lane else step for step in steps]
        plan = self.branch_all({after.name: moved})
        if before and moved:
            plan = plan.alter([before], lambda step: step.but(after=(*step.after, moved[-1].name)))
        return plan

    def branch_all(self, branches: Chains) -> Plan:
        """Several chains taken out of their places, each run beside what else follows the step that it is named by."""
        return self.edit(gone=_steps(branches), beside=branches)

    def move_all(self, moves: Chains) -> Plan:
        """Several moves at once: steps taken out of their places, by the name of the step that they go after."""
        return self.edit(gone=_steps(moves), after=moves)

    def mark(self, name: str) -> Step:
        """The step that names an instant; KeyError with the name when the plan has none."""
        for step in self.steps:
            if step.mark == name:
                return step
        raise KeyError(f"the plan has no mark {name!r}")
