"""How the dashboard looks: light or dark as the page is, and large with full contrast for a projector."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from vdpa_lab.plot import DowntimePicture
from vdpa_lab.plot.downtime import SHOWN_WINDOWS
from vdpa_lab.plot.style import INK

# Of the picture that is made of pixels; everything else takes its colours from the page. A page that does not say
# what it is gets an ink that reads on both.
INKS = {"": INK, "light": "#333333", "dark": "#D4D4D4"}
LOUD_INKS = {"": INK, "light": "#000000", "dark": "#FFFFFF"}
SCALES = {False: 1.5, True: 2.5}  # picture pixels per CSS pixel, without and with a projector
PROJECTOR = "vdpa-projector"


class Theme:
    """`page` is told by the page itself (see guard.py) and never seen; `projector` is for the user."""

    def __init__(self) -> None:
        self.page = widgets.Text()
        self.page.add_class("vdpa-page")
        self.projector = widgets.ToggleButton(
            description="Projector", tooltip="Large, with full contrast", layout={"width": "auto"}
        )

    def key(self) -> tuple[str, bool]:
        """What a picture depends on."""
        return (self.page.value if self.page.value in INKS else "", self.projector.value)

    def picture(self, windows: Sequence[str] = SHOWN_WINDOWS) -> DowntimePicture:
        """An empty picture in the colours and at the sharpness of the moment."""
        page, loud = self.key()
        return DowntimePicture(windows, scale=SCALES[loud], ink=(LOUD_INKS if loud else INKS)[page])

    def dress(self, root: widgets.DOMWidget) -> None:
        """Let the style sheet know."""
        (root.add_class if self.projector.value else root.remove_class)(PROJECTOR)
