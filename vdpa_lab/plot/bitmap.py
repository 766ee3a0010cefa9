"""The dirty bitmaps of a precopy as pictures: RAM from left to right, time from top to bottom."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.migration.precopy_film import Film
from vdpa_lab.plot.style import FONT_SIZE
from vdpa_lab.units import GIB, PAGE_SIZE, SECOND, format_bytes

COLORS = "cividis"  # even in lightness, and for colour-blind eyes too
TITLES = ("to be sent, as QEMU knows", "written since, only KVM knows")


def cell_words(film: Film) -> str:
    """How much of RAM a cell stands for."""
    pages = int(film.pages[0])
    last = int(film.pages[-1])
    words = f"each cell stands for {pages:,} pages ({format_bytes(pages * PAGE_SIZE)}) of RAM"
    return words if last == pages else f"{words}, the last for {last:,}"


def draw_bitmap(ax: Axes, film: Film, counts: np.ndarray) -> None:
    """Share of pages in each cell, counts uint32[instants, cells]; the last row is the instant when the VM stands."""
    edges = np.concatenate(([0], np.cumsum(film.pages.astype(np.int64)))) * PAGE_SIZE / GIB
    end = film.times_ns[-1] + max(1, film.times_ns[-1] // 40)  # an instant has no height, so it is given some
    times = np.array([*film.times_ns, end]) / SECOND
    ax.pcolormesh(edges, times, counts / film.pages, vmin=0, vmax=1, cmap=COLORS, rasterized=True)
    ax.set_ylim(times[-1], 0)
    ax.set_xlabel("RAM, GiB", fontsize=FONT_SIZE)
    ax.tick_params(labelsize=FONT_SIZE)


def bitmap_figure(film: Film) -> Figure:
    """QEMU's bitmap and, beside it, what only KVM's has; each with the share of dirty pages in a cell."""
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for ax, counts, title in zip(panels, (film.to_send, film.unseen), TITLES, strict=True):
        draw_bitmap(ax, film, counts)
        ax.set_title(title, fontsize=FONT_SIZE)
    panels[0].set_ylabel("s of precopy; last row: the VM stands", fontsize=FONT_SIZE)
    bar = figure.colorbar(panels[0].collections[0], ax=panels)
    bar.set_label("share of the cell's pages", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    figure.suptitle(cell_words(film), fontsize=FONT_SIZE)
    return figure
