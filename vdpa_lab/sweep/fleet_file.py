"""A table of VMs as a CSV file."""

from __future__ import annotations

import csv
import os
from typing import Any

from vdpa_lab.library import read_calibration
from vdpa_lab.model import Dirty, Guest, Migration, Scenario, ScenarioError, VdpaDevice, Workload
from vdpa_lab.model.kinds import Kind
from vdpa_lab.sweep.axes import scenario_kinds
from vdpa_lab.units import UnitError
from vdpa_lab.words import InputError, nearest

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


def read_fleet(path: str | os.PathLike[str]) -> tuple[Scenario, ...]:
    """The VMs of a CSV file with the columns FIELDS, of which NEEDED have to be there; an empty cell is the default.

    Their hosts are the default ones. Raises InputError by file, line and field.
    """
    where = os.fspath(path)
    try:
        if os.path.getsize(where) > MAX_BYTES:
            raise InputError(f"{where}: larger than {MAX_BYTES} bytes; not a fleet")
        with open(where, encoding="utf-8-sig", newline="") as file:
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
