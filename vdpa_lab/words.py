"""Wording of errors about names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from outside: the message names the file or name, what was wrong and what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """'did you mean X?', or the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
