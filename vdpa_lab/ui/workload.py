"""Pages on what the guest does while it is migrated, with their own controls: precopy, and traffic."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.precopy_record import Precopy
from vdpa_lab.plot import svg_of, whole_figure
from vdpa_lab.ui import traffic_texts
from vdpa_lab.ui.controls import field_controls, show_fields
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.view import View
from vdpa_lab.ui.view_texts import table
from vdpa_lab.units import format_bytes, format_duration

WHOLE = ("Whole migration", 0)


def precopy_words(found: Precopy) -> str:
    """How precopy went, in a sentence or two."""
    words = (
        f"Precopy takes {format_duration(found.total_ns)}, {found.syncs} bitmap syncs and "
        f"{format_bytes(found.transferred_bytes)} on the wire; {found.left_pages:,} pages are left when "
        f"{'it is cancelled' if found.cancelled else 'the VM stops'}."
    )
    if found.cancelled:
        words += " The devices go back to passthrough, and each is dark once more."
    elif not found.converged:
        words += " It does not converge: what is left never fits the downtime limit. QEMU would go on for ever."
    if found.throttle:
        words += f" auto-converge takes {found.throttle:.0%} of the vCPUs' time in the end."
    return f"<p>{escape(words)}</p>"


def passes(found: Precopy) -> str:
    """A row a pass, the first and the last ones where there are many."""
    rows = [
        (
            format_duration(each.start_ns),
            format_bytes(each.remaining_bytes),
            format_bytes(each.sent_bytes),
            f"{each.dirty_pages:,}",
        )
        for each in found.iterations
    ]
    if len(rows) > 12:
        rows = [*rows[:8], ("…", f"{len(rows) - 11} passes", "", ""), *rows[-3:]]
    head = ("Pass begins at", "Dirty then", "Sent", "Newly dirty at its end, pages")
    return table(head, [tuple(map(escape, row)) for row in rows], "Passes of precopy")


class Workload(View):
    """A page with controls of a group of fields over what follows from them."""

    group = ""

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        super().__init__(state)
        self.fields = field_controls(state, guarded, self.group)
        grid = widgets.VBox(list(self.fields.values()))
        grid.add_class("vdpa-fields")
        self.box.children = [grid, self.page]

    def show(self) -> None:
        """Bring controls and page up to date."""
        show_fields(self.fields, self.state)
        super().show()


class PrecopyPage(Workload):
    """Memory still to be sent, packets, latency and who works, on one time axis."""

    title, group = "Precopy", "precopy"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        super().__init__(state, guarded)
        self.span = widgets.ToggleButtons(options=(WHOLE,), style={"button_width": "auto"})
        self.span.observe(guarded(lambda _: self.show()), "value")
        self.box.children = [self.box.children[0], self.span, self.page]

    def show(self) -> None:
        """Only the blackouts that this migration has can be chosen."""
        there = sorted({each["blackout"] for each in self.state.run.outages()})
        options = (WHOLE, *((f"Blackout {number}", number) for number in there))
        if options != self.span.options:
            kept = self.span.value
            self.span.options = options
            self.span.value = kept if kept in there else 0
        super().show()

    def key(self) -> tuple:
        return (self.state.run, self.span.value)

    def html(self) -> str:
        run = self.state.run
        found = precopy(run.scenario)
        words = precopy_words(found)
        picture = svg_of(whole_figure(run, self.span.value), f"Migration of {run.scenario.name} in time")
        return f"{words}<div class='vdpa-paper'>{picture}</div>{passes(found)}"


class TrafficPage(Workload):
    """What packets and applications see."""

    title, group = "Traffic", "traffic"

    def html(self) -> str:
        return traffic_texts.traffic(self.state.run.traffic().json())
