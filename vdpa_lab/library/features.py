"""What a given QEMU and Linux version ships: data/features.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from vdpa_lab.model import Host, Scenario
from vdpa_lab.paths import data_dir
from vdpa_lab.words import nearest

PARTS = ("linux", "qemu")
SIDES = ("source", "destination")
BASES = ("published", "derived", "guess")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,3}")


class FeatureError(ValueError):
    """A feature file, a version or a name that cannot be used; the message says which, and what is known."""


@lru_cache(maxsize=256)
def version(text: str) -> tuple[int, ...]:
    """Comparable form of "6.12". Raises FeatureError."""
    if not isinstance(text, str) or not _VERSION.fullmatch(text):
        raise FeatureError(f'version {text!r}: write numbers with points between them, such as "6.12"')
    return tuple(int(part) for part in text.split("."))


@dataclass(frozen=True, slots=True)
class Shipped:
    """The first Linux and QEMU that ship an optimisation ("": none does), what it needs, and how we know.

    needs: the parts that have to ship it. hosts: whose versions count. driver: its only parent, "" = any.
    """

    name: str
    needs: tuple[str, ...]
    hosts: tuple[str, ...]
    basis: str
    source: str
    linux: str = ""
    qemu: str = ""
    driver: str = ""

    def by(self, qemu: str, linux: str) -> bool:
        """Do these two versions ship it?"""
        running = {"qemu": version(qemu), "linux": version(linux)}
        first = {part: getattr(self, part) for part in self.needs}
        return all(least and running[part] >= version(least) for part, least in first.items())

    def on(self, host: Host) -> bool:
        """Does this host ship it?"""
        return self.by(host.qemu, host.linux)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What depends on QEMU's version without being an optimisation; both ends are inclusive, "" = open."""

    name: str
    basis: str
    source: str
    qemu_from: str = ""
    qemu_until: str = ""

    def by(self, qemu: str) -> bool:
        """Does this QEMU behave so? 10.0.13 is within "10.0"."""
        running, until = version(qemu), version(self.qemu_until or "9999")
        return version(self.qemu_from or "0") <= running and running[: len(until)] <= until


def _entry(cls: type, name: str, table: Any, where: str) -> Any:
    known = [field.name for field in fields(cls) if field.name != "name"]
    if not isinstance(table, dict):
        raise FeatureError(f"{where} {name!r}: has to be a table")
    for key, value in table.items():
        if key not in known:
            raise FeatureError(f"{where} {name!r}: unknown key {key!r}; {nearest(key, known)}")
        if key in ("needs", "hosts"):
            allowed = PARTS if key == "needs" else SIDES
            if not isinstance(value, list) or not value or any(each not in allowed for each in value):
                raise FeatureError(f"{where} {name!r}: {key} = {value!r}; a list of {', '.join(allowed)}")
        elif not isinstance(value, str) or not value:
            raise FeatureError(f"{where} {name!r}: {key} = {value!r} has to be a text")
        elif key in ("linux", "qemu", "qemu_from", "qemu_until"):
            version(value)
    if missing := [key for key in ("needs", "hosts", "basis", "source") if key in known and key not in table]:
        raise FeatureError(f"{where} {name!r}: lacks {', '.join(missing)}")
    if table["basis"] not in BASES:
        raise FeatureError(f"{where} {name!r}: basis {table['basis']!r}; one of {', '.join(BASES)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return cls(name, **values)


def parse_features(text: str, where: str) -> tuple[dict[str, Shipped], dict[str, Behaviour]]:
    """Optimisations and behaviours by name, in the order of the file. Raises FeatureError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FeatureError(f"{where}: not valid TOML: {error}") from None
    known = ("toggle", "behaviour")
    if unknown := [key for key in table if key not in known]:
        raise FeatureError(f"{where}: unknown table {unknown[0]!r}; {nearest(unknown[0], known)}")
    toggles, behaviours = table.get("toggle", {}), table.get("behaviour", {})
    return (
        {name: _entry(Shipped, name, each, f"{where}: toggle") for name, each in toggles.items()},
        {name: _entry(Behaviour, name, each, f"{where}: behaviour") for name, each in behaviours.items()},
    )


@lru_cache(maxsize=1)
def _table() -> tuple[Mapping[str, Shipped], Mapping[str, Behaviour]]:
    path: Path = data_dir() / "features.toml"
    return parse_features(path.read_text(encoding="utf-8"), str(path))


def shipped_features() -> Mapping[str, Shipped]:
    """Per optimisation what ships it."""
    return _table()[0]


def behaviours() -> Mapping[str, Behaviour]:
    """What depends on a version without being an optimisation, by name."""
    return _table()[1]


def versions(part: str, since: str = "suspend") -> tuple[str, ...]:
    """The releases of `part` (of PARTS) with which something begins or ends, from the one that ships `since` on."""
    first = getattr(shipped_features()[since], part)
    found = {getattr(each, part) for each in shipped_features().values()}
    if part == "qemu":
        found |= {end for each in behaviours().values() for end in (each.qemu_from, each.qemu_until)}
    return tuple(sorted((each for each in found if each and version(each) >= version(first)), key=version))


def shipped_by(qemu: str, linux: str, driver: str = "", side: str = "") -> frozenset[str]:
    """The optimisations that a host with these versions ships, for one parent driver and side if given."""
    return frozenset(
        entry.name
        for entry in shipped_features().values()
        if entry.by(qemu, linux) and driver in ("", entry.driver or driver) and (not side or side in entry.hosts)
    )


def shipped(scenario: Scenario) -> tuple[str, ...]:
    """The optimisations that the scenario's hosts ship and its driver can use; the default toggles."""
    hosts = {"source": scenario.source, "destination": scenario.destination}
    return tuple(
        entry.name
        for entry in shipped_features().values()
        if entry.driver in ("", scenario.device.driver) and all(entry.on(hosts[side]) for side in entry.hosts)
    )


def behaves(name: str, host: Host) -> bool:
    """Whether this host's QEMU shows a version-dependent behaviour. Raises FeatureError if unknown."""
    if name not in behaviours():
        raise FeatureError(f"no behaviour {name!r}; {nearest(name, behaviours())}")
    return behaviours()[name].by(host.qemu)
