"""Reports of QEMU's guestperf (tests/migration-stress/guestperf/report.py): precopy progress and its settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from vdpa_lab.traces.lines import whole_text
from vdpa_lab.traces.qmp import LARGEST_DOCUMENT, MOST_ROWS, _instant, _json
from vdpa_lab.units import MS
from vdpa_lab.words import InputError

_KEYS = {"hardware", "scenario", "progress_history"}


@dataclass(frozen=True)
class Progress:
    """One sample: ns since 1970 or None, status, bytes, pages per second, and downtimes in ns (None: not said)."""

    t: int | None
    status: str
    remaining_bytes: int | None
    transferred_bytes: int | None
    dirty_rate_pps: int | None
    iterations: int | None
    downtime_ns: int | None
    downtime_expected_ns: int | None


@dataclass(frozen=True)
class GuestPerf:
    """A report: hardware and scenario as written, progress in order; the guest's and QEMU's timings stay in `raw`."""

    path: str
    hardware: dict[str, Any]
    scenario: dict[str, Any]
    progress: tuple[Progress, ...]
    raw: dict[str, Any]

    def counters(self) -> dict[str, list[tuple[int, int]]]:
        """Remaining bytes and dirty pages per second, at the instants that are known."""
        found = {
            "remaining bytes": [(each.t, each.remaining_bytes) for each in self.progress],
            "dirty pages per second": [(each.t, each.dirty_rate_pps) for each in self.progress],
        }
        return {name: [p for p in points if None not in p] for name, points in found.items()}

    def json(self) -> dict:
        """What the report tells of the migration."""
        last = self.progress[-1] if self.progress else None
        return {
            "dialect": "guestperf",
            "downtime": {"reported_ns": last.downtime_ns if last else None},
            "iterations": [{"start_ns": each.t, "remaining_bytes": each.remaining_bytes} for each in self.progress],
            "skipped_lines": 0,
        }


def is_guestperf(value: object) -> bool:
    """Has the JSON value the keys of a report?"""
    return isinstance(value, dict) and value.keys() >= _KEYS


def _whole(table: object, key: str, scale: int = 1) -> int | None:
    value = table.get(key) if isinstance(table, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(1 << 62) < value < 1 << 62:
        return None
    return round(value) * scale


def read_guestperf(path: str | os.PathLike[str]) -> GuestPerf:
    """The report at `path`, gzip or not. Raises InputError."""
    where = os.fspath(path)
    value = _json(whole_text(where, LARGEST_DOCUMENT))
    if not is_guestperf(value):
        raise InputError(f"{where!r} is no guestperf report: it lacks one of {', '.join(sorted(_KEYS))}")
    history = value["progress_history"]
    if not isinstance(history, list) or len(history) > MOST_ROWS:
        raise InputError(f"{where!r}: progress_history must be a list of at most {MOST_ROWS} samples")
    progress = []
    for number, row in enumerate(history):
        if not isinstance(row, dict):
            raise InputError(f"{where!r}: progress_history[{number}] must be an object, as guestperf writes it")
        ram = row.get("ram")
        progress.append(
            Progress(
                _instant(row.get("now")),
                str(row.get("status"))[:40],
                _whole(ram, "remaining_bytes"),
                _whole(ram, "transferred_bytes"),
                _whole(ram, "dirty_rate_pps"),
                _whole(ram, "iterations"),
                _whole(row, "downtime", MS),
                _whole(row, "downtime_expected", MS),
            )
        )
    tables = {key: value[key] if isinstance(value[key], dict) else {} for key in ("hardware", "scenario")}
    return GuestPerf(where, tables["hardware"], tables["scenario"], tuple(progress), value)
