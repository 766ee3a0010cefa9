"""A page whose content a process works out when asked: one at a time, and Cancel ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job import Job
from vdpa_lab.ui.state import LabState


class JobPage:
    """Buttons to start (named `begin`) and to cancel, and a page: `unasked`, what comes of it, or `cancelled`."""

    def __init__(
        self, state: LabState, guarded: Callable[[Callable], Callable], begin: str, unasked: str, cancelled: str
    ):
        self.state, self.job, self._cancelled = state, None, cancelled
        self.start = widgets.Button(description=begin)
        self.stop = widgets.Button(description="Cancel", disabled=True)
        self.page = widgets.HTML(unasked)
        self.start.on_click(guarded(lambda _: self.begin()))
        self.stop.on_click(guarded(lambda _: self.cancel()))
        self.buttons = widgets.HBox([self.start, self.stop])
        self.buttons.add_class("vdpa-bar")

    def begin(self) -> None:
        """Start a worker."""
        raise NotImplementedError

    def work(self, busy: str, call: Callable, arguments: tuple, html: Callable[[Any], str]) -> None:
        """End what is at it and start another; `html` makes the page of its answer."""
        self.cancel()
        self._tell(busy, busy=True)

        def done(good: bool, answer: Any) -> None:
            self.job = None
            self._tell(html(answer) if good else view_texts.failed(answer), busy=False)

        self.job = Job(call, arguments, done)

    def cancel(self) -> None:
        """End the worker, if one is at it."""
        if self.job is not None:
            self.job.cancel()
            self.job = None
            self._tell(self._cancelled, busy=False)

    def _tell(self, html: str, busy: bool) -> None:
        self.page.value, self.start.disabled, self.stop.disabled = html, busy, not busy
