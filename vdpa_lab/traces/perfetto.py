"""A Timeline as Chrome trace events, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.timeline import WINDOWS, Lane, Timeline, intervals
from vdpa_lab.timeline.spans import NO_DEVICE
from vdpa_lab.units import US

SIDES = {"source": 1, "destination": 2, "wire": 3}
#: the thread numbers of the rows for windows, far from those of lanes
WINDOW_ROWS = 1000
#: of one lane; what overlaps in more ways than that is drawn over another
MOST_ROWS = 20


def chrome_trace(
    timeline: Timeline,
    counters: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    other: Mapping[str, Any] | None = None,
) -> dict:
    """The document: a process a host, a thread a lane and device, instants for marks, counters beside them.

    Works for recorded and simulated timelines. counters: name -> (ns in the timeline, value), such as dirty pages and
    remaining bytes. other: kept in otherData. Times are in us, as the format has them, with the ns as its fraction.
    They count from the earliest, as Perfetto drops what lies before zero; otherData has the timeline's zero.
    """
    events: list[dict] = []
    begin = min([0, *(span.start for span in timeline.spans), *timeline.marks.values()])
    begin = min([begin, *(t for points in (counters or {}).values() for t, _ in points)])
    for side, number in SIDES.items():
        events.append({"ph": "M", "pid": number, "tid": 0, "name": "process_name", "args": {"name": side}})
    rows: dict[tuple[Lane, int], int] = {}
    open_ends: dict[Lane, list[list[int]]] = {}
    for span in sorted(timeline.spans, key=lambda span: (span.start, -span.end)):
        row = _row(open_ends.setdefault(span.lane, []), span.start, span.end)
        tid = rows.setdefault((span.lane, row), len(rows) + 1)
        event = {"ph": "X", "pid": SIDES[span.lane.side], "tid": tid, "name": span.op, "cat": span.lane.kind,
                 "ts": (span.start - begin) / US, "dur": span.ns / US}  # fmt: skip
        args = {"what": span.name} | ({"device": span.device} if span.device != NO_DEVICE else {})
        event["args"] = args | {term.key: term.ns for term in span.terms}
        events.append(event)
    for (lane, row), tid in rows.items():
        name = str(lane).removeprefix(f"{lane.side} ") + (f" ({row + 1})" if row else "")
        events.append({"ph": "M", "pid": SIDES[lane.side], "tid": tid, "name": "thread_name", "args": {"name": name}})
    for number, (name, window) in enumerate(WINDOWS.items()):
        for each in intervals(timeline, window):
            device = f" {each.device}" if each.device != NO_DEVICE else ""
            events.append({"ph": "X", "pid": SIDES["wire"], "tid": WINDOW_ROWS + number, "name": window.title + device,
                           "cat": "window", "ts": (each.start_ns - begin) / US, "dur": each.ns / US})  # fmt: skip
        row = {"ph": "M", "pid": SIDES["wire"], "tid": WINDOW_ROWS + number, "name": "thread_name"}
        events.append({**row, "args": {"name": f"window {name}"}})
    for name, t in timeline.marks.items():
        side = "destination" if name.startswith(("dst-", "start-", "network-up", "vcpus-resumed")) else "source"
        events.append({"ph": "i", "pid": SIDES[side], "tid": 0, "s": "p", "name": name, "ts": (t - begin) / US})
    for name, points in (counters or {}).items():
        for t, value in points:
            events.append(
                {"ph": "C", "pid": SIDES["source"], "name": name, "ts": (t - begin) / US, "args": {"value": value}}
            )
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {**(other or {}), "zero_us": -begin / US}}


def _row(rows: list[list[int]], start: int, end: int) -> int:
    """The first of a lane's rows in which the span lies within, or behind, all spans that began before it."""
    for row, open_ends in enumerate(rows):
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        if not open_ends or end <= open_ends[-1] or row == MOST_ROWS - 1:
            open_ends.append(end)
            return row
    rows.append([end])
    return len(rows) - 1


def save_chrome_trace(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Write the document. Raises OSError."""
    save_text(json.dumps(document, ensure_ascii=True), path)
