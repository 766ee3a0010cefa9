"""Published figures: data/published/*.toml, one file a source, each number as printed and with its place.

A figure is a small table about one observable. A row has low <= value <= high in the figure's unit, the
printed text that they were read from, and the optimisations assumed for the build that was measured.
A reading is another way to read the same table. Rows without numbers are predictions: none was published.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from vdpa_lab.library.citations import Citation, bibliography
from vdpa_lab.paths import data_dir
from vdpa_lab.words import nearest

MAX_BYTES, MAX_ENTRIES, MAX_TEXT, MAX_NUMBER = 1 << 18, 64, 4000, 1e12
TIME_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # ns
UNITS = (*TIME_UNITS, "ratio", "percent", "count")
WINDOWS = (
    "svq_switch", "svq_switch_sum", "source_teardown", "destination_setup", "vm_paused", "network_outage",
)  # fmt: skip
QUANTITIES = (*WINDOWS, "call:SUSPEND", "call:RESUME", "call:DRIVER_OK", "none")
TESTBEDS = ("liu2023", "tatulea2024", "palmer2025")
USES = ("fitted", "predicted", "shown")

_NAME = re.compile(r"[VMP][1-9][0-9]?[a-z]?")
_NUMBER = re.compile(r"(\d+(?:,\d{3})*(?:\.\d+)?)\s?(k|msec|milliseconds|[mun]?s|seconds?|secs)?(?![a-wyz])")
_SPELLED = {"m": "ms", "u": "us", "n": "ns", "s": "s"}


class FigureError(ValueError):
    """A figure that cannot be used; the message names file, figure, row, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A published value, low .. high in the figure's unit (None: not published), good to `resolution`."""

    label: str
    use: str
    assumes: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    printed: str = ""
    resolution: float = 0.0
    configuration: str = ""
    locator: str = ""
    assumption: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Another reading of a figure: row label -> (low, high); rows not named stay as printed."""

    name: str
    values: tuple[tuple[str, tuple[float, float]], ...]
    quantity: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A published figure; `reference` is a key of the bibliography, `scenario` a file of data/scenarios."""

    name: str
    title: str
    quantity: str
    unit: str
    configuration: str
    reference: str
    testbed: str = ""
    scenario: str = ""
    locator: str = ""
    note: str = ""
    assumption: str = ""
    rows: tuple[Row, ...] = ()
    readings: tuple[Reading, ...] = ()

    def bounds(self, label: str, reading: str = "") -> tuple[float, float] | None:
        """Low and high of a row in the figure's unit, as printed or in `reading`; None if not published."""
        row = next(each for each in self.rows if each.label == label)
        for other in self.readings:
            if other.name == reading and label in dict(other.values):
                return dict(other.values)[label]
        return None if row.low is None or row.high is None else (row.low, row.high)

    def bounds_ns(self, label: str, reading: str = "") -> tuple[int, int] | None:
        """The same in whole nanoseconds. Raises FigureError if the unit is no time."""
        if self.unit not in TIME_UNITS:
            raise FigureError(f"figure {self.name}: the unit {self.unit!r} is no time")
        found = self.bounds(label, reading)
        return found and tuple(round(Decimal(str(value)) * TIME_UNITS[self.unit]) for value in found)


_FILE = {"reference": str, "testbed": str, "figure": list}
_TEXTS = dict.fromkeys(("configuration", "locator", "assumption"), str)
_FIGURE = _TEXTS | dict.fromkeys(("name", "title", "quantity", "unit", "scenario", "note"), str)
_FIGURE |= {"row": list, "reading": list}
_ROW = _TEXTS | dict.fromkeys(("label", "printed", "use"), str) | {"assumes": list}
_ROW |= dict.fromkeys(("low", "high", "resolution"), (int, float))
_READING = {"name": str, "quantity": str, "note": str, "values": dict}


def _one_of(value: str, known: Collection[str], what: str, where: str) -> str:
    if value not in known:
        raise FigureError(f"{where}: {what} {value!r} is not known; {nearest(value, known)}")
    return value


