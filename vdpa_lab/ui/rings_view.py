"""Rings of one virtqueue step by step: in passthrough, shadowed, stopped and on the destination."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from vdpa_lab.machine.packed_story import packed_story
from vdpa_lab.machine.ring_story import RX, TX, Frame, split_story
from vdpa_lab.ui import ring_texts
from vdpa_lab.ui.state import LabState
from vdpa_lab.units import format_bytes

STORIES = {"Split": split_story, "Packed": packed_story}
QUEUES = {"RX, the device writes": RX, "TX, the device reads": TX}
SIZES = (8, 16)
ORDERS = {"in order": False, "last first": True}
WORKING = "<p role='status'>Working it out; the first time on a machine takes some seconds.</p>"


class Rings:
    """A few buffers of one queue on real bytes; the step slider goes through what is done to them."""

    title = "Rings"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        self.state = state
        self.kind = widgets.Dropdown(options=list(STORIES), description="Virtqueue")
        self.queue = widgets.Dropdown(options=QUEUES, description="Queue")
        self.size = widgets.Dropdown(options=SIZES, description="Entries")
        self.order = widgets.Dropdown(options=ORDERS, description="Completed")
        self.step = widgets.IntSlider(value=1, min=1, max=1, description="Step", layout={"width": "400px"})
        self.back, self.on = (
            widgets.Button(description=text, layout={"width": "auto"}) for text in ("‹ Back", "Next ›")
        )
        self.page = widgets.HTML()
        self.frames: tuple[Frame, ...] = ()
        self._told: tuple = ()
        self._drawn: tuple = ()
        grid = widgets.VBox([self.kind, self.queue, self.size, self.order])
        grid.add_class("vdpa-fields")
        bar = widgets.HBox([self.step, self.back, self.on])
        bar.add_class("vdpa-bar")
        self.box = widgets.VBox([grid, bar, self.page])
        for control in (self.kind, self.queue, self.size, self.order, self.step):
            control.observe(guarded(lambda _: self.show()), "value")
        self.back.on_click(guarded(lambda _: self._move(-1)))
        self.on.on_click(guarded(lambda _: self._move(1)))

    def _move(self, steps: int) -> None:
        self.step.value += steps

    def show(self) -> None:
        """Play what is chosen, unless it was, and show the step."""
        guest, device = self.state.scenario.guest, self.state.scenario.device
        chosen = (guest, device, self.queue.value, self.size.value, self.order.value)
        if (told := (self.kind.value, *chosen)) != self._told:
            self.page.value = WORKING
            self.frames = STORIES[self.kind.value](*chosen)
            self._told = told
            self.step.max = len(self.frames)
        drawn = (*told, self.step.value)
        if drawn != self._drawn:
            self.page.value, self._drawn = self._html(), drawn
        self.back.disabled, self.on.disabled = self.step.value == 1, self.step.value == self.step.max

    def _html(self) -> str:
        device = self.state.scenario.device
        scale = (
            f"One queue of {self.size.value} entries stands for the {device.data_vqs} data virtqueues of "
            f"{device.queue_size:,} that this device has; buffers lie in the largest section of the guest's "
            f"{format_bytes(self.state.scenario.guest.memory)}."
        )
        return f"<p>{escape(scale)}</p>{ring_texts.told(self.frames, self.step.value - 1)}"
