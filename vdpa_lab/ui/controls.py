"""The controls: fields of the scenario, presets, and a row per optimisation. Built once, then only brought up to date."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from vdpa_lab.migration import Optimization, catalogue
from vdpa_lab.migration.optimization import LAYERS, knobs_of
from vdpa_lab.ui import texts
from vdpa_lab.ui.fields import FIELDS, Field
from vdpa_lab.ui.state import LabState

Guarded = Callable[[Callable], Callable]
FREE_TEXT = {"memory", "devices", "queue_pairs", "qemu", "linux"}
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
            slider.observe(
                guarded(lambda change, name=name: state.set_knob(each.name, name, change["new"])), "value"
            )

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


class Controls:
    """Everything on the left."""

    def __init__(self, state: LabState, guarded: Guarded):
        self.state = state
        self.fields = {name: self._field(field, guarded) for name, field in FIELDS.items()}
        self.preset = widgets.Dropdown(description="Preset", layout={"width": "100%"})
        self.preset.style.description_width = "50px"
        self.preset.observe(guarded(self._take_preset), "value")
        buttons = {
            "‹ Step down": lambda _: state.climb(-1),
            "Step up ›": lambda _: state.climb(1),
            "Reset": lambda _: state.reset(),
        }
        self.buttons = {title: widgets.Button(description=title, layout={"width": "auto"}) for title in buttons}
        for title, press in buttons.items():
            self.buttons[title].on_click(guarded(press))
        self.rows = {name: ToggleRow(each, state, guarded) for name, each in catalogue().items()}
        self.box = self._box()
        self.show()

    def show(self) -> None:
        """Bring every control up to date with the state."""
        for name, control in self.fields.items():
            control.value = FIELDS[name].text(self.state.scenario)
        options = [(preset.title, key) for key, preset in self.state.presets().items()]
        key = self.state.preset()
        options = tuple(options if key else [(OWN_CHOICE, ""), *options])
        if self.preset.options != options:
            self.preset.options = options
        self.preset.value = key
        for name, why in self.state.reasons().items():
            self.rows[name].show(why)

    def _take_preset(self, change: dict) -> None:
        if change["new"]:
            self.state.use_preset(change["new"])

    def _field(self, field: Field, guarded: Guarded) -> widgets.Widget:
        about = {"description": field.title, "layout": {"width": "auto"}, "style": {"description_width": "84px"}}
        value = field.text(self.state.scenario)
        if field.name in FREE_TEXT:
            control = widgets.Combobox(value=value, options=field.options, continuous_update=False, **about)
        else:
            options = tuple(dict.fromkeys((*field.options, value)))
            control = widgets.Dropdown(value=value, options=options, **about)
        control.observe(guarded(lambda change: self.state.edit(field.name, change["new"])), "value")
        return control

    def _box(self) -> widgets.VBox:
        fields = widgets.VBox(list(self.fields.values()))
        fields.add_class("vdpa-fields")
        steps = widgets.HBox([widgets.Label("Ladder"), *self.buttons.values()])
        steps.add_class("vdpa-bar")
        children = []
        for layer in LAYERS:
            mine = [row for row in self.rows.values() if row.each.layer == layer]
            if mine:
                children.append(widgets.HTML(texts.section(texts.LAYERS[layer], len(mine))))
                children += [row.box for row in mine]
        listed = widgets.VBox(children)
        listed.add_class("vdpa-list")
        titles = {title: widgets.HTML(texts.section(title)) for title in ("Scenario", "Optimisations")}
        box = widgets.VBox(
            [titles["Scenario"], fields, titles["Optimisations"], self.preset, steps, listed]
        )
        box.add_class("vdpa-controls")
        return box
