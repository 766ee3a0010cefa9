"""What was tried before: the latest runs, what changed from one to the next, their outage, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

import ipywidgets as widgets

from vdpa_lab.migration import catalogue
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui import texts, view_texts
from vdpa_lab.ui.fields import FIELDS
from vdpa_lab.ui.history import Moment
from vdpa_lab.ui.state import LabState

SHOWN = 12
WINDOW = "network_outage"
HERE = "the present run"


def changes(before: Moment, after: Moment) -> Iterator[str]:
    """What was done to come from one state to the next, in words."""
    for field in FIELDS.values():
        if not (field.given(after.scenario) or field.given(before.scenario)):
            continue
        if (now := field.text(after.scenario)) != field.text(before.scenario):
            yield f"{field.title} {now}"
    for sign, more, less in (("+", after, before), ("−", before, after)):
        yield from (f"{sign} {catalogue()[name].title}" for name in more.on if name not in less.on)
    for name, turned in after.knobs.items():
        for knob, value in turned.items():
            if before.knobs.get(name, {}).get(knob) != value:
                yield f"{name}.{knob} {value}"


class Earlier:
    """The latest states, the last one first, and a choice to go back to one of them; undo leads here again."""

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        self.state = state
        self.back = widgets.Dropdown(description="Go back to", style={"description_width": "90px"})
        self.back.layout.width = "460px"
        self.page = widgets.HTML()
        self.box = widgets.VBox([widgets.HTML(texts.section("Earlier runs")), self.back, self.page])
        self.back.observe(guarded(self._go), "value")

    def show(self) -> None:
        """Bring list and choice up to date."""
        past, here = self.state.history.past, self.state.moment()
        path = [*past, here]
        first = max(0, len(past) - SHOWN)
        steps = [
            (number, "; ".join(changes(path[number - 1], path[number])) if number else "the beginning")
            for number in range(len(past), first - 1, -1)
        ]
        words = {number: said or "another scenario" for number, said in steps}
        self.back.options = [(HERE, -1), *((f"{number}: {words[number][:60]}", number) for number in list(words)[1:])]
        self.back.value, self.back.disabled = -1, not past
        now = self.state.run.windows[WINDOW]
        rows = []
        for number, said in words.items():
            ns = self.state.run_of(path[number]).windows[WINDOW]
            length = "–" if ns is None else texts.duration_words(ns)
            rows.append(
                (str(number), escape(said), length, texts.difference(ns, now) if path[number] != here else "now")
            )
        head = ("Number", "Changed", WINDOWS[WINDOW].title, "against now")
        self.page.value = view_texts.table(head, rows, "Earlier runs")

    def _go(self, change: dict) -> None:
        if change["new"] >= 0:
            self.state.put(self.state.history.past[change["new"]])
