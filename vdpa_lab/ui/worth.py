"""What each optimisation is worth, whatever the order: worked out in a process of its own, when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from vdpa_lab.model import Scenario
from vdpa_lab.plot import svg_of, waterfall_figure
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job_page import JobPage
from vdpa_lab.ui.presets import presets
from vdpa_lab.ui.state import LabState

AGAINST = {"what ships": "shipped", "nothing at all": "nothing"}


def shares(scenario: Scenario, toggles: tuple[str, ...], on: tuple[str, ...], window: str) -> dict[str, Any]:
    """The attribution as a document; runs in the worker."""
    from vdpa_lab.sweep import attribute

    return attribute(scenario, toggles, on=on, window=window).json()


def worth_html(found: dict[str, Any]) -> str:
    """The waterfall, and its numbers."""
    picture = svg_of(waterfall_figure(found), "From stock to all that is on; its values are in the table below")
    return f"<div class='vdpa-paper'>{picture}</div>{view_texts.worth(found)}"


class Worth(JobPage):
    """A window's saving, shared among the toggles that are on."""

    title = "Worth"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        super().__init__(state, guarded, "Work it out", view_texts.worth_caveat(), view_texts.cancelled())
        titles = {each.title: name for name, each in WINDOWS.items()}
        self.window = widgets.Dropdown(options=titles, value="network_outage", description="Window")
        self.against = widgets.Dropdown(options=AGAINST, description="Beyond")
        choice = widgets.HBox([self.window, self.against])
        choice.add_class("vdpa-bar")
        self.box = widgets.VBox([choice, self.buttons, self.page])

    def show(self) -> None:
        """Nothing is worked out unasked."""

    def begin(self) -> None:
        """Start a worker; one at a time."""
        base = set(presets(self.state.scenario)[self.against.value].names)
        toggles = tuple(name for name in self.state.on if name not in base)
        asked = (self.state.scenario, toggles, self.state.run.plan.applied, self.window.value)
        self.work(view_texts.working(len(toggles)), shares, asked, worth_html)
