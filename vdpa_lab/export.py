"""One run as a file: a picture, a table, a document. Each carries scenario, version, toggles and sources."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vdpa_lab import __version__
from vdpa_lab.migration import Run
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.model import write_scenario
from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.plot import bar_of, write_downtime
from vdpa_lab.report import table
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.traces import chrome_trace
from vdpa_lab.units import format_duration
from vdpa_lab.words import InputError, nearest


def about(run: Run) -> list[str]:
    """Where a file comes from, line by line."""
    knobs = [f"--knob {name}.{knob}={value}" for name, knob, value in run.plan.turned]
    return [
        f"scenario: {run.scenario.name}",
        f"optimisations: {', '.join(run.plan.applied) or 'none'}",
        *([f"knobs: {' '.join(knobs)}"] if knobs else []),
        f"prices: testbed {run.calibration.name}",
        f"sources: {', '.join(sorted({cost.source for cost in run.sources()}))}",
        f"made by: vdpa_lab {__version__}, deterministic (no seed)",
    ]


def _csv(run: Run) -> str:
    out = io.StringIO()
    out.writelines(f"# {line}\n" for line in about(run))
    rows = run.rows()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _json(run: Run) -> str:
    return json.dumps({"about": about(run), **run.json()}, indent=1, ensure_ascii=False) + "\n"


def _markdown(run: Run) -> str:
    lines = [f"| window | {run.scenario.name} |", "|---|---|"]
    for name, ns in run.windows.items():
        lines.append(f"| {WINDOWS[name].title} | {'–' if ns is None else format_duration(ns)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in about(run))]) + "\n"


def _text(run: Run) -> str:
    rows = [{**row, "ns": format_duration(row["ns"])} for row in run.rows()]
    return "\n".join([*about(run), "", *table(rows)]) + "\n"


def _toml(run: Run) -> str:
    scenario = replace(run.scenario, optimizations=run.plan.applied)
    return "".join(f"# {line}\n" for line in about(run)) + write_scenario(scenario)


def _perfetto(run: Run) -> str:
    sent = next((span.start for span in run.timeline.spans if span.op == "precopy"), 0)
    points = precopy(run.scenario).points
    counters = {"remaining bytes": [(sent + each.ns, each.remaining_bytes) for each in points]}
    return json.dumps(chrome_trace(run.timeline, counters, {"about": about(run)}), ensure_ascii=True) + "\n"


def _picture(run: Run, path: Path) -> Path:
    title = f"Downtime of {run.scenario.name}"
    return write_downtime([bar_of(run, run.scenario.name)], path, title=title, description="; ".join(about(run)))


TEXTS: dict[str, Callable[[Run], str]] = {
    "csv": _csv,
    "json": _json,
    "md": _markdown,
    "txt": _text,
    "toml": _toml,
    "perfetto.json": _perfetto,
}
FORMATS = ("svg", "png", "pdf", *TEXTS)


def export(run: Run, path: str | Path) -> Path:
    """Write a run in the form that the name ends in (FORMATS), whole or not at all; give the path.

    Equal runs give equal bytes. Raises InputError for another form, OSError when it cannot be written.
    """
    path = Path(path)
    form = path.suffix.lstrip(".").lower()
    if path.name.lower().endswith(".perfetto.json"):
        form = "perfetto.json"
    if form not in FORMATS:
        raise InputError(f"{path.name}: a run is written as {', '.join(FORMATS)}; {nearest(form, FORMATS)}")
    if form in TEXTS:
        save_text(TEXTS[form](run), path)
        return path
    beside = path.with_name(f".{path.stem}.part.{form}")
    try:
        _picture(run, beside).replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
