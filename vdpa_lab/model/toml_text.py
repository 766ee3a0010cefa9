"""TOML that anyone may have written."""

from __future__ import annotations

import re
import tomllib
from typing import Any

# tomllib notes every beginning of a dotted key, so that a key of n parts takes memory by n squared.
DEEPEST = 256
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_TOO_DEEP = re.compile(rf"""(?<![\w"'.-])(?:{_PART}){{{DEEPEST}}}""")


def toml_table(text: str) -> dict[str, Any]:
    """What `text` spells. Raises ValueError when it is not TOML, or has a name of more than DEEPEST dotted parts."""
    if found := _TOO_DEEP.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"a name of more than {DEEPEST} parts (at line {line})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
