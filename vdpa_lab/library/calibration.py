"""Prices with their sources: one CSV row a cost, a file a testbed, over the shared file `common`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vdpa_lab.paths import data_dir
from vdpa_lab.words import InputError, nearest

BASES = ("measured", "published", "derived", "fitted", "guess")
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
COLUMNS = ("key", "value", "unit", "low", "high", "basis", "source", "locator", "conditions")
COMMON = "common"  # micro-benchmarks: what a fit starts from
SHARED = "shared"  # physical prices fitted to all testbeds together
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of one unit of work: value, low and high in ns (fractions allowed), its grade and where it is from."""

    key: str
    value: float
    low: float
    high: float
    unit: str
    basis: str
    source: str
    locator: str = ""
    conditions: str = ""

    @property
    def uncertain(self) -> bool:
        """Has it an interval to vary in?"""
        return 0 < self.low < self.high

    def in_unit(self, ns: float) -> float:
        return ns / UNITS[self.unit]

    def json(self) -> dict[str, str | float]:
        """Key, value and interval in the price's own unit, unit and grade."""
        value, low, high = map(self.in_unit, (self.value, self.low, self.high))
        return {"key": self.key, "value": value, "low": low, "high": high, "unit": self.unit, "basis": self.basis}


class Calibration(Mapping[str, Cost]):
    """All prices of one testbed: key -> Cost."""

    def __init__(self, name: str, costs: Iterable[Cost]):
        self.name = name
        self._costs = {cost.key: cost for cost in costs}

    def __getitem__(self, key: str) -> Cost:
        try:
            return self._costs[key]
        except KeyError:
            raise InputError(
                f"calibration {self.name!r} has no price for {key!r}; {nearest(key, self._costs)}"
            ) from None

    def __iter__(self):
        return iter(self._costs)

    def __len__(self) -> int:
        return len(self._costs)

    def __contains__(self, key: object) -> bool:
        return key in self._costs

    def with_costs(self, costs: Iterable[Cost], name: str = "") -> Calibration:
        """These prices over the present ones."""
        return Calibration(name or self.name, {**self._costs, **{cost.key: cost for cost in costs}}.values())


def parse_costs(text: str, where: str) -> list[Cost]:
    """Rows of a calibration CSV. Raises InputError with file, line and what is wrong."""
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{where}: the first line has to be {','.join(COLUMNS)}")
    costs: dict[str, Cost] = {}
    for row in reader:
        at = f"{where}:{reader.line_num}: {row['key']!r}"
        if row["unit"] not in UNITS:
            raise InputError(f"{at}: unit {row['unit']!r}; one of {', '.join(UNITS)}")
        if row["basis"] not in BASES:
            raise InputError(f"{at}: basis {row['basis']!r}; one of {', '.join(BASES)}")
        if not row["source"]:
            raise InputError(f"{at}: a price without a source")
        try:
            value, low, high = (float(row[name]) * UNITS[row["unit"]] for name in ("value", "low", "high"))
        except (TypeError, ValueError):
            raise InputError(f"{at}: value, low and high have to be numbers") from None
        if not 0 <= low <= value <= high < float("inf"):
            raise InputError(f"{at}: 0 <= low <= value <= high does not hold")
        if row["key"] in costs:
            raise InputError(f"{at}: given twice")
        costs[row["key"]] = Cost(
            row["key"], value, low, high, row["unit"], row["basis"], row["source"], row["locator"] or "",
            row["conditions"] or "",
        )  # fmt: skip
    return list(costs.values())


def costs_text(costs: Iterable[Cost]) -> str:
    """The CSV of these prices, as `parse_costs` reads it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cost in costs:
        numbers = [f"{cost.in_unit(ns):.6g}" for ns in (cost.value, cost.low, cost.high)]
        writer.writerow(
            [
                cost.key,
                numbers[0],
                cost.unit,
                numbers[1],
                numbers[2],
                cost.basis,
                cost.source,
                cost.locator,
                cost.conditions,
            ]
        )
    return out.getvalue()


def _read(path: Path) -> list[Cost]:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes; not a calibration")
    return parse_costs(path.read_text(encoding="utf-8"), str(path))


def testbed_names() -> tuple[str, ...]:
    """Names of the calibrations that come with the package."""
    folder = data_dir() / "calibration"
    return tuple(sorted(path.stem for path in folder.glob("*.csv") if path.stem not in (COMMON, SHARED)))


@lru_cache(maxsize=1)
def priors() -> Calibration:
    """The micro-benchmarks alone."""
    return Calibration(COMMON, _read(data_dir() / "calibration" / f"{COMMON}.csv"))


@lru_cache(maxsize=32)
def read_calibration(name: str) -> Calibration:
    """The prices of a testbed (a name in data/calibration, or a CSV file) over the common ones."""
    folder = data_dir() / "calibration"
    path = folder / f"{name}.csv"
    if name not in testbed_names():
        path = Path(name)
        if not (name.endswith(".csv") and path.is_file()):
            raise InputError(f"no testbed {name!r}; {nearest(name, testbed_names())}")
    costs = Calibration(path.stem, priors().values())
    if (folder / f"{SHARED}.csv").exists():
        costs = costs.with_costs(_read(folder / f"{SHARED}.csv"))
    return costs.with_costs(_read(path), path.stem)
