"""The downtime figure for the screen: what stands already is kept, only bars that change are drawn again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vdpa_lab.plot.downtime import HEAD, SHOWN_WINDOWS, Bar, Scale, draw_bar, draw_head, dress, scale_of, wipe
from vdpa_lab.plot.style import INK

WIDTH, HEIGHT = 700, 420  # CSS pixels
SCALE = 1.5  # picture pixels per CSS pixel: sharp on dense screens, and still quick
BLANK = 255, 255, 255, 0  # of a figure without background
KEPT = 64  # looks of bars, of about 0.1 MB each, for every window
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.118, 0.995, 0.995, 0.045, 0.05  # shares of the figure


class Panel:
    """One window's bars. `frame` is what its axis shows, None while it is not drawn.

    A row is a whole number of pixels high, so that a bar looks the same in each of them, and is drawn once.
    """

    def __init__(self, axes: Axes, window: str, pixels: np.ndarray):
        self.axes, self.window, self.pixels = axes, window, pixels
        self.frame: tuple | None = None
        self._looks: dict[tuple, np.ndarray] = {}  # uint8[height, width, 4] of rows by what they show

    def show(self, bars: Sequence[Bar], ink: str) -> None:
        """Bring the panel's pixels up to date: its axis where that changes, and the bars; only new ones are drawn."""
        scale = scale_of(bars, [self.window])
        frame = (ink, scale.span, *(bar.label for bar in bars))
        if frame != self.frame:
            self._draw_frame(bars, scale.span, ink)
            self.frame = frame
        for number, bar in enumerate(bars):
            self._row(number)[:] = self._look(bar, scale, ink)

    def _look(self, bar: Bar, scale: Scale, ink: str) -> np.ndarray:
        """The pixels of a bar, drawn in the first row: where a hatch begins depends on the place."""
        parts, drawn = bar.windows.get(self.window), scale.drawn.get(bar.total(self.window))
        shown = None if parts is None else tuple(parts.items())
        content = (ink, scale.span, self._pitch, shown, drawn, bar.spread.get(self.window))
        if content not in self._looks:
            row = self._row(0)
            before = row.copy()
            row[:] = BLANK
            draw_bar(wipe(self.axes), bar, self.window, HEAD, scale, ink)
            artists = [*self.axes.patches, *self.axes.lines, *self.axes.texts]
            for artist in sorted(artists, key=lambda each: each.zorder):
                self.axes.draw_artist(artist)
            if len(self._looks) >= KEPT:
                self._looks.pop(next(iter(self._looks)))
            self._looks[content] = row.copy()
            row[:] = before
        return self._looks[content]

    def _draw_frame(self, bars: Sequence[Bar], span: float, ink: str) -> None:
        self.pixels[:] = BLANK
        draw_head(wipe(self.axes), self.window, 0.0, ink)
        ticks = [(HEAD + number, bar.label) for number, bar in enumerate(bars)]
        dress(self.axes, ticks, span, HEAD + len(bars), ink)
        above, below = self.axes.get_ylim()[::-1]
        height = self.axes.bbox.height
        self._pitch = int(height / (below - above))
        self.axes.set_ylim(above + height / self._pitch, above)
        self.axes.draw(self.axes.figure.canvas.get_renderer())

    def _row(self, number: int) -> np.ndarray:
        """The pixels of a bar."""
        first = round(HEAD * self._pitch) + number * self._pitch
        return self.pixels[first : first + self._pitch, round(self.axes.bbox.x0) - 1 :]  # its edge straddles the axis


class DowntimePicture:
    """A panel per window, each on its own scale: an outage of seconds would hide a switch of milliseconds.

    `scale` is how many pixels of the picture stand for a CSS pixel, `ink` the colour of what is no bar.
    """

    def __init__(self, windows: Sequence[str] = SHOWN_WINDOWS, scale: float = SCALE, ink: str = INK):
        self.windows = tuple(windows)
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100 * scale)
        self.canvas, self.ink = FigureCanvasAgg(figure), ink
        pixels = self.pixels = np.asarray(self.canvas.get_renderer().buffer_rgba())
        high = len(pixels)
        gap, top = round(GAP * high), round((1 - TOP) * high)
        height = int(((TOP - BOTTOM) * high - gap * (len(windows) - 1)) / len(windows))
        self.panels = []
        for window in windows:
            place = (LEFT, 1 - (top + height) / high, RIGHT - LEFT, height / high)
            self.panels.append(Panel(figure.add_axes(place), window, pixels[top : top + height + gap]))
            top += height + gap

    def png(self, bars: Sequence[Bar]) -> bytes:
        """The bars as a transparent PNG of WIDTH x HEIGHT times the scale pixels."""
        for panel in self.panels:
            panel.show(bars, self.ink)
        return _png(self.pixels)


def _png(pixels: np.ndarray) -> bytes:
    """Pixels, uint8[height, width, 4], as PNG without filters (RFC 2083); Pillow tries five, in thrice the time."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a row begins with its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits a channel, red green blue alpha
    found = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")):
        found += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return found
