"""The page that shows every change at once: the downtime bar by bar, and the operations in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ipywidgets as widgets

from vdpa_lab.migration import Run
from vdpa_lab.plot import bar_of, bars_svg, family_of, shown_windows, timeline_svg
from vdpa_lab.timeline import WINDOWS, intervals
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.live import picture, wanted
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.view import View
from vdpa_lab.units import format_duration

SPANS = {
    "VM paused": ("vm_paused",),
    "SVQ switch of all devices": ("svq_switch",),
    "Source teardown": ("source_teardown",),
    "Destination set-up": ("destination_setup",),
    "Whole migration": (),
}
DRAWING_INK = "var(--jp-ui-font-color1, #222)"
MOST_PRICES = 6  # told of one segment
LEAST = 0.2  # percent of the window: narrower than that nobody means to zoom


class Operations(View):
    """The downtime bar by bar, and the lanes of source and destination in time; the range slider zooms."""

    title = "Timeline"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        super().__init__(state)
        self.page = picture(guarded(self.take))
        self.page.add_class("vdpa-quick")
        self.window = widgets.Dropdown(options=list(SPANS), description="Show", layout={"width": "260px"})
        self.zoom = widgets.FloatRangeSlider(value=(0, 100), min=0, max=100, step=0.1, continuous_update=False)
        self.zoom.description, self.zoom.readout_format, self.zoom.layout.width = "Zoom, %", ".1f", "400px"
        self.box.children = [widgets.HBox([self.window, self.zoom]), self.page]
        self.box.children[0].add_class("vdpa-bar")
        self._told: dict[tuple[int, str], tuple[Run, dict[str, str]]] = {}

    def key(self) -> tuple:
        state = self.state
        return (state.run, state.previous, state.reference, state.comparison(), self.window.value, self.zoom.value)

    def html(self) -> str:
        return f"<div class='vdpa-live'>{self.bars()}</div><div class='vdpa-live vdpa-lanes'>{self.lanes()}</div>"

    def bars(self) -> str:
        """The downtime of the runs that are compared."""
        state = self.state
        labels = (state.comparison(), "previous", "now")
        every = zip((state.reference, state.previous, state.run), labels, strict=True)
        runs = [(run, label) for run, label in every if run is not None]
        shown = {id(run) for run, _ in runs}
        self._told = {key: value for key, value in self._told.items() if key[0] in shown}
        bars = [bar_of(run, label) for run, label in runs]
        return bars_svg(
            bars,
            lambda number, window, family: self._describe(*runs[number], window, family),
            shown_windows(bars),
            title=f"Downtime of {state.run.scenario.name}, bar by bar",
            ink=DRAWING_INK,
        )

    def lanes(self) -> str:
        """The operations of what is chosen."""
        run, (low, high) = self.state.run, self.zoom.value
        start, end = extent(run.timeline, SPANS[self.window.value])
        begin = start + round((end - start) * low / 100)
        until = max(start + round((end - start) * high / 100), begin + 1)
        title = f"Operations of {run.scenario.name}: {self.window.value}"
        return timeline_svg(run.timeline, begin, until, partial(view_texts.describe, run), title=title, ink=DRAWING_INK)

    def take(self, content: object) -> None:
        """Zoom to what was picked in the picture."""
        self.zoom.value = wanted(content, *self.zoom.value, LEAST) or (self.zoom.min, self.zoom.max)

    def _describe(self, run: Run, label: str, window: str, family: str) -> str:
        key = (id(run), window)
        if key not in self._told:
            self._told[key] = (run, told(run, window))
        return f"{label}: {self._told[key][1].get(family, family)}"


def told(run: Run, window: str) -> dict[str, str]:
    """By family what hovering over its segment says: its length, and what its prices rest on."""
    by_family: dict[str, dict[str, int]] = {}
    for part in run.breakdown(window):
        prices = by_family.setdefault(family_of(part.key).name, {})
        prices[part.key] = prices.get(part.key, 0) + part.ns
    whole = sum(sum(prices.values()) for prices in by_family.values())
    found = {}
    for family, prices in by_family.items():
        ns = sum(prices.values())
        lines = [f"{format_duration(ns)}, {ns / (whole or 1):.1%} of the window"]
        longest = sorted(prices, key=lambda key: -prices[key])
        for key in longest[:MOST_PRICES]:
            cost = run.cost(key)
            lines.append(f"{key} {format_duration(prices[key])} ({cost.basis}: {cost.source})")
        if len(longest) > MOST_PRICES:
            lines.append(f"and {len(longest) - MOST_PRICES} more")
        found[family] = "\n".join(lines)
    return found


def extent(timeline, names: tuple[str, ...]) -> tuple[int, int]:
    """From the first to the last instant of windows; of the whole timeline where it has none of them."""
    found = [each for name in names for each in intervals(timeline, WINDOWS[name])]
    if not found:
        return min(span.start for span in timeline.spans), max(timeline.end, 1)
    return min(each.start_ns for each in found), max(each.start_ns + max(each.ns, 1) for each in found)
