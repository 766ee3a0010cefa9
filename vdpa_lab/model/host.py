"""The two hosts, by the versions of their software, and the link between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.model.kinds import duration, flag, rate, word
from vdpa_lab.model.record import Record, key
from vdpa_lab.units import SECOND, TIB, US

_VERSION = word(r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){1,2}", 'a version such as "8.2" or "6.12.107"')


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@dataclass(frozen=True, slots=True)
class Host(Record):
    """A host: the versions of its QEMU and of its Linux kernel."""

    TABLE: ClassVar[str] = "host"

    qemu: str = key(_VERSION, "11.1.3")
    linux: str = key(_VERSION, "7.3.4")

    @property
    def qemu_version(self) -> tuple[int, ...]:
        """QEMU's version as numbers, for comparison."""
        return _numbers(self.qemu)

    @property
    def linux_version(self) -> tuple[int, ...]:
        """Linux' version as numbers, for comparison."""
        return _numbers(self.linux)


@dataclass(frozen=True, slots=True)
class Link(Record):
    """The migration network: bandwidth in bytes per second (None = unlimited), one-way latency in ns.

    guest_traffic: what the guest transmits goes out over the same link, and precopy has its fair share of it.
    """

    TABLE: ClassVar[str] = "link"

    bandwidth: int | None = key(rate(1, TIB), 100 * 10**9 // 8)
    latency: int = key(duration(0, 10 * SECOND), 50 * US)
    guest_traffic: bool = key(flag(), False, quiet=True)