def _check(table: Any, known: Mapping[str, Any], required: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise FigureError(f"{where}: has to be a table")
    for key, value in table.items():
        _one_of(key, known, "key", where)
        if isinstance(value, bool) or not isinstance(value, known[key]):
            raise FigureError(f"{where}: {key} = {str(value)[:60]!r} has the wrong type")
        if isinstance(value, str) and not 0 < len(value) <= MAX_TEXT:
            raise FigureError(f"{where}: {key} has {len(value)} characters; from 1 to {MAX_TEXT} are allowed")
        if isinstance(value, (list, dict)) and len(value) > MAX_ENTRIES:
            raise FigureError(f"{where}: {key} has {len(value)} entries; at most {MAX_ENTRIES} are allowed")
        if isinstance(value, (int, float)) and not 0 <= value <= MAX_NUMBER:
            raise FigureError(f"{where}: {key} = {value} is not allowed; from 0 to {MAX_NUMBER:g}")
    if missing := [key for key in required if key not in table]:
        raise FigureError(f"{where}: lacks {', '.join(missing)}; add it")
    return table


def numbers_printed(text: str, unit: str) -> set[Decimal]:
    """Every number of a printed text in `unit`, converted if it has a unit ("10~100ms": both have)."""
    found, own = set(), ""
    for number, suffix in reversed(_NUMBER.findall(text)):
        value = Decimal(number.replace(",", "")) * (1000 if suffix == "k" else 1)
        own = _SPELLED.get(suffix[:1], own)
        found |= {value} if not suffix or suffix == "k" else set()
        if own and unit in TIME_UNITS:
            found.add(value * TIME_UNITS[own] / TIME_UNITS[unit])
    return found


def _row(table: Any, unit: str, toggles: Collection[str] | None, where: str) -> Row:
    table = _check(table, _ROW, ("label", "use", "assumes"), where)
    where = f"{where} {table['label']!r}"
    _one_of(table["use"], USES, "use", where)
    for name in table["assumes"]:
        if not isinstance(name, str) or (toggles is not None and name not in toggles):
            raise FigureError(f"{where}: no optimisation {name!r}; {nearest(str(name), toggles or ())}")
    given = [key for key in ("low", "high", "printed", "resolution") if key in table]
    if not given and table["use"] == "predicted":
        return Row(**table | {"assumes": tuple(table["assumes"])})
    if len(given) < 4:
        raise FigureError(f"{where}: give low, high, printed, resolution; or none of them if only predicted")
    if table["low"] > table["high"]:
        raise FigureError(f"{where}: low = {table['low']} is above high = {table['high']}; exchange them")
    printed = numbers_printed(table["printed"], unit)
    for key in ("low", "high"):
        if Decimal(str(table[key])) not in printed:
            raise FigureError(f"{where}: {key} = {table[key]} is not in {table['printed']!r}; copy it")
    return Row(**table | {"assumes": tuple(table["assumes"])})


def _reading(table: Any, labels: Collection[str], where: str) -> Reading:
    table = _check(table, _READING, ("name", "values"), where)
    where = f"{where} {table['name']!r}"
    if "quantity" in table:
        _one_of(table["quantity"], QUANTITIES, "quantity", where)
    values = []
    for label, pair in table["values"].items():
        _one_of(label, labels, "row", where)
        is_pair = isinstance(pair, list) and [type(each) in (int, float) for each in pair] == [True, True]
        if not is_pair or not 0 <= pair[0] <= pair[1] <= MAX_NUMBER:
            raise FigureError(f"{where}: {label!r} = {pair!r}; write [low, high] with low <= high")
        values.append((label, (pair[0], pair[1])))
    return Reading(**table | {"values": tuple(values)})


def _figure(table: Any, head: dict[str, str], toggles: Collection[str] | None, where: str) -> Figure:
    required = ("name", "title", "quantity", "unit", "configuration", "row")
    table = dict(_check(table, _FIGURE, required, where))
    where = f"{where} {table['name']!r}"
    if not _NAME.fullmatch(table["name"]):
        raise FigureError(f"{where}: write a name such as V1, V4a, M3 or P2")
    _one_of(table["quantity"], QUANTITIES, "quantity", where)
    _one_of(table["unit"], UNITS, "unit", where)
    if table["quantity"] != "none" and ("scenario" not in table or table["unit"] not in TIME_UNITS):
        raise FigureError(f"{where}: needs a scenario and a unit of time, or quantity = 'none'")
    rows = tuple(_row(each, table["unit"], toggles, f"{where}: row") for each in table.pop("row"))
    labels = [row.label for row in rows]
    if not rows or len(set(labels)) < len(labels):
        raise FigureError(f"{where}: needs at least one row, and no label twice")
    if table["quantity"] == "none" and any(row.use != "shown" for row in rows):
        raise FigureError(f"{where}: the model does not compute it: every row has to be use = 'shown'")
    readings = tuple(_reading(each, labels, f"{where}: reading") for each in table.pop("reading", ()))
    return Figure(**table, **head, rows=rows, readings=readings)


def parse_figures(
    text: str, where: str, references: Mapping[str, Citation], toggles: Collection[str] | None = None
) -> tuple[Figure, ...]:
    """The figures of one file's TOML text. `toggles`: known optimisations; None = any. Raises FigureError."""
    try:
        table = _check(tomllib.loads(text), _FILE, ("reference", "figure"), where)
    except tomllib.TOMLDecodeError as error:
        raise FigureError(f"{where}: not valid TOML: {error}") from None
    head = {key: table[key] for key in ("reference", "testbed") if key in table}
    _one_of(head["reference"], references, "reference", where)
    if "testbed" in head:
        _one_of(head["testbed"], TESTBEDS, "testbed", where)
    return tuple(_figure(each, head, toggles, f"{where}: figure") for each in table["figure"])


def read_figures(folder: str | Path | None = None, toggles: Collection[str] | None = None) -> tuple[Figure, ...]:
    """Every published figure, V before P before M, by number. Raises FigureError, OSError."""
    folder = data_dir() / "published" if folder is None else Path(folder)
    found: dict[str, Figure] = {}
    for path in sorted(folder.glob("*.toml")):
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise FigureError(f"{path}: larger than {MAX_BYTES} bytes; not a file of figures")
        try:
            figures = parse_figures(raw.decode("utf-8"), str(path), bibliography(), toggles)
        except UnicodeDecodeError:
            raise FigureError(f"{path}: not UTF-8 text; save it as UTF-8") from None
        for figure in figures:
            if figure.name in found:
                other = found[figure.name].reference
                raise FigureError(f"{path}: figure {figure.name!r} is in that of {other!r} too; rename it")
            found[figure.name] = figure
    return tuple(sorted(found.values(), key=lambda each: ("VPM".index(each.name[0]), _place(each.name))))


def _place(name: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", name)
    return int(digits), name[1 + len(digits) :]
