"""Long work in a process of its own, so that the dashboard stays alive and the work can be cancelled."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any


def _work(pipe: Any, work: Callable, arguments: tuple, told: bool) -> None:
    more = {"progress": lambda far: pipe.send((None, far))} if told else {}
    try:
        answer = True, work(*arguments, **more)
    except ValueError as error:  # bad input, in words
        answer = False, str(error)
    except Exception as error:
        answer = False, f"{type(error).__name__}: {error}"
    pipe.send(answer)
    pipe.close()


class Job:
    """One call in a fresh process. `done(True, result)`, `done(False, why)` is called once, from another thread.

    progress: called, from that thread too, with whatever `work` gives to its own argument `progress`; without it
    `work` has no such argument. A cancelled job calls nothing. What passes between the processes has to be picklable.
    """

    def __init__(
        self,
        work: Callable,
        arguments: tuple,
        done: Callable[[bool, Any], object],
        progress: Callable[[Any], object] | None = None,
    ):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, work, arguments, progress is not None), daemon=True)
        self._cancelled, self._progress = False, progress
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._thread = threading.Thread(target=self._wait, args=(done,), daemon=True)
        self._thread.start()

    def _wait(self, done: Callable[[bool, Any], object]) -> None:
        try:
            while (answer := self._pipe.recv())[0] is None:
                if self._progress and not self._cancelled:
                    self._progress(answer[1])
        except (EOFError, OSError):
            answer = False, "the process that worked on it ended"
        self._process.join()
        if not self._cancelled:
            done(*answer)

    def cancel(self) -> None:
        """End the process; nothing is called any more."""
        self._cancelled = True
        self._process.terminate()

    def wait(self, seconds: float | None = None) -> None:
        """Until the end has been told."""
        self._thread.join(seconds)
