"""Which steps of a plan surely end before which begin."""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.migration.plan import Plan, PlanError
from vdpa_lab.migration.step import Step


class Ancestry:
    """The waits of a plan carried through: one set of step numbers, as the bits of an int, for each step.

    Making it checks that names are unique and that each step waits for earlier ones only: no circle.
    """

    def __init__(self, plan: Plan):
        self.plan, self.index, self.before = plan, {}, []
        for number, step in enumerate(plan.steps):
            if step.name in self.index:
                raise PlanError(f"{step.name!r} comes twice, as steps {self.index[step.name]} and {number}")
            found = 0
            for name in step.after:
                if name not in self.index:
                    later = any(each.name == name for each in plan.steps[number:])
                    why = "which comes no earlier" if later else "which is not in the plan"
                    raise PlanError(f"{step.name!r} waits for {name!r}, {why}")
                at = self.index[name]
                found |= self.before[at] | 1 << at
            self.index[step.name] = number
            self.before.append(found)

    def missing(self, first: int, then: int) -> Step | None:
        """A step of the set `first` that does not precede step number `then`."""
        rest = first & ~self.before[then]
        return self.plan.steps[(rest & -rest).bit_length() - 1] if rest else None

    def precedes(self, first: int, then: int) -> bool:
        """Whether step number `then` waits, at least through others, for step number `first`."""
        return bool(self.before[then] >> first & 1)

    def in_turn(self, first: int, then: int, rule: str) -> None:
        """Raises PlanError, naming the rule and both steps, unless `first` precedes `then`."""
        if not self.precedes(first, then):
            one, other = self.plan.steps[first].name, self.plan.steps[then].name
            raise PlanError(f"{rule}: {other!r} does not wait for {one!r}")

    def by_device(self) -> Iterator[list[int]]:
        """Numbers of the steps of each host's device."""
        groups: dict[tuple[str, int], list[int]] = {}
        for number, step in enumerate(self.plan.steps):
            if step.device >= 0:
                groups.setdefault((step.lane.side, step.device), []).append(number)
        yield from groups.values()
