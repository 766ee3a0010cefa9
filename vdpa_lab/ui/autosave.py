"""The session kept as a file beside the notebook after every change, so that a restarted kernel loses nothing."""

from __future__ import annotations

import os
from pathlib import Path

from vdpa_lab.ui import session_file
from vdpa_lab.ui.state import LabState
from vdpa_lab.words import InputError

FOLDER = "VDPA_LAB_AUTOSAVE"  # another folder than that of the notebook, or "off"
OFF = "off"


def path_of(state: LabState) -> Path | None:
    """Where the session of a scenario is kept; None when nothing is."""
    folder = os.environ.get(FOLDER, "")
    return None if folder == OFF else Path(folder or Path.cwd()) / f"{state.base.name}.autosave.json"


def restore(state: LabState) -> None:
    """Put back what the file has, and say so; a file that cannot be read is put aside, never overwritten."""
    path = path_of(state)
    if path is None or not path.is_file():
        return
    try:
        if path.stat().st_size > session_file.MOST_BYTES:
            raise InputError(f"larger than {session_file.MOST_BYTES} bytes")
        moment, past, notes = session_file.read_session(path.read_text(encoding="utf-8"), path.name)
        state.put(moment)
    except (InputError, ValueError, OSError) as error:
        aside = path.with_suffix(".broken.json")
        os.replace(path, aside)
        state.error = f"the kept session could not be read and was put aside as {aside.name}: {error}"
        return
    if state.error:
        return
    state.history.past, state.notes = past, notes
    state.notice = f"as you left it, from {path.name}; “Reset all” starts afresh, “Undo” goes further back"


def keep(state: LabState) -> None:
    """Write the file from now on after each change, whole or not at all."""
    path = path_of(state)
    if path is None:
        return

    def write(_: object) -> None:
        try:
            session_file.save_session(path, state.moment(), state.history.past, state.notes)
        except OSError as error:
            state.error = f"the session is not kept: {path} cannot be written ({error.strerror})"

    state.observe(write, ["revision", "notes"])
