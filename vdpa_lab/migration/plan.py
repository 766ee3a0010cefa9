"""A migration as data: steps, what each waits for, which lane does it, how much work it is; and the verbs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from vdpa_lab.machine.iotlb import Effect
from vdpa_lab.model import Scenario
from vdpa_lab.timeline import Lane

Work = tuple[tuple[str, int], ...]


class Step(NamedTuple):
    """One operation.

    name: unique in its plan. op: the operation as the kernel, QEMU or the firmware names it. device: index, or -1 for
    the whole VM. path: the QEMU code path it belongs to (PATHS), caller: the function that issues it. after: names of
    the steps it waits for. work: pairs of cost key and amount. width: how many firmware commands of its work are in flight at once. groups: how many times the
    caller waits for its commands. effect: what it does to the device's address spaces. of: the step whose effect its
    work is derived from. detail: kernel arguments as printed. mark: the instant that it names.
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


PATHS = {
    "init": "QEMU start of the destination (vhost_vdpa_init, machine reset)",
    "load-setup": "destination, on the setup section of the stream",
    "switch": "switch to shadow virtqueues (vhost_vdpa_net_log_global_enable)",
    "precopy": "migration thread, and loading on the destination",
    "stop": "source, after the VM was stopped (vhost_net_stop)",
    "save": "source, last RAM and device state",
    "load": "destination, last RAM and device state",
    "start": "destination, start of the VM (vhost_net_start)",
    "after": "after the migration",
}


class PlanError(ValueError):
    """A plan that cannot be carried out, or breaks a safety order; the message names the steps."""


Where = Callable[[Step], bool]


def where(**wanted: object) -> Where:
    """A test on steps: each named attribute equals the value, or is in it when it is a set; `side` is the lane's."""
    sets = [(k, v if isinstance(v, (set, frozenset)) else {v}) for k, v in wanted.items() if k != "side"]
    side = wanted.get("side")

    def matches(step: Step) -> bool:
        if side is not None and step.lane.side != side:
            return False
        return all(getattr(step, key) in values for key, values in sets)

    return matches


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one live migration, in an order in which each waits only for earlier ones."""

    scenario: Scenario
    steps: tuple[Step, ...]
    applied: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def select(self, **wanted: object) -> list[Step]:
        """The steps that match, in order (see `where`)."""
        matches = where(**wanted)
        return [step for step in self.steps if matches(step)]

    def devices(self, side: str, path: str) -> list[int]:
        """The devices that have steps on this side and path, in the order in which they are served."""
        return list(dict.fromkeys(s.device for s in self.steps if s.path == path and s.lane.side == side and s.device >= 0))

    def drop(self, steps: Iterable[Step]) -> Plan:
        """Without `steps`; what waited for one of them now waits for what that one waited for."""
        gone = {step.name: step for step in steps}
        if not gone:
            return self
        inherited: dict[str, tuple[str, ...]] = {}
        kept = []
        for step in self.steps:
            after = step.after
            if any(name in gone for name in after):
                joined: dict[str, None] = {}
                for name in after:
                    joined.update(dict.fromkeys(inherited[name] if name in gone else (name,)))
                after = tuple(joined)
            if step.name in gone:
                inherited[step.name] = after
            else:
                kept.append(step if after is step.after else step._replace(after=after))
        return replace(self, steps=tuple(kept))

    def alter(self, steps: Iterable[Step], change: Callable[[Step], Step]) -> Plan:
        """With `change` applied to each of `steps`; their names stay."""
        names = {step.name for step in steps}
        return replace(self, steps=tuple(change(step) if step.name in names else step for step in self.steps))

    def split(self, steps: Iterable[Step], in_flight: int) -> Plan:
        """With up to `in_flight` commands of each of `steps` on their lane's slots at a time."""
        return self.alter(steps, lambda step: step._replace(width=max(step.width, in_flight)))

    def insert(self, new: Iterable[Step], *, before: Step | None = None, after: Step | None = None) -> Plan:
        """With the chain of `new` steps put in series just before, or just after, a step of the plan."""
        new, anchor = list(new), before or after
        if not new:
            return self
        steps = []
        head = anchor.after if before else (anchor.name,)
        chain = [new[0]._replace(after=head)]
        for step in new[1:]:
            chain.append(step._replace(after=(chain[-1].name,)))
        last = chain[-1].name
        for step in self.steps:
            if before and step.name == before.name:
                steps += [*chain, step._replace(after=(last,))]
            elif after and step.name == after.name:
                steps += [step, *chain]
            elif after and after.name in step.after:
                steps.append(step._replace(after=tuple(last if name == after.name else name for name in step.after)))
            else:
                steps.append(step)
        return replace(self, steps=tuple(steps))

    def move(self, steps: Iterable[Step], *, after: Step) -> Plan:
        """With `steps` taken out of their place and put in series just after another step."""
        moved = list(steps)
        return self.drop(moved).insert(moved, after=after) if moved else self

    def reschedule(self, steps: Iterable[Step], *, after: Step, before: Step | None = None, lane: Lane | None = None) -> Plan:
        """With `steps` taken out of their place and run in series once `after` is done, on `lane` if given.

        They run beside what else follows `after`; `before`, when given, waits for the last of them.
        """
        moved = list(steps)
        if not moved:
            return self
        rest = self.drop(moved)
        chain, head = [], after.name
        for step in moved:
            chain.append(step._replace(after=(head,), lane=lane or step.lane))
            head = step.name
        result = []
        for step in rest.steps:
            if before and step.name == before.name:
                step = step._replace(after=(*step.after, head))
            result.append(step)
            if step.name == after.name:
                result += chain
        return replace(self, steps=tuple(result))

    def mark(self, name: str) -> Step:
        """The step that names an instant; KeyError with the name when the plan has none."""
        for step in self.steps:
            if step.mark == name:
                return step
        raise KeyError(f"the plan has no mark {name!r}")
