"""A recorded run matched with its own plan: which operation took how long, and what it had to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vdpa_lab.migration import Run, simulate
from vdpa_lab.timeline import WINDOWS, Span, intervals
from vdpa_lab.timeline.windows import Interval
from vdpa_lab.traces import TraceRun, scenario
from vdpa_lab.traces.counts import SET_MAP
from vdpa_lab.words import InputError

# Where a plan's path lies in a recording.
PLACES = {"switch": "svq_switch", "stop": "source_teardown", "start": "destination_setup"}
# vhost's work on an entry goes with the pages, as the number of entries differs from run to run.
WITHIN = "iotlb.entry"
STATES = {
    "source": ("vmstate.save_virtio_net", "save virtio-net"),
    "destination": ("vmstate.load_virtio_net", "load virtio-net"),
}


class Charge(NamedTuple):
    """`ns` that a recorded operation took, and the amounts that they paid for: cost key -> number."""

    run: str
    op: str
    ns: int
    amounts: dict[str, int]


def charges(run: TraceRun, simulated: Run) -> tuple[list[Charge], list[str]]:
    """Every operation of the three windows that is found in both, and in words what could not be matched.

    The plan says what an operation is about, the recording how long it took. With a kernel log a message's own time is
    told from that of its map rebuilds, whose true sizes are known; with QEMU's log alone, or where a rebuild is mlx5's
    work, both count as one at planned sizes.
    """
    found: list[Charge] = []
    notes: list[str] = []
    apart = run.kernel is not None and simulated.scenario.device.driver != "mlx5"
    for path, window in PLACES.items():
        side = "destination" if path == "start" else "source"
        for each in intervals(run.timeline, WINDOWS[window]):
            planned = _planned(simulated, side, path, each.device, whole=not apart)
            logged = _kernel(run, side, each) if apart else _log(run, side, each)
            for op in dict.fromkeys(op for op, _ in planned):
                ours = [amounts for name, amounts in planned if name == op]
                theirs = [ns for name, ns, _ in logged if name == op]
                if len(ours) == len(theirs):
                    found += [Charge(run.name, op, ns, a) for ns, a in zip(theirs, ours, strict=True)]
                else:
                    notes.append(
                        f"{run.name}, {window}, device {each.device}: {len(theirs)} {op} for {len(ours)} planned"
                    )
            found += [Charge(run.name, op, ns, entries) for op, ns, entries in logged if entries]
    return [*found, *_states(run)], notes


def _planned(simulated: Run, side: str, path: str, device: int, whole: bool) -> list[tuple[str, dict[str, int]]]:
    """Operations with kernel arguments in order; as a whole, with the rebuilds that a message asks for."""
    rows: list[tuple[str, dict[str, int]]] = []
    for step, span in zip(simulated.plan.steps, simulated.timeline.spans, strict=True):
        if (step.lane.side, step.path, step.device) != (side, path, device):
            continue
        if step.lane.kind == "kernel" and step.detail:
            rows.append((step.op, _amounts(span)))
        elif whole and rows and (step.op == SET_MAP or step.of):
            for key, amount in _amounts(span).items():
                rows[-1][1][key] = rows[-1][1].get(key, 0) + amount
    return rows


def _amounts(span: Span) -> dict[str, int]:
    return {term.key: term.amount for term in span.terms if term.key != WITHIN and term.amount}


def _kernel(run: TraceRun, side: str, within: Interval) -> list[tuple[str, int, dict[str, int]]]:
    """Operations of a kernel log: name, own ns, and for a rebuild what it carried."""
    start = run.assembled.epoch + within.start_ns
    rows: list[tuple[str, int, dict[str, int]]] = []
    outer, end = -1, 0
    for op in run.kernel.of(side) if run.kernel else ():
        if op.device != within.device or not start <= op.start <= start + within.ns:
            continue
        if op.op != SET_MAP:
            outer, end = len(rows), op.end
            rows.append((op.op, op.end - op.start, {}))
            continue
        took = op.end - op.start
        if outer >= 0 and op.end <= end:
            name, ns, extra = rows[outer]
            rows[outer] = name, ns - took, extra
        rows.append((SET_MAP, took, {"set_map.call": 1, "set_map.entry": op.fields["entries"]}))
    return rows


def _log(run: TraceRun, side: str, within: Interval) -> list[tuple[str, int, dict[str, int]]]:
    """The same of QEMU's log: the kernel's part of the thread's time."""
    stop = within.start_ns + within.ns
    return [
        (span.op, span.ns, {})
        for span in run.timeline.spans
        if span.lane.kind == "kernel"
        and (span.lane.side, span.device) == (side, within.device)
        and within.start_ns <= span.start <= stop
    ]


def _states(run: TraceRun) -> Iterator[Charge]:
    """What saving and loading each virtio-net state took."""
    for row in run.devices():
        if row["idstr"].endswith("/virtio-net") and row["side"] in STATES:
            key, op = STATES[row["side"]]
            yield Charge(run.name, op, row["us"] * 1000, {key: 1})


class Matched(NamedTuple):
    """A recorded run, the simulation of the scenario derived from it, and what of the two fits together."""

    run: TraceRun
    simulated: Run
    charges: list[Charge]
    notes: list[str]


def match(run: TraceRun) -> Matched:
    """Raises InputError where nothing of the run can be matched."""
    simulated = simulate(scenario(run)[0])
    found, notes = charges(run, simulated)
    if not found:
        raise InputError(
            f"{run.name}: no operation of its plan is in the recording: trace the events of data/trace-events on "
            "both hosts, with timestamps"
        )
    return Matched(run, simulated, found, notes)
