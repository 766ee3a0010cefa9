"""The first of several subjects against each other one: windows, then lanes and operations, the largest gap first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vdpa_lab.beside.subjects import Subject, subjects
from vdpa_lab.migration.compare import CALLS, ratio
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.timeline.spans import LANES
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
            lane = f"{part.lane.side} {LANES[part.lane.kind]}" if part.lane else "(waiting)"
            key = (lane, part.op if by == "operation" else "")
            totals[key] = totals.get(key, 0) + part.ns
        return totals

    def part_rows(self, by: str = "operation") -> list[dict]:
        """By window and operation (or `by` lane): ns of the first and of another, the largest difference first."""
        rows = []
        for window in self.quantities:
            ours = self._sums(self.first, window, by)
            for other in self.subjects[1:]:
                theirs = self._sums(other, window, by)
                if not ours or not theirs:
                    continue
                keys = sorted({*ours, *theirs}, key=lambda key: (-abs(theirs.get(key, 0) - ours.get(key, 0)), key))
                rows += [
                    {
                        "window": window,
                        "subject": other.title,
                        "lane": lane,
                        "operation": op,
                        "first_ns": ours.get((lane, op), 0),
                        "ns": theirs.get((lane, op), 0),
                        "difference_ns": theirs.get((lane, op), 0) - ours.get((lane, op), 0),
                    }
                    for lane, op in keys
                ]
        return rows

    def count_rows(self) -> list[dict]:
        """By window and operation, how often it began in the first and in another; those that differ first."""
        rows = []
        for window in self.quantities:
            for other in self.subjects[1:]:
                ours, theirs = self.first.counts.get(window), other.counts.get(window)
                if ours is None or theirs is None:
                    continue
                names = sorted({*ours, *theirs}, key=lambda op: (ours.get(op, 0) == theirs.get(op, 0), op))
                rows += [
                    {"window": window, "subject": other.title, "operation": op,
                     "first": ours.get(op, 0), "count": theirs.get(op, 0)}
                    for op in names
                ]  # fmt: skip
        return rows

    def words(self) -> Iterator[str]:
        """Residuals: a sentence a quantity and subject."""
        for row in self.window_rows():
            if row["ratio"] is None:
                continue
            name, low, high = row["quantity"], row["low_ns"], row["high_ns"]
            title = WINDOWS[name].title if name in WINDOWS else name
            reference = next(each for each in self.subjects if name in each.values)
            ours = reference.values[name].ns
            theirs = format_duration(low) if low == high else f"{format_duration(low)} to {format_duration(high)}"
            bound = min(max(ours, low), high)
            off = (
                "as much" if bound == ours else f"{abs(ours - bound) / bound:.0%} {'more' if ours > bound else 'less'}"
            )
            said = f"{title}: {reference.title} says {format_duration(ours)}, {row['subject']} {theirs}: {off}"
            largest = next(
                (p for p in self.part_rows("lane") if (p["window"], p["subject"]) == (name, row["subject"])), None
            )
            if largest and bound != ours:
                gap = format_duration(abs(largest["difference_ns"]))
                said += f"; the largest difference is {largest['lane']}, {gap}"
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
        for name in self.quantities:
            yield ""
            title = WINDOWS[name].title if name in WINDOWS else name
            yield f"{title}"
            for row in self.window_rows():
                if row["quantity"] == name:
                    yield f"  {row['subject']:50} {_range(row)}{_against(row)}"
            for other in self.subjects[1:]:
                yield from self._window_text(name, other)

    def _window_text(self, window: str, other: Subject) -> Iterator[str]:
        lanes = [row for row in self.part_rows("lane") if (row["window"], row["subject"]) == (window, other.title)]
        parts = [row for row in self.part_rows() if (row["window"], row["subject"]) == (window, other.title)]
        counts = [row for row in self.count_rows() if (row["window"], row["subject"]) == (window, other.title)]
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
    given: Iterable = names
    return Comparison(tuple(subjects(given)))
