"""Progress as a file on this machine: predictions, attempts, hints seen, what was solved. Nothing leaves the machine.

The file is read strictly and bounded; one that cannot be read is reported and kept as it is, never written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.words import InputError

OVERRIDE = "VDPA_LAB_PROGRESS"
DEFAULT = "vdpa_lab_progress.json"
FORMAT = "vdpa_lab course progress 1"
MOST_BYTES = 1 << 20
LONGEST = 200  # characters kept of a prediction
FIELDS = {"predicted": str, "attempts": int, "hints": int, "shown": bool, "solved": str}


def progress_path() -> Path:
    """Where progress is kept: VDPA_LAB_PROGRESS, or vdpa_lab_progress.json in the working directory."""
    return Path(os.environ.get(OVERRIDE) or DEFAULT)


def _refuse(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: {why}; it is left as it is: move or delete it to begin anew, or name another file in {OVERRIDE}"
    )


def read_progress(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """What is kept of each exercise, by name; {} without a file. Raises InputError for a file that is no progress."""
    path = path or progress_path()
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _refuse(path, f"cannot be read ({error.strerror})") from None
    if len(raw) > MOST_BYTES:
        raise _refuse(path, f"larger than {MOST_BYTES} bytes, so not a progress file")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise _refuse(path, "not JSON, so not a progress file, or one that was cut short") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _refuse(path, f"has no format {FORMAT!r}")
    kept = document.get("exercises")
    if not isinstance(kept, dict):
        raise _refuse(path, "exercises has to be a table")
    for name, entry in kept.items():
        if not isinstance(entry, dict):
            raise _refuse(path, f"exercise {name!r} has to be a table")
        for field, value in entry.items():
            if field not in FIELDS or type(value) is not FIELDS[field]:
                raise _refuse(path, f"exercise {name!r}: {field!r} = {value!r} is not what this version writes")
    return kept


def record(name: str, path: Path | None = None, **changes: Any) -> dict[str, Any]:
    """Change what is kept of one exercise and write the file, whole or not at all; returns the entry as it was.

    Raises InputError for a file that is no progress or cannot be written.
    """
    path = path or progress_path()
    kept = read_progress(path)
    before = kept.get(name, {})
    kept[name] = {**before, **changes}
    ordered = {key: kept[key] for key in sorted(kept)}
    try:
        save_text(json.dumps({"format": FORMAT, "exercises": ordered}, indent=1, ensure_ascii=False) + "\n", path)
    except OSError as error:
        raise _refuse(path, f"cannot be written ({error.strerror})") from None
    return before


def now() -> str:
    """The local time to the minute, as it is kept."""
    return datetime.now().isoformat(" ", "minutes")


def rows(names: Iterable[tuple[str, str]], path: Path | None = None) -> list[dict[str, Any]]:
    """One row for each (name, title): prediction, attempts, hints, whether the solution was opened, when solved."""
    kept = read_progress(path)
    return [
        {
            "exercise": name, "title": title, "predicted": entry.get("predicted", ""),
            "attempts": entry.get("attempts", 0), "hints": entry.get("hints", 0),
            "solution shown": entry.get("shown", False), "solved": entry.get("solved", ""),
        }
        for name, title in names
        for entry in (kept.get(name, {}),)
    ]  # fmt: skip
