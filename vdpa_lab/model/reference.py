"""docs/scenario.md: every key of a scenario file, what is allowed there and what it is without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from enum import Enum

from vdpa_lab.model.record import Record
from vdpa_lab.model.scenario import Scenario

HEAD = """# The scenario file

A TOML file. `make validation` writes this page from the code, and a test keeps it so. Unknown keys are refused by name,
with the nearest known one. Every key may be left out unless its row says that it is needed.

Amounts carry their unit in the file (`"128GiB"`, `"300ms"`, `"10GiB/s"`). The notes below speak of what the lab counts
in, bytes and nanoseconds, and of None where a key is left out or a limit is `"unlimited"`. `data/scenarios` has
examples; `vdpa-lab scenario RUN --out mine.toml` makes one of a recorded run.
"""


def scenario_text() -> str:
    """The page as Markdown."""
    return HEAD + "".join(_table(Scenario, "", "At the top"))


def _table(record: type[Record], name: str, title: str) -> Iterator[str]:
    yield f"\n## {title}\n\n{_notes(record)}\n\n| key | allowed | left out |\n| --- | --- | --- |\n"
    inner: list[tuple[type[Record], str, str]] = []
    for each in fields(record):
        kind = each.metadata["kind"]
        path = f"{name}.{each.name}" if name else each.name
        allowed, default = kind.allowed, each.default
        if kind.record is not None:
            title = f"`[[{path}]]`" if kind.many else f"`[{path}]`"
            if kind.record.ROW:
                title = f"`{path}`, a list of rows"
            inner.append((kind.record, path, title))
            allowed = f"see {title}"
        known = default is not MISSING and kind.record is None and kind.accepts(default)
        without = "needed" if default is MISSING else "–"
        if known and default is not None and default != () and not isinstance(default, Enum):
            without = f"`{kind.write(default)}`"
        yield f"| `{each.name}` | {allowed.replace('|', chr(92) + '|')} | {without} |\n"
    for each in inner:
        yield from _table(*each)


def _notes(record: type[Record]) -> str:
    """The words of the code, without what it raises."""
    said = " ".join((record.__doc__ or "").split())
    return re.sub(r" ?Raises \w+\.", "", said)
