"""A page whose content a process works out when asked: one at a time, and Cancel ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job import Job
from vdpa_lab.ui.state import LabState
from vdpa_lab.units import SECOND, format_duration


def progress_words(done: int, total: int, eta: float | None) -> str:
    """How far work is, and how long it will take: `eta` in seconds, None where nobody knows."""
    left = "" if eta is None else f", about {format_duration(round(eta * SECOND))} left"
    return f"{done:,} of {total:,}{left}"


def heard_at_once(widget: widgets.Widget) -> None:
    """Have a widget's messages handled while a cell runs.

    JupyterLab sends them on a subshell of the page's (commsOverSubshells), but ipykernel, from 7.4 on, hands a comm's
    messages to the shell that wrote to it last, the one of the cells (BaseComm._reply_subshell_for).
    """
    if widget.comm is not None:
        widget.comm._reply_subshell_for = lambda _, of_the_page: of_the_page


class JobPage:
    """Buttons to start (named `begin`) and to cancel, and a page: `unasked`, what comes of it, or `cancelled`."""

    def __init__(
        self, state: LabState, guarded: Callable[[Callable], Callable], begin: str, unasked: str, cancelled: str
    ):
        self.state, self.job, self._cancelled = state, None, cancelled
        self.start = widgets.Button(description=begin)
        self.stop = widgets.Button(description="Cancel", disabled=True)
        heard_at_once(self.stop)
        self.page = widgets.HTML(unasked)
        self.start.on_click(guarded(lambda _: self.begin()))
        self.stop.on_click(guarded(lambda _: self.cancel()))
        self.bar = widgets.IntProgress(min=0, max=1, layout={"width": "220px", "visibility": "hidden"})
        self.far = widgets.Label()
        self.buttons = widgets.HBox([self.start, self.stop, self.bar, self.far])
        self.buttons.add_class("vdpa-bar")

    def begin(self) -> None:
        """Start a worker."""
        raise NotImplementedError

    def work(
        self, busy: str, call: Callable, arguments: tuple, html: Callable[[Any], str], progress: bool = False
    ) -> None:
        """End what is at it and start another; `html` makes the page of its answer.

        progress: `call` has an argument of that name, to be called with (done, total, seconds left or None).
        """
        self.cancel()
        self._tell(busy, busy=True)

        def done(good: bool, answer: Any) -> None:
            self.job = None
            try:
                said = html(answer) if good else view_texts.failed(answer)
            except Exception as error:  # in a thread of its own nobody else would see it
                said = view_texts.failed(f"{type(error).__name__}: {error}")
            self._tell(said, busy=False)

        self.job = Job(call, arguments, done, self._progress if progress else None)

    def cancel(self) -> None:
        """End the worker, if one is at it."""
        if self.job is not None:
            self.job.cancel()
            self.job = None
            self._tell(self._cancelled, busy=False)

    def _progress(self, far: tuple[int, int, float | None]) -> None:
        self.bar.max, self.bar.value = far[1], far[0]
        self.bar.layout.visibility, self.far.value = "visible", progress_words(*far)

    def _tell(self, html: str, busy: bool) -> None:
        self.page.value, self.start.disabled, self.stop.disabled = html, busy, not busy
        self.bar.layout.visibility, self.bar.value, self.far.value = "hidden", 0, ""
