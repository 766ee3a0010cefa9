"""What stands beside the downtime: operations in time, the plan as text, memory maps, sources. Drawn when looked at."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from vdpa_lab.migration import plan
from vdpa_lab.migration.kernel_ops import kernel_ops
from vdpa_lab.migration.show import plan_diff, plan_text
from vdpa_lab.plot import timeline_svg
from vdpa_lab.timeline import WINDOWS, intervals
from vdpa_lab.ui import memory_texts, view_texts
from vdpa_lab.ui.beside import Beside
from vdpa_lab.ui.bitmap_view import Bitmap
from vdpa_lab.ui.keeping import Keeping
from vdpa_lab.ui.rings_view import Rings
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.view import View
from vdpa_lab.ui.workload import PrecopyPage, TrafficPage
from vdpa_lab.ui.worth import Worth

SPANS = {
    "VM paused": ("vm_paused",),
    "SVQ switch of all devices": ("svq_switch",),
    "Source teardown": ("source_teardown",),
    "Destination set-up": ("destination_setup",),
    "Whole migration": (),
}
TEXTS = ("Plan", "Difference from stock", "As a kernel log")
DRAWING_INK = "var(--jp-ui-font-color1, #222)"


class Operations(View):
    """Lanes of source and destination in time; the range slider zooms."""

    title = "Timeline"

    def __init__(self, state: LabState):
        super().__init__(state)
        self.window = widgets.Dropdown(options=list(SPANS), description="Show", layout={"width": "260px"})
        self.zoom = widgets.FloatRangeSlider(value=(0, 100), min=0, max=100, step=0.5, continuous_update=False)
        self.zoom.description, self.zoom.readout_format, self.zoom.layout.width = "Zoom, %", ".1f", "400px"
        self.box.children = [widgets.HBox([self.window, self.zoom]), self.page]
        self.box.children[0].add_class("vdpa-bar")

    def key(self) -> tuple:
        return (self.state.run, self.window.value, self.zoom.value)

    def html(self) -> str:
        run, (low, high) = self.state.run, self.zoom.value
        start, end = extent(run.timeline, SPANS[self.window.value])
        begin = start + round((end - start) * low / 100)
        until = max(start + round((end - start) * high / 100), begin + 1)
        title = f"Operations of {run.scenario.name}: {self.window.value}"
        return timeline_svg(
            run.timeline, begin, until, lambda span: view_texts.describe(run, span), title=title, ink=DRAWING_INK
        )


def extent(timeline, names: tuple[str, ...]) -> tuple[int, int]:
    """From the first to the last instant of windows; of the whole timeline where it has none of them."""
    found = [each for name in names for each in intervals(timeline, WINDOWS[name])]
    if not found:
        return min(span.start for span in timeline.spans), max(max(span.end for span in timeline.spans), 1)
    return min(each.start_ns for each in found), max(each.start_ns + max(each.ns, 1) for each in found)


class PlanText(View):
    """The operations as text: all of them, what differs from stock, or as a kernel would log them."""

    title = "Plan"

    def __init__(self, state: LabState):
        super().__init__(state)
        self.kind = widgets.ToggleButtons(options=list(TEXTS), style={"button_width": "auto"})
        self.box.children = [self.kind, self.page]

    def key(self) -> tuple:
        return (self.state.run, self.kind.value)

    def html(self) -> str:
        made = self.state.run.plan
        if self.kind.value == TEXTS[0]:
            text = plan_text(made)
        elif self.kind.value == TEXTS[1]:
            text = plan_diff(plan(self.state.scenario, ()), made)
        else:
            text = kernel_ops(made)
        return view_texts.listing(text, self.kind.value)


class Memory(View):
    """Guest memory and its maps."""

    title = "Memory"

    def html(self) -> str:
        return memory_texts.memory(self.state.run.scenario)


class Sources(View):
    """On what the numbers rest."""

    title = "Sources"

    def html(self) -> str:
        return view_texts.sources(self.state.run)


class Views:
    """Tabs: the downtime, and the views beside it. Only the tab in sight is drawn."""

    def __init__(self, state: LabState, downtime: widgets.Widget, guarded: Callable[[Callable], Callable]):
        self.views = [
            *(kind(state) for kind in (Operations, PlanText, Memory)),
            PrecopyPage(state, guarded),
            TrafficPage(state, guarded),
            Beside(state, guarded),
            Sources(state),
            Rings(state, guarded),
            Bitmap(state, guarded),
            Worth(state, guarded),
            Keeping(state, guarded),
        ]
        self.tab = widgets.Tab([downtime, *(view.box for view in self.views)])
        for number, title in enumerate(("Downtime", *(view.title for view in self.views))):
            self.tab.set_title(number, title)
        self.tab.selected_index = 0
        operations, texts = self.views[:2]
        for control in (self.tab, operations.window, operations.zoom, texts.kind):
            trait = "selected_index" if control is self.tab else "value"
            control.observe(guarded(lambda _: self.show()), trait)

    def show(self) -> None:
        """Bring the tab in sight up to date."""
        if self.tab.selected_index:
            self.views[self.tab.selected_index - 1].show()
