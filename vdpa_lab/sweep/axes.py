"""What a sweep can vary, by name: scenario keys, optimisations, their knobs, and factors on prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import inf, isfinite, log
from typing import Any

from vdpa_lab.library import read_calibration
from vdpa_lab.migration import catalogue
from vdpa_lab.migration.optimization import knobs_of, known
from vdpa_lab.model import Scenario
from vdpa_lab.model.errors import ScenarioError, shown
from vdpa_lab.model.kinds import Kind, choice, flag, words
from vdpa_lab.model.record import Record
from vdpa_lab.model.scenario_file import inline_text, read_value
from vdpa_lab.units import UnitError, bytes_text
from vdpa_lab.words import InputError, nearest

SET = "optimizations"  # an axis of whole sets; SET.NAME turns one on and off
KNOB, PRICE = "knobs", "prices"
LEFT_OUT = ("name", "description", SET)
MOST_VALUES = 100_000
LINEAR, LOG = "linear", "log"


@dataclass(frozen=True, slots=True)
class Range:
    """low .. high in base units; `count` values of it in a grid, whole numbers in steps of `step` from low."""

    low: float
    high: float
    count: int = 0
    scale: str = LINEAR
    step: float = 1

    def at(self, share: float) -> Any:
        """The value at a share of the way, 0 .. 1."""
        if self.scale == LOG:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + share * (self.high - self.low)
        if isinstance(self.low, float):
            return min(max(value, self.low), self.high)
        steps = round((value - self.low) / self.step)
        return self.low + self.step * min(steps, (self.high - self.low) // self.step)


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that is varied: its key, and its values in base units or a Range of them."""

    key: str
    values: tuple[Any, ...] | Range

    @property
    def floor(self) -> int:
        """0: a new scenario; 1: a new plan of the same scenario; 2: new prices of the same plan."""
        return {SET: 1, KNOB: 1, PRICE: 2}.get(self.key.partition(".")[0], 0)

    @property
    def count(self) -> int:
        """How many values a grid takes."""
        return self.values.count if isinstance(self.values, Range) else len(self.values)

    def of_grid(self, number: int) -> Any:
        """The grid's value of this number."""
        if isinstance(self.values, Range):
            return self.values.at(number / max(1, self.values.count - 1))
        return self.values[number]

    def at(self, share: float) -> Any:
        """The value at a share 0 <= share < 1 of the way."""
        if isinstance(self.values, Range):
            return self.values.at(share)
        return self.values[int(share * len(self.values))]

    @property
    def column(self) -> type:
        """What its column of the table holds: bool, int, float or str."""
        shown = (self.values.low,) if isinstance(self.values, Range) else tuple(map(shown_value, self.values))
        for kind in (bool, int, str):
            if all(type(value) is kind for value in shown):
                return kind
        return float


def shown_value(value: Any) -> Any:
    """A value as it stands in the table: unlimited rates are inf, lists are texts joined by +."""
    if value is None:
        return inf
    return "+".join(parts_text(value)) if isinstance(value, tuple) else value


def parts_text(value: tuple[str | int | Record, ...]) -> list[str]:
    """Each part of a list as a scenario file spells it: names, sizes in bytes, tables."""
    spelled = {str: str, int: bytes_text}
    return [spelled.get(type(part), inline_text)(part) for part in value]


def scenario_kinds(cls: type[Record] = Scenario, path: str = "") -> Iterator[tuple[str, Kind]]:
    """Dotted key and kind of every value of a scenario; a list of tables is one value."""
    for each in fields(cls):
        kind = each.metadata["kind"]
        key = f"{path}{each.name}"
        if kind.record and not kind.many:
            yield from scenario_kinds(kind.record, f"{key}.")
        elif key not in LEFT_OUT:
            yield key, kind


def _numbers(low: float, high: float, unit: str, whole: bool = False) -> Kind:
    def accepts(value: object) -> bool:
        right = type(value) is int or (not whole and type(value) is float and isfinite(value))
        return right and low <= value <= high

    return Kind(f"a number from {low:g} to {high:g} {unit}", accepts, lambda raw: raw if whole else _as_float(raw))


def _as_float(raw: object) -> object:
    return float(raw) if type(raw) is int else raw


