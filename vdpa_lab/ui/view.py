"""A page of the dashboard that is drawn when it is looked at."""

from __future__ import annotations

import ipywidgets as widgets

from vdpa_lab.ui.state import LabState


class View:
    """A page that is drawn when it is in sight and the run is another one than it shows."""

    title = ""

    def __init__(self, state: LabState):
        self.state, self.page = state, widgets.HTML()
        self.box = widgets.VBox([self.page])
        self._shown: object = None

    def html(self) -> str:
        """What the page says of the present run."""
        raise NotImplementedError

    def key(self) -> tuple:
        """What the page depends on; it is drawn again when this changes."""
        return (self.state.run,)

    def show(self) -> None:
        """Draw, unless that is what stands there already."""
        key = self.key()
        if self._shown is None or any(a is not b for a, b in zip(key, self._shown, strict=True)):
            self.page.value, self._shown = self.html(), key
