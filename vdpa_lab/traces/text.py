"""A recorded run in words: windows, what they were spent on, reported against true downtime, checkpoints, devices."""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.timeline import WINDOWS
from vdpa_lab.traces.checkpoints import checkpoint_text, device_text, reported_text
from vdpa_lab.traces.run import TraceRun
from vdpa_lab.units import format_duration

TOP = 6
LONG = ("svq_switch", "source_teardown", "destination_setup")


def run_text(run: TraceRun) -> Iterator[str]:
    """The report, line by line. Text of the logs in it is printable."""
    yield f"{run.name}: {run.dialect}" + (f", QEMU {run.qemu}" if run.qemu else "")
    clock = run.clock
    bound = f" ± {format_duration(clock.bound_ns)}" if clock.bound_ns else ""
    yield f"clocks: {clock.method}, offset {format_duration(clock.offset_ns)}{bound} ({clock.why})"
    yield f"skipped lines: {run.skipped}"
    yield from (f"note: {note}" for note in run.notes)
    yield ""
    found = run.windows()
    for name, window in WINDOWS.items():
        if name in found:
            yield f"{window.title:32} {format_duration(found[name]):>10}"
        elif run.disordered(name):
            yield f"{window.title:32}          –  (it ends before it begins: lines are missing)"
        else:
            yield f"{window.title:32}          –  (not in the logs: {', '.join(run.missing(name))})"
    yield from _downtime(run)
    for name in LONG:
        if name in found:
            yield from _spent(run, name)
    if rows := run.checkpoints():
        yield ""
        yield from checkpoint_text(rows)
    if rows := run.devices():
        yield ""
        yield from device_text(rows)


def _downtime(run: TraceRun) -> Iterator[str]:
    found = run.downtime()
    if found["reported_ns"] is None and found["query_migrate_ms"] is None:
        return
    yield ""
    if found["reported_ns"] is not None:
        said = found["query_migrate_ms"]
        yield f"reported downtime: {reported_text(found['reported_ns'])}" + (
            f"; query-migrate said {said} ms" if said is not None else ""
        )
    else:
        yield f"reported downtime: query-migrate said {found['query_migrate_ms']} ms"
    if found["vm_away_ns"] is not None:
        yield f"the guest was away: {format_duration(found['vm_away_ns'])}"
    for each in run.outages():
        yield f"device {each['device']} was dead, blackout {each['blackout']}: {format_duration(each['ns'])}"
    if why := run.why_they_differ():
        yield f"they differ because {why}"


def _spent(run: TraceRun, name: str) -> Iterator[str]:
    totals: dict[tuple[str, str], int] = {}
    for part in run.breakdown(name):
        row = str(part.lane or ""), part.key
        totals[row] = totals.get(row, 0) + part.ns
    yield ""
    yield f"{WINDOWS[name].title}: {WINDOWS[name].meaning}"
    for (lane, key), ns in sorted(totals.items(), key=lambda item: -item[1])[:TOP]:
        yield f"  {format_duration(ns):>10}  {key:28} {lane}"
    if len(totals) > TOP:
        yield f"  ({len(totals) - TOP} omitted)"
    counts = run.counts.get(name, {})
    if counts:
        yield "  " + ", ".join(f"{count} {op}" for op, count in counts.items())
