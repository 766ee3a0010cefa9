"""The scenario's fields that can be edited: how each is named, read, shown and put into a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vdpa_lab.library import versions
from vdpa_lab.model import Dirty, Scenario, Traffic
from vdpa_lab.units import GIB, bytes_text, duration_text, parse_bytes, parse_duration, parse_rate, rate_text


def _writer(scenario: Scenario) -> Dirty:
    """What a workload without a writer is edited from."""
    return Dirty("random", 0, min(GIB, scenario.guest.memory))


def _silence(_: Scenario) -> Traffic:
    return Traffic()


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `path` are the parts of the scenario that have it, `read` makes a value of text.

    options: values to choose from; others can be typed in unless it is `closed`. write: a value as text. inner: the
    record within the part that has the attribute, and what makes the one to edit where there is none. group: where it
    is shown.
    """

    name: str
    title: str
    path: tuple[str, ...]
    attribute: str
    read: Callable[[str], object]
    options: tuple[str, ...]
    closed: bool = False
    write: Callable[[Any], str] = str
    inner: tuple[str, Callable[[Scenario], Any]] | None = None
    group: str = "scenario"

    def _record(self, scenario: Scenario, part: str) -> Any:
        record = getattr(scenario, part)
        if self.inner:
            name, absent = self.inner
            record = getattr(record, name) or absent(scenario)
        return record

    def given(self, scenario: Scenario) -> bool:
        """Does the scenario say anything of it, or would only an edit bring it in?"""
        return not self.inner or getattr(getattr(scenario, self.path[0]), self.inner[0]) is not None

    def text(self, scenario: Scenario) -> str:
        """The value as it is written."""
        return self.write(getattr(self._record(scenario, self.path[0]), self.attribute))

    def put(self, scenario: Scenario, text: str) -> Scenario:
        """The scenario with this value. Raises ValueError in words: what was given, what is allowed."""
        value, parts = self.read(text.strip()), {}
        for part in self.path:
            changed = replace(self._record(scenario, part), **{self.attribute: value})
            parts[part] = replace(getattr(scenario, part), **{self.inner[0]: changed}) if self.inner else changed
        return replace(scenario, **parts)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number from 0 to 1") from None


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError(f"{text!r} is neither on nor off")
    return text == "on"


def _instant(text: str) -> int | None:
    return None if text == "never" else parse_duration(text)


SIZES = ("16GiB", "32GiB", "64GiB", "128GiB", "256GiB", "512GiB", "1TiB")
HOSTS = ("source", "destination")
FIELDS = {
    field.name: field
    for field in (
        Field("memory", "Memory", ("guest",), "memory", parse_bytes, SIZES, write=bytes_text),
        Field("backing", "Pages", ("guest",), "backing", str, ("4k", "thp", "2M", "1G"), closed=True),
        Field("devices", "Devices", ("device",), "count", _whole, ("1", "2", "4", "8")),
        Field("queue_pairs", "Queue pairs", ("device",), "queue_pairs", _whole, ("1", "2", "4", "8", "16")),
        Field("queue_size", "Queue size", ("device",), "queue_size", _whole, ("128", "256", "512", "1024")),
        Field("qemu", "QEMU", HOSTS, "qemu", str, versions("qemu")),
        Field("linux", "Linux", HOSTS, "linux", str, versions("linux")),
        Field(
            "bandwidth",
            "Bandwidth limit",
            ("migration",),
            "max_bandwidth",
            parse_rate,
            ("128MiB/s", "1GiB/s", "10GiB/s", "unlimited"),
            write=rate_text,
            group="precopy",
        ),
        Field(
            "limit",
            "Downtime limit",
            ("migration",),
            "downtime_limit",
            parse_duration,
            ("30ms", "100ms", "300ms", "1s", "2s"),
            write=duration_text,
            group="precopy",
        ),
        Field(
            "pattern",
            "Writes are",
            ("workload",),
            "pattern",
            str,
            ("sequential", "random", "hot"),
            closed=True,
            inner=("dirty", _writer),
            group="precopy",
        ),
        Field(
            "dirty_rate",
            "Pages a second",
            ("workload",),
            "rate",
            _whole,
            ("0", "1000", "10000", "100000"),
            inner=("dirty", _writer),
            group="precopy",
        ),
        Field(
            "working_set",
            "Working set",
            ("workload",),
            "working_set",
            parse_bytes,
            ("256MiB", "1GiB", "8GiB"),
            write=bytes_text,
            inner=("dirty", _writer),
            group="precopy",
        ),
        Field("zero_pages", "Share of zeros", ("guest",), "zero_pages", _share, ("0.0", "0.5", "0.9"), group="precopy"),
        Field(
            "auto_converge",
            "auto-converge",
            ("migration",),
            "auto_converge",
            _switch,
            ("off", "on"),
            closed=True,
            write=lambda on: "on" if on else "off",
            group="precopy",
        ),
        Field(
            "multifd_channels",
            "multifd channels",
            ("migration",),
            "multifd_channels",
            _whole,
            ("0", "2", "4", "8"),
            group="precopy",
        ),
        Field(
            "dirty_ring",
            "Dirty ring, entries",
            ("guest",),
            "dirty_ring_size",
            _whole,
            ("0", "1024", "4096", "65536"),
            group="precopy",
        ),
        Field(
            "cancel",
            "Cancelled after",
            ("migration",),
            "cancel_after",
            _instant,
            ("never", "1s", "10s", "60s"),
            write=lambda ns: "never" if ns is None else duration_text(ns),
            group="precopy",
        ),
        Field(
            "rx_pps",
            "RX packets/s",
            ("workload",),
            "rx_pps",
            _whole,
            ("0", "1000", "100000", "1000000"),
            inner=("traffic", _silence),
            group="traffic",
        ),
        Field(
            "tx_pps",
            "TX packets/s",
            ("workload",),
            "tx_pps",
            _whole,
            ("0", "1000", "100000", "1000000"),
            inner=("traffic", _silence),
            group="traffic",
        ),
        Field(
            "packet",
            "Packet, bytes",
            ("workload",),
            "packet",
            _whole,
            ("64", "1500", "9000"),
            inner=("traffic", _silence),
            group="traffic",
        ),
        Field(
            "tcp_rto",
            "TCP RTO",
            ("workload",),
            "tcp_rto",
            parse_duration,
            ("200ms", "1s"),
            write=duration_text,
            inner=("traffic", _silence),
            group="traffic",
        ),
    )
}
