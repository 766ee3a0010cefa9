"""A folder, or several logs, as one run: which file is which, whose clock is whose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vdpa_lab.paths import data_dir
from vdpa_lab.timeline import Timeline
from vdpa_lab.traces.assemble import Assembled, assemble
from vdpa_lab.traces.clock import ONE_HOST, Clock, align
from vdpa_lab.traces.config import Config
from vdpa_lab.traces.dialects import RECORD
from vdpa_lab.traces.events import Log, printable
from vdpa_lab.traces.function_graph import FunctionGraph
from vdpa_lab.traces.guestperf import GuestPerf
from vdpa_lab.traces.kernel_vdt import KernelLog
from vdpa_lab.traces.qmp import Statistics
from vdpa_lab.traces.read import read
from vdpa_lab.traces.run import TraceRun
from vdpa_lab.traces.sides import DESTINATION, SOURCE, Side, reset_instead, roles
from vdpa_lab.words import InputError

MOST_FILES = 200


@dataclass
class _Found:
    """The files of a run by what they are."""

    logs: list[Log] = field(default_factory=list)
    kernel: list[KernelLog] = field(default_factory=list)
    graphs: list[FunctionGraph] = field(default_factory=list)
    statistics: list[Statistics | GuestPerf] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)

    def take(self, path: str) -> None:
        """Raises InputError."""
        value = read(path)
        for kind, into, title in (
            (Log, self.logs, ""),
            (KernelLog, self.kernel, "kernel-vdt.log"),
            (FunctionGraph, self.graphs, "function_graph"),
            (Statistics, self.statistics, "QMP"),
            (GuestPerf, self.statistics, "guestperf"),
            (Config, self.configs, "config"),
        ):
            if isinstance(value, kind):
                into.append(value)
                self.files.append((os.path.basename(path), title or value.dialect))


def run(
    *paths: str | os.PathLike[str],
    side: str = "",
    same_machine: bool = False,
    offset_ns: int | None = None,
    return_path: bool | None = None,
) -> TraceRun:
    """A recorded migration from its folder, its name in data/traces, or SRC.log [DST.log] and what else was recorded.

    side: source | destination, of a single log that could be of either. same_machine: both logs are of one machine.
    offset_ns: the destination's clock minus the source's. return_path: whether the migration had that capability;
    None: as the run says. Raises InputError.
    """
    if not paths:
        raise InputError("name a folder of a run, or the source's log")
    found = _Found()
    names = [os.fspath(path) for path in paths]
    if len(names) == 1:
        names = [_shipped(names[0])]
    if len(names) == 1 and os.path.isdir(names[0]):
        _take_folder(found, names[0])
    else:
        for name in names:
            found.take(name)
    if not found.logs:
        listed = "; ".join(f"{name}: {kind}" for name, kind in found.files[:10])
        raise InputError(f"{names[0]!r}: no log of QEMU's trace events among what was given ({listed}). {RECORD}")
    sides, notes = _sides(found.logs, side)
    config = found.configs[0] if found.configs else None
    clocked = _clock(sides, config, same_machine, offset_ns, return_path)
    timed = all(each.log.timed for each in sides)
    kernel = _kernel(found.kernel, sides, notes) if timed else None
    if timed:
        assembled = assemble(sides, clocked, kernel, _return_path(sides, config, return_path) or False)
    else:
        assembled = Assembled(Timeline((), {}, (), {}), 0, (), {})
        notes.insert(0, "the lines carry no time, so there are no windows: record again with -msg timestamp=on")
    notes += _remarks(sides)
    statistics = _statistics(found.statistics)
    if isinstance(statistics, Statistics | GuestPerf):
        for name, points in statistics.counters().items():
            shifted = [(t - assembled.epoch, value) for t, value in points]
            assembled.counters.setdefault(f"{name} (query-migrate)", shifted)
    read_logs = [each.log for each in sides] + ([kernel] if kernel else [])
    name = os.path.basename(os.path.abspath(names[0]))
    return TraceRun(
        printable(name),
        tuple(sides),
        clocked,
        assembled,
        config.qemu if config else "",
        config,
        statistics if isinstance(statistics, Statistics) else None,
        found.graphs[0] if found.graphs else None,
        kernel,
        sum(each.skipped.count for each in read_logs),
        tuple(found.files),
        tuple(notes),
    )


def shipped_runs() -> dict[str, Path]:
    """The folders of data/traces by name, in order."""
    folder = data_dir() / "traces"
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()} if folder.is_dir() else {}


def _shipped(name: str) -> str:
    """The folder of a run that comes with the package, if that is what is named."""
    return name if os.path.exists(name) else str(shipped_runs().get(name, name))


def _take_folder(found: _Found, folder: str) -> None:
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
    if len(paths) > MOST_FILES:
        raise InputError(f"{folder!r} holds {len(paths)} files; a run has at most {MOST_FILES}: name its logs")
    for path in paths:
        try:
            found.take(str(path))
        except InputError as error:
            why = "ambiguous" if "ambiguous" in str(error) else "not read"
            found.files.append((printable(path.name), why))


def _sides(logs: Sequence[Log], side: str) -> tuple[list[Side], list[str]]:
    if side not in ("", SOURCE, DESTINATION):
        raise InputError(f"side must be {SOURCE} or {DESTINATION}, not {side!r}")
    told: list[tuple[Log, set[str]]] = [(log, roles(log)) for log in logs]
    if len(told) > 2:
        raise InputError(
            f"{len(told)} logs of QEMU ({', '.join(log.path for log in logs[:4])}): give one of the source and one of "
            "the destination"
        )
    if len(told) == 1:
        log, can = told[0]
        if side or len(can) == 1:
            return [Side(side or can.pop(), log)], []
        what = "events of both hosts" if can else "no event that tells the host"
        raise InputError(f"{log.path!r} holds {what}: say whether it is of the {SOURCE} or the {DESTINATION}")
    (first, first_can), (second, second_can) = told
    if (first_can and SOURCE not in first_can) or (second_can and DESTINATION not in second_can):
        if SOURCE in second_can and DESTINATION in first_can:
            note = "the destination's log was given first; told by their events"
            swapped = _named(first.path) != DESTINATION
            return [Side(SOURCE, second), Side(DESTINATION, first)], [note] if swapped else []
        raise InputError(f"{first.path!r} and {second.path!r} are not a source's and a destination's log")
    if _named(first.path) == DESTINATION and _named(second.path) == SOURCE:
        first, second = second, first
    return [Side(SOURCE, first), Side(DESTINATION, second)], []


def _named(path: str) -> str:
    name = os.path.basename(path).lower()
    return SOURCE if "src" in name or "source" in name else DESTINATION if "dst" in name or "dest" in name else ""


def _return_path(sides: Sequence[Side], config: Config | None, stated: bool | None) -> bool | None:
    """Had the migration a return path? None: nothing says."""
    if stated is not None:
        return stated
    if any("return-path-open" in side.marks for side in sides if side.log.timed):
        return True
    return config.return_path if config and config.args else None


def _clock(
    sides: Sequence[Side], config: Config | None, same_machine: bool, offset_ns: int | None, stated: bool | None
) -> Clock:
    if len(sides) == 1 or not all(side.log.timed for side in sides):
        return ONE_HOST
    why = config.one_machine if config else ""
    one = same_machine or (bool(why) and offset_ns is None)
    rp = _return_path(sides, config, stated) or False
    return align(*sides, same_machine=one, offset_ns=offset_ns, return_path=rp, why="" if same_machine else why)


def _kernel(logs: Sequence[KernelLog], sides: Sequence[Side], notes: list[str]) -> KernelLog | None:
    """The kernel's log, if its clock is that of the QEMU logs."""
    if not logs:
        return None
    if len(sides) == 2 and logs[0].of(SOURCE) and logs[0].of(DESTINATION):
        times = [event.t for side in sides for event in side.log.events]
        if times and logs[0].ops[0].start <= max(times) and min(times) <= logs[0].ops[-1].end:
            return logs[0]
        notes.append(f"{os.path.basename(logs[0].path)} is of another time and was left out")
        return None
    return logs[0]


def _statistics(found: Sequence[Statistics | GuestPerf]) -> Statistics | GuestPerf | None:
    """The source's statistics: those that know the downtime, with time where there are some."""

    def worth(each: Statistics | GuestPerf) -> tuple[bool, int]:
        if isinstance(each, GuestPerf):
            return True, len(each.progress)
        return "downtime" in each.final, len(each.answers)

    own = [each for each in found if _named(each.path) != DESTINATION]
    return max(own, key=worth, default=None)


def _remarks(sides: Sequence[Side]) -> list[str]:
    notes = []
    for side in sides:
        log = side.log
        if side.attempts > 1:
            notes.append(f"{side.role}: {side.attempts} migrations in the log; this is the last that came to the end")
        if not side.devices.told and side.devices.count > 1:
            notes.append(f"{side.role}: no vhost_vdpa_init in the log; devices are numbered as they appear")
        if side.role == SOURCE and reset_instead(side):
            notes.append("the device cannot be suspended: it was reset instead, which ends its data path")
        for number, why, line in log.skipped.shown:
            notes.append(f"{os.path.basename(log.path)}:{number} skipped ({why}): {line}")
    return notes
