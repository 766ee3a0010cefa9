"""A session as a JSON document, and as a short text to copy: scenario, toggles, knobs, what was tried, notes.

Documents come from outside: they are bounded, read strictly, and nothing in them is ever run.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from vdpa_lab import __version__
from vdpa_lab.migration.optimization import catalogue, knobs_of
from vdpa_lab.model import parse_scenario, write_scenario
from vdpa_lab.model.scenario_file import save_text
from vdpa_lab.ui.history import Moment
from vdpa_lab.words import InputError, nearest

FORMAT = "vdpa_lab session"
KEYS = ("format", "version", "moment", "past", "notes")
MOST_BYTES = 2 << 20
MOST_TOKEN = 64 << 10
MOST_NOTES = 20_000
PREFIX = "vl1."


def moment_document(moment: Moment) -> dict[str, Any]:
    """One state of the dashboard as JSON: the scenario as TOML, toggles, knobs."""
    return {"scenario": write_scenario(moment.scenario), "on": list(moment.on), "knobs": moment.knobs}


def read_moment(document: Any, where: str) -> Moment:
    """The state in a document. Raises InputError, which names what is wrong."""
    if not isinstance(document, dict) or set(document) != {"scenario", "on", "knobs"}:
        raise InputError(f"{where}: a state has scenario, on and knobs, and nothing else")
    names, knobs = document["on"], document["knobs"]
    if not isinstance(document["scenario"], str):
        raise InputError(f"{where}: scenario has to be the text of a scenario file")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where}: on has to be a list of names")
    for name in names:
        if name not in catalogue():
            raise InputError(f"{where}: no optimisation {name!r}; {nearest(name, catalogue())}")
    if not isinstance(knobs, dict):
        raise InputError(f"{where}: knobs has to be a table")
    for name, turned in knobs.items():
        known = knobs_of(catalogue()[name]) if name in catalogue() else {}
        if not isinstance(turned, dict) or not set(turned) <= set(known):
            raise InputError(f"{where}: {name!r} has no such knobs")
        for knob, value in turned.items():
            if type(value) is not int or not known[knob]["low"] <= value <= known[knob]["high"]:
                raise InputError(f"{where}: {name}.{knob} = {value!r} is out of its bounds")
    return Moment(parse_scenario(document["scenario"], where), tuple(n for n in catalogue() if n in names), knobs)


def session_document(moment: Moment, past: list[Moment], notes: str) -> dict[str, Any]:
    """Everything that a session keeps."""
    return {
        "format": FORMAT, "version": __version__, "moment": moment_document(moment),
        "past": [moment_document(each) for each in past], "notes": notes,
    }  # fmt: skip


def read_session(text: str, where: str) -> tuple[Moment, list[Moment], str]:
    """(the state, those before it, notes) of a session's JSON. Raises InputError."""
    if len(text) > MOST_BYTES:
        raise InputError(f"{where}: larger than {MOST_BYTES} bytes; not a session")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{where}: not JSON; a session is what “Save session” wrote") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{where}: not a session of vdpa_lab")
    if extra := sorted(set(document) - set(KEYS)):
        raise InputError(f"{where}: unknown key {extra[0]!r}; {nearest(extra[0], KEYS)}")
    notes, past = document.get("notes", ""), document.get("past", [])
    if not isinstance(notes, str) or len(notes) > MOST_NOTES:
        raise InputError(f"{where}: notes have to be text of at most {MOST_NOTES} characters")
    if not isinstance(past, list):
        raise InputError(f"{where}: past has to be a list of states")
    moments = [read_moment(each, f"{where}, past state {number}") for number, each in enumerate(past, 1)]
    return read_moment(document.get("moment"), where), moments, notes


def save_session(path: Path, moment: Moment, past: list[Moment], notes: str) -> None:
    """Write a session, whole or not at all. Raises OSError."""
    save_text(json.dumps(session_document(moment, past, notes), indent=1, ensure_ascii=False) + "\n", path)


def token_of(moment: Moment) -> str:
    """The state as a short text that can be copied into a chat or an issue."""
    packed = zlib.compress(json.dumps(moment_document(moment), separators=(",", ":")).encode(), 9)
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_token(token: str) -> Moment:
    """The state in a token. Raises InputError."""
    token = "".join(token.split())
    if not token.startswith(PREFIX) or len(token) > MOST_TOKEN:
        raise InputError(f"not a token of vdpa_lab: it begins with {PREFIX!r} and has at most {MOST_TOKEN} characters")
    body = token[len(PREFIX) :]
    try:
        packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        unpack = zlib.decompressobj()
        text = unpack.decompress(packed, MOST_BYTES).decode()
        if unpack.unconsumed_tail or not unpack.eof:
            raise ValueError
        document = json.loads(text)
    except (ValueError, zlib.error, RecursionError):
        raise InputError("the token is damaged: copy it again, as a whole") from None
    return read_moment(document, "token")
