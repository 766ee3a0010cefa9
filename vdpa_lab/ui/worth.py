"""What each optimisation is worth, whatever the order: worked out in a process of its own, when asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

import ipywidgets as widgets

from vdpa_lab.model import Scenario
from vdpa_lab.plot import attribution_figure, svg_of
from vdpa_lab.sweep import Attribution, attribute
from vdpa_lab.sweep.attribution import EXACT_UP_TO
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job_page import JobPage
from vdpa_lab.ui.presets import presets
from vdpa_lab.ui.state import LabState

STEP = 16  # sets between two words on how far it is
AGAINST = {"what ships": "shipped", "nothing at all": "nothing"}


def shares(
    scenario: Scenario,
    toggles: tuple[str, ...],
    on: tuple[str, ...],
    window: str,
    progress: Callable[[tuple[int, int, float | None]], object],
) -> Attribution:
    """The attribution; runs in the worker."""
    begun, sets = time.monotonic(), 2 ** len(toggles)  # at most: not every set can be on together

    def far(done: int) -> None:
        if done % STEP == 0:
            progress((done, sets, (time.monotonic() - begun) / done * (sets - done)))

    return attribute(scenario, toggles, on=on, window=window, progress=far if len(toggles) <= EXACT_UP_TO else None)


def worth_html(found: Attribution) -> str:
    """The waterfall, and its numbers."""
    picture = svg_of(attribution_figure(found), "From stock to all that is on; its values are in the table below")
    return f"<div class='vdpa-paper'>{picture}</div>{view_texts.worth(found.json())}"


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
        self.work(view_texts.working(len(toggles)), shares, asked, worth_html, progress=True)
