"""The dirty bitmaps of the present scenario over time, page by page; worked out in a process of its own, when asked."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from vdpa_lab.migration.precopy_film import Film, film
from vdpa_lab.model import Scenario
from vdpa_lab.plot import bitmap_figure, cell_words, svg_of
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.job_page import JobPage
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
    cells = cell_words(found)
    head = ("Precopy since", "To be sent, pages", "Only KVM knows, pages", "Cells with pages to be sent")
    return (
        f"{precopy_words(found.precopy)}<p>{escape(cells[:1].upper() + cells[1:])}.</p>"
        f"<div class='vdpa-paper'>{picture}</div>{view_texts.table(head, rows, 'Dirty pages over time')}"
    )


class Bitmap(JobPage):
    """One button, a picture, and how to end what takes too long."""

    title = "Bitmap"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        super().__init__(state, guarded, "Go through RAM", UNASKED, CANCELLED)
        self.stale = widgets.HTML()
        self._of: Scenario | None = None
        self.box = widgets.VBox([self.buttons, self.stale, self.page])

    def show(self) -> None:
        """Nothing is worked out unasked; what stands there is of its scenario."""
        self.stale.value = STALE if self._of not in (None, self.state.scenario) else ""

    def begin(self) -> None:
        """Start a worker; one at a time."""
        self.cancel()
        self._of = scenario = self.state.scenario
        self.show()
        self.work(BUSY, film, (scenario,), lambda found: film_html(found, scenario.name))

    def cancel(self) -> None:
        """End the worker, if one is at it; then nothing stands there that is of a scenario."""
        if self.job is not None:
            self._of = None
        super().cancel()
