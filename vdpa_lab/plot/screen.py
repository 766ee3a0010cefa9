"""The downtime figure for the screen: laid out once, then only its bars are drawn again."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from vdpa_lab.plot.downtime import SHOWN_WINDOWS, Bar, draw_downtime, wipe
from vdpa_lab.plot.save import screen_png
from vdpa_lab.plot.style import INK

WIDTH, HEIGHT = 700, 420  # CSS pixels
SCALE = 1.5  # picture pixels per CSS pixel: sharp on dense screens, and still quick
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.118, 0.995, 0.995, 0.045, 0.05  # shares of the figure


class DowntimePicture:
    """A panel per window, each on its own scale: an outage of seconds would hide a switch of milliseconds."""

    def __init__(self, windows: Sequence[str] = SHOWN_WINDOWS):
        self.windows = tuple(windows)
        self.figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100))
        height = (TOP - BOTTOM - GAP * (len(windows) - 1)) / len(windows)
        self.axes = [
            self.figure.add_axes((LEFT, TOP - height - row * (height + GAP), RIGHT - LEFT, height))
            for row in range(len(windows))
        ]

    def png(self, bars: Sequence[Bar]) -> bytes:
        """The bars as a transparent PNG of WIDTH x HEIGHT times SCALE pixels."""
        for axes, window in zip(self.axes, self.windows, strict=True):
            draw_downtime(wipe(axes), bars, [window], ink=INK, legend=False)
        return screen_png(self.figure, SCALE)
