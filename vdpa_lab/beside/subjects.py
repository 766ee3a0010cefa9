"""What can stand beside what: a simulated scenario, a recorded run, a row of a published figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from vdpa_lab import traces
from vdpa_lab.library import bibliography, read_figures
from vdpa_lab.migration import Run, simulate
from vdpa_lab.migration.compare import AS_PRINTED, CALLS, Observation, observations, quantity_parts
from vdpa_lab.migration.cvq_load import COMMANDS
from vdpa_lab.migration.uncertainty import interval_ns
from vdpa_lab.model import Scenario, find_scenario, scenario_names
from vdpa_lab.timeline import WINDOWS, Part, Span, Timeline, intervals
from vdpa_lab.traces.counts import SET_MAP
from vdpa_lab.words import InputError, nearest

SIMULATED, RECORDED, PUBLISHED = "simulated", "recorded", "published"


class Value(NamedTuple):
    """A length in ns with its bounds: 90 % of the prices' uncertainty, or the range as published."""

    ns: int
    low: int
    high: int


@dataclass(frozen=True)
class Subject:
    """One thing to compare.

    name, kind (simulated | recorded | published), source in words. values: by window, or by a figure's quantity.
    parts: by window what it was spent on, where that is known. counts: by window how often each operation began.
    timeline: of a simulation or a recording.
    """

    name: str
    kind: str
    source: str
    values: dict[str, Value]
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    timeline: Timeline | None = None

    @property
    def title(self) -> str:
        return f"{self.name} ({self.kind})"


def subjects(names: Iterable[str | Scenario | Run | traces.TraceRun]) -> list[Subject]:
    """The subjects of these names, in order.

    A name is that of a recorded run (its folder, or one in data/traces), a scenario (a file, or one in data/scenarios)
    or a published figure, each of whose rows is a subject. One recorded run alone is set beside the simulation of the
    scenario derived from it. Raises InputError.
    """
    given = [_resolved(name) if isinstance(name, str) else name for name in names]
    if len(given) == 1 and isinstance(given[0], traces.TraceRun):
        given.append(traces.scenario(given[0])[0])
    rows = [row for each in given if isinstance(each, list) for row in each]
    asked = sorted({row.quantity for row in rows if row.quantity in CALLS})
    found: list[Subject] = []
    for each in given:
        if isinstance(each, list):
            found += [published(row) for row in each]
        elif isinstance(each, traces.TraceRun):
            found.append(recorded(each))
        else:
            found.append(simulated(each if isinstance(each, Run) else simulate(each), asked))
    if len(found) < 2:
        raise InputError("name at least two things to compare: scenarios, recorded runs, published figures")
    return _told_apart(found)


def _told_apart(found: Sequence[Subject]) -> list[Subject]:
    """Titles that occur twice are numbered."""
    seen: Counter[str] = Counter()
    result = []
    for each in found:
        seen[each.title] += 1
        again = seen[each.title]
        result.append(replace(each, name=f"{each.name} #{again}") if again > 1 else each)
    return result


def _resolved(name: str) -> Scenario | traces.TraceRun | list[Observation]:
    shipped = traces.shipped_runs()
    if Path(name).is_dir() or (name in shipped and not Path(name).exists()):
        return traces.run(name)
    if name in scenario_names() or name.endswith(".toml"):
        return find_scenario(name)
    figures = [figure.name for figure in read_figures()]
    if name in figures:
        rows = [each for each in observations((name,)) if each.reading == AS_PRINTED and each.low is not None]
        if not rows or rows[0].quantity == "none":
            raise InputError(f"figure {name!r} publishes no length of a window or a call, so nothing lies beside it")
        return rows
    if Path(name).is_file():
        return traces.run(name)
    raise InputError(
        f"no scenario, recorded run or figure {name!r}; {nearest(name, [*scenario_names(), *figures, *shipped])}"
    )


def published(row: Observation) -> Subject:
    """One row of a figure."""
    low, high = int(row.low or 0), int(row.high or 0)
    value = Value((low + high) // 2, low, high)
    name = f"{row.figure.name} {row.row.label}"
    return Subject(name, PUBLISHED, str(bibliography()[row.figure.reference]), {row.quantity: value})


def recorded(run: traces.TraceRun) -> Subject:
    """A recorded run: all windows that it can answer."""
    windows = run.windows()
    return Subject(
        run.name,
        RECORDED,
        f"{run.dialect}" + (f", QEMU {run.qemu}" if run.qemu else ""),
        {name: Value(ns, ns, ns) for name, ns in windows.items()},
        {name: run.breakdown(name) for name in windows},
        {name: dict(counts) for name, counts in run.counts.items() if name in windows},
        run.timeline,
    )


def simulated(run: Run, quantities: Iterable[str] = ()) -> Subject:
    """A simulated run: its windows, and these quantities of figures, with 90 % intervals."""
    parts = {name: run.breakdown(name) for name, ns in run.windows.items() if ns is not None}
    parts |= {name: quantity_parts(run, name) for name in quantities}
    values = {}
    for name, its in parts.items():
        low, high = interval_ns(its, run.calibration)
        values[name] = Value(sum(part.ns for part in its), int(low), int(high))
    counts = {name: _counts(run, name) for name in run.windows if name in parts}
    source = f"prices: {run.calibration.name}; {', '.join(run.plan.applied) or 'nothing optimised'}"
    return Subject(run.scenario.name, SIMULATED, source, values, parts, counts, run.timeline)


def _counts(run: Run, window: str) -> dict[str, int]:
    """What logs of the kernel and of the control virtqueue would count of a simulation in a window."""
    found: Counter[str] = Counter()
    logged = [
        (span, _times(span))
        for step, span in zip(run.plan.steps, run.timeline.spans, strict=True)
        if (step.lane.kind == "kernel" and step.detail) or step.op == SET_MAP or step.op in COMMANDS.values()
    ]
    for each in intervals(run.timeline, WINDOWS[window]):
        for span, times in logged:
            if each.start_ns <= span.start <= each.start_ns + each.ns and each.device in (-1, span.device):
                found[span.op] += times
    return dict(sorted(found.items()))


def _times(span: Span) -> int:
    """A step can stand for several equal operations: map rebuilds chunk by chunk, commands of one kind."""
    return next((term.amount for term in span.terms if term.key in ("cvq.command", "set_map.call")), 1)
