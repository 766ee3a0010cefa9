"""The downtime figure for the screen: what stands already is kept, only bars that change are drawn again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from vdpa_lab.plot.downtime import HEAD, SHOWN_WINDOWS, Bar, Scale, draw_bar, draw_head, dress, scale_of, wipe
from vdpa_lab.plot.style import INK

WIDTH, HEIGHT = 700, 420  # CSS pixels
SCALE = 1.5  # picture pixels per CSS pixel: sharp on dense screens, and still quick
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.118, 0.995, 0.995, 0.045, 0.05  # shares of the figure


class Panel:
    """One window's bars. `frame` is what its axis shows, `rows` what each bar shows; both None while not drawn."""

    def __init__(self, axes: Axes, window: str):
        self.axes, self.window = axes, window
        self.frame: tuple | None = None
        self.rows: list[tuple | None] = []
        self._blank = None
        self._under: list = []

    def show(self, canvas: FigureCanvasAgg, bars: Sequence[Bar], ink: str) -> None:
        """Bring the panel's pixels up to date: the whole panel where its axis changes, else the bars that differ."""
        scale = scale_of(bars, [self.window])
        frame = (ink, scale.span, *(bar.label for bar in bars))
        if frame != self.frame:
            self._draw_frame(canvas, bars, scale.span, ink)
            self.frame, self.rows = frame, [None] * len(bars)
        for number, bar in enumerate(bars):
            shown = self._content(bar, scale)
            if shown != self.rows[number]:
                canvas.restore_region(self._under[number])
                draw_bar(wipe(self.axes), bar, self.window, HEAD + number, scale, ink)
                artists = [*self.axes.patches, *self.axes.lines, *self.axes.texts]
                for artist in sorted(artists, key=lambda each: each.zorder):
                    self.axes.draw_artist(artist)
                self.rows[number] = shown

    def _content(self, bar: Bar, scale: Scale) -> tuple:
        parts = bar.windows.get(self.window)
        drawn, spread = scale.drawn.get(bar.total(self.window)), bar.spread.get(self.window)
        return (None if parts is None else tuple(parts.items()), drawn, spread)

    def _draw_frame(self, canvas: FigureCanvasAgg, bars: Sequence[Bar], span: float, ink: str) -> None:
        figure = self.axes.figure
        if self._blank is None:
            self._blank = canvas.copy_from_bbox(self._box(figure))
        canvas.restore_region(self._blank)
        draw_head(wipe(self.axes), self.window, 0.0, ink)
        ticks = [(HEAD + number, bar.label) for number, bar in enumerate(bars)]
        dress(self.axes, ticks, span, HEAD + len(bars), ink)
        self.axes.draw(canvas.get_renderer())
        self._under = [canvas.copy_from_bbox(self._box(figure, row)) for row, _ in ticks]

    def _box(self, figure: Figure, row: float | None = None) -> Bbox:
        """The pixels of a bar; without `row` those of the panel with its axis."""
        place, width = self.axes.get_position(), figure.bbox.width
        if row is None:
            top, bottom, left = place.y1 * figure.bbox.height, (place.y0 - GAP) * figure.bbox.height, 0.0
        else:
            (left, top), (_, bottom) = self.axes.transData.transform([(0, row - 0.49), (0, row + 0.49)])
            left -= 1  # a bar's edge straddles the axis
        return Bbox([[round(left), round(max(bottom, 0))], [round(width), round(top)]])


class DowntimePicture:
    """A panel per window, each on its own scale: an outage of seconds would hide a switch of milliseconds.

    `scale` is how many pixels of the picture stand for a CSS pixel, `ink` the colour of what is no bar.
    """

    def __init__(self, windows: Sequence[str] = SHOWN_WINDOWS, scale: float = SCALE, ink: str = INK):
        self.windows = tuple(windows)
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100 * scale)
        self.canvas, self.ink = FigureCanvasAgg(figure), ink
        height = (TOP - BOTTOM - GAP * (len(windows) - 1)) / len(windows)
        self.panels = [
            Panel(figure.add_axes((LEFT, TOP - height - row * (height + GAP), RIGHT - LEFT, height)), window)
            for row, window in enumerate(windows)
        ]

    def png(self, bars: Sequence[Bar]) -> bytes:
        """The bars as a transparent PNG of WIDTH x HEIGHT times the scale pixels."""
        for panel in self.panels:
            panel.show(self.canvas, bars, self.ink)
        return _png(np.asarray(self.canvas.buffer_rgba()))


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
