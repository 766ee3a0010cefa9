"""The first of several subjects against each other one: windows, then lanes and operations, the largest gap first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from vdpa_lab.beside.subjects import Subject, subjects
from vdpa_lab.migration.compare import CALLS, ratio
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.timeline.breakdown import WAITING
from vdpa_lab.units import format_duration

SHOWN = 8  # operations a window in the text; the document has all


@dataclass(frozen=True)
class Comparison:
    """Several subjects, the first being what the others are held against."""

    subjects: tuple[Subject, ...]

    @property
    def first(self) -> Subject:
        return self.subjects[0]

    @property
    def quantities(self) -> list[str]:
        """Windows, and calls of figures, that at least two subjects have; in the order of WINDOWS."""
        order = [*WINDOWS, *CALLS]
        held = {name: sum(name in each.values for each in self.subjects) for name in order}
        return [name for name in order if held[name] > 1]

    def window_rows(self) -> list[dict]:
        """A row a quantity and subject: ns, low_ns, high_ns, ratio to the nearest bound of the first that has it."""
        rows = []
        for name in self.quantities:
            having = [each for each in self.subjects if name in each.values]
            reference = having[0].values[name]
            for each in having:
                value = each.values[name]
                rows.append(
                    {
                        "quantity": name,
                        "subject": each.title,
                        "kind": each.kind,
                        "ns": value.ns,
                        "low_ns": value.low,
                        "high_ns": value.high,
                        "ratio": None if each is having[0] else ratio(value.ns, reference.low, reference.high),
                    }
                )
        return rows

    def _sums(self, subject: Subject, window: str, by: str) -> dict[tuple[str, str], int]:
        totals: dict[tuple[str, str], int] = {}
        for part in subject.parts.get(window, ()):
            lane = str(part.lane.of_all) if part.lane else WAITING
            key = (lane, part.op if by == "operation" else "")
            totals[key] = totals.get(key, 0) + part.ns
        return totals

    def part_rows(self, by: str = "operation") -> list[dict]:
        """By window and operation (or `by` lane): ns of the first and of another, the largest difference first."""
        pairs = product(self.quantities, self.subjects[1:])
        return [row for window, other in pairs for row in self.parts(window, other, by)]

    def parts(self, window: str, other: Subject, by: str = "operation") -> list[dict]:
        """The rows of one window and one other subject; none where either does not tell what it was spent on."""
        ours, theirs = self._sums(self.first, window, by), self._sums(other, window, by)
        if not ours or not theirs:
            return []
        rows = [
            {
                "window": window,
                "subject": other.title,
                "lane": lane,
                "operation": op,
                "first_ns": ours.get((lane, op), 0),
                "ns": theirs.get((lane, op), 0),
                "difference_ns": theirs.get((lane, op), 0) - ours.get((lane, op), 0),
            }
            for lane, op in {*ours, *theirs}
        ]
        return sorted(rows, key=lambda row: (-abs(row["difference_ns"]), row["lane"], row["operation"]))

    def count_rows(self) -> list[dict]:
        """By window and operation, how often it began in the first and in another; those that differ first."""
        pairs = product(self.quantities, self.subjects[1:])
        return [row for window, other in pairs for row in self.counts(window, other)]

    def counts(self, window: str, other: Subject) -> list[dict]:
        """The rows of one window and one other subject; none where either does not count."""
        ours, theirs = self.first.counts.get(window), other.counts.get(window)
        if ours is None or theirs is None:
            return []
        names = sorted({*ours, *theirs}, key=lambda op: (ours.get(op, 0) == theirs.get(op, 0), op))
        return [
            {"window": window, "subject": other.title, "operation": op,
             "first": ours.get(op, 0), "count": theirs.get(op, 0)}
            for op in names
        ]  # fmt: skip

    def words(self) -> Iterator[str]:
        """Residuals: a sentence a quantity and subject."""
        for name in self.quantities:
            reference, *others = (each for each in self.subjects if name in each.values)
            ours = reference.values[name].ns
            for other in others:
                _, low, high = other.values[name]
                theirs = format_duration(low) if low == high else f"{format_duration(low)} to {format_duration(high)}"
                said = f"{quantity_title(name)}: {reference.title} says {format_duration(ours)}, {other.title} {theirs}"
                said += f": {_off(ours, low, high)}"
                if not low <= ours <= high and (parts := self.parts(name, other, "lane")):
                    gap = format_duration(abs(parts[0]["difference_ns"]))
                    said += f"; the largest difference is {parts[0]['lane']}, {gap}"
                yield said

    def json(self) -> dict:
        """The document of `vdpa-lab compare --json`."""
        return {
            "subjects": [{"name": each.title, "kind": each.kind, "source": each.source} for each in self.subjects],
            "windows": self.window_rows(),
            "lanes": self.part_rows("lane"),
            "operations": self.part_rows(),
            "counts": self.count_rows(),
        }

    def text(self) -> Iterator[str]:
        """The report of `vdpa-lab compare`, line by line."""
        for each in self.subjects:
            yield f"{each.title}: {each.source}"
        windows = self.window_rows()
        for name in self.quantities:
            yield ""
            yield quantity_title(name)
            for row in windows:
                if row["quantity"] == name:
                    yield f"  {row['subject']:50} {_range(row)}{_against(row)}"
            for other in self.subjects[1:]:
                yield from self._window_text(name, other)

    def _window_text(self, window: str, other: Subject) -> Iterator[str]:
        lanes, parts = self.parts(window, other, "lane"), self.parts(window, other)
        counts = self.counts(window, other)
        if not lanes:
            return
        yield f"  {other.title} against {self.first.title}, the largest difference first:"
        yield from (f"    {_gap(row)}  {row['lane']}" for row in lanes)
        yield "    of which"
        yield from (f"    {_gap(row)}  {row['operation']} [{row['lane']}]" for row in parts[:SHOWN])
        if len(parts) > SHOWN:
            yield f"    ({len(parts) - SHOWN} operations omitted)"
        if counts:
            unlike = [row for row in counts if row["first"] != row["count"]]
            same = len(counts) - len(unlike)
            yield f"    {same} of {len(counts)} kinds of operation are equal in number" + (
                "; unlike:" if unlike else ""
            )
            yield from (f"      {row['operation']}: {row['first']} there, {row['count']} here" for row in unlike)


def quantity_title(name: str) -> str:
    """A window's title, or the name of a call."""
    return WINDOWS[name].title if name in WINDOWS else name


def _off(ours: int, low: int, high: int) -> str:
    """How far a length is from the nearest bound of another."""
    if low <= ours <= high:
        return "as much"
    bound = low if ours < low else high
    return f"{abs(ours - bound) / bound:.0%} {'more' if ours > bound else 'less'}"


def _range(row: dict) -> str:
    text = format_duration(row["ns"])
    if (row["low_ns"], row["high_ns"]) == (row["ns"], row["ns"]):
        return text
    return f"{text}  ({format_duration(row['low_ns'])} – {format_duration(row['high_ns'])})"


def _against(row: dict) -> str:
    return "" if row["ratio"] is None else f"   {row['ratio']:.2f} of the first"


def _gap(row: dict) -> str:
    sign = "+" if row["difference_ns"] >= 0 else "-"
    change = sign + format_duration(abs(row["difference_ns"]))
    return f"{change:>10}  ({format_duration(row['first_ns'])} -> {format_duration(row['ns'])})"


def compare(*names: str | object) -> Comparison:
    """Scenarios, recorded runs and published figures on the same axes (see `subjects`). Raises InputError."""
    return Comparison(tuple(subjects(names)))
