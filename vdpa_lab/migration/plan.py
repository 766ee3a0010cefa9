"""A migration as data: steps, what each waits for, which lane does it, how much work it is; and the verbs on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from vdpa_lab.machine.iotlb import Effect
from vdpa_lab.migration.fluid import Demand
from vdpa_lab.model import Scenario
from vdpa_lab.timeline import Lane

Work = tuple[tuple[str, int], ...]


class Step(NamedTuple):
    """One operation.

    name: unique in its plan. op: the operation as the kernel, QEMU or the firmware names it. device: index, or -1
    for the whole VM. path: the QEMU code path it belongs to (PATHS). caller: the function that issues it, with
    (CVQ) behind it for the rings of the control virtqueue. after: names of the steps it waits for. work: pairs of
    cost key and amount. width: how many firmware commands of its work are in flight at once. groups: how many times
    the caller waits for its commands. effect: what it does to the device's address spaces. of: the step whose
    effect its work is derived from. detail: kernel arguments as printed. mark: the instant that it names. demand:
    bytes of a rate that it shares with steps that run beside it; its work is then what they take alone.
    """

    name: str
    op: str
    lane: Lane
    device: int
    path: str
    caller: str
    after: tuple[str, ...]
    work: Work = ()
    width: int = 1
    groups: int = 1
    effect: Effect | None = None
    of: str = ""
    detail: str = ""
    mark: str = ""
    demand: Demand | None = None

    def behind(self, after: tuple[str, ...]) -> Step:
        """The same step that waits for these; what every rewrite does to many, so faster than `_replace`."""
        return self if after == self.after else self._make((*self[:6], after, *self[7:]))


PATHS = {
    "init": "QEMU start of the destination (vhost_vdpa_init, machine reset)",
    "load-setup": "destination, on the setup section of the stream",
    "switch": "switch to shadow virtqueues (vhost_vdpa_net_log_global_enable)",
    "precopy": "migration thread, and loading on the destination",
    "back": "source, when the migration is cancelled: shadowing ends (vhost_vdpa_net_log_global_enable)",
    "stop": "source, after the VM was stopped (vhost_net_stop)",
    "save": "source, last RAM and device state",
    "load": "destination, last RAM and device state",
    "start": "destination, start of the VM (vhost_net_start)",
    "after": "after the migration",
}


class PlanError(ValueError):
    """A plan that cannot be carried out, or breaks a safety order; the message names the steps."""


Where = Callable[[Step], bool]


def _tests(wanted: Mapping[str, object]) -> list[tuple[int, Collection[object]]]:
    """Per attribute its place in a step, and the values that pass."""
    return [
        (Step._fields.index(key), value if isinstance(value, (set, frozenset)) else {value})
        for key, value in wanted.items()
        if key != "side"
    ]


def where(**wanted: object) -> Where:
    """A test on steps: each named attribute equals the value, or is in it when it is a set; `side` is the lane's."""
    sets, side = _tests(wanted), wanted.get("side")

    def matches(step: Step) -> bool:
        for field, values in sets:
            if step[field] not in values:
                return False
        return side is None or step.lane.side == side

    return matches


Chains = Mapping[str, Sequence[Step]]  # in series, by the name of the step that they stand at


def _append_chain(steps: list[Step], chain: Sequence[Step], after: tuple[str, ...]) -> tuple[str, ...]:
    """What waits for the chain that begins behind `after` has to wait for."""
    for step in chain:
        steps.append(step.behind(after))
        after = (step.name,)
    return after


def _steps(chains: Chains) -> list[Step]:
    return [step for chain in chains.values() for step in chain]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one live migration, in an order in which each waits only for earlier ones.

    applied: the optimisations; turned: (optimisation, knob, value) of each knob that is not where it was.
    """

    scenario: Scenario
    steps: tuple[Step, ...]
    applied: tuple[str, ...] = ()
    turned: tuple[tuple[str, str, int], ...] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def select(self, **wanted: object) -> list[Step]:
        """The steps that match, in order (see `where`)."""
        found: Iterable[Step] = self.steps
        for field, values in _tests(wanted):  # one after the other: few steps are left after the first
            found = [step for step in found if step[field] in values]
        side = wanted.get("side")
        return [step for step in found if side is None or step.lane.side == side]

    def devices(self, side: str, path: str) -> list[int]:
        """The devices that have steps on this side and path, in the order in which they are served."""
        found = [s.device for s in self.steps if s.path == path and s.lane.side == side and s.device >= 0]
        return list(dict.fromkeys(found))

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
        instead: dict[str, tuple[str, ...]] = {}  # what waited for the key waits for these
        at = 0
        for index in self._of({*out, *before, *after, *beside}, {*out, *after}):
            steps += self.steps[at:index]
            step, at = self.steps[index], index + 1
            name = step.name
            waits = step.after
            if not instead.keys().isdisjoint(waits):
                waits = tuple(dict.fromkeys([each for one in waits for each in instead.get(one, (one,))]))
            if name in before:
                waits = _append_chain(steps, before[name], waits)
            if name not in out:
                steps.append(step.behind(waits))
                waits = (name,)
            if name in beside:
                _append_chain(steps, beside[name], waits)
            if name in after:
                waits = _append_chain(steps, after[name], waits)
            if name in out or name in after:
                instead[name] = waits
        return replace(self, steps=(*steps, *self.steps[at:]))

    def drop(self, steps: Iterable[Step]) -> Plan:
        """Without `steps`; what waited for one of them now waits for what that one waited for."""
        return self.edit(gone=steps)

    def _of(self, named: Collection[str], waited_for: Collection[str]) -> list[int]:
        """Places of the steps of these names and of those that wait for one of the others; the rest stays as it is."""
        named, waited_for = frozenset(named), frozenset(waited_for)
        if not waited_for:
            return [index for index, step in enumerate(self.steps) if step.name in named]
        return [
            index
            for index, step in enumerate(self.steps)
            if step.name in named or not waited_for.isdisjoint(step.after)
        ]

    def alter(self, steps: Iterable[Step], change: Callable[[Step], Step]) -> Plan:
        """With `change` applied to each of `steps`; their names stay."""
        names = {step.name for step in steps}
        if not names:
            return self
        return replace(self, steps=tuple([change(step) if step.name in names else step for step in self.steps]))

    def split(self, steps: Iterable[Step], in_flight: int) -> Plan:
        """With up to `in_flight` commands of each of `steps` on their lane's slots at a time."""
        return self.alter(steps, lambda step: step._replace(width=max(step.width, in_flight)))

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
        moved = [step._replace(lane=lane) if lane else step for step in steps]
        plan = self.branch_all({after.name: moved})
        if before and moved:
            plan = plan.alter([before], lambda step: step._replace(after=(*step.after, moved[-1].name)))
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
