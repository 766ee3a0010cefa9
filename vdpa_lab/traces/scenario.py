"""A scenario like a recorded run: which file and line gave which value, and what is only assumed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vdpa_lab.model import Guest, Host, Migration, Scenario, VdpaDevice, Workload, write_scenario
from vdpa_lab.model.errors import ScenarioError
from vdpa_lab.model.settings import Change
from vdpa_lab.traces.config import Config
from vdpa_lab.traces.events import printable
from vdpa_lab.traces.facts import Fact, log_facts, memory_fact
from vdpa_lab.traces.function_graph import FunctionGraph
from vdpa_lab.traces.kernel_vdt import KernelLog
from vdpa_lab.traces.options import command_facts, settings_facts
from vdpa_lab.traces.run import TraceRun
from vdpa_lab.traces.sides import SOURCE
from vdpa_lab.units import PAGE_SIZE, SECOND
from vdpa_lab.words import InputError

_TABLES = {"guest": Guest, "device": VdpaDevice, "migration": Migration, "workload": Workload}
#: small pages of a huge one, x86-64
_HUGE_RUN = 512
#: what the tool that made the run sets when it gives up waiting for convergence
_LIFTED = {"downtime_limit": 60 * SECOND, "max_bandwidth": None}


def scenario(run: TraceRun | Config) -> tuple[Scenario, tuple[Fact, ...]]:
    """The scenario, and per key the fact that it rests on. Raises InputError when memory or a value is impossible.

    A log's word counts more than the command line's: it shows what was negotiated.
    """
    name = run.name if isinstance(run, TraceRun) else os.path.basename(run.path)
    facts: dict[str, Fact] = {}
    for fact in _facts(run):
        facts[fact.key] = fact
    if "guest.memory" not in facts:
        raise InputError(f"{name}: nothing says how much memory the guest has: a config.json or command line with -m")
    tables: dict[str, dict[str, Any]] = {table: {} for table in _TABLES}
    for fact in facts.values():
        table, dot, key = fact.key.partition(".")
        if dot and table in tables:
            tables[table][key] = fact.value
    top = {key: facts[key].value for key in ("testbed", "source", "description") if key in facts}
    title = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "run"
    try:
        made = Scenario(title, **{table: cls(**tables[table]) for table, cls in _TABLES.items()}, **top)
    except ScenarioError as error:
        where = next((fact.where for fact in facts.values() if fact.key.endswith(error.key)), "")
        raise InputError(
            f"{name}: the run makes no scenario: {error}" + (f" (from {where})" if where else "")
        ) from error
    return made, tuple(facts.values())


def _facts(run: TraceRun | Config) -> Iterator[Fact]:
    """Facts, the weaker first."""
    config = run if isinstance(run, Config) else run.config
    if isinstance(run, TraceRun) and (side := run.side(SOURCE)) is not None:
        yield from memory_fact(side)
    if config is not None:
        if config.source is not None:
            yield from command_facts(config.source)
        yield from settings_facts(config)
    if isinstance(run, TraceRun):
        yield from _log(run)
        yield from _pages(run)
        if config is not None:
            yield from _changes(run, config)
    yield _host(run, config)


def _log(run: TraceRun) -> Iterator[Fact]:
    side = run.side(SOURCE)
    if side is None:
        return
    driver = None
    for fact in log_facts(side):
        driver = fact.value if fact.key == "device.driver" else driver
        yield fact
    if driver == "vdpa_sim":
        yield Fact("testbed", "testbed2026", "vdpa_sim: the prices of the testbed that has it")
    if side.log.timed and "return-path-open" in side.marks:
        yield Fact("migration.return_path", True, f"{os.path.basename(side.log.path)}: the return path's thread")


def _pages(run: TraceRun) -> Iterator[Fact]:
    """Small pages by how many entries the whole map has, zero pages by what query-migrate counted."""
    memory = next((f.value for f in _memory(run.config)), None)
    if memory is None:
        return
    entries, where = _entries(run)
    if entries and (mean := memory // PAGE_SIZE // entries) < _HUGE_RUN:
        # No proof of the other: small pages may well lie side by side.
        yield Fact("guest.backing", "4k", f"{where}: {entries} entries, so only {mean} contiguous pages each")
    ram = run.statistics.final.get("ram") if run.statistics else None
    zero = ram.get("duplicate") if isinstance(ram, dict) else None
    if isinstance(zero, int) and 0 <= zero <= memory // PAGE_SIZE:
        share = round(zero / (memory // PAGE_SIZE), 2)
        name = os.path.basename(run.statistics.path)
        yield Fact("guest.zero_pages", share, f"{name}: ram.duplicate over pages of RAM")


def _changes(run: TraceRun, config: Config) -> Iterator[Fact]:
    """The settings that were lifted because the migration did not converge in time."""
    patience = config.args.get("give_up")
    total = run.statistics.final.get("total-time") if run.statistics else None
    if type(patience) in (int, float) and isinstance(total, int) and 0 < patience * 1000 < total < 86_400_000:
        change = Change(round(patience * SECOND), **_LIFTED)
        where = f"config.json: args.give_up = {patience}: limits lifted then; the migration took {total} ms"
        yield Fact("migration.changes", (change,), where)


def _memory(config: Config | None) -> list[Fact]:
    command = config.source if config else None
    return [fact for fact in command_facts(command) if fact.key == "guest.memory"] if command else []


def _entries(run: TraceRun) -> tuple[int, str]:
    """The most entries that a set_map had, and which file says so."""
    found: list[tuple[int, str]] = []
    kernel: KernelLog | None = run.kernel
    if kernel is not None:
        counts = [op.fields["entries"] for op in kernel.of(SOURCE) if op.op == "set_map"]
        found.append((max(counts, default=0), os.path.basename(kernel.path)))
    graph: FunctionGraph | None = run.graph
    if graph is not None:
        found.append((max(graph.set_map_entries(), default=0), os.path.basename(graph.path)))
    return max(found, default=(0, ""))


def _host(run: TraceRun | Config, config: Config | None) -> Fact:
    qemu, linux = (config.qemu, config.linux) if config else ("", "")
    said = [f"config.json: {name}" for name, value in (("qemu", qemu), ("uname", linux)) if value]
    if not qemu and isinstance(run, TraceRun):
        older = "thread@" in run.dialect
        qemu = "10.0" if older else "10.2"
        said.append(f"QEMU by the form of its log: {qemu} or {'older' if older else 'newer'}")
    known = {"qemu": qemu, "linux": linux}
    host = Host(**{name: version for name, version in known.items() if version})
    said += [f"{name} is not said: {getattr(host, name)} taken" for name, version in known.items() if not version]
    return Fact("source", host, "; ".join(said))


def scenario_toml(made: Scenario, facts: Sequence[Fact]) -> str:
    """The scenario's file, with what each value rests on as a comment behind it."""
    where = {fact.key: printable(fact.where, 300) for fact in facts}
    lines, table = [], ""
    for line in write_scenario(made).splitlines():
        if line.startswith("["):
            table = line.strip("[]")
            lines.append(f"{line}  # {where[table]}" if table in where else line)
            continue
        key = line.partition(" = ")[0]
        note = where.get(f"{table}.{key}" if table else key)
        lines.append(f"{line}  # {note}" if note else line)
    return "\n".join(lines) + "\n"


def facts_text(facts: Iterable[Fact]) -> Iterator[str]:
    """Which line gave which value, for a person."""
    for fact in facts:
        value = f"{len(fact.value)} sections" if fact.key == "guest.sections" else fact.value
        yield f"{fact.key} = {printable(str(value), 60)}  <- {printable(fact.where, 300)}"
