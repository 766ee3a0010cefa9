"""The page that keeps work: notes, a token to copy, a session file, exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from vdpa_lab.export import FORMATS, export
from vdpa_lab.migration import default_toggles
from vdpa_lab.model import read_scenario
from vdpa_lab.ui import session_file, view_texts
from vdpa_lab.ui.downloads import MOST_BYTES, download_link
from vdpa_lab.ui.earlier import Earlier
from vdpa_lab.ui.history import Moment
from vdpa_lab.ui.state import LabState
from vdpa_lab.words import InputError


class Keeping:
    """Token, session and exports; files are written into `folder`, where the notebook runs."""

    title = "Keep"

    def __init__(self, state: LabState, guarded: Callable[[Callable], Callable], folder: Path | None = None):
        self.state, self.folder = state, folder or Path.cwd()
        wide = {"layout": {"width": "97%"}, "style": {"description_width": "90px"}}
        self.notes = widgets.Textarea(description="Notes", continuous_update=False, rows=3, **wide)
        self.token = widgets.Text(description="This state", **wide)
        self.given = widgets.Text(
            description="Open state", placeholder="paste a token", continuous_update=False, **wide
        )
        self.name = widgets.Text(value=state.base.name, description="File name", style=wide["style"])
        self.form = widgets.Dropdown(options=list(FORMATS), description="Export as", style=wide["style"])
        self.said = widgets.HTML()
        presses = {
            "Save session": self.save,
            "Open session": self.open,
            "Export": self.export,
            "Open scenario": self.open_scenario,
        }
        self.buttons = {title: widgets.Button(description=title) for title in presses}
        for title, press in presses.items():
            self.buttons[title].on_click(guarded(lambda _, press=press: press()))
        self.notes.observe(guarded(self._take_notes), "value")
        self.given.observe(guarded(self._take_token), "value")
        save, load, write, read = self.buttons.values()
        rows = [widgets.HBox([self.name, save, load]), widgets.HBox([self.form, write, read])]
        for row in rows:
            row.add_class("vdpa-bar")
        self.earlier = Earlier(state, guarded)
        self.box = widgets.VBox([self.notes, self.token, self.given, *rows, self.said, self.earlier.box])

    def show(self) -> None:
        """Bring the page up to date with the state."""
        self.token.value = session_file.token_of(self.state.moment())
        self.notes.value = self.state.notes
        self.earlier.show()

    def _path(self, ending: str) -> Path:
        name = self.name.value.strip()
        if not name or name.startswith(".") or Path(name).name != name:
            raise InputError(f"{name!r} is no file name: give one without folders")
        return self.folder / f"{name}.{ending}"

    def save(self) -> None:
        """Write the session beside the notebook."""
        path = self._path("session.json")
        session_file.save_session(path, self.state.moment(), self.state.history.past, self.state.notes)
        self._tell("Saved", path)

    def _there(self, ending: str) -> Path:
        path = self._path(ending)
        if not path.is_file():
            raise InputError(f"there is no {path.name} in {path.parent}")
        return path

    def open_scenario(self) -> None:
        """Take the scenario, and the toggles that it names, of a TOML file beside the notebook."""
        path = self._there("toml")
        read = read_scenario(path)
        on = default_toggles(read) if read.optimizations is None else read.optimizations
        self.state.put(Moment(read, on, {}))
        self._tell("Opened", path)

    def open(self) -> None:
        """Read a session from beside the notebook."""
        path = self._there("session.json")
        if path.stat().st_size > session_file.MOST_BYTES:
            raise InputError(f"{path.name}: larger than {session_file.MOST_BYTES} bytes; not a session")
        moment, past, notes = session_file.read_session(path.read_text(encoding="utf-8"), path.name)
        self.state.put(moment)
        self.state.history.past, self.state.notes = past, notes
        self._tell("Opened", path)

    def export(self) -> None:
        """Write the present run in the chosen form."""
        path = export(self.state.run, self._path(self.form.value))
        self._tell("Wrote", path)

    def _tell(self, what: str, path: Path) -> None:
        small = path.stat().st_size <= MOST_BYTES
        link = download_link(path.name, path.read_bytes()) if small else ""
        self.said.value = view_texts.told_file(what, path.name) + link

    def _take_notes(self, change: dict) -> None:
        self.state.notes = change["new"][: session_file.MOST_NOTES]

    def _take_token(self, change: dict) -> None:
        if change["new"].strip():
            moment = session_file.read_token(change["new"])
            self.given.value = ""
            self.state.put(moment)
