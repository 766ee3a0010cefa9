"""The interactive figure of each lesson: a few controls over one of `pictures`. Beside ui it imports ipywidgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape

import ipywidgets as widgets

from vdpa_lab.course import pictures
from vdpa_lab.course.lesson_blackouts import RUN, recorded_names
from vdpa_lab.migration.optimization import catalogue
from vdpa_lab.ui.guard import ROOT, guard, looks
from vdpa_lab.words import InputError, nearest

STYLE = {"description_width": "170px"}
WIDE = {"width": "480px"}


def _slider(text: str, low: int, high: int, value: int, step: int = 1) -> widgets.IntSlider:
    return widgets.IntSlider(
        value, low, high, step, description=text, style=STYLE, layout=WIDE, continuous_update=False
    )


def _choice(text: str, options: dict | Iterable[str]) -> widgets.Dropdown:
    pairs = list(options.items()) if isinstance(options, dict) else list(options)
    return widgets.Dropdown(options=pairs, description=text, style=STYLE, layout=WIDE)


def _yes_no(text: str, no: str, yes: str) -> widgets.Dropdown:
    return _choice(text, {no: False, yes: True})


def _figures() -> dict[int, tuple[str, Callable[..., str], Callable[[], dict[str, widgets.Widget]]]]:
    """By lesson: what the figure shows, the picture, and what makes a control for each of its arguments."""
    return {
        1: ("A ring, byte by byte", pictures.ring, lambda: {
            "kind": _choice("Ring", ("split", "packed")), "step": _slider("Step", 0, len(pictures.RING_STEPS) - 1, 1),
        }),
        2: ("Who tells whom", pictures.told, lambda: {
            "event_idx": _yes_no("VIRTIO_F_EVENT_IDX", "off", "on"),
            "burst": _choice("Buffers at a time", {"1": 1, "2": 2, "4": 4, "8": 8}),
            "busy": _yes_no("The device", "keeps up", "is busy and does not look"),
        }),
        3: ("The device's address space", pictures.addresses, lambda: {
            "shadowed": _yes_no("Mode", "passthrough", "shadowed"),
            "gpa": _slider("Guest address (KiB)", 0, 4096, 1024, 4),
        }),
        4: ("MKEYs and MTTs", pictures.mkeys, lambda: {
            "gib": _slider("Guest memory (GiB)", 1, 8, 2), "stray": _slider("Broken huge page", -1, 4095, -1),
        }),
        5: ("Precopy, pass by pass", pictures.passes, lambda: {
            "rate": _slider("Writes (1000 pages/s)", 0, 600, 100, 10),
            "working_set": _slider("Working set (MiB)", 64, 8192, 1024, 64),
            "bandwidth": _slider("Bandwidth (MiB/s)", 128, 4096, 1024, 128),
            "limit": _slider("Downtime limit (ms)", 50, 2000, 300, 50),
        }),
        6: ("Rebuilds of the map", pictures.rebuilds, lambda: {
            "pairs": _slider("Queue pairs", 1, 8, 1),
            "batched": _yes_no("Ring maps", "one by one, as stock QEMU", "batched (svq-map-batch)"),
        }),
        7: ("A recorded migration", pictures.recorded, lambda: {
            "name": _choice("Run", sorted(recorded_names(), key=lambda name: (name != RUN, name))),
            "part": _choice("Show", {"all of it": 0, "the first blackout": 1, "the second blackout": 2}),
        }),
        8: ("What the laws say", pictures.laws, lambda: {"name": _choice("Optimisation", tuple(sorted(catalogue())))}),
        9: ("What is felt", pictures.felt, lambda: {
            "pps": _slider("Packets a second", 100, 20_000, 1000, 100),
            "outage": _slider("Outage (ms)", 0, 4000, 450, 10), "rto": _slider("TCP's RTO (ms)", 200, 1000, 200, 50),
        }),
    }  # fmt: skip


class Figure(widgets.VBox):
    """Controls above a picture that follows them."""

    def __init__(self, title: str, picture: Callable[..., str], controls: dict[str, widgets.Widget]):
        self.picture, self.controls, self.page = picture, controls, widgets.HTML()
        for control in controls.values():
            control.observe(lambda _: self.draw(), "value")
        head = widgets.HTML(f"<p class='vdpa-section'>{escape(title)}</p>")
        super().__init__([looks(), guard(), head, *controls.values(), self.page])
        self.add_class(ROOT)
        self.draw()

    def draw(self) -> None:
        """Bring the picture up to date with the controls."""
        try:
            self.page.value = self.picture(**{name: control.value for name, control in self.controls.items()})
        except ValueError as error:  # what cannot be simulated is said in the page
            self.page.value = f"<p class='vdpa-error'>{escape(str(error))}</p>"


def figure(lesson: int) -> Figure:
    """The interactive figure of a lesson, 1 to 9. Raises InputError for another number."""
    known = _figures()
    if lesson not in known:
        raise InputError(f"no lesson {lesson!r}; {nearest(str(lesson), map(str, known))}")
    title, picture, controls = known[lesson]
    return Figure(title, picture, controls())
