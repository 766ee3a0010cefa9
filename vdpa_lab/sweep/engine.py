"""`sweep`: a specification in, a tidy table out; resumable, cancellable, the same on one core or many."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vdpa_lab.sweep import pools
from vdpa_lab.sweep.dask_pool import distributed
from vdpa_lab.sweep.evaluate import Row, columns, evaluate, identity
from vdpa_lab.sweep.spec import Spec, read_spec
from vdpa_lab.sweep.store import Store, frame
from vdpa_lab.units import SECOND, UNLIMITED, format_bytes, format_duration
from vdpa_lab.words import InputError

if TYPE_CHECKING:
    import pandas as pd

BATCH_SECONDS = 1.0  # what an interrupted batch costs at most, about
MOST_IN_BATCH = 20_000
TURNS = 32  # batches a worker at least: at the end one waits for another for a part of a turn only
PROBES = 16  # points at most that are run to estimate the rest
PROBE_SECONDS = 0.5  # after which no further one is begun
GOLDEN = 0.6180339887498949  # multiples of the golden ratio, mod 1: any number of them in a row is spread evenly
MANY = 10_000  # runs of one plan
STRETCH = 1 << 20  # runs that are looked through at a time for what is left
START_SECONDS = 2.0  # what starting a pool costs, about: below that a sweep runs in this process
CELL = 10  # bytes a cell of the table, about


class Progress(NamedTuple):
    """How far a sweep is: runs done of all, seconds since it began, seconds until it ends (None: not known yet)."""

    done: int
    total: int
    seconds: float
    eta: float | None

    def __str__(self) -> str:
        left = f", {format_duration(self.eta * SECOND)} left" if self.eta else ""
        return f"{self.done} of {self.total} runs{left}"


class Estimate(NamedTuple):
    """What a sweep will cost: rows, different plans at most, bytes of CSV, seconds on one core, runs a batch."""

    runs: int
    plans: int
    size: int
    seconds: float
    batch: int

    def __str__(self) -> str:
        took, size = format_duration(self.seconds * SECOND), format_bytes(self.size)
        return f"{self.runs} runs of at most {self.plans} plans: about {took} on one core, {size} of CSV"

    def rest(self, done: np.ndarray) -> Estimate:
        """Of what is left. done: bool [runs]."""
        left = 1 - float(done.mean())
        plans = self.plans - int(done.reshape(self.plans, -1).all(axis=1).sum())  # runs of a plan stand together
        runs = self.runs - int(done.sum())
        return self._replace(runs=runs, plans=plans, size=round(self.size * left), seconds=self.seconds * left)


@dataclass(frozen=True)
class Results:
    """What a sweep gave: `complete` is False when it was cancelled. The rows are in `store` or in memory."""

    spec: Spec
    done: int
    store: Store | None
    rows: list[Row]

    @property
    def complete(self) -> bool:
        return self.done == self.spec.runs

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a run, by number: what varied, window lengths in ns, why it was refused ("": it was not)."""
        return self.store.table() if self.store else frame(self.rows, columns(self.spec))

    def json(self) -> dict[str, Any]:
        """The document of `vdpa-lab sweep --json`; what is missing is null, an unlimited rate "unlimited"."""
        table = self.table.astype(object)
        rows = table.where(table.notna(), None).replace(inf, UNLIMITED).to_dict("records")
        return {"name": self.spec.name, "complete": self.complete, "runs": self.done, "rows": rows}


