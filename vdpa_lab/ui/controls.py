"""The controls: fields of the scenario, presets, a row per optimisation. Built once, then kept up to date."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from vdpa_lab.migration import Optimization, catalogue
from vdpa_lab.migration.optimization import LAYERS, knobs_of
from vdpa_lab.ui import texts
from vdpa_lab.ui.fields import FIELDS, Field
from vdpa_lab.ui.state import COMPARISONS, LabState

Guarded = Callable[[Callable], Callable]
OWN_CHOICE = "Your own choice"


class ToggleRow:
    """An optimisation: its checkbox under its real name, what it does, where that is from, and its knobs."""

    def __init__(self, each: Optimization, state: LabState, guarded: Guarded):
        self.each, self.state = each, state
        self.checkbox = widgets.Checkbox(value=each.name in state.on, description=each.title, indent=False)
        self.about = widgets.HTML()
        self.knobs = {
            name: widgets.IntSlider(
                value=about["default"],
                min=about["low"],
                max=about["high"],
                description=f"{name.replace('_', ' ')}, {about['unit']}",
                style={"description_width": "auto"},
            )
            for name, about in knobs_of(each).items()
        }
        self.box = widgets.VBox([self.checkbox, self.about, *self.knobs.values()])
        self.box.add_class("vdpa-row")
        self.checkbox.observe(guarded(lambda change: state.set_toggle(each.name, change["new"])), "value")
        for name, slider in self.knobs.items():
            slider.observe(guarded(lambda change, name=name: state.set_knob(each.name, name, change["new"])), "value")

    def show(self, reason: str) -> None:
        """Bring the row up to date; `reason` is why it cannot apply, "" if it can."""
        on = self.each.name in self.state.on
        self.checkbox.value, self.checkbox.disabled = on, bool(reason)
        self.about.value = texts.optimization_text(self.each, reason)
        turned = self.state.knobs.get(self.each.name, {})
        for name, slider in self.knobs.items():
            slider.value = turned.get(name, knobs_of(self.each)[name]["default"])
            slider.disabled = not on
        (self.box.add_class if reason else self.box.remove_class)("vdpa-off")


class Choices:
    """What is on as a whole, and what it is compared with: presets, the ladder, the comparison."""

    def __init__(self, state: LabState, guarded: Guarded):
        self.state = state
        self.preset = _dropdown("Preset", ())
        self.preset.observe(guarded(self._take_preset), "value")
        self.compare = _dropdown("Compare to", [(title, key) for key, title in COMPARISONS.items()])
        self.compare.observe(guarded(lambda change: state.compare(change["new"])), "value")
        presses = {
            "‹ Step back": lambda _: state.climb(-1),
            "Next step ›": lambda _: state.climb(1),
            "Reset all": lambda _: state.reset(),
            "Undo": lambda _: state.undo(),
            "Redo": lambda _: state.redo(),
            "Keep this run": lambda _: state.keep(),
        }
        self.buttons = {title: widgets.Button(description=title, layout={"width": "auto"}) for title in presses}
        for title, press in presses.items():
            self.buttons[title].on_click(guarded(press))
        down, up, *steps, keep = self.buttons.values()
        rows = [
            widgets.HBox([widgets.Label("Ladder"), down, up]),
            widgets.HBox([widgets.Label("Changes"), *steps]),
            widgets.HBox([self.compare, keep]),
        ]
        self.box = widgets.VBox([self.preset, *(_classed(row, "vdpa-bar") for row in rows)])

    def show(self) -> None:
        """Bring presets and comparison up to date with the state."""
        options = [(preset.title, key) for key, preset in self.state.presets().items()]
        key = self.state.preset()
        options = tuple(options if key else [(OWN_CHOICE, ""), *options])
        if self.preset.options != options:
            self.preset.options = options
        self.preset.value = key
        self.compare.value = self.state.compare_with
        self.buttons["Undo"].disabled = not self.state.history.past
        self.buttons["Redo"].disabled = not self.state.history.future

    def _take_preset(self, change: dict) -> None:
        if change["new"]:
            self.state.use_preset(change["new"])


class Controls:
    """Everything on the left."""

    def __init__(self, state: LabState, guarded: Guarded):
        self.state = state
        self.fields = field_controls(state, guarded, "scenario")
        self.choices = Choices(state, guarded)
        self.rows = {name: ToggleRow(each, state, guarded) for name, each in catalogue().items()}
        children = [
            widgets.HTML(texts.section("Scenario")),
            _classed(widgets.VBox(list(self.fields.values())), "vdpa-fields"),
            widgets.HTML(texts.section("Optimisations")),
            self.choices.box,
            self._list(),
        ]
        self.box = _classed(widgets.VBox(children), "vdpa-controls")
        self.show()

    def show(self) -> None:
        """Bring every control up to date with the state."""
        show_fields(self.fields, self.state)
        self.choices.show()
        for name, why in self.state.reasons().items():
            self.rows[name].show(why)

    def _list(self) -> widgets.VBox:
        """Rows by layer; first those of the scenario's ladder, in its order."""
        ladder = self.state.base.optimizations or ()
        place = {name: at for at, name in enumerate((*ladder, *(name for name in self.rows if name not in ladder)))}
        ordered = sorted(self.rows.values(), key=lambda row: place[row.each.name])
        children = []
        for layer in LAYERS:
            mine = [row for row in ordered if row.each.layer == layer]
            if mine:
                children.append(widgets.HTML(texts.section(texts.LAYERS[layer], len(mine))))
                children += [row.box for row in mine]
        return _classed(widgets.VBox(children), "vdpa-list")


def field_controls(state: LabState, guarded: Guarded, group: str) -> dict[str, widgets.Widget]:
    """A control for each field of a group."""
    return {name: _field(field, state, guarded) for name, field in FIELDS.items() if field.group == group}


def _field(field: Field, state: LabState, guarded: Guarded) -> widgets.Widget:
    kind, more = widgets.Combobox, {"continuous_update": False}
    if field.closed:
        kind, more = widgets.Dropdown, {}
    control = kind(
        value=field.text(state.scenario),
        options=field.options,
        description=field.title,
        layout={"width": "auto"},
        style={"description_width": "88px" if field.group == "scenario" else "116px"},
        **more,
    )
    control.observe(guarded(lambda change: state.edit(field.name, change["new"])), "value")
    return control


def show_fields(fields: dict[str, widgets.Widget], state: LabState) -> None:
    """Bring the controls of fields up to date."""
    for name, control in fields.items():
        control.value = FIELDS[name].text(state.scenario)


def _dropdown(title: str, options) -> widgets.Dropdown:
    found = widgets.Dropdown(description=title, options=options, layout={"width": "auto", "flex": "1 1 auto"})
    found.style.description_width = "82px"
    return found


def _classed(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    widget.add_class(name)
    return widget
