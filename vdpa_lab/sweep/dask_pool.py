"""Batches of a sweep on many machines, through dask.distributed; an optional extra, imported when it is asked for."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import numpy as np

from vdpa_lab.sweep.evaluate import Row, evaluate_as, identity
from vdpa_lab.sweep.pools import AHEAD
from vdpa_lab.sweep.spec import Spec
from vdpa_lab.words import InputError

PATIENCE = "10s"  # for the scheduler to answer
LOOK = 1.0  # s between looks at whether to stop, and whether there are workers
DESERTED = 60.0  # s without a worker; a nanny has started another long before
LOST = "was lost, or gave a batch up ({}); see that it runs"


def distributed(spec: Spec, batches: Iterable[np.ndarray], cancel: Event, scheduler: str) -> Iterator[list[Row]]:
    """Batches on the workers of the scheduler at this address ("tcp://host:8786").

    Every worker checks that it has the same version, code and data. A batch whose worker died is done by another, also
    by one that came later. Raises InputError when dask is not installed, the scheduler cannot be reached or is lost,
    has no workers any more, or a worker differs, cannot run a batch, or dies over one again and again.
    """
    try:
        client = _client(scheduler)
        with _silent(), client, closing(_rows(client, spec, batches, cancel)) as found:
            yield from found
    except InputError as error:
        raise InputError(f"scheduler {scheduler}: {error}") from error.__cause__
    except OSError as error:  # a closed connection is one
        raise InputError(f"scheduler {scheduler}: {LOST.format(error)}") from None


@contextmanager
def _silent() -> Iterator[None]:
    """A client that loses its scheduler logs tracebacks; it is told in words."""
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client
        from distributed.comm import resolve_address
    except ImportError:
        raise InputError("needs dask.distributed: pip install 'vdpa-lab[cluster]'") from None
    try:
        resolve_address(scheduler)  # a client tries for long whatever it is given
    except (OSError, ValueError) as error:
        raise InputError(f"is no address: {error}; give one as tcp://host:8786") from None
    try:
        return Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:  # an ImportError is of versions that do not go together
        raise InputError(f"cannot be reached: {error}") from None


class _Batch:
    """Unpickled, it is its rows: a worker that cannot read its task ends, one that cannot read this says why."""

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return evaluate_as, self.arguments


def _rows(client: Any, spec: Spec, batches: Iterable[np.ndarray], cancel: Event) -> Iterator[list[Row]]:
    """The specification goes with each batch: it is small, and what only workers hold is gone with them."""
    cores = sum(client.ncores().values())
    if not cores:
        raise InputError("has no workers")
    expected, waiting = identity(spec), iter(batches)
    pending: set[Any] = set()
    done: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    alone = 0.0

    def fetch(future: Any) -> None:
        """In a thread of the client: where a worker died with the rows, this waits until another has them."""
        try:
            done.put((future, future.result()))
        except Exception as error:
            done.put((future, error))

    try:
        while not cancel.is_set():
            while len(pending) < AHEAD * cores and (batch := next(waiting, None)) is not None:
                task = pickle.dumps(_Batch(expected, spec, batch.tolist()))
                pending.add(one := client.submit(pickle.loads, task, pure=False))
                one.add_done_callback(fetch)
            if not pending:
                return
            try:
                future, rows = done.get(timeout=LOOK)
            except Empty:
                if client.status != "running":  # a new connection would know nothing of these batches
                    raise InputError(LOST.format("no connection")) from None
                alone = 0.0 if client.ncores() else alone + LOOK
                if alone >= DESERTED:
                    raise InputError(f"has had no workers for {DESERTED:g} s; start some") from None
                continue
            alone = 0.0
            pending.discard(future)
            if isinstance(rows, Exception):
                raise _in_words(rows, future.status)
            yield rows
    finally:
        client.cancel(list(pending))


def _in_words(error: Exception, status: str) -> InputError:
    from distributed import KilledWorker

    if isinstance(error, InputError):
        return error
    if isinstance(error, KilledWorker):
        return InputError(f"workers died over a batch, again and again; see what they say: {error}")
    if status != "error":  # it never came to an end there
        return InputError(LOST.format(getattr(error, "reason", error)))
    wrong = InputError(
        f"a batch could not be run there: {type(error).__name__}: {' '.join(str(error).split())}; install the same "
        "vdpa_lab for every worker"
    )
    wrong.__cause__ = error
    return wrong
