"""Batches of runs on workers: this process, a pool of processes here; `dask_pool` has those of other machines.

Each is a generator: it takes batches of run numbers as it has room for them and gives their rows as they are done.
Closing it lets no further batch begin.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import Event

import numpy as np

from vdpa_lab.sweep.evaluate import Row, evaluate
from vdpa_lab.sweep.spec import Spec
from vdpa_lab.words import InputError

AHEAD = 2  # batches a worker that wait for it
POLL = 0.2  # s between looks at whether to stop
_spec: Spec | None = None


def here(spec: Spec, batches: Iterable[np.ndarray], cancel: Event) -> Iterator[list[Row]]:
    """One batch after the other, in this process."""
    for batch in batches:
        if cancel.is_set():
            return
        yield evaluate(spec, batch.tolist())


def _ready(spec: Spec) -> None:
    """In a new process: Ctrl-C is for the parent, which keeps what is done."""
    global _spec
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _spec = spec


def _evaluate(numbers: list[int]) -> list[Row]:
    assert _spec is not None
    return evaluate(_spec, numbers)


def processes(spec: Spec, batches: Iterable[np.ndarray], cancel: Event, workers: int) -> Iterator[list[Row]]:
    """A pool of new (spawned) processes. Raises InputError when one of them dies."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _ready, (spec,))
    waiting = iter(batches)
    pending: set[Future] = set()
    try:
        while not cancel.is_set():
            while len(pending) < AHEAD * workers and (batch := next(waiting, None)) is not None:
                pending.add(pool.submit(_evaluate, batch.tolist()))
            if not pending:
                return
            done, pending = wait(pending, POLL, FIRST_COMPLETED)
            for each in done:
                yield each.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process ended before its work was done (killed, or out of memory; in a script, the sweep has to "
            'be started under `if __name__ == "__main__":`); what is done is kept: resume'
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
