"""Batches of runs on workers: this process, a pool of processes here; `dask_pool` has those of other machines.

Each is a generator: it takes batches of run numbers as it has room for them and gives their rows as they are done.
Closing it lets no further batch begin.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Event, Thread

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


@contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started inside never hears Ctrl-C: that is for its parent, which hears it at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready(spec: Spec) -> None:
    """In a new process."""
    global _spec
    Thread(target=_end_with_parent, daemon=True).start()
    atexit.register(gc.freeze)  # else what is kept here is searched several times at the end, for a third of a second
    _spec = spec


def _end_with_parent() -> None:
    """A parent that was killed tells its workers nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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
                with _deaf():  # submitting starts processes
                    pending.add(pool.submit(_evaluate, batch.tolist()))
            if not pending:
                return
            done, pending = wait(pending, POLL, FIRST_COMPLETED)
            for each in done:
                yield each.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process ended before its work was done (killed, or out of memory; in a script, the sweep has to "
            'be started under `if __name__ == "__main__":`)'
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
