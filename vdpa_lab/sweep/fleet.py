"""A fleet before and after an upgrade of QEMU and Linux: each VM's downtime, who misses the target, and why."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from vdpa_lab.library import read_calibration
from vdpa_lab.migration import simulate
from vdpa_lab.model import Dirty, Guest, Host, Migration, Scenario, ScenarioError, VdpaDevice, Workload
from vdpa_lab.model.kinds import Kind
from vdpa_lab.sweep.axes import scenario_kinds
from vdpa_lab.sweep.coalitions import checked_window
from vdpa_lab.timeline import summed
from vdpa_lab.units import UnitError
from vdpa_lab.words import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 64 << 20
# Column -> key of a scenario; the two hosts' versions come with the question.
FIELDS = {
    "name": "name", "memory": "guest.memory", "devices": "device.count", "queue_pairs": "device.queue_pairs",
    "driver": "device.driver", "queue_size": "device.queue_size", "backing": "guest.backing", "vcpus": "guest.vcpus",
    "zero_pages": "guest.zero_pages", "dirty_pattern": "workload.dirty.pattern", "dirty_rate": "workload.dirty.rate",
    "working_set": "workload.dirty.working_set", "max_bandwidth": "migration.max_bandwidth",
    "downtime_limit": "migration.downtime_limit", "testbed": "testbed",
}  # fmt: skip
NEEDED = ("name", "memory")


class Versions(NamedTuple):
    """What both hosts run."""

    qemu: str
    linux: str

    def __str__(self) -> str:
        return f"QEMU {self.qemu}, Linux {self.linux}"


class Outcome(NamedTuple):
    """One VM with one pair of versions: the window in ns, and the largest part of it: operation, price, ns."""

    ns: int
    part: str
    key: str
    part_ns: int


@dataclass(frozen=True)
class Fleet:
    """The table has a row a VM: before_ns, after_ns, meets_before, meets_after and the largest part after."""

    target_ns: int
    window: str
    versions: tuple[Versions, Versions]
    vms: tuple[Scenario, ...]
    outcomes: tuple[tuple[Outcome, Outcome], ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Missing VMs' `why` is the largest part of the window after the upgrade, as "operation (price)"."""
        import pandas as pd  # see `vdpa_lab.sweep.store.frame`

        rows = [
            {
                "name": vm.name,
                "before_ns": before.ns,
                "after_ns": after.ns,
                "meets_before": before.ns <= self.target_ns,
                "meets_after": after.ns <= self.target_ns,
                "why": f"{after.part} ({after.key})" if after.ns > self.target_ns else "",
                "why_ns": after.part_ns if after.ns > self.target_ns else 0,
            }
            for vm, (before, after) in zip(self.vms, self.outcomes, strict=True)
        ]
        return pd.DataFrame(rows)

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
        """The VMs that miss the target after the upgrade, the longest first."""
        late = self.table[~self.table["meets_after"]]
        return late.sort_values(["after_ns", "name"], ascending=[False, True]).reset_index(drop=True)


def read_fleet(path: str | os.PathLike[str]) -> tuple[Scenario, ...]:
    """The VMs of a CSV file with the columns FIELDS, of which NEEDED have to be there; an empty cell is the default.

    Their hosts are the default ones. Raises InputError by file, line and field.
    """
    where = os.fspath(path)
    try:
        if os.path.getsize(where) > MAX_BYTES:
            raise InputError(f"{where}: larger than {MAX_BYTES} bytes; not a fleet")
        with open(where, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            _check_columns(names, where)
            vms = [_vm(names, cells, f"{where}:{reader.line_num}") for cells in reader if cells]
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where}: is not CSV in UTF-8: {error}") from None
    seen: set[str] = set()
    for vm in vms:
        if vm.name in seen:
            raise InputError(f"{where}: two VMs are named {vm.name!r}")
        seen.add(vm.name)
    if not vms:
        raise InputError(f"{where}: names no VM")
    return tuple(vms)


def _check_columns(names: list[str], where: str) -> None:
    for name in names:
        if name not in FIELDS:
            raise InputError(f"{where}:1: no field {name!r}; {nearest(name, FIELDS)}")
    if len(set(names)) < len(names):
        raise InputError(f"{where}:1: a field is named twice")
    for name in NEEDED:
        if name not in names:
            raise InputError(f"{where}:1: the field {name!r} is missing; there have to be {', '.join(NEEDED)}")


def _vm(names: list[str], cells: list[str], at: str) -> Scenario:
    if len(cells) != len(names):
        raise InputError(f"{at}: {len(cells)} cells, but {len(names)} fields")
    kinds = {**dict(scenario_kinds()), "name": _name_kind()}
    tables: dict[str, dict[str, Any]] = {}
    for name, cell in zip(names, cells, strict=True):
        if not cell.strip():
            if name in NEEDED:
                raise InputError(f"{at}: {name} is empty")
            continue
        table, _, key = FIELDS[name].rpartition(".")
        tables.setdefault(table, {})[key] = _cell(kinds[FIELDS[name]], cell.strip(), f"{at}: {name}")
    try:
        guest = Guest(**tables.get("guest", {}))
        made = Scenario(
            guest=guest,
            device=VdpaDevice(**tables.get("device", {})),
            migration=Migration(**tables.get("migration", {})),
            workload=Workload(dirty=_dirty(tables.get("workload.dirty"), guest)),
            **tables[""],
        )
    except ScenarioError as error:
        field = next((name for name, key in FIELDS.items() if key == error.key), error.key)
        raise InputError(f"{at}: {field}: {error.why}") from None
    try:
        read_calibration(made.testbed)
    except InputError as error:
        raise InputError(f"{at}: testbed: {error}") from None
    return made


def _name_kind() -> Kind:
    return Scenario.__dataclass_fields__["name"].metadata["kind"]


def _cell(kind: Kind, text: str, at: str) -> Any:
    """A cell as a value of this kind; numbers are written as numbers, sizes and rates with their units."""
    candidates: list[Any] = [text]
    for number in (int, float):
        try:
            candidates.append(number(text))
        except ValueError:
            continue
    for raw in candidates:
        try:
            value = kind.read(raw)
        except UnitError:
            continue
        if kind.accepts(value):
            return value
    raise InputError(f"{at} = {text!r}; must be {kind.allowed}")


def _dirty(given: dict[str, Any] | None, guest: Guest) -> Dirty | None:
    if given is None:
        return None
    if "rate" not in given:
        raise ScenarioError("workload.dirty.rate", "", "is missing, but its pattern or working set is given")
    return Dirty(**{"pattern": "sequential", "working_set": guest.memory, **given})


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
        known[scenario] = Outcome(run.windows[window] or 0, op, key, ns)
    return known[scenario]
