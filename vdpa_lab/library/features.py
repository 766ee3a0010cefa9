"""What a given QEMU and Linux version ships: data/features.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache

from vdpa_lab.model import Host, Scenario
from vdpa_lab.paths import data_dir


def version(text: str) -> tuple[int, ...]:
    """Comparable form of "6.12"."""
    return tuple(int(part) for part in text.split("."))


@dataclass(frozen=True, slots=True)
class Shipped:
    """The first Linux and QEMU that ship an optimisation, on which hosts it is needed, and how we know."""

    name: str
    needs: tuple[str, ...]
    linux: str
    qemu: str
    hosts: tuple[str, ...]
    driver: str
    basis: str
    source: str

    def on(self, host: Host) -> bool:
        return all(
            getattr(self, part) and version(getattr(host, part)) >= version(getattr(self, part)) for part in self.needs
        )


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, Shipped], dict[str, dict]]:
    with (data_dir() / "features.toml").open("rb") as file:
        table = tomllib.load(file)
    shipped = {
        name: Shipped(
            name,
            tuple(entry["needs"]),
            entry.get("linux", ""),
            entry.get("qemu", ""),
            tuple(entry["hosts"]),
            entry.get("driver", ""),
            entry["basis"],
            entry["source"],
        )
        for name, entry in table["toggle"].items()
    }
    return shipped, table["behaviour"]


def shipped_features() -> dict[str, Shipped]:
    """Per optimisation what ships it."""
    return _table()[0]


def shipped(scenario: Scenario) -> tuple[str, ...]:
    """The optimisations that the scenario's hosts ship and its driver can use; the default toggles."""
    hosts = {"source": scenario.source, "destination": scenario.destination}
    return tuple(
        entry.name
        for entry in shipped_features().values()
        if entry.driver in ("", scenario.device.driver) and all(entry.on(hosts[side]) for side in entry.hosts)
    )


def behaves(name: str, host: Host) -> bool:
    """Whether this host's QEMU shows a version-dependent behaviour that is no optimisation."""
    entry = _table()[1][name]
    running = version(host.qemu)[:2]
    return version(entry.get("qemu_from", "0")) <= running <= version(entry.get("qemu_until", "9999"))
