"""What stands beside the downtime: operations in time, the plan as text, memory maps, sources. Drawn when looked at."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from vdpa_lab.migration import plan
from vdpa_lab.migration.kernel_ops import kernel_ops
from vdpa_lab.migration.show import plan_diff, plan_text
from vdpa_lab.ui import memory_texts, view_texts
from vdpa_lab.ui.beside import Beside
from vdpa_lab.ui.bitmap_view import Bitmap
from vdpa_lab.ui.keeping import Keeping
from vdpa_lab.ui.operations import Operations
from vdpa_lab.ui.results import Results
from vdpa_lab.ui.rings_view import Rings
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.sweep_page import SweepPage
from vdpa_lab.ui.view import View
from vdpa_lab.ui.workload import PrecopyPage, TrafficPage
from vdpa_lab.ui.worth import Worth

TEXTS = ("Plan", "Difference from stock", "As a kernel log")


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

    def __init__(self, state: LabState, downtime: Results, guarded: Callable[[Callable], Callable]):
        self.views = [
            Operations(state, guarded),
            *(kind(state) for kind in (PlanText, Memory)),
            PrecopyPage(state, guarded),
            TrafficPage(state, guarded),
            Beside(state, guarded),
            Sources(state),
            Rings(state, guarded),
            Bitmap(state, guarded),
            Worth(state, guarded),
            SweepPage(state, guarded),
            Keeping(state, guarded),
        ]
        self.downtime = downtime
        self.tab = widgets.Tab([view.box for view in (downtime, *self.views)])
        for number, view in enumerate((downtime, *self.views)):
            self.tab.set_title(number, view.title)
        self.tab.selected_index = 0
        operations, texts = self.views[:2]
        for control in (self.tab, operations.window, operations.zoom, texts.kind):
            trait = "selected_index" if control is self.tab else "value"
            control.observe(guarded(lambda _: self.show()), trait)

    def show(self) -> None:
        """Bring the tab in sight up to date."""
        number = self.tab.selected_index
        (self.views[number - 1] if number else self.downtime).show()