def estimate(source: Spec | Mapping[str, Any] | str | os.PathLike[str]) -> Estimate:
    """Check a specification and say what it costs, from a few of its points. Raises InputError."""
    spec = read_spec(source)
    each = max(1, spec.draws)
    evaluate(spec, [0])  # compiling and reading are for once
    points = dict.fromkeys(int(GOLDEN * number % 1 * spec.points) for number in range(1, PROBES + 1))
    times: list[tuple[float, float]] = []  # of a point the first time, and again
    for point in points:
        times.append((_seconds(spec, [point * each]), _seconds(spec, [point * each])))
        if np.sum(times) > PROBE_SECONDS:
            break
    # A sweep meets plans whose structure is new, which cost as much as the first time here, and more often plans of
    # which all but the amounts is known, which cost more than the same again; the geometric mean is near its average.
    a_plan = float(np.prod(np.mean(times, axis=0)) ** 0.5)
    many = min(spec.runs // spec.plans, MANY)  # runs of one plan come one after the other
    a_run = max(0.0, _seconds(spec, range(many)) - _seconds(spec, [0])) / (many - 1) if many > 1 else 0.0
    seconds = a_plan * spec.plans + a_run * (spec.runs - spec.plans)
    batch = int(min(MOST_IN_BATCH, max(1, BATCH_SECONDS * spec.runs / max(seconds, 1e-9))))
    return Estimate(spec.runs, spec.plans, spec.runs * len(columns(spec)) * CELL, seconds, batch)


def _seconds(spec: Spec, numbers: Iterable[int]) -> float:
    start = time.perf_counter()
    evaluate(spec, numbers)
    return time.perf_counter() - start


def to_stderr(text: str) -> None:
    """A line for people: standard output is for results."""
    print(text, file=sys.stderr)


def sweep(
    source: Spec | Mapping[str, Any] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int | None = None,
    scheduler: str = "",
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    show: Callable[[str], None] = to_stderr,
) -> Results:
    """Run a specification.

    out: a folder for the results as they come; None keeps them in memory. resume: go on with what is there. workers:
    processes; None: one a core, or none where that is quicker; 0: this process. scheduler: the address of a
    dask.distributed scheduler instead. progress: called after each batch. cancel: once set, no batch begins and what
    is done is returned. show: is told the estimate first. The table does not depend on any of these. Raises
    InputError for a specification, folder or worker that will not do; after that, as after Ctrl-C, what was done is
    in the folder.
    """
    spec = read_spec(source)
    if workers is not None and (type(workers) is not int or workers < 0):
        raise InputError(f"workers = {workers!r}; a whole number, 0 for this process, or None")
    if out is not None and not isinstance(out, (str, os.PathLike)):
        raise InputError(f"out = {out!r}; the name of a folder, or None to keep the results in memory")
    if resume and out is None:
        raise InputError("resume needs the folder that has the results (out)")
    expected = estimate(spec)  # first: a specification that will not do leaves no folder
    store = Store(out, identity(spec), columns(spec), spec.runs, resume, spec.document()) if out else None
    before = done = int(store.done.sum()) if store else 0
    if before:
        expected = expected.rest(store.done)
    show(f"{spec.name}: {f'{before} runs are there; left: ' if before else ''}{expected}")
    rows: list[Row] = []
    begun, cancel = time.perf_counter(), cancel or Event()
    if workers is None:
        cores = os.cpu_count() or 1
        workers = 0 if cores == 1 or expected.seconds < START_SECONDS * 2 else cores
    batches = _batches(spec, store, max(1, min(expected.batch, -(-expected.runs // (TURNS * max(1, workers))))))
    if scheduler:
        source_of_rows = distributed(spec, batches, cancel, scheduler)
    elif workers:
        source_of_rows = pools.processes(spec, batches, cancel, workers)
    else:
        source_of_rows = pools.here(spec, batches, cancel)
    source_of_rows = _told(source_of_rows, store)
    try:
        for batch in source_of_rows:
            if store:
                store.append(batch)
            else:
                rows += batch
            done += len(batch)
            if progress:
                taken = time.perf_counter() - begun
                progress(Progress(done, spec.runs, taken, taken / (done - before) * (spec.runs - done)))
    finally:
        source_of_rows.close()
        if store:
            store.close()
    return Results(spec, done, store, rows)


def _told(source_of_rows: Iterator[list[Row]], store: Store | None) -> Iterator[list[Row]]:
    """The same; what goes wrong with workers says what is kept."""
    try:
        yield from source_of_rows
    except InputError as error:
        if store is None or not store.done.any():
            raise
        kept = f"{int(store.done.sum())} runs are kept in {store.folder}: go on with --resume (resume=True)"
        raise InputError(f"{error}; {kept}") from error.__cause__


def _batches(spec: Spec, store: Store | None, size: int) -> Iterator[np.ndarray]:
    """Numbers of the runs that are still to be done, so many at a time."""
    for first in range(0, spec.runs, STRETCH):
        numbers = np.arange(first, min(first + STRETCH, spec.runs))
        if store:
            numbers = numbers[~store.done[numbers]]
        for at in range(0, len(numbers), size):
            yield numbers[at : at + size]
