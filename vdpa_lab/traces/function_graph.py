"""ftrace's function_graph: which kernel functions ran, within which, and for how long.

Source: Linux Documentation/trace/ftrace.rst, "function graph tracer"; columns TIME and TASK/PID may be absent. The
clock is the kernel's own since boot, so it is not put beside wall clocks.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field

from vdpa_lab.traces.events import Skipped
from vdpa_lab.traces.lines import lines
from vdpa_lab.traces.qemu_log import MOST_EVENTS
from vdpa_lab.units import SECOND, US
from vdpa_lab.words import InputError

DEEPEST = 200
SET_MAP = re.compile(r"\w{1,40}_set_map")
ENTRY = "vhost_iotlb_add_range"
SUSPEND = re.compile(r"\w{1,40}_suspend")

_LINE = re.compile(
    rb"\s*(?:(?P<time>[0-9]{1,12}\.[0-9]{6}) \|)?\s*(?P<cpu>[0-9]{1,5})\)"
    rb"(?:\s+(?P<task>\S.{0,40}?)-(?P<pid>[0-9]{1,10})\s+\|)?"
    rb"\s*(?:[.dnNXDHhsiILBbpP]{2,8}[0-9]?\s+\|)?"
    rb"\s*(?:[+!#*@$]?\s*(?P<us>[0-9]{1,15}(?:\.[0-9]{1,3})?) us)?\s*\|"
    rb"(?P<body> .{0,300})"
)
# Headers, rulers, and the switch from one task to another.
_OTHER = re.compile(rb"#|\s*-{3,}|\s*={3,}|\s*[0-9]{1,5}\)\s.{1,60} => ")
_CALL = re.compile(rb"(?P<name>[A-Za-z_][\w.]{0,100})(?: \[(?P<module>\w{1,60})\])?\(\)(?P<open> \{|;)")


@dataclass
class Call:
    """One call: ns since boot or None, ns it took or None where the trace ends first, and the calls within."""

    name: str
    start: int | None
    ns: int | None = None
    calls: list[Call] = field(default_factory=list)

    def within(self, name: str) -> int:
        """How often a function was called directly by this one."""
        return sum(call.name == name for call in self.calls)


@dataclass(frozen=True)
class FunctionGraph:
    """A trace: its outermost calls in order, how often each function ran, and lines that could not be read."""

    path: str
    calls: tuple[Call, ...]
    counts: Counter[str]
    skipped: Skipped

    def of(self, name: re.Pattern[str]) -> list[Call]:
        """All calls, in order, of functions of that name."""
        found, todo = [], list(reversed(self.calls))
        while todo:
            call = todo.pop()
            if name.fullmatch(call.name):
                found.append(call)
            todo.extend(reversed(call.calls))
        return found

    def set_map_entries(self) -> list[int]:
        """How many IOTLB entries each set_map copied: calls of vhost_iotlb_add_range in it (vdpa_sim)."""
        return [call.within(ENTRY) for call in self.of(SET_MAP)]

    def json(self) -> dict:
        """What the trace tells: counts, and per set_map its entries and ns."""
        maps = self.of(SET_MAP)
        return {
            "dialect": "function_graph",
            "counts": {"calls": dict(sorted(self.counts.items()))},
            "set_map": [{"entries": call.within(ENTRY), "ns": call.ns} for call in maps],
            "skipped_lines": self.skipped.count,
        }


def read_function_graph(path: str | os.PathLike[str]) -> FunctionGraph:
    """The trace at `path`, gzip or not. Raises InputError."""
    where = os.fspath(path)
    stacks: dict[bytes, list[Call]] = {}
    outer, counts, skipped, number, kept = [], Counter[str](), Skipped(), 0, 0
    for number, line in enumerate(lines(where), 1):
        match = _LINE.fullmatch(line.rstrip(b"\r ")) if line is not None else None
        if match is None:
            if line is None or (line.strip() and not _OTHER.match(line)):
                skipped.add(number, "not a line of function_graph, or cut off", line)
            continue
        stack = stacks.setdefault(match["pid"] or match["cpu"], [])
        ns = round(float(match["us"]) * US) if match["us"] else None
        body = match["body"].strip()
        if body.startswith(b"}"):
            if stack:
                stack.pop().ns = ns
            continue
        found = _CALL.match(body)
        if found is None or len(stack) >= DEEPEST or len(stacks) > 10_000:
            skipped.add(number, "no function call", line)
            continue
        start = round(float(match["time"]) * SECOND) if match["time"] else None
        call = Call(found["name"].decode(), start, ns)
        counts[call.name] += 1
        (stack[-1].calls if stack else outer).append(call)
        if found["open"] == b" {":
            stack.append(call)
        kept += 1
        if kept > MOST_EVENTS:
            raise InputError(f"{where!r}: more than {MOST_EVENTS} calls by line {number}; trace fewer functions")
    if not counts:
        raise InputError(f"{where!r}: no function call in it")
    return FunctionGraph(where, tuple(outer), counts, skipped)
