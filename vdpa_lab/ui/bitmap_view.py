"""The dirty bitmaps of the present scenario over time, page by page; worked out in a process of its own, when asked."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from vdpa_lab.migration.precopy_film import Film, film
from vdpa_lab.model import Scenario
from vdpa_lab.plot import bitmap_figure, cell_words, svg_of
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job import Job
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.workload import precopy_words
from vdpa_lab.units import format_duration

MOST_ROWS = 12
UNASKED = (
    "<p>Every page of RAM, on the bitmaps that KVM and QEMU keep: the guest writes, QEMU syncs and sends. A large "
    "guest takes a while.</p>"
)
CANCELLED = "<p role='status'>Cancelled.</p>"
BUSY = "<p role='status'>Going through RAM page by page …</p>"
STALE = "<p role='status'>The scenario has changed since: this is the one before.</p>"


def film_html(found: Film, name: str) -> str:
    """Words, the picture, and its numbers as a table."""
    picture = svg_of(bitmap_figure(found), f"Dirty bitmaps of {name} over time; its values are in the table below")
    step = -(-len(found.times_ns) // MOST_ROWS)
    shown = [*range(0, len(found.times_ns) - 1, step), len(found.times_ns) - 1]
    rows = [
        (
            escape(format_duration(found.times_ns[at])),
            f"{int(found.to_send[at].sum()):,}",
            f"{int(found.unseen[at].sum()):,}",
            f"{int((found.to_send[at] > 0).sum()):,} of {found.pages.size:,}",
        )
        for at in shown
    ]
    head = ("Precopy since", "To be sent, pages", "Only KVM knows, pages", "Cells with pages to be sent")
    return (
        f"{precopy_words(found.precopy)}<p>{escape(cell_words(found).capitalize())}.</p>"
        f"<div class='vdpa-paper'>{picture}</div>{view_texts.table(head, rows, 'Dirty pages over time')}"
    )


class Bitmap:
    """One button, a picture, and how to end what takes too long."""

    title = "Bitmap"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        self.state, self.job = state, None
        self.start = widgets.Button(description="Go through RAM")
        self.stop = widgets.Button(description="Cancel", disabled=True)
        self.stale = widgets.HTML()
        self.page = widgets.HTML(UNASKED)
        self._of: Scenario | None = None
        self.start.on_click(guarded(lambda _: self.begin()))
        self.stop.on_click(guarded(lambda _: self.cancel()))
        bar = widgets.HBox([self.start, self.stop])
        bar.add_class("vdpa-bar")
        self.box = widgets.VBox([bar, self.stale, self.page])

    def show(self) -> None:
        """Nothing is worked out unasked; what stands there is of its scenario."""
        self.stale.value = STALE if self._of not in (None, self.state.scenario) else ""

    def begin(self) -> None:
        """Start a worker; one at a time."""
        self.cancel()
        self._of = scenario = self.state.scenario
        self.show()
        self._tell(BUSY, busy=True)
        self.job = Job(film, (scenario,), lambda good, answer: self._done(good, answer, scenario.name))

    def cancel(self) -> None:
        """End the worker, if one is at it."""
        if self.job is not None:
            self.job.cancel()
            self.job = None
            self._of = None
            self._tell(CANCELLED, busy=False)

    def _done(self, good: bool, answer: Any, name: str) -> None:
        self.job = None
        self._tell(film_html(answer, name) if good else view_texts.failed(answer), busy=False)

    def _tell(self, html: str, busy: bool) -> None:
        self.page.value, self.start.disabled, self.stop.disabled = html, busy, not busy
