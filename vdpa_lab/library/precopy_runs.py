"""Precopy of real migrations, to hold the model against: data/precopy."""

from __future__ import annotations

import csv
from functools import lru_cache
from typing import NamedTuple

from vdpa_lab.model import Change, Dirty, Guest, Migration, Scenario, Workload
from vdpa_lab.paths import data_dir
from vdpa_lab.units import MS

TESTBED = "testbed2026"


class RecordedPrecopy(NamedTuple):
    """One run: the scenario like it, what QEMU reported, and (ns, remaining bytes, sent bytes) while it ran."""

    name: str
    scenario: Scenario
    total_ns: int
    downtime_ns: int
    syncs: int
    transferred_bytes: int
    downtime_bytes: int
    points: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=1)
def precopy_runs() -> tuple[RecordedPrecopy, ...]:
    """All recorded runs."""
    folder = data_dir() / "precopy"
    series: dict[str, list[tuple[int, int, int]]] = {}
    with open(folder / "remaining.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            point = int(row["ms"]) * MS, int(row["remaining_bytes"]), int(row["transferred_bytes"])
            series.setdefault(row["run"], []).append(point)
    with open(folder / "runs.csv", newline="", encoding="utf-8") as file:
        return tuple(_run(row, tuple(series[row["run"]])) for row in csv.DictReader(file))


def _run(row: dict[str, str], points: tuple[tuple[int, int, int], ...]) -> RecordedPrecopy:
    changes = ()
    if row["changed_after_ms"]:
        changes = (
            Change(
                int(row["changed_after_ms"]) * MS, downtime_limit=int(row["changed_limit_ms"]) * MS, max_bandwidth=None
            ),
        )
    scenario = Scenario(
        row["run"],
        testbed=TESTBED,
        guest=Guest(memory=int(row["memory_bytes"]), zero_pages=float(row["zero_pages"])),
        migration=Migration(
            max_bandwidth=int(row["max_bandwidth_bytes_s"]),
            downtime_limit=int(row["downtime_limit_ms"]) * MS,
            changes=changes,
        ),
        workload=Workload(dirty=Dirty(row["pattern"], int(row["rate_pages_s"]), int(row["working_set_bytes"]))),
    )
    return RecordedPrecopy(
        row["run"],
        scenario,
        int(row["total_ms"]) * MS,
        int(row["reported_downtime_ms"]) * MS,
        int(row["syncs"]),
        int(row["transferred_bytes"]),
        int(row["downtime_bytes"]),
        points,
    )
