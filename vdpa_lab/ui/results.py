"""The page of the downtime: figure, legend and totals of the present run."""

from __future__ import annotations

import ipywidgets as widgets

from vdpa_lab.plot import bar_of, shown_windows
from vdpa_lab.plot.screen import WIDTH
from vdpa_lab.ui import texts
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.theme import Theme


class Results:
    """The drawing with its legend and totals; above every page, the status line."""

    title = "Downtime"

    def __init__(self, state: LabState, theme: Theme):
        self.state, self.theme = state, theme
        self.picture, self._key = theme.picture(), theme.key()
        self.status = _classed(widgets.HTML(), "vdpa-status")
        self.image = _classed(widgets.Image(format="png", layout={"width": f"{WIDTH}px"}), "vdpa-figure")
        self.alternative = _classed(widgets.HTML(), "vdpa-hidden")
        self.legend, self.totals = widgets.HTML(), widgets.HTML()
        framed = _classed(widgets.Box([self.image]), "vdpa-picture")
        self.box = widgets.VBox([framed, self.alternative, self.legend, self.totals])
        self._drawn: tuple = ()

    def tell(self) -> None:
        """Bring the status line up to date."""
        state = self.state
        said = texts.summary(state.run, state.reference, state.comparison())
        self.status.value = texts.status(state.error, state.notice, said)

    def show(self) -> None:
        """Bring the page up to date; draw only when a run is another one, or the colours are."""
        state, name = self.state, self.state.comparison()
        if self._key != self.theme.key():
            self.picture, self._key = self.theme.picture(), self.theme.key()
            self._drawn = ()
        runs = (state.reference, state.previous, state.run, name)
        # By identity: to compare two runs step by step would take longer than to draw them.
        if [id(each) for each in runs] != [id(each) for each in self._drawn]:
            labels = zip((name, "previous", "now"), runs, strict=False)
            bars = [bar_of(run, label) for label, run in labels if run is not None]
            if self.picture.windows != (windows := shown_windows(bars)):
                self.picture = self.theme.picture(windows)
            self.image.value = self.picture.png(bars)
            self.alternative.value = texts.alternative(bars)
            self.legend.value = texts.legend(bars)
            self.totals.value = texts.totals(state.run, state.previous, state.reference, name)
            self._drawn = runs


def _classed(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    widget.add_class(name)
    return widget
