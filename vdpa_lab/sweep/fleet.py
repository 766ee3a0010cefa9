"""A fleet before and after an upgrade of QEMU and Linux: each VM's downtime, who misses the target, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from vdpa_lab.migration import simulate
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.model import Host, Scenario, ScenarioError
from vdpa_lab.sweep.coalitions import checked_whole, checked_window
from vdpa_lab.sweep.fleet_file import read_fleet
from vdpa_lab.timeline import summed
from vdpa_lab.words import InputError

if TYPE_CHECKING:
    import pandas as pd

ENDLESS = "precopy does not converge"
COLUMNS = ("name", "before_ns", "after_ns", "converges_before", "converges_after", "meets_before", "meets_after",
           "why", "why_ns")  # fmt: skip


class Versions(NamedTuple):
    """What both hosts run."""

    qemu: str
    linux: str

    def __str__(self) -> str:
        return f"QEMU {self.qemu}, Linux {self.linux}"


class Outcome(NamedTuple):
    """One VM with one pair of versions: the window in ns, and the largest part of it: operation, price, ns.

    converges: precopy ends by itself; else the window is that of a VM which is stopped all the same.
    """

    ns: int
    part: str
    key: str
    part_ns: int
    converges: bool

    def meets(self, target_ns: int) -> bool:
        """Is the window at the target or below, of a migration that ends by itself?"""
        return self.converges and self.ns <= target_ns

    def why(self) -> str:
        """What it is chiefly made of, or why it never ends."""
        return f"{self.part} ({self.key})" if self.converges else ENDLESS


@dataclass(frozen=True)
class Fleet:
    """The table has a row a VM, with COLUMNS; `why` and `why_ns` of those that miss the target after the upgrade."""

    target_ns: int
    window: str
    versions: tuple[Versions, Versions]
    vms: tuple[Scenario, ...]
    outcomes: tuple[tuple[Outcome, Outcome], ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a VM. `why`: the largest part of its window, as "operation (price)", or that precopy never ends."""
        import pandas as pd  # see `vdpa_lab.sweep.store.frame`

        rows = []
        for vm, (before, after) in zip(self.vms, self.outcomes, strict=True):
            met, late = [one.meets(self.target_ns) for one in (before, after)], not after.meets(self.target_ns)
            why = (after.why(), after.part_ns if after.converges else 0) if late else ("", 0)
            rows.append((vm.name, before.ns, after.ns, before.converges, after.converges, *met, *why))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def json(self) -> dict[str, Any]:
        """One JSON document: the question, and a row a VM."""
        before, after = (versions._asdict() for versions in self.versions)
        question = {"window": self.window, "target_ns": self.target_ns, "before": before, "after": after}
        return {**question, "rows": self.table.astype(object).to_dict("records")}

    def quantiles(self, shares: Iterable[float] = (0.05, 0.5, 0.95, 1.0)) -> pd.DataFrame:
        """The distribution of the window over the fleet in ns, before and after."""
        chosen = list(shares)
        return self.table[["before_ns", "after_ns"]].quantile(chosen, interpolation="higher")

    def misses(self) -> pd.DataFrame:
        """The VMs that miss the target after the upgrade: those that never end, then the longest first."""
        late = self.table[~self.table["meets_after"].astype(bool)]
        order = ["converges_after", "after_ns", "name"]
        return late.sort_values(order, ascending=[True, False, True]).reset_index(drop=True)


def fleet(
    vms: Iterable[Scenario] | str | os.PathLike[str],
    before: Versions,
    after: Versions,
    target_ns: int,
    *,
    window: str = "network_outage",
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> Fleet:
    """Every VM's window with what QEMU and Linux ship before and after; VMs that are alike are simulated once.

    vms: scenarios, or a CSV file (`read_fleet`). progress: called with VMs done and all. cancel: once set, the VMs so
    far are returned. Raises InputError.
    """
    checked_window(window)
    checked_whole("target_ns", target_ns, 0, "ns")
    machines = read_fleet(vms) if isinstance(vms, (str, os.PathLike)) else tuple(vms)
    versions = (Versions(*before), Versions(*after))
    hosts = []
    for each in versions:
        try:
            hosts.append(Host(*each))
        except ScenarioError as error:
            raise InputError(f"{each}: {error.key.rpartition('.')[2]} {error.value}: {error.why}") from None
    known: dict[Scenario, Outcome] = {}
    outcomes = []
    for done, vm in enumerate(machines, 1):
        if cancel and cancel.is_set():
            break
        outcomes.append(tuple(_outcome(_on(vm, host), window, known) for host in hosts))
        if progress:
            progress(done, len(machines))
    return Fleet(target_ns, window, versions, machines[: len(outcomes)], tuple(outcomes))


def _on(vm: Scenario, host: Host) -> Scenario:
    return replace(vm, name="vm", description="", source=host, destination=host, optimizations=None)


def _outcome(scenario: Scenario, window: str, known: dict[Scenario, Outcome]) -> Outcome:
    if scenario not in known:
        run = simulate(scenario)
        totals: dict[tuple[str, str], int] = {}
        for part in summed(run.breakdown(window)):
            totals[part.op, part.key] = totals.get((part.op, part.key), 0) + part.ns
        (op, key), ns = max(totals.items(), key=lambda item: item[1], default=(("", ""), 0))
        known[scenario] = Outcome(run.windows[window] or 0, op, key, ns, precopy(run.scenario).converged)
    return known[scenario]
