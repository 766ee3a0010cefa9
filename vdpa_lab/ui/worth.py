"""What each optimisation is worth, whatever the order: worked out in a process of its own, when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from vdpa_lab.model import Scenario
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job import Job
from vdpa_lab.ui.presets import presets
from vdpa_lab.ui.state import LabState

AGAINST = {"what ships": "shipped", "nothing at all": "nothing"}


def shares(scenario: Scenario, toggles: tuple[str, ...], on: tuple[str, ...], window: str) -> dict[str, Any]:
    """The attribution as a document; runs in the worker."""
    from vdpa_lab.sweep import attribute

    return attribute(scenario, toggles, on=on, window=window).json()


class Worth:
    """A window's saving, shared among the toggles that are on."""

    title = "Worth"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        self.state, self.job = state, None
        titles = {each.title: name for name, each in WINDOWS.items()}
        self.window = widgets.Dropdown(options=titles, value="network_outage", description="Window")
        self.against = widgets.Dropdown(options=AGAINST, description="Beyond")
        self.start = widgets.Button(description="Work it out")
        self.stop = widgets.Button(description="Cancel", disabled=True)
        self.page = widgets.HTML(view_texts.worth_caveat())
        self.start.on_click(guarded(lambda _: self.begin()))
        self.stop.on_click(guarded(lambda _: self.cancel()))
        rows = [widgets.HBox([self.window, self.against]), widgets.HBox([self.start, self.stop])]
        for row in rows:
            row.add_class("vdpa-bar")
        self.box = widgets.VBox([*rows, self.page])

    def show(self) -> None:
        """Nothing is worked out unasked."""

    def begin(self) -> None:
        """Start a worker; one at a time."""
        self.cancel()
        run = self.state.run
        base = set(presets(self.state.scenario)[self.against.value].names)
        toggles = tuple(name for name in self.state.on if name not in base)
        self._tell(view_texts.working(len(toggles)), busy=True)
        window = self.window.value
        self.job = Job(shares, (self.state.scenario, toggles, run.plan.applied, window), self._done)

    def cancel(self) -> None:
        """End the worker, if one is at it."""
        if self.job is not None:
            self.job.cancel()
            self.job = None
            self._tell(view_texts.cancelled(), busy=False)

    def _done(self, good: bool, answer: Any) -> None:
        self.job = None
        self._tell(view_texts.worth(answer) if good else view_texts.failed(answer), busy=False)

    def _tell(self, html: str, busy: bool) -> None:
        self.page.value, self.start.disabled, self.stop.disabled = html, busy, not busy
