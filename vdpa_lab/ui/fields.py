"""The scenario's fields that can be edited: how each is named, read, shown and put into a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from vdpa_lab.model import Scenario
from vdpa_lab.units import bytes_text, parse_bytes


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `path` are the parts of the scenario that have it, `read` makes a value of text.

    options: values to choose from; others can be typed in unless it is `closed`.
    """

    name: str
    title: str
    path: tuple[str, ...]
    attribute: str
    read: Callable[[str], object]
    options: tuple[str, ...]
    closed: bool = False

    def text(self, scenario: Scenario) -> str:
        """The value as it is written."""
        value = getattr(getattr(scenario, self.path[0]), self.attribute)
        return bytes_text(value) if self.read is parse_bytes else str(value)

    def put(self, scenario: Scenario, text: str) -> Scenario:
        """The scenario with this value. Raises ValueError in words: what was given, what is allowed."""
        value = self.read(text.strip())
        parts = {part: replace(getattr(scenario, part), **{self.attribute: value}) for part in self.path}
        return replace(scenario, **parts)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


SIZES = ("16GiB", "32GiB", "64GiB", "128GiB", "256GiB", "512GiB", "1TiB")
HOSTS = ("source", "destination")
FIELDS = {
    field.name: field
    for field in (
        Field("memory", "Memory", ("guest",), "memory", parse_bytes, SIZES),
        Field("backing", "Pages", ("guest",), "backing", str, ("4k", "thp", "2M", "1G"), closed=True),
        Field("devices", "Devices", ("device",), "count", _whole, ("1", "2", "4", "8")),
        Field("queue_pairs", "Queue pairs", ("device",), "queue_pairs", _whole, ("1", "2", "4", "8", "16")),
        Field("queue_size", "Queue size", ("device",), "queue_size", _whole, ("128", "256", "512", "1024")),
        Field("qemu", "QEMU", HOSTS, "qemu", str, ("8.0", "8.2", "9.0", "10.0", "10.1")),
        Field("linux", "Linux", HOSTS, "linux", str, ("6.5", "6.7", "6.8", "6.11", "6.12")),
    )
}
