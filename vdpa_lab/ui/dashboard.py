"""The dashboard: controls and results over one state, and a wrapper that lets no handler fail unseen."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import ipywidgets as widgets

from vdpa_lab.model import Scenario
from vdpa_lab.ui import autosave, texts
from vdpa_lab.ui.controls import Controls
from vdpa_lab.ui.guard import ROOT, guard, looks
from vdpa_lab.ui.results import Results
from vdpa_lab.ui.state import LabState, session
from vdpa_lab.ui.theme import Theme
from vdpa_lab.ui.views import Views


class Dashboard(widgets.VBox):
    """The root widget. `state` is what it shows, `failures` what its handlers raised."""

    def __init__(self, state: LabState):
        self.state = state
        self.failures: list[Exception] = []
        self._showing = True  # until all controls stand, what they say of themselves is no change
        self.controls = Controls(state, self.guarded)
        self.theme = Theme()
        self.results = Results(state, self.theme)
        self.views = Views(state, self.results, self.guarded)
        self.head = widgets.HTML()
        top = widgets.HBox([self.head, self.theme.projector, self.theme.page])
        top.add_class("vdpa-top")
        right = widgets.VBox([self.results.status, self.views.tab])
        right.add_class("vdpa-results")
        columns = widgets.HBox([self.controls.box, right])
        columns.add_class("vdpa-columns")
        super().__init__([looks(), top, columns, guard()])
        self.add_class(ROOT)
        self.show()
        state.observe(self.guarded(lambda _: self.show()), "revision")
        for control in (self.theme.page, self.theme.projector):
            control.observe(self.guarded(lambda _: self.show()), "value")

    @property
    def run(self):
        """The run that is shown, for further work in the notebook."""
        return self.state.run

    def show(self) -> None:
        """Bring controls and results up to date with the state."""
        self._showing = True
        try:
            # What is looked at comes first: the page shows each part as soon as it arrives.
            self.theme.dress(self)
            self.views.show()
            self.results.tell()
            self.head.value = texts.heading(self.state.scenario)
            self.controls.show()
        finally:
            self._showing = False

    def guarded(self, handler: Callable) -> Callable:
        """The handler, deaf while the dashboard moves the controls itself; what it raises is shown and kept.

        Without this an exception in a callback would go to a log that nobody has open.
        """

        @wraps(handler)
        def wrapped(*args):
            if self._showing:
                return
            try:
                handler(*args)
            except Exception as error:
                self.failures.append(error)
                said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                self.results.status.value = texts.status(said, "", "")

        return wrapped


_OPEN: dict[str, Dashboard] = {}


def open_dashboard(scenario: str | Scenario) -> Dashboard:
    """The dashboard of a scenario; the one that is open already when its state is still the same."""
    state = session(scenario)
    name = state.base.name
    shown = _OPEN.get(name)
    # A closed widget has no channel any more and cannot be shown again.
    if shown is None or shown.state is not state or shown.comm is None:
        if shown is None or shown.state is not state:
            autosave.restore(state)
            autosave.keep(state)
        shown = _OPEN[name] = Dashboard(state)
    return shown
