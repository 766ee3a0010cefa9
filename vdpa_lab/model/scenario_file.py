"""Scenarios as TOML files: every refusal is named, and reading what was written gives the same back."""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from vdpa_lab.model.errors import ScenarioError, shown
from vdpa_lab.model.kinds import Kind
from vdpa_lab.model.record import Record
from vdpa_lab.model.scenario import NAME_PATTERN, Scenario
from vdpa_lab.model.toml_text import toml_table
from vdpa_lab.paths import data_dir
from vdpa_lab.units import MIB, UnitError, format_bytes

MAX_FILE = MIB
_TABLES_FIRST = ("source", "destination")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


def read_scenario(path: str | os.PathLike[str]) -> Scenario:
    """The scenario in the file at `path`, of at most 1 MiB. Raises ScenarioError, which names the file."""
    where = os.fspath(path)
    try:
        with open(where, "rb") as file:
            data = file.read(MAX_FILE + 1)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError("", "", f"is not UTF-8 at byte {error.start}", where) from error
    except (OSError, ValueError) as error:
        raise ScenarioError("", "", f"cannot be read: {getattr(error, 'strerror', error)}", where) from error
    if len(data) > MAX_FILE:
        raise ScenarioError("", "", f"is longer than a scenario may be: {format_bytes(MAX_FILE)}", where)
    return parse_scenario(text, where)


def parse_scenario(text: str, where: str = "scenario") -> Scenario:
    """The scenario that TOML `text` spells; `where` is named in a ScenarioError."""
    try:
        raw = toml_table(text)
    except ValueError as error:
        raise ScenarioError("", "", f"is not TOML: {error}", where) from error
    return _read_record(Scenario, raw, "", where)


def _dotted(path: str, name: str) -> str:
    spelled = name if _BARE_KEY.fullmatch(name) else shown(name)
    return f"{path}.{spelled}" if path else spelled


def _read_record(cls: type[Record], raw: Any, path: str, where: str) -> Any:
    known = {each.name: each for each in fields(cls)}
    if cls.ROW and type(raw) is list and len(raw) == len(known):
        raw = dict(zip(known, raw, strict=True))
    if type(raw) is not dict:
        must = f"a row [{', '.join(known)}]" if cls.ROW else f"a table of {', '.join(known)}"
        raise ScenarioError(path, shown(raw), f"must be {must}", where)
    for name in raw:
        if name not in known:
            why = cls.REFUSED.get(name) or f"no such key; {_nearest(cls, name, path)}"
            raise ScenarioError(_dotted(path, name), "", why, where)
    for name, each in known.items():
        if each.default is MISSING and name not in raw:
            kind = each.metadata["kind"]
            raise ScenarioError(_dotted(path, name), "", f"is missing; must be {kind.allowed}", where)
    values = {
        name: read_value(known[name].metadata["kind"], value, _dotted(path, name), where) for name, value in raw.items()
    }
    try:
        return cls(**values)
    except ScenarioError as error:
        raise error.at(path, where) from None


def read_value(kind: Kind, raw: Any, path: str, where: str) -> Any:
    """The value of this kind that a file spells at the dotted `path`. Raises ScenarioError, which names `where`."""
    if kind.record is not None and not kind.many:
        return _read_record(kind.record, raw, path, where)
    try:
        if kind.record is not None and type(raw) is list:
            value = tuple(_read_record(kind.record, each, f"{path}[{i}]", where) for i, each in enumerate(raw))
        else:
            value = kind.read(raw)
    except UnitError as error:
        raise ScenarioError(path, shown(raw), f"must be {kind.allowed} ({error})", where) from None
    if not kind.accepts(value):
        raise ScenarioError(path, shown(raw), f"must be {kind.allowed}", where)
    return value


def _known_keys(cls: type[Record], path: str) -> Iterator[str]:
    for each in fields(cls):
        here = _dotted(path, each.name)
        yield here
        if (inner := each.metadata["kind"].record) is not None:
            yield from _known_keys(inner, here)


def _nearest(cls: type[Record], name: str, path: str) -> str:
    """In words: the known key most like `name`, preferably of the same table, else all keys of that table."""
    here = [_dotted(path, each.name) for each in fields(cls)]

    def likeness(known: str) -> float:
        last = known.rpartition(".")[2]
        return difflib.SequenceMatcher(None, name[:60], last).ratio() + (0.25 if known in here else 0.0)

    best = max([*here, *_known_keys(Scenario, "")], key=likeness)
    if likeness(best) < 0.7:
        return f"known here: {', '.join(each.name for each in fields(cls))}"
    return f"the nearest is {best}"


def write_scenario(scenario: Scenario) -> str:
    """The scenario as TOML: parse_scenario(write_scenario(s)) == s."""
    lines, tables = [], {}
    for name, kind, value in _written(scenario):
        if kind.record is None:
            lines.append(f"{name} = {kind.write(value)}")
        elif name != "destination" or value != scenario.source:
            tables[name] = [
                f"[{name}]",
                *(f"{each} = {_text(of, inner)}" for each, of, inner in _written(value)),
            ]
    for name in sorted(tables, key=lambda name: name not in _TABLES_FIRST):
        lines += tables[name]
    return "\n".join(lines) + "\n"


def _written(record: Record) -> Iterator[tuple[str, Kind, Any]]:
    """Name, kind and value of each field that a file must name."""
    for each in sorted(fields(record), key=lambda each: each.name not in ("name", "description")):
        value = getattr(record, each.name)
        if not each.metadata["quiet"] or value != each.default:
            yield each.name, each.metadata["kind"], value


def _text(kind: Kind, value: Any) -> str:
    if kind.record is None:
        return kind.write(value)
    if kind.many:
        return f"[{', '.join(map(inline_text, value))}]"
    return inline_text(value)


def inline_text(record: Record) -> str:
    """The record as TOML on one line: an inline table, or a row."""
    written = [(name, _text(kind, value)) for name, kind, value in _written(record)]
    if record.ROW:
        return f"[{', '.join(text for _, text in written)}]"
    return f"{{ {', '.join(f'{name} = {text}' for name, text in written)} }}"


def save_scenario(scenario: Scenario, path: str | os.PathLike[str]) -> None:
    """Write the scenario to `path`, whole or not at all. Raises OSError."""
    save_text(write_scenario(scenario), path)


def save_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write a file whole or not at all: one beside it takes its place. Raises OSError."""
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _scenario_dir() -> Path:
    return data_dir() / "scenarios"


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios that come with the lab, sorted."""
    return tuple(sorted(path.stem for path in _scenario_dir().glob("*.toml")))


def scenario_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a scenario that comes with the lab, or of any other by its path. Raises ScenarioError."""
    given = os.fspath(name_or_path)
    known = scenario_names()
    if given in known:
        return _scenario_dir() / f"{given}.toml"
    if Path(given).exists() or not re.fullmatch(NAME_PATTERN, given) or given.endswith(".toml"):
        return Path(given)
    close = difflib.get_close_matches(given, known, 1, 0.5)
    nearest = f"the nearest is {close[0]}; " if close else ""
    raise ScenarioError("", "", f"no such scenario and no such file; {nearest}known: {', '.join(known)}", given)


def find_scenario(one: str | os.PathLike[str] | Scenario) -> Scenario:
    """The scenario of that name that comes with the lab, or the one at that path, or itself. Raises ScenarioError."""
    return one if isinstance(one, Scenario) else read_scenario(scenario_path(one))
