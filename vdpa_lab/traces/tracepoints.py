"""data/tracepoints.toml as patterns: which trace events are read, what their arguments are, what they stand for."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache

from vdpa_lab.paths import data_dir
from vdpa_lab.timeline.spans import LANES
from vdpa_lab.words import InputError

# At most 64 bits: longer numbers are no number that QEMU prints.
_KINDS = {"n": r"-?[0-9]{1,20}|0x[0-9a-fA-F]{1,16}|\(nil\)", "w": r"\S{1,300}?", "t": r".{0,2000}?"}
_HOLE = re.compile(r"\{(\w*)(?::(\w))?\}")
AT = ("", "before", "after", "stream")


@dataclass(frozen=True)
class Tracepoint:
    """One line of data/tracepoints.toml; its keys are described there."""

    name: str
    shapes: tuple[re.Pattern[str], ...]
    numbers: frozenset[str]
    op: str = ""
    at: str = ""
    lane: str = ""
    took: str = ""
    opens: str = ""
    closes: str = ""
    mark: str = ""
    side: str = ""
    when: dict[str, int] = field(default_factory=dict)
    counter: str = ""
    value: str = ""
    scale: int = 1

    def fields(self, arguments: str) -> dict[str, int | str] | None:
        """The arguments by name; None where they have another shape."""
        for shape in self.shapes:
            if match := shape.fullmatch(arguments):
                return {
                    name: _number(text) if name in self.numbers else text for name, text in match.groupdict().items()
                }
        return None


def _number(text: str) -> int:
    return 0 if text == "(nil)" else int(text, 16) if text.startswith("0x") else int(text)


def _pattern(shape: str) -> tuple[re.Pattern[str], set[str]]:
    """A shape as a regular expression, and the names of its numbers."""
    parts, numbers, at = [], set(), 0
    for hole in _HOLE.finditer(shape):
        kind = hole[2] or "n"
        name = f"?P<{hole[1]}>" if hole[1] else "?:"
        parts += [re.escape(shape[at : hole.start()]), f"({name}{_KINDS[kind]})"]
        if kind == "n":
            numbers.add(hole[1])
        at = hole.end()
    return re.compile("".join(parts) + re.escape(shape[at:])), numbers


@cache
def tracepoints() -> dict[str, Tracepoint]:
    """Every event that is read, by name. Raises InputError when the file is not what its head says."""
    path = data_dir() / "tracepoints.toml"
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
        found = {}
        for name, given in raw.items():
            shapes = given.pop("shape")
            pairs = [_pattern(each) for each in ([shapes] if isinstance(shapes, str) else shapes)]
            numbers = frozenset(number for _, some in pairs for number in some)
            found[name] = Tracepoint(name, tuple(pattern for pattern, _ in pairs), numbers, **given)
            if found[name].at not in AT or found[name].lane not in ("", *LANES):
                raise ValueError(f"{name}: at is one of {', '.join(AT[1:])}, lane one of {', '.join(LANES)}")
    except (OSError, ValueError, KeyError, TypeError, re.error) as error:
        raise InputError(f"{path.name}: {error}") from error
    return found
