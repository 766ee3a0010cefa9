"""Batches of a sweep on many machines, through dask.distributed; an optional extra, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Event

import numpy as np

from vdpa_lab.sweep.evaluate import Row, evaluate_as, identity
from vdpa_lab.sweep.pools import AHEAD
from vdpa_lab.sweep.spec import Spec
from vdpa_lab.words import InputError

PATIENCE = "10s"  # for the scheduler to answer


def distributed(spec: Spec, batches: Iterable[np.ndarray], cancel: Event, scheduler: str) -> Iterator[list[Row]]:
    """Batches on the workers of the scheduler at this address ("tcp://host:8786").

    Every worker checks that it runs the same version over the same data. Raises InputError when dask is not
    installed, the scheduler cannot be reached or has no workers, or a worker differs.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise InputError("a scheduler needs dask.distributed: pip install 'vdpa-lab[cluster]'") from None
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise InputError(f"scheduler {scheduler}: cannot be reached: {error}") from None
    with client:
        cores = sum(client.ncores().values())
        if not cores:
            raise InputError(f"scheduler {scheduler}: has no workers")
        expected, waiting = identity(spec), iter(batches)
        shared = client.scatter(spec, broadcast=True)
        pending = set()

        def submit():
            batch = next(waiting, None)
            if batch is None:
                return []
            pending.add(one := client.submit(evaluate_as, expected, shared, batch.tolist(), pure=False))
            return [one]

        done = as_completed([each for _ in range(AHEAD * cores) for each in submit()], loop=client.loop)
        try:
            for future in done:
                pending.discard(future)
                if cancel.is_set():
                    return
                yield future.result()
                done.update(submit())
        except KilledWorker as error:
            raise InputError(
                f"scheduler {scheduler}: workers died over a batch ({error}); what is done is kept"
            ) from None
        finally:
            client.cancel(list(pending))
