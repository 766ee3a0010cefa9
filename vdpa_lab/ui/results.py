"""The results: status line, figure, legend and totals of the present run."""

from __future__ import annotations

import ipywidgets as widgets

from vdpa_lab.plot import DowntimePicture, bar_of
from vdpa_lab.plot.screen import WIDTH
from vdpa_lab.ui import texts
from vdpa_lab.ui.state import LabState


class Results:
    """The status line, and the drawing with its legend and totals."""

    def __init__(self, state: LabState):
        self.state = state
        self.picture = DowntimePicture()
        self.status = _classed(widgets.HTML(), "vdpa-status")
        self.image = _classed(widgets.Image(format="png", layout={"width": f"{WIDTH}px"}), "vdpa-figure")
        self.alternative = _classed(widgets.HTML(), "vdpa-hidden")
        self.legend, self.totals = widgets.HTML(), widgets.HTML()
        self.drawing = widgets.VBox([self.image, self.alternative, self.legend, self.totals])
        self._drawn: tuple = ()
        self.show()

    def show(self) -> None:
        """Bring everything up to date with the state; draw only when a run is another one."""
        state, name = self.state, self.state.comparison()
        runs = (state.reference, state.previous, state.run, name)
        # By identity: to compare two runs step by step would take longer than to draw them.
        if [id(each) for each in runs] != [id(each) for each in self._drawn]:
            labels = zip((name, "previous", "now"), runs, strict=False)
            bars = [bar_of(run, label) for label, run in labels if run is not None]
            self.image.value = self.picture.png(bars)
            self.alternative.value = texts.alternative(bars)
            self.legend.value = texts.legend(bars)
            self.totals.value = texts.totals(state.run, state.previous, state.reference, name)
            self._drawn = runs
        said = texts.summary(state.run, state.reference, name)
        self.status.value = texts.status(state.error, state.notice, said)


def _classed(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    widget.add_class(name)
    return widget