def all_kinds(testbeds: tuple[str, ...]) -> dict[str, Kind]:
    """Every key that an axis can have, with the kind of its values."""
    found = dict(scenario_kinds())
    found[SET] = words(choice(*catalogue()), len(catalogue()))
    for name, each in catalogue().items():
        found[f"{SET}.{name}"] = flag()
        for knob, about in knobs_of(each).items():
            found[f"{KNOB}.{name}.{knob}"] = _numbers(about["low"], about["high"], about["unit"], whole=True)
    for testbed in testbeds:
        for key in read_calibration(testbed):
            found[f"{PRICE}.{key}"] = _numbers(0, 1e6, "times the price")
    return found


def read_axis(key: str, raw: Any, kinds: dict[str, Kind], where: str) -> Axis:
    """The axis that a specification spells: a list of values, or a table with low and high. Raises InputError."""
    at = f"{where}: axis {key!r}"
    if key not in kinds:
        raise InputError(f"{at}: no such key; {nearest(key, kinds)}")
    kind = kinds[key]
    if isinstance(raw, dict):
        return Axis(key, _range(raw, kind, at))
    if not isinstance(raw, (list, tuple)) or not 0 < len(raw) <= MOST_VALUES:
        raise InputError(f"{at}: give a list of 1 to {MOST_VALUES} values, or a table with low and high")
    values = tuple(_value(each, kind, at) for each in raw)
    if key == SET:
        values = tuple(known(each) for each in values)
    if len(set(values)) < len(values):
        raise InputError(f"{at}: a value is given twice")
    return Axis(key, values)


def _value(raw: Any, kind: Kind, at: str) -> Any:
    try:
        if kind.many:
            return read_value(kind, raw, "value", at)
        value = kind.read(list(raw) if isinstance(raw, tuple) else raw)
    except ScenarioError as error:
        raise InputError(str(error)) from None
    except UnitError as error:
        raise InputError(f"{at}: {error}") from None
    if not kind.accepts(value):
        raise InputError(f"{at}: {shown(raw)} is not allowed; must be {kind.allowed}")
    return value


RANGE_KEYS = ("low", "high", "count", "scale", "step")


def _range(raw: dict, kind: Kind, at: str) -> Range:
    for name in raw:
        if name not in RANGE_KEYS:
            raise InputError(f"{at}: no key {name!r} of a range; {nearest(name, RANGE_KEYS)}")
    if "low" not in raw or "high" not in raw:
        raise InputError(f"{at}: a range has low and high")
    low, high = (_value(raw[name], kind, at) for name in ("low", "high"))
    if any(type(each) not in (int, float) for each in (low, high)):
        raise InputError(f"{at}: a range is of numbers; give a list of values")
    if fractions := kind.accepts(float(low)):
        low, high = float(low), float(high)
    count, scale = raw.get("count", 0), raw.get("scale", LINEAR)
    if type(count) is not int or not 0 <= count <= MOST_VALUES:
        raise InputError(f"{at}: count = {count!r}; a whole number up to {MOST_VALUES}")
    if scale not in (LINEAR, LOG) or (scale == LOG and low <= 0):
        raise InputError(f"{at}: scale = {scale!r}; {LINEAR!r}, or {LOG!r} where low is above 0")
    if not low < high or (scale == LOG and not isfinite(log(high / low))):
        raise InputError(f"{at}: low has to be below high")
    if fractions and "step" in raw:
        raise InputError(f"{at}: step is for whole numbers; leave it out, or give a list of values")
    step = _step(raw["step"], kind, at) if "step" in raw else 1
    if not fractions and (type(step) is not int or step < 1 or not kind.accepts(low + min(step, high - low))):
        raise InputError(f"{at}: in steps of {step!r} from low not every value is {kind.allowed}; give another step")
    found = Axis("", Range(low, high, count, scale, step))
    different = len({found.of_grid(number) for number in range(count)})
    if different < count:
        raise InputError(f"{at}: count = {count}, but {different} of these values are different; ask for fewer")
    return found.values


def _step(raw: Any, kind: Kind, at: str) -> Any:
    try:
        return kind.read(raw)
    except UnitError as error:
        raise InputError(f"{at}: step: {error}") from None
