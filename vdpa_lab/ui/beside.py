"""The present run beside a published figure, a recorded migration, or logs of one's own: on the same axes, in words."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from vdpa_lab import traces
from vdpa_lab.beside import Comparison, RunFit, calibrate_runs, compare, fit_text
from vdpa_lab.library import bibliography, costs_text, read_figures
from vdpa_lab.plot import lanes_figure, svg_of, windows_figure
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui.downloads import download_link
from vdpa_lab.ui.job_page import JobPage
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.view_texts import listing
from vdpa_lab.units import MIB, format_bytes
from vdpa_lab.words import InputError

MOST_BYTES = 64 * MIB  # of all files that are uploaded at once; the command line takes any size
MOST_FILES = 8
NOTHING = "nothing yet"
OWN = "uploaded logs"
Files = list[dict[str, Any]]  # of name (str) and content (bytes)
LANES = ("svq_switch", "source_teardown", "destination_setup", "network_outage")


def choices() -> list[tuple[str, str]]:
    """(title, name) of what comes with the package and lies on the same axes."""
    runs = [name for name in traces.shipped_runs() if name.startswith("v-")]
    figures = [(f"{each.name}: {each.title}", each.name) for each in read_figures() if each.quantity != "none"]
    return [(NOTHING, ""), *((f"Recorded: {name}", name) for name in runs), *figures]


def checked(files: Files) -> Files:
    """The files, if they are not too many or too large. Raises InputError."""
    if len(files) > MOST_FILES or sum(len(each["content"]) for each in files) > MOST_BYTES:
        most = format_bytes(MOST_BYTES)
        raise InputError(
            f"at most {MOST_FILES} files of {most} in all; larger logs: vdpa-lab compare on the command line"
        )
    return files


def read_uploaded(files: Files) -> traces.TraceRun:
    """The logs as one run; works in the worker. Raises InputError; nothing of them stays on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, each in enumerate(files):
            name = Path(each["name"].replace("\\", "/")).name or "log"
            path = Path(folder) / f"{number}" / name
            path.parent.mkdir()
            path.write_bytes(each["content"])
            paths.append(path)
        return traces.run(*paths)


def fitted(other: traces.TraceRun | str) -> RunFit:
    """Prices of a recorded run; works in the worker. Raises InputError."""
    return calibrate_runs([traces.run(other) if isinstance(other, str) else other])


def fitted_html(fit: RunFit) -> str:
    """The fit in words, and its prices to take away."""
    costs = costs_text([*fit.costs, *fit.constants]).encode()
    return f"{listing(chr(10).join(fit_text(fit)), 'Fit')}<p>{download_link('prices.csv', costs)}</p>"


class Fit(JobPage):
    """Prices fitted to the recording that is chosen; `other` tells which that is."""

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable], other: Callable[[], Any]):
        super().__init__(state, guarded, "Fit prices to it", "", "<p role='status'>Cancelled.</p>")
        self.other = other

    def begin(self) -> None:
        """Start a worker. Raises InputError when it is no recording that is chosen."""
        other = self.other()
        if isinstance(other, str) and other not in traces.shipped_runs():
            raise InputError("prices are fitted to a recording: choose one, or upload logs")
        self.work("<p role='status'>Fitting …</p>", fitted, (other,), fitted_html)


class Beside:
    """Choose or upload; bars of every window that both have, residuals in words, and lanes in time."""

    title = "Beside"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable]):
        self.state = state
        wide = {"style": {"description_width": "90px"}, "layout": {"width": "460px"}}
        self.chosen = widgets.Dropdown(options=choices(), value="", description="Beside it", **wide)
        self.upload = widgets.FileUpload(multiple=True, description="Upload logs", layout={"width": "auto"})
        self.window = widgets.Dropdown(options=[(WINDOWS[name].title, name) for name in LANES], description="Lanes of")
        self.page = widgets.HTML()
        self.fit = Fit(state, guarded, self.other)
        self.own: traces.TraceRun | None = None
        self._shown: tuple = ()
        bar = widgets.HBox([self.chosen, self.upload, self.window])
        bar.add_class("vdpa-bar")
        self.box = widgets.VBox([bar, self.fit.buttons, self.fit.page, self.page])
        for control in (self.chosen, self.window):
            control.observe(guarded(lambda _: self.show()), "value")
        self.upload.observe(guarded(self._take), "value")

    def _take(self, change: dict) -> None:
        if not change["new"]:
            return
        files = checked([{"name": each["name"], "content": bytes(each["content"])} for each in change["new"]])
        self.upload.value = ()
        self.fit.work(f"<p role='status'>Reading {len(files)} files …</p>", read_uploaded, (files,), self._took)

    def _took(self, run: traces.TraceRun) -> str:
        self.own = run
        self.chosen.options = [*choices(), (f"Yours: {run.name}", OWN)]
        self.chosen.value = OWN
        self.show()
        return ""

    def other(self) -> traces.TraceRun | str:
        """What is laid beside the present run: logs that were read, the name of a recording or figure, or ""."""
        return self.own if self.own is not None and self.chosen.value == OWN else self.chosen.value

    def show(self) -> None:
        """Draw, unless that is what stands there already."""
        key = (id(self.state.run), self.chosen.value, self.window.value, id(self.own))
        if key != self._shown:
            self.page.value, self._shown = self._html(), key

    def _html(self) -> str:
        if not self.chosen.value:
            return (
                "<p>Choose a recorded migration or a published figure, or upload the logs of your own (source, "
                "destination, and what else was recorded; docs/recording.md says how). Nothing leaves this machine.</p>"
            )
        found = compare(self.state.run, self.other())
        if not found.quantities:
            return "<p>The present run has none of its windows: there is nothing to lay side by side.</p>"
        lines = "".join(f"<li>{escape(line)}</li>" for line in found.words())
        bars = svg_of(windows_figure(found), f"{found.first.title} beside {found.subjects[1].title}")
        parts = [f"<ul class='vdpa-pairs'>{lines}</ul>", f"<div class='vdpa-paper'>{bars}</div>", self._lanes(found)]
        return "".join([*parts, _sources(found)])

    def _lanes(self, found: Comparison) -> str:
        window = self.window.value
        timed = [each for each in found.subjects if each.timeline is not None and window in each.values]
        if len(timed) < 2:
            return ""
        picture = svg_of(lanes_figure(found, window), f"{WINDOWS[window].title}, lane by lane")
        return f"<div class='vdpa-paper'>{picture}</div>"


def _sources(found: Comparison) -> str:
    cited = {str(each): each for each in bibliography().values()}
    rows = []
    for each in found.subjects:
        url = cited[each.source].url if each.source in cited else ""
        words = escape(each.source)
        rows.append(
            f"<li>{escape(each.title)}: " + (f"<a href='{escape(url)}'>{words}</a>" if url else words) + "</li>"
        )
    return f"<ul class='vdpa-pairs'>{''.join(rows)}</ul>"
