"""What the readers of logs give: events in time, and what was in the file besides."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

#: wall clocks of logs: nothing was traced before 2000, and nothing will be after 2200
EARLIEST, LATEST = 946_684_800, 7_258_118_400
SHOWN = 5


def printable(text: str | bytes, longest: int = 120) -> str:
    """Untrusted text for a person: one line, no control or direction characters, cut to `longest` characters."""
    if isinstance(text, bytes):
        text = text[: 4 * longest].decode("utf-8", "replace")
    cut = "".join(letter if letter.isprintable() else "?" for letter in text[: longest + 1])
    return cut if len(cut) <= longest else f"{cut[: longest - 1]}…"


class Event(NamedTuple):
    """One line of a log: when (ns since 1970, in the clock of its host; None without), by which thread, what."""

    t: int | None
    thread: int
    name: str
    fields: dict[str, int | str]
    line: int


@dataclass
class Skipped:
    """Lines that could not be read: how many, and the first few, with their numbers and why."""

    count: int = 0
    shown: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, number: int, why: str, line: bytes | None) -> None:
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append((number, why, printable(line or b"")))


@dataclass(frozen=True)
class Log:
    """A QEMU log: its events that data/tracepoints.toml lists, in order of time, and counts of all others."""

    path: str
    dialect: str
    events: tuple[Event, ...]
    skipped: Skipped
    unlisted: Counter[str]
    lines: int

    @property
    def timed(self) -> bool:
        """Do its lines carry the time?"""
        return not self.events or self.events[0].t is not None
