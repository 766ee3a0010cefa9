"""docs/validation.md: what the model was held against.

`python -m vdpa_lab.beside.validation docs` writes it, docs/windows.md and docs/scenario.md; a test keeps them so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vdpa_lab import traces
from vdpa_lab.beside.differences import compare
from vdpa_lab.beside.figures import flags_of
from vdpa_lab.beside.marks import windows_text
from vdpa_lab.beside.readings import rebuild_table
from vdpa_lab.beside.run_prices import leave_one_out
from vdpa_lab.beside.tables import markdown_table
from vdpa_lab.library import precopy_runs, read_figures
from vdpa_lab.migration.compare import TOLERANCE, compare_figures, met, printed
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.model.reference import scenario_text
from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.units import SECOND


def _figures() -> str:
    rows = [row for row in compare_figures() if row["ratio"] is not None]
    parts = []
    for use in ("fitted", "predicted"):
        mine = [row for row in rows if row["use"] == use]
        good = sum(met(row["ratio"]) for row in mine)
        parts.append(f"{good} of {len(mine)} {use} values")
    table = markdown_table(
        ("figure", "row", "reading", "published", "simulated / published", "use", "constant without mechanism"),
        (
            (
                row["figure"],
                row["row"],
                row["reading"],
                f"{printed(row)} {row['unit']}",
                f"{row['ratio']:.2f}",
                row["use"],
                f"{row['residual_constant']:.0%}",
            )
            for row in rows
        ),
    )
    return f"Within a factor {TOLERANCE:g}: {' and '.join(parts)}.\n\n{table}"


def _flags() -> str:
    flagged = [figure for figure in read_figures() if flags_of(figure.note)]
    return markdown_table(
        ("flags", "figure", "note"), ((flags_of(each.note), each.name, each.note) for each in flagged)
    )


def _rebuild() -> str:
    return markdown_table(
        ("", "one rebuild of the map, ms", "price of a warm pin, ns a page of 4 KiB"),
        (
            (name, f"{rebuild:.1f}", "–" if pin != pin else f"{pin:.1f}")
            for name, rebuild, pin in rebuild_table().itertuples()
        ),
    )


def _recorded() -> list[traces.TraceRun]:
    return [traces.run(name) for name in traces.shipped_runs() if name.startswith("v-")]


def _counts(runs: Iterable[traces.TraceRun]) -> str:
    rows = []
    for run in runs:
        counts = compare(run).count_rows()
        unlike = [
            f"{row['operation']} {row['first']} / {row['count']}" for row in counts if row["first"] != row["count"]
        ]
        rows.append(
            (run.name, run.qemu, len(counts), len(counts) - len(unlike), "; ".join(dict.fromkeys(unlike)) or "none")
        )
    return markdown_table(
        ("run", "QEMU", "kinds of operation, by window", "equal in number", "unlike: recorded / simulated"), rows
    )


def _left_out(runs: Sequence[traces.TraceRun]) -> str:
    rows = [
        (
            row["run"],
            row["window"],
            f"{row['recorded_ns'] / 1e6:.0f}",
            f"{row['predicted_ns'] / 1e6:.0f}",
            f"{row['ratio']:.2f}",
        )
        for row in leave_one_out(runs)
    ]
    return markdown_table(("run", "window", "recorded, ms", "predicted from the other runs, ms", "ratio"), rows)


def _precopy() -> str:
    rows = []
    for real in precopy_runs():
        ours = precopy(real.scenario)
        rows.append(
            (
                real.name,
                f"{real.total_ns / SECOND:.2f}",
                f"{ours.total_ns / real.total_ns:.2f}",
                f"{ours.transferred_bytes / real.transferred_bytes:.2f}",
                f"{real.syncs} / {ours.syncs}",
            )
        )
    return markdown_table(("run", "total, s", "time, ratio", "bytes, ratio", "syncs: recorded / simulated"), rows)


def validation_text() -> str:
    """The report in Markdown: published figures, recorded runs, precopy."""
    runs = _recorded()
    return f"""# Validation

Made by `make validation`; a test keeps it as it would be made. Fitted values entered the one fit of all testbeds,
predicted ones did not; where a figure has two readings, each is fitted by itself.

## Published figures

{_figures()}

## One trace that no fit has seen

The 20 s that the ladder (V1, V2) starts from divide differently in its two readings. A trace of the same author ends in
one rebuild of the map; his mail states neither the memory nor the page size of that guest.

{_rebuild()}

## Flags

Where sources disagree with each other or with their use here.

{_flags()}

## Recorded runs: operations

The plan of the scenario that is derived from a run, beside its logs. Five of the runs have a kernel log in order, which
the plan equals line by line (`tests/test_trace_scenario.py`).

{_counts(runs)}

## Recorded runs: each predicted from the others

Prices fitted to all runs but one predict the windows of that one.

{_left_out(runs)}

## Precopy of nine runs

One calibration for all of them; the settings are the runs' own.

{_precopy()}
"""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    save_text(validation_text(), folder / "validation.md")
    save_text(windows_text(), folder / "windows.md")
    save_text(scenario_text(), folder / "scenario.md")
