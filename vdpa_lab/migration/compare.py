"""Every published value beside the model: fitted, predicted, and how much rests on a constant without mechanism."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from vdpa_lab.library import Calibration, Figure, bibliography, read_calibration, read_figures
from vdpa_lab.library.figures import Row
from vdpa_lab.migration.optimization import plan as plan_of
from vdpa_lab.migration.simulate import Run, run_plan
from vdpa_lab.migration.step import where
from vdpa_lab.migration.uncertainty import interval_ns
from vdpa_lab.model import find_scenario
from vdpa_lab.timeline import Part
from vdpa_lab.words import InputError, nearest

AS_PRINTED = "as printed"
UNEXPLAINED = "unexplained."
TOLERANCE = 1.5  # the factor within which a published value is said to be met
# One call of the kernel's vDPA operations on device 0, as the steps that do it.
CALLS = {
    "call:SUSPEND": where(path="switch", caller="vhost_vdpa_suspend", device=0),
    "call:RESUME": where(path="switch", caller="vhost_vdpa_resume", device=0),
    "call:DRIVER_OK": where(
        path="start",
        device=0,
        op={"CREATE_VQ", "DESTROY_VQ", "CREATE_STEERING", "MODIFY_VQ", "MODIFY_RQT"},
    ),
}


def quantity_parts(run: Run, quantity: str) -> tuple[Part, ...]:
    """The parts that make up a figure's quantity: a window's breakdown, or the spans of one call."""
    if quantity not in CALLS:
        return run.breakdown(quantity)
    matches = CALLS[quantity]
    return tuple(
        Part(span.op, term.key, span.lane, span.device, term.ns)
        for step, span in zip(run.plan.steps, run.timeline.spans, strict=True)
        if matches(step)
        for term in span.terms
    )


def reading_testbed(testbed: str, reading: str) -> str:
    """Name of the calibration that was fitted to another reading of a testbed's tables."""
    return testbed if reading == AS_PRINTED else f"{testbed}-{reading.replace(' ', '-')}"


@dataclass(frozen=True, slots=True)
class Observation:
    """One published value under one reading, and how to simulate it; low and high in ns, None if none was published."""

    figure: Figure
    row: Row
    reading: str
    quantity: str
    low: int | None
    high: int | None

    @property
    def testbed(self) -> str:
        return self.figure.testbed or find_scenario(self.figure.scenario).testbed

    def run(self, calibration: Calibration | None = None) -> Run:
        """The row simulated; by default with the prices fitted to its own reading."""
        plan = observed_plan(self.figure.scenario, self.row.assumes)
        return run_plan(plan, calibration or read_calibration(reading_testbed(self.testbed, self.reading)))

    def resolution_ns(self) -> float:
        """Half a unit of the last printed digit."""
        one = self.figure.bounds_ns(self.row.label) if self.row.low else None
        return self.row.resolution * (one[0] / self.row.low) if one else 0.0


@lru_cache(maxsize=128)
def observed_plan(scenario: str, names: tuple[str, ...]):
    """The plan of a published row's scenario and assumed toggles."""
    return plan_of(find_scenario(scenario), names)


def observations(names: Iterable[str] = ()) -> Iterator[Observation]:
    """Every row of the named figures (default: all), in each reading. Raises InputError for an unknown name."""
    figures = {figure.name: figure for figure in read_figures()}
    for name in names:
        if name not in figures:
            raise InputError(f"no figure {name!r}; {nearest(name, figures)}")
    for name in names or figures:
        figure = figures[name]
        for reading in ("", *(each.name for each in figure.readings)):
            quantity = next((r.quantity for r in figure.readings if r.name == reading and r.quantity), figure.quantity)
            for row in figure.rows:
                bounds = figure.bounds_ns(row.label, reading) if figure.quantity != "none" else None
                low, high = bounds or (None, None)
                yield Observation(figure, row, reading or AS_PRINTED, quantity, low, high)


def ratio(simulated: float, low: float, high: float) -> float:
    """Simulated over the nearest published bound; 1.0 inside."""
    if low <= simulated <= high:
        return 1.0
    bound = low if simulated < low else high
    return simulated / bound if bound else float("inf")


def met(ratio: float) -> bool:
    """Does a simulated value count as meeting the published one?"""
    return 1 / TOLERANCE <= ratio <= TOLERANCE


def printed(row: dict) -> str:
    """The published value or range of a row of `compare_figures`; "" where none was published."""
    return "–".join(f"{value:g}" for value in dict.fromkeys(row["published"] or ()))


def compare_figures(names: Iterable[str] = (), calibration: Calibration | None = None) -> list[dict]:
    """The rows of `vdpa-lab figures`: published beside simulated (None where the model does not compute it)."""
    rows = []
    for each in observations(tuple(names)):
        computed = each.quantity != "none" and each.row.use != "shown"
        run = each.run(calibration) if computed else None
        parts = quantity_parts(run, each.quantity) if run else ()
        ns = sum(part.ns for part in parts)
        constant = sum(part.ns for part in parts if part.key.startswith(UNEXPLAINED))
        unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}.get(each.figure.unit, 1)
        published = each.figure.bounds(each.row.label, each.reading)
        rows.append(
            {
                "figure": each.figure.name,
                "title": each.figure.title,
                "row": each.row.label,
                "quantity": each.quantity,
                "unit": each.figure.unit,
                "published": list(published) if published else None,
                "simulated": ns / unit if computed else None,
                "ratio": ratio(ns, each.low, each.high) if computed and each.low is not None else None,
                "use": each.row.use,
                "reading": each.reading,
                "assumes": list(each.row.assumes),
                "interval": [bound / unit for bound in interval_ns(parts, run.calibration)] if computed else None,
                "residual_constant": constant / ns if ns else 0.0,
                "resolution": each.row.resolution,
                "testbed": each.figure.testbed,
                "scenario": each.figure.scenario,
                "source": str(bibliography()[each.figure.reference]),
                "note": each.figure.note,
            }
        )
    return rows
