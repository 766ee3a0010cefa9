"""A sweep's specification: what varies, by which design, how often; checked before any work is done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

from vdpa_lab.migration import default_toggles
from vdpa_lab.migration.optimization import known
from vdpa_lab.model import Scenario, find_scenario, write_scenario
from vdpa_lab.model.errors import shown
from vdpa_lab.model.scenario import NAME
from vdpa_lab.model.toml_text import toml_table
from vdpa_lab.sweep.axes import KNOB, SET, Axis, Range, all_kinds, parts_text, read_axis
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.words import InputError, nearest

METHODS = ("grid", "random", "latin-hypercube", "sobol")
KEYS = ("name", "scenario", "method", "samples", "seed", "draws", "optimizations", "windows", "axes")
MOST_RUNS = 10**9  # a byte of each is kept
MOST_NUMBERS = 10**7  # of a design that is held whole, 8 bytes each, in every process
WHOLE = ("latin-hypercube", "sobol")
DEEPEST = 8  # parts of an axis' key
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Spec:
    """What to sweep.

    scenario: the base. axes: what varies, in the order of the table's columns. method: one of METHODS; samples:
    points of all but a grid. draws: how often the prices of each point are drawn from their intervals (0: their
    values as they are). optimizations: the base toggles; None = the scenario's. windows: those reported.
    """

    name: str
    scenario: Scenario
    axes: tuple[Axis, ...]
    method: str = "grid"
    samples: int = 0
    seed: int = 1
    draws: int = 0
    optimizations: tuple[str, ...] | None = None
    windows: tuple[str, ...] = tuple(WINDOWS)

    @property
    def points(self) -> int:
        """Different settings."""
        return prod(axis.count for axis in self.axes) if self.method == "grid" else self.samples

    @property
    def runs(self) -> int:
        """Rows of the table."""
        return self.points * max(1, self.draws)

    @property
    def plans(self) -> int:
        """Different plans at most."""
        counts = [axis.count for axis in self.axes if axis.floor < 2]
        return (prod(counts) if self.method == "grid" else self.samples) if counts else 1

    def document(self) -> dict[str, Any]:
        """Everything that the results follow from, in plain values."""

        def plain(axis: Axis) -> Any:
            if isinstance(axis.values, Range):
                return {each.name: getattr(axis.values, each.name) for each in fields(Range)}
            return [parts_text(value) if isinstance(value, tuple) else value for value in axis.values]

        return {
            **{name: getattr(self, name) for name in ("name", "method", "samples", "seed", "draws")},
            "windows": list(self.windows),
            "optimizations": None if self.optimizations is None else list(self.optimizations),
            "scenario": write_scenario(self.scenario),
            "axes": [[axis.key, plain(axis)] for axis in self.axes],
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the document."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()


def read_spec(source: Spec | Mapping[str, Any] | str | os.PathLike[str]) -> Spec:
    """The specification in a TOML file, or spelled as a mapping of the same keys. Raises InputError by file and key."""
    if isinstance(source, Spec):
        return source
    if isinstance(source, Mapping):
        raw = {"name": "sweep", **source}
        return _checked(raw, raw["name"] if NAME.accepts(raw["name"]) else "sweep", Path())
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"a specification is the name of a file, a mapping, or a Spec, not {shown(source)}")
    where = os.fspath(source)
    return _checked({"name": Path(where).stem, **_toml(where)}, where, Path(where).parent)


def read_axes(source: str | os.PathLike[str]) -> dict[str, Any]:
    """The table [axes] of a TOML file, for who takes axes alone and checks them. Raises InputError by file."""
    where = os.fspath(source)
    axes = _toml(where).get("axes")
    if not isinstance(axes, dict) or not axes:
        raise InputError(f"{where}: has no table [axes]")
    return axes


def _toml(where: str) -> dict[str, Any]:
    try:
        with open(where, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{where}: larger than {MAX_BYTES} bytes; not a specification")
    try:
        return toml_table(data.decode())
    except ValueError as error:
        raise InputError(f"{where}: is not TOML: {error}") from None


def _checked(raw: dict[str, Any], where: str, folder: Path) -> Spec:
    for key in raw:
        if key not in KEYS:
            raise InputError(f"{where}: no key {key!r}; {nearest(str(key), KEYS)}")
    if not NAME.accepts(raw["name"]):
        raise InputError(f"{where}: name = {shown(raw['name'])} (without it, the file's); must be {NAME.allowed}")
    numbers = {key: raw.get(key, default) for key, default in (("samples", 0), ("seed", 1), ("draws", 0))}
    for key, value in numbers.items():
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise InputError(f"{where}: {key} = {value!r}; a whole number, not negative")
    method = raw.get("method", "grid")
    if method not in METHODS:
        raise InputError(f"{where}: method = {shown(method)}; one of {', '.join(METHODS)}")
    windows = _names(raw.get("windows", tuple(WINDOWS)), "windows", where)
    if not windows:
        raise InputError(f"{where}: windows is empty; name one at least, or leave it out for all")
    for name in windows:
        if name not in WINDOWS:
            raise InputError(f"{where}: no window {shown(name)}; {nearest(name, WINDOWS)}")
    scenario = _scenario(raw.get("scenario"), where, folder)
    on = raw.get("optimizations")
    base = None if on is None else _names(on, "optimizations", where)
    flat = _flat(raw.get("axes", {}), where)
    testbeds = flat.get("testbed")
    listed = testbeds if isinstance(testbeds, (list, tuple)) else ()
    names = [scenario.testbed, *(each for each in listed if isinstance(each, str))]
    try:
        kinds = all_kinds(tuple(dict.fromkeys(names)))
        base = None if base is None else known(base)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    axes = tuple(read_axis(key, each, kinds, where) for key, each in flat.items())
    spec = Spec(raw["name"], scenario, axes, method, **numbers, optimizations=base, windows=windows)
    _together(spec, where)
    return spec


def _names(raw: Any, key: str, where: str) -> tuple[str, ...]:
    listed = isinstance(raw, (list, tuple)) and all(isinstance(each, str) for each in raw)
    if not listed or len(set(raw)) < len(raw):
        raise InputError(f"{where}: {key} = {shown(raw)}; a list of names, each once")
    return tuple(raw)


def _scenario(raw: Any, where: str, folder: Path) -> Scenario:
    if isinstance(raw, Scenario):
        return raw
    if not isinstance(raw, str):
        raise InputError(f"{where}: scenario is missing: the name of one in data/scenarios, or a file")
    beside = folder / raw
    return find_scenario(beside if raw.endswith(".toml") and beside.is_file() else raw)


def _flat(table: Any, where: str, path: str = "") -> dict[str, Any]:
    """Nested tables of axes as dotted keys; a table with low or high is a range."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: axes has to be a table")
    if path.count(".") > DEEPEST:
        raise InputError(f"{where}: axis {shown(path)}: no such key; none has so many parts")
    found: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{path}{name}"
        if isinstance(value, Mapping) and not {"low", "high"} & set(value):
            found.update(_flat(value, where, f"{key}."))
        else:
            found[key] = value
    return found


