"""A recorded migration: its timeline, windows, counts, and the document of `vdpa-lab trace`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from vdpa_lab.timeline import WINDOWS, Part, Timeline, breakdown, intervals, window_ns
from vdpa_lab.traces.assemble import Assembled
from vdpa_lab.traces.checkpoints import checkpoint_rows, device_rows
from vdpa_lab.traces.clock import Clock
from vdpa_lab.traces.config import Config
from vdpa_lab.traces.counts import counted
from vdpa_lab.traces.function_graph import FunctionGraph
from vdpa_lab.traces.kernel_vdt import KernelLog
from vdpa_lab.traces.qmp import Statistics
from vdpa_lab.traces.sides import Side
from vdpa_lab.units import format_duration
from vdpa_lab.words import InputError, nearest


@dataclass(frozen=True)
class TraceRun:
    """One real live migration, as its logs tell it.

    sides: the logs by host. qemu: its version, "" when nothing says. statistics: what query-migrate said. graph,
    kernel: ftrace's function_graph and kernel-vdt.log, where there are. files: every file that was looked at, and as
    what. notes: what the reader found odd.
    """

    name: str
    sides: tuple[Side, ...]
    clock: Clock
    assembled: Assembled
    qemu: str = ""
    config: Config | None = None
    statistics: Statistics | None = None
    graph: FunctionGraph | None = None
    kernel: KernelLog | None = None
    skipped: int = 0
    files: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def timeline(self) -> Timeline:
        return self.assembled.timeline

    @property
    def dialect(self) -> str:
        """The form of the logs; both where they differ."""
        return " | ".join(dict.fromkeys(side.log.dialect for side in self.sides))

    def side(self, role: str) -> Side | None:
        """The log of that host."""
        return next((side for side in self.sides if side.role == role), None)

    def windows(self) -> dict[str, int]:
        """Length in ns of each window that the logs can answer."""
        found = {name: window_ns(self.timeline, name) for name in WINDOWS if not self.disordered(name)}
        return {name: ns for name, ns in found.items() if ns is not None}

    def disordered(self, name: str) -> bool:
        """Does the window end before it begins? Then lines are missing, or the logs are not of one migration."""
        return any(each.ns < 0 for each in intervals(self.timeline, WINDOWS[name]))

    def window(self, name: str) -> int:
        """Length of one window in ns. Raises InputError that names the marks which the logs lack."""
        if name not in WINDOWS:
            raise InputError(f"no window {name!r}; {nearest(name, WINDOWS)}")
        if self.disordered(name):
            raise InputError(f"{self.name}: {name!r} ends before it begins: lines of the logs are missing")
        if (ns := window_ns(self.timeline, name)) is None:
            missing = " and ".join(self.missing(name))
            raise InputError(f"{self.name}: the logs cannot answer {name!r}: they lack {missing}")
        return ns

    def missing(self, name: str) -> tuple[str, ...]:
        """The marks of a window that the logs lack, `{d}` for any device."""
        window = WINDOWS[name]
        prefixes = [mark.partition("{d}") for mark in (window.begin, window.end)]
        return tuple(
            prefix + hole
            for prefix, hole, _ in prefixes
            if not any(mark == prefix or (hole and mark.startswith(prefix)) for mark in self.timeline.marks)
        ) or (f"{window.begin} and {window.end} of one device",)

    def breakdown(self, window: str) -> tuple[Part, ...]:
        """Parts of a window, which sum to it exactly."""
        return breakdown(self.timeline, WINDOWS[window])

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Operations that began in each window."""
        return counted(self.timeline, self.assembled.ops)

    def outages(self) -> list[dict[str, int]]:
        """Each device's dead intervals: blackout 1 is the switch to shadow virtqueues, 2 from stop to start."""
        return [
            {"device": each.device, "blackout": blackout, "start_ns": each.start_ns, "ns": each.ns}
            for blackout, name in ((1, "svq_switch"), (2, "network_outage"))
            for each in intervals(self.timeline, WINDOWS[name])
            if each.ns >= 0
        ]

    def checkpoints(self) -> list[dict]:
        """QEMU's downtime checkpoints, each to the next."""
        return checkpoint_rows(self.timeline.marks)

    def devices(self) -> list[dict]:
        """What each state took to save and load, the longest first."""
        return device_rows(event for side in self.sides for event in side.events)

    def downtime(self) -> dict[str, int | None]:
        """QEMU's reported downtime, and how long the guest was really away; both from src-downtime-start, in ns."""
        marks = self.timeline.marks
        start = marks.get("src-downtime-start")
        ends = {"reported_ns": "src-downtime-end", "vm_away_ns": "vcpus-resumed"}
        found = {key: marks[end] - start if start is not None and end in marks else None for key, end in ends.items()}
        said = self.statistics.final.get("downtime") if self.statistics else None
        return {**found, "query_migrate_ms": said if isinstance(said, int) else None}

    def why_they_differ(self) -> str:
        """In words: why the reported downtime is not the time that the guest was away."""
        reported, away = self.downtime()["reported_ns"], self.downtime()["vm_away_ns"]
        if reported is None or away is None:
            return ""
        late = format_duration(abs(away - reported))
        if away > reported:
            return (
                f"QEMU's clock stopped when the source had sent its stream (no return path); the guest ran again "
                f"{late} later, when the destination had loaded the state and started its devices"
            )
        return (
            f"with a return path QEMU's clock stopped when the destination's answer had come back, {late} after "
            "the guest ran again"
        )

    def json(self) -> dict:
        """The document of `vdpa-lab trace --json`."""
        rows: dict[tuple, int] = {}
        for window in self.windows():
            for part in self.breakdown(window):
                lane = (part.lane.kind, part.lane.side) if part.lane else ("", "")
                row = (window, part.key, *lane, part.device)
                rows[row] = rows.get(row, 0) + part.ns
        return {
            "dialect": self.dialect,
            "qemu": self.qemu,
            "epoch_ns": self.assembled.epoch,
            "marks": self.timeline.marks,
            "windows": {
                **{f"{name}_ns": ns for name, ns in self.windows().items()},
                "network_outage_ns": [each["ns"] for each in self.outages()],
            },
            "outages": self.outages(),
            "downtime": {**self.downtime(), "why": self.why_they_differ()},
            "counts": self.counts,
            "breakdown": [
                {"window": w, "label": label, "lane": kind, "side": side, "device": d, "ns": ns, "basis": "measured"}
                for (w, label, kind, side, d), ns in sorted(rows.items(), key=lambda item: (item[0][0], -item[1]))
            ],
            "checkpoints": self.checkpoints(),
            "devices": self.devices(),
            "clock": {
                "method": self.clock.method,
                "offset_ns": self.clock.offset_ns,
                "bound_ns": self.clock.bound_ns,
                "why": self.clock.why,
            },
            "skipped_lines": self.skipped,
            "files": [{"file": path, "read_as": kind} for path, kind in self.files],
            "notes": list(self.notes),
            **({"function_graph": self.graph.json()} if self.graph else {}),
        }

    def text(self) -> Iterable[str]:
        """The report of `vdpa-lab trace`, line by line."""
        from vdpa_lab.traces.text import run_text  # it formats a finished run

        return run_text(self)
