"""JSON of QMP: answers to query-migrate (one, a list, or one a line, with or without time), and event streams."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vdpa_lab.traces.events import EARLIEST, LATEST, Skipped
from vdpa_lab.traces.lines import lines, whole_text
from vdpa_lab.units import MIB, SECOND, US
from vdpa_lab.words import InputError

#: a document of one answer or a list of them; line by line a file may be of any length
LARGEST_DOCUMENT = 64 * MIB
MOST_ROWS = 200_000


@dataclass(frozen=True)
class Statistics:
    """Migration statistics over time.

    answers: (ns since 1970 or None, what query-migrate returned). events: (ns, QMP event, its data). final: the last
    answer, {} for none.
    """

    path: str
    answers: tuple[tuple[int | None, dict[str, Any]], ...] = ()
    events: tuple[tuple[int, str, dict[str, Any]], ...] = ()
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def final(self) -> dict[str, Any]:
        return self.answers[-1][1] if self.answers else {}

    def counters(self) -> dict[str, list[tuple[int, int]]]:
        """Remaining bytes and dirty pages per second, at the instants that are known."""
        found: dict[str, list[tuple[int, int]]] = {"remaining bytes": [], "dirty pages per second": []}
        for t, answer in self.answers:
            ram = answer.get("ram")
            if t is None or not isinstance(ram, dict):
                continue
            for name, key in (("remaining bytes", "remaining"), ("dirty pages per second", "dirty-pages-rate")):
                if type(value := ram.get(key)) is int:
                    found[name].append((t, value))
        return {name: points for name, points in found.items() if points}


def _json(text: str | bytes) -> Any:
    """Parsed JSON, None where it is none; deep nesting is refused by the parser's own limit."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_statistics(answer: object) -> bool:
    """Is it what query-migrate returns (QAPI MigrationInfo)?"""
    return isinstance(answer, dict) and isinstance(answer.get("status"), str) and "event" not in answer


def _instant(value: object) -> int | None:
    """Seconds since 1970 as a number -> ns."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not EARLIEST <= value < LATEST:
        return None
    return round(value * SECOND)


def _stamp(value: object) -> int | None:
    """QMP's timestamp {"seconds", "microseconds"} -> ns."""
    if not isinstance(value, dict):
        return None
    second, part = value.get("seconds"), value.get("microseconds")
    if type(second) is not int or type(part) is not int or not 0 <= part < 10**6 or not EARLIEST <= second < LATEST:
        return None
    return second * SECOND + part * US


class _Rows:
    def __init__(self) -> None:
        self.answers: list[tuple[int | None, dict]] = []
        self.events: list[tuple[int, str, dict]] = []

    def take(self, row: object) -> bool:
        """One JSON value of a stream: an answer, bare, in "return", or beside its time; or an event."""
        if not isinstance(row, dict):
            return False
        if isinstance(row.get("event"), str) and (t := _stamp(row.get("timestamp"))) is not None:
            data = row.get("data")
            self.events.append((t, row["event"], data if isinstance(data, dict) else {}))
            return True
        t = _instant(row.get("t"))
        for answer in (row.get("r"), row.get("return"), row):
            if is_statistics(answer):
                self.answers.append((t, answer))
                return True
        return row.get("return") == {} or row.get("r") == {} or "QMP" in row

    def result(self, path: str, skipped: Skipped) -> Statistics:
        return Statistics(path, tuple(self.answers), tuple(self.events), skipped)

    @property
    def any(self) -> bool:
        return bool(self.answers or self.events)


def _documents(path: str) -> Iterator[tuple[int, Any, bytes]]:
    for number, line in enumerate(lines(path), 1):
        if line is not None and line.strip():
            yield number, _json(line), line
        elif line is None:
            yield number, None, b""


def read_qmp(path: str | os.PathLike[str]) -> Statistics:
    """The answers and events in the file. Raises InputError when there are none."""
    where = os.fspath(path)
    rows, skipped = _Rows(), Skipped()
    for number, value, line in _documents(where):
        if not rows.take(value):
            skipped.add(number, "neither an answer to query-migrate nor a QMP event", line)
            if not rows.any and skipped.count > 3:
                break  # not one value a line
        if len(rows.answers) + len(rows.events) > MOST_ROWS:
            raise InputError(f"{where!r}: more than {MOST_ROWS} answers and events; cut it to one migration")
    if rows.any:
        return rows.result(where, skipped)
    whole = _json(whole_text(where, LARGEST_DOCUMENT))
    skipped = Skipped()
    for number, value in enumerate((whole if isinstance(whole, list) else [whole])[: MOST_ROWS + 1], 1):
        if not rows.take(value):
            skipped.add(number, "not an answer to query-migrate", None)
    if not rows.any:
        raise InputError(f"{where!r}: JSON, but neither an answer to query-migrate nor a QMP event")
    return rows.result(where, skipped)
