"""The log that QEMU's log trace backend writes, in every dialect, read line by line."""

from __future__ import annotations

import calendar
import os
import re
import time
from collections import Counter
from itertools import islice

from vdpa_lab.traces.dialects import DIALECTS, sniff
from vdpa_lab.traces.events import EARLIEST, LATEST, Event, Log, Skipped
from vdpa_lab.traces.lines import lines
from vdpa_lab.traces.tracepoints import tracepoints
from vdpa_lab.units import SECOND, US
from vdpa_lab.words import InputError

SNIFFED = 2000
#: events of one migration that are kept; each takes some 500 bytes
MOST_EVENTS = 1_000_000
#: different names of unlisted events that are counted
MOST_NAMES = 2000
# What shows that a second writer began within a line.
_TWO = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z |[0-9]@[0-9]{10}\.[0-9]{6}:")


class _Clock:
    """Seconds since 1970 of a line, None where they are none; remembers the last second."""

    def __init__(self) -> None:
        self._text, self._second = b"", None

    def second(self, match: re.Match[bytes]) -> int | None:
        groups = match.groupdict()
        if "sec" in groups:
            second = int(groups["sec"])
        else:
            if groups["iso"] != self._text:
                self._text = groups["iso"]
                try:
                    parsed = time.strptime(self._text.decode(), "%Y-%m-%dT%H:%M:%S")
                    self._second = calendar.timegm(parsed)
                except ValueError:
                    self._second = None
            second = self._second
        return second if second is not None and EARLIEST <= second < LATEST else None


def read_qemu_log(path: str | os.PathLike[str]) -> Log:
    """The log at `path`, gzip or not. Raises InputError for an unknown or ambiguous one, or too many events."""
    where = os.fspath(path)
    sample = (line for line in islice(lines(path), SNIFFED) if line and line.strip())
    dialect = DIALECTS[sniff(sample, where)]
    known = {name.encode(): each for name, each in tracepoints().items()}
    clock, skipped, unlisted = _Clock(), Skipped(), Counter[str]()
    events: list[Event] = []
    number, match_line = 0, dialect.pattern.fullmatch
    for number, line in enumerate(lines(path), 1):
        if line is None:
            skipped.add(number, "too long", None)
            continue
        line = line.rstrip(b"\r")
        match = match_line(line)
        if match is None:
            if line.strip():
                skipped.add(number, "not a trace event", line)
            continue
        tracepoint = known.get(match["name"])
        if tracepoint is None:
            name = match["name"].decode()
            if dialect.timed and (name in unlisted or len(unlisted) < MOST_NAMES):
                unlisted[name] += 1
            elif not dialect.timed:
                skipped.add(number, "not a trace event", line)
            continue
        arguments = match["args"] or b""
        fields = tracepoint.fields(arguments.decode("utf-8", "replace").rstrip())
        if fields is None:
            why = "two writers on one line" if _TWO.search(arguments) else "cut off, or of another version"
            skipped.add(number, why, line)
            continue
        t = None
        if dialect.timed:
            second = clock.second(match)
            if second is None:
                skipped.add(number, "no such time", line)
                continue
            t = second * SECOND + int(match["usec"] or 0) * US
        thread = int(match["tid"]) if "tid" in match.groupdict() else 0
        if len(events) == MOST_EVENTS:
            raise InputError(
                f"{where!r}: more than {MOST_EVENTS} events of interest by line {number}; cut it to one migration"
            )
        events.append(Event(t, thread, tracepoint.name, fields, number))
    if dialect.timed:
        events.sort(key=lambda event: event.t)  # threads write in order only each for itself
    return Log(where, dialect.name, tuple(events), skipped, unlisted, number)
