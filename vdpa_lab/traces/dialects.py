"""The forms of QEMU's log lines, and which of them a file has: told by its lines, refused when they disagree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from vdpa_lab.traces.events import printable
from vdpa_lab.traces.tracepoints import tracepoints
from vdpa_lab.words import InputError

# GLib prints no fraction at a whole second.
_ISO = rb"(?P<iso>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<usec>[0-9]{6}))?Z"
_NAME = rb"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,99})"
_EVENT = _NAME + rb"(?: (?P<args>.{0,4096}))?"
_PREFIX = rb"(?:[^:\n]{1,200}? )?[^\s:]{1,100}: \((?P<tid>[0-9]{1,10}):[^()\n]{0,64}\): "


class Dialect(NamedTuple):
    """One form of line: its name in reports, who writes it, and its pattern over a line's bytes."""

    name: str
    title: str
    pattern: re.Pattern[bytes]
    timed: bool


# In order of trial: a line of an earlier one would also read as one of a later.
DIALECTS = {
    each.name: each
    for each in (
        Dialect(
            "qemu-log message-api",
            "time [guest] program: (thread:name): event arguments",
            re.compile(_ISO + rb" " + _PREFIX + _EVENT),
            True,
        ),
        Dialect(
            "qemu-log message-api, no time",
            "program: (thread:name): event arguments",
            re.compile(_PREFIX + _EVENT),
            False,
        ),
        Dialect(
            "qemu-log thread@seconds",
            "thread@seconds.microseconds:event arguments (QEMU up to 10.0)",
            re.compile(rb"(?P<tid>[0-9]{1,10})@(?P<sec>[0-9]{1,11})\.(?P<usec>[0-9]{6}):" + _EVENT),
            True,
        ),
        Dialect(
            "qemu-log ISO-8601",
            "time event arguments (QEMU from 10.2)",
            re.compile(_ISO + rb" " + _EVENT),
            True,
        ),
        Dialect("qemu-log, no time", "event arguments", re.compile(_EVENT), False),
    )
}

RECORD = "record with the log backend: qemu-system-x86_64 … -msg timestamp=on -trace events=data/trace-events -D FILE"


def classify(line: bytes) -> str:
    """The dialect of one line, "" for none; without a time or thread only events that are known count."""
    for dialect in DIALECTS.values():
        if (match := dialect.pattern.fullmatch(line)) and (dialect.timed or match["name"].decode() in tracepoints()):
            return dialect.name
    return ""


def sniff(lines: Iterable[bytes], where: str) -> str:
    """The dialect that the lines have in common. Raises InputError when there is none, or more than one."""
    votes: Counter[str] = Counter()
    first = b""
    for line in lines:
        first = first or line.strip()
        votes[classify(line.rstrip(b"\r"))] += 1
    told = {name: count for name, count in votes.items() if name}
    if not told:
        raise InputError(unknown(where, first))
    best = max(told, key=lambda name: told[name])
    # A line that another writer cut in two may look like another dialect; a tenth of all is no accident.
    rivals = [name for name, count in told.items() if name != best and 10 * count > told[best]]
    if rivals:
        raise InputError(
            f"{where!r} is ambiguous: {told[best]} lines read as {best!r} and {told[rivals[0]]} as {rivals[0]!r}; "
            "give the log of one QEMU, as it wrote it"
        )
    return best


# What is known and not read: a test on the first bytes, its name.
_FOREIGN: tuple[tuple[Callable[[bytes], object], str], ...] = (
    (lambda data: (0xF2B177CB0AA429B4).to_bytes(8, "little") in data[:64], "a simpletrace file"),
    (lambda data: data.startswith(b"PERFILE2"), "a perf.data file"),
    (lambda data: data.startswith(b"\x17\x08\x44tracing"), "a trace-cmd file"),
    (lambda data: re.search(rb"^\s*(Attaching \d+ probes?\.\.\.|@\w*(\[[^\]\n]{0,200}\])?: )", data, re.M),
     "the output of bpftrace"),
    (lambda data: re.search(rb'^\{"type": ?"(attached_probes|map|hist|printf|stats)"', data, re.M),
     "the output of bpftrace -f json"),
    (lambda data: re.search(rb"^# tracer: (?!function_graph)", data, re.M), "a trace of another tracer than "
     "function_graph"),
    (lambda data: re.search(rb"^ *\S.{0,40}-\d+ +\[\d+\].{0,16} \d+\.\d+: \w", data, re.M), "an ftrace report"),
    (lambda data: re.search(rb"^ *\S.{0,40} \d+(/\d+)? +\[\d+\] +\d+\.\d+: ", data, re.M), "the output of perf script"),
    (lambda data: re.search(rb"^\S+ -?\d+\.\d{3} pid=\d+", data, re.M), "the output of simpletrace.py"),
    (lambda data: re.search(rb"^(Migration status|Status): ", data, re.M), "the text of `info migrate`: take "
     "query-migrate over QMP"),
)  # fmt: skip


def foreign(data: bytes) -> str:
    """What a file is that the lab knows and does not read; "" for none of those."""
    return next((name for test, name in _FOREIGN if test(data[:65536])), "")


def unknown(where: str, start: bytes) -> str:
    """The refusal of a file that is none of what is read, with what was looked for."""
    looked = "; ".join(each.title for each in DIALECTS.values())
    return (
        f"{where!r} is no log that can be read. Looked for lines of QEMU's log backend ({looked}), for JSON of "
        f"query-migrate, QMP or guestperf, a function_graph trace, and kernel-vdt.log; the file begins "
        f"{printable(start, 60)!r}. To have a log, {RECORD}"
    )
