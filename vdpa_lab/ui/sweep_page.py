"""One field or two through lists of values: a window as a curve or a heat map, worked out in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NamedTuple

import ipywidgets as widgets
import pandas as pd

from vdpa_lab.migration import catalogue
from vdpa_lab.model import Scenario
from vdpa_lab.model.kinds import Kind
from vdpa_lab.plot import svg_of, sweep_figure, value_words
from vdpa_lab.sweep import read_spec, sweep
from vdpa_lab.sweep.axes import all_kinds
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui import view_texts
from vdpa_lab.ui.downloads import download_link
from vdpa_lab.ui.fields import FIELDS, Field
from vdpa_lab.ui.job_page import JobPage
from vdpa_lab.ui.state import LabState
from vdpa_lab.units import UnitError, format_duration
from vdpa_lab.words import InputError

DRAWS = 200  # of all prices from their intervals, at each point
MOST_ROWS = 60
TOGGLE = "optimizations."
SWITCH = {"off": False, "on": True}
UNASKED = (
    "<p>The present scenario and optimisations, with one field or two going through the values that you give. At each "
    f"point the prices are drawn {DRAWS} times from their intervals. Other designs, and many machines: "
    "<code>vdpa-lab sweep</code>.</p>"
)
CANCELLED = f"<p role='status'>Cancelled.</p>{UNASKED}"


def axis_key(field: Field) -> str:
    """The field's key in a scenario file; of a field of both hosts the source's, which the destination follows."""
    return ".".join(filter(None, (field.path[0], field.inner[0] if field.inner else "", field.attribute)))


def choices() -> dict[str, tuple[str, str]]:
    """What can be varied: by key its title, and values to begin with as text."""
    found = {}
    for field in FIELDS.values():
        written = [option for option in field.options if field.read(option) is not None]  # a file leaves None out
        found[axis_key(field)] = (field.title, ", ".join(written))
    return found | {
        f"{TOGGLE}{name}": (f"with, without: {each.title}", "off, on") for name, each in catalogue().items()
    }


def read_values(key: str, text: str) -> list[Any]:
    """The values between commas as the axis `key` takes them. Raises InputError when there are none.

    What it does not take stays text, for the specification's own check to refuse.
    """
    parts = [part for each in text.split(",") if (part := each.strip())]
    if not parts:
        raise InputError("give at least one value; more are parted by commas")
    kind = all_kinds(())[key]
    return [next(each for each in (*_readings(part), part) if each is part or _fits(kind, each)) for part in parts]


def _readings(text: str) -> Iterator[Any]:
    if text in SWITCH:
        yield SWITCH[text]
    for number in (int, float):
        try:
            yield number(text)
        except ValueError:
            continue


def _fits(kind: Kind, raw: Any) -> bool:
    try:
        return kind.accepts(kind.read(raw))
    except UnitError:
        return False


class Asked(NamedTuple):
    """A sweep of this page: the scenario, its toggles and knobs, values by axis, the window that is looked at."""

    scenario: Scenario
    on: tuple[str, ...]
    knobs: dict[str, dict[str, int]]
    axes: dict[str, list[Any]]
    window: str

    def specification(self) -> dict[str, Any]:
        """As `vdpa_lab.sweep` takes it."""
        turned = {
            f"knobs.{name}.{knob}": [value]
            for name, values in self.knobs.items()
            for knob, value in values.items()
            if name in self.on
        }
        return {
            "name": self.scenario.name, "scenario": self.scenario, "optimizations": list(self.on), "draws": DRAWS,
            "windows": [self.window], "axes": {**turned, **self.axes},
        }  # fmt: skip


def work(asked: Asked, progress: Callable[[tuple[int, int, float | None]], object]) -> pd.DataFrame:
    """The table of the sweep; runs in the worker."""
    return sweep(
        asked.specification(),
        workers=0,
        progress=lambda far: progress((far.done, far.total, far.eta)),
        show=lambda _: None,
    ).table


def sweep_html(asked: Asked, table: pd.DataFrame) -> str:
    """The picture, its numbers, and the table of all runs to take away."""
    keys, value = list(asked.axes), f"{asked.window}_ns"
    picture = ""  # where every run was refused there is nothing to draw, and the table says why
    if table[value].notna().any():
        picture = svg_of(sweep_figure(table, keys, value), "The sweep; its values are in the table below")
    grouped = table.astype({value: "Float64"}).groupby(keys, sort=False, dropna=False)[value]
    spread = grouped.quantile([0.05, 0.5, 0.95]).unstack()
    refused = table.groupby(keys, sort=False, dropna=False)["refused"].first()
    rows = []
    for at, (low, middle, high) in zip(spread.index, spread.to_numpy(), strict=True):
        place = at if isinstance(at, tuple) else (at,)
        words = [value_words(key, each) for key, each in zip(keys, place, strict=True)]
        lengths = [format_duration(round(ns)) if pd.notna(ns) else "–" for ns in (middle, low, high)]
        why = str(refused[at]) if pd.notna(refused[at]) else ""
        rows.append(tuple(map(escape, (*words, lengths[0], f"{lengths[1]} – {lengths[2]}", why))))
    titles = choices()
    head = (*(titles[key][0] for key in keys), f"{WINDOWS[asked.window].title}, median", "90 %", "Refused")
    more = f"<p>{len(rows) - MOST_ROWS} more rows are in the file.</p>" if len(rows) > MOST_ROWS else ""
    about = f"# vdpa_lab sweep of {asked.scenario.name}; {DRAWS} draws, seed 1; on: {', '.join(asked.on)}\n"
    link = download_link(f"{asked.scenario.name}-sweep.csv", (about + table.to_csv(index=False)).encode())
    shown = view_texts.table(head, rows[:MOST_ROWS], "Values of the sweep")
    return f"<div class='vdpa-paper'>{picture}</div>{shown}{more}<p>{link}</p>"


class SweepPage(JobPage):
    """What to vary, through which values, and the window to look at."""

    title = "Sweep"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        super().__init__(state, guarded, "Run the sweep", UNASKED, CANCELLED)
        found = choices()
        options = [(title, key) for key, (title, _) in found.items()]
        wide = {"layout": {"width": "330px"}, "style": {"description_width": "60px"}}
        self.first = widgets.Dropdown(options=options, value="guest.memory", description="Vary", **wide)
        self.second = widgets.Dropdown(options=[("nothing else", ""), *options], value="", description="and", **wide)
        self.values = [widgets.Text(description="through", continuous_update=False, **wide) for _ in range(2)]
        titles = [(each.title, name) for name, each in WINDOWS.items()]
        self.window = widgets.Dropdown(options=titles, value="network_outage", description="Window", **wide)
        for chosen, text in zip((self.first, self.second), self.values, strict=True):
            chosen.observe(guarded(lambda _: self._fill()), "value")
            text.value = found.get(chosen.value, ("", ""))[1]
        self._filled = (self.first.value, self.second.value)
        rows = [widgets.HBox([self.first, self.values[0]]), widgets.HBox([self.second, self.values[1]]),
                widgets.HBox([self.window])]  # fmt: skip
        for row in rows:
            row.add_class("vdpa-bar")
        self.box = widgets.VBox([*rows, self.buttons, self.page])

    def _fill(self) -> None:
        """Values to begin with, for what is chosen anew."""
        now = (self.first.value, self.second.value)
        for text, key, before in zip(self.values, now, self._filled, strict=True):
            if key != before:
                text.value = choices().get(key, ("", ""))[1]
        self._filled = now

    def show(self) -> None:
        """Nothing is worked out unasked."""

    def begin(self) -> None:
        """Start a worker; one at a time. Raises InputError for values that will not do, before anything is begun."""
        state, keys = self.state, [key for key in (self.first.value, self.second.value) if key]
        if len(set(keys)) < len(keys):
            raise InputError("vary two different things, or “nothing else” beside the first")
        axes = {key: read_values(key, text.value) for key, text in zip(keys, self.values, strict=False)}
        asked = Asked(state.scenario, state.run.plan.applied, state.knobs, axes, self.window.value)
        spec = read_spec(asked.specification())
        busy = f"<p role='status'>{spec.runs:,} runs of {spec.points:,} points …</p>"
        self.work(busy, work, (asked,), lambda table: sweep_html(asked, table), progress=True)
