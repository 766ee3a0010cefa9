"""What of a scenario decides which steps its plan has; how large they are is filled in once the plan is written.

Rewrites see an outline, so a plan of these steps is rewritten once for guests of any size, workload and rates. Where an
amount will stand they see its name, and a plan that they ask for an amount says that it has none yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, NamedTuple, NoReturn

from vdpa_lab.machine.iotlb import Map, Unmap
from vdpa_lab.machine.iova import identity_memory, shadow_layout
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration.builder import message_detail
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.precopy_layout import wire_ns
from vdpa_lab.model import Host, Scenario, VdpaDevice
from vdpa_lab.units import PAGE_SIZE

PAGES_PER_WORD = 64


@dataclass(frozen=True, slots=True)
class Amount:
    """`times` the number of this name in AMOUNTS, and `more`; it stands where the amount will."""

    name: str
    times: int = 1
    more: int = 0

    def __add__(self, more: int) -> Amount:
        return Amount(self.name, self.times, self.more + more)

    def __rmul__(self, times: int) -> Amount:
        return Amount(self.name, self.times * times, self.more * times)


class _Part:
    """A part of an outline, with the names that it has in a scenario."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        whose = type(self).__name__.removesuffix("Outline").lower() or "scenario"
        why = "which steps a plan has may not follow from it"
        raise AttributeError(f"a rewrite cannot see {whose}.{name}: {why} (vdpa_lab.migration.outline)")


@dataclass(frozen=True, slots=True)
class GuestOutline(_Part):
    """sections: (perm, kind) of each stretch of guest memory that vhost-vdpa maps, in the order of the listener."""

    vga: bool
    sections: tuple[tuple[str, str], ...]
    vcpus: ClassVar = Amount("vcpus")


@dataclass(frozen=True, slots=True)
class LinkOutline(_Part):
    """The migration network."""

    bandwidth: int | None
    latency: ClassVar = Amount("link latency ns")


@dataclass(frozen=True, slots=True)
class MigrationOutline(_Part):
    """cancelled: precopy is cut short by migrate-cancel."""

    return_path: bool
    multifd_channels: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Outline(_Part):
    """The parts of a scenario that its steps follow from."""

    guest: GuestOutline
    device: VdpaDevice
    source: Host
    destination: Host
    link: LinkOutline
    migration: MigrationOutline


class Listed(NamedTuple):
    """Stands in the place of a run's chunks, for the run of this number, behind the shadow rings if `packed`."""

    packed: bool
    number: int


def _words(scenario: Scenario) -> int:
    return -(-scenario.guest.ram // PAGE_SIZE // PAGES_PER_WORD)


AMOUNTS = {
    "vcpus": lambda scenario: scenario.guest.vcpus,
    "link latency ns": lambda scenario: scenario.link.latency,
    "bitmap words": _words,
    "bitmap words of all syncs": lambda scenario: precopy(scenario).syncs * _words(scenario),
    "precopy ns": lambda scenario: precopy(scenario).total_ns,
    "left pages": lambda scenario: precopy(scenario).left_pages,
    "left bytes": lambda scenario: precopy(scenario).left_bytes,
    "ns of left bytes": lambda scenario: wire_ns(precopy(scenario).left_bytes, scenario.link.bandwidth),
}


def outline(scenario: Scenario) -> Outline:
    """The outline of a scenario."""
    guest, migration = scenario.guest, scenario.migration
    cancelled = migration.cancel_after is not None and precopy(scenario).cancelled
    return Outline(
        GuestOutline(guest.vga, tuple([(run.perm, run.kind) for run in identity_memory(guest)])),
        scenario.device,
        scenario.source,
        scenario.destination,
        LinkOutline(scenario.link.bandwidth),
        MigrationOutline(migration.return_path, migration.multifd_channels, cancelled),
    )


def memory(of: Outline, packed: bool) -> tuple[Run, ...]:
    """The runs of guest memory, of which only place and kind are known yet."""
    return tuple(
        Run(number, 0, perm, Listed(packed, number), kind) for number, (perm, kind) in enumerate(of.guest.sections)
    )


def open_places(plan: Plan) -> tuple[int, ...]:
    """The steps of a plan in which something is to be filled in."""
    return tuple(
        place
        for place, step in enumerate(plan.steps)
        if any(isinstance(amount, Amount) for _, amount in step.work)
        or (isinstance(step.effect, (Map, Unmap)) and any(isinstance(run.chunks, Listed) for run in step.effect.runs))
    )


def filled(plan: Plan, scenario: Scenario, places: Sequence[int]) -> Plan:
    """A plan of the scenario's outline with the amounts of the scenario, in the steps at these places."""
    runs = {False: identity_memory(scenario.guest), True: shadow_layout(scenario.guest, scenario.device)[1]}
    found = cache(lambda name: AMOUNTS[name](scenario))

    def number(amount: int | Amount) -> int:
        return amount.times * found(amount.name) + amount.more if isinstance(amount, Amount) else amount

    def run(of: Run) -> Run:
        return runs[of.chunks.packed][of.chunks.number] if isinstance(of.chunks, Listed) else of

    steps = list(plan.steps)
    for place in places:
        step = steps[place]
        effect, changed = step.effect, {"work": tuple([(key, number(amount)) for key, amount in step.work])}
        if isinstance(effect, (Map, Unmap)):
            changed["effect"] = one = effect._replace(runs=tuple([run(each) for each in effect.runs]))
            changed["detail"] = message_detail(one.asid, one.runs[0].size)
        if step.demand:
            changed["demand"] = step.demand._replace(size=number(step.demand.size))
        steps[place] = step.but(**changed)
    return replace(plan, scenario=scenario, steps=tuple(steps))