def _together(spec: Spec, where: str) -> None:
    """How the parts of a specification go together."""
    keys = {axis.key for axis in spec.axes}
    if spec.method == "grid":
        for axis in spec.axes:
            if not axis.count:
                raise InputError(f"{where}: axis {axis.key!r}: a range in a grid needs count")
        if spec.samples:
            raise InputError(f"{where}: samples is for the other methods: {', '.join(METHODS[1:])}")
    elif not spec.samples or not spec.axes:
        raise InputError(f"{where}: {spec.method} needs samples, and something that varies")
    elif spec.method in WHOLE and spec.samples * len(spec.axes) > MOST_NUMBERS:
        most = MOST_NUMBERS // len(spec.axes)
        raise InputError(f"{where}: samples = {spec.samples}; {spec.method} takes at most {most} of these axes")
    if spec.runs > MOST_RUNS:
        raise InputError(f"{where}: {spec.runs} runs; at most {MOST_RUNS}")
    if SET in keys and any(key.startswith(f"{SET}.") for key in keys):
        raise InputError(f"{where}: either whole sets ({SET}) or single optimisations ({SET}.NAME) vary, not both")
    on = set(default_toggles(spec.scenario) if spec.optimizations is None else spec.optimizations)
    on |= {name for axis in spec.axes for name in _may_be_on(axis)}
    for key in keys:
        part, _, rest = key.partition(".")
        if part == KNOB and rest.partition(".")[0] not in on:
            raise InputError(f"{where}: axis {key!r}: {rest.partition('.')[0]} is never on in this sweep")


def _may_be_on(axis: Axis) -> tuple[str, ...]:
    if axis.key == SET:
        return tuple(name for each in axis.values for name in each)
    part, _, name = axis.key.partition(".")
    return (name,) if part == SET and True in axis.values else ()
