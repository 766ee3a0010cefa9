"""One simulated migration: plan, price, schedule; windows, outages, counts and where its numbers come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from vdpa_lab.library import BASES, Calibration, Cost, read_calibration
from vdpa_lab.migration.baseline import WIRE
from vdpa_lab.migration.optimization import plan as plan_of
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.schedule import price, schedule
from vdpa_lab.migration.uncertainty import interval_ns
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.timeline import WINDOWS, Part, Timeline, breakdown, intervals, window_ns
from vdpa_lab.timeline.breakdown import WAITING

SCENARIO_TIME = Cost(WIRE, 1.0, 1.0, 1.0, "ns", "derived", "scenario", "", "follows from the scenario's own rates")


@dataclass(frozen=True)
class Run:
    """A plan in time under one calibration."""

    plan: Plan
    calibration: Calibration
    timeline: Timeline

    @property
    def scenario(self) -> Scenario:
        return self.plan.scenario

    @cached_property
    def windows(self) -> dict[str, int | None]:
        """Length of each window in ns; None where this migration has none (an SVQ switch with x-svq=on)."""
        return {name: window_ns(self.timeline, name) for name in WINDOWS}

    def breakdown(self, window: str) -> tuple[Part, ...]:
        """Parts of a window; they sum to it exactly."""
        if window not in self._parts:
            self._parts[window] = breakdown(self.timeline, WINDOWS[window])
        return self._parts[window]

    def interval(self, window: str) -> tuple[float, float]:
        """Between which lengths (ns) a window lies in 90 % of the draws of its prices; see `uncertainty`."""
        if window not in self._intervals:
            self._intervals[window] = interval_ns(self.breakdown(window), self.calibration)
        return self._intervals[window]

    @cached_property
    def _intervals(self) -> dict[str, tuple[float, float]]:
        return {}

    @cached_property
    def _parts(self) -> dict[str, tuple[Part, ...]]:
        return {}

    def outages(self) -> list[dict[str, int]]:
        """Network outage of each device: blackout 1 is the SVQ switch, 2 from stop to start, 3 after a cancellation."""
        return [
            {"device": each.device, "blackout": blackout, "start_ns": each.start_ns, "ns": each.ns}
            for blackout, name in ((1, "svq_switch"), (2, "network_outage"), (3, "third_blackout"))
            for each in intervals(self.timeline, WINDOWS[name])
        ]

    def counts(self, window: str) -> dict[str, int]:
        """How often each operation begins inside the window's intervals."""
        found: Counter[str] = Counter()
        for each in intervals(self.timeline, WINDOWS[window]):
            end = each.start_ns + each.ns
            found.update(
                span.op
                for span in self.timeline.spans
                if each.start_ns <= span.start < end and span.op != "mark" and each.device in (-1, span.device)
            )
        return dict(sorted(found.items()))

    def cost(self, key: str) -> Cost:
        """The price behind a part's key."""
        return SCENARIO_TIME if key in (WIRE, WAITING) else self.calibration[key]

    def sources(self) -> list[Cost]:
        """Every price that any step of this run used."""
        keys = {term.key for span in self.timeline.spans for term in span.terms}
        return [self.cost(key) for key in sorted(keys)]

    def share_by_basis(self, window: str = "network_outage") -> dict[str, float]:
        """Which share of a window rests on which grade of number; adds up to 1."""
        totals = dict.fromkeys(BASES, 0)
        for part in self.breakdown(window):
            totals[self.cost(part.key).basis] += part.ns
        whole = sum(totals.values())
        return {basis: ns / whole if whole else 0.0 for basis, ns in totals.items()}

    def traffic(self):
        """What packets and applications see of it (`vdpa_lab.migration.traffic.traffic`)."""
        from vdpa_lab.migration.traffic import traffic  # it simulates on top of a run

        return traffic(self, self.scenario.workload.traffic)

    def rows(self) -> list[dict]:
        """The parts of every window, summed by operation, lane, device and grade."""
        rows = []
        for window in WINDOWS:
            totals: dict[tuple, int] = {}
            for part in self.breakdown(window):
                lane = part.lane
                row = (
                    part.op,
                    lane.kind if lane else "",
                    lane.side if lane else "",
                    part.device,
                    self.cost(part.key).basis,
                )
                totals[row] = totals.get(row, 0) + part.ns
            rows += [
                {"window": window, "label": op, "lane": lane, "side": side, "device": device, "ns": ns, "basis": basis}
                for (op, lane, side, device, basis), ns in totals.items()
            ]
        return rows

    def json(self, exact: bool = False) -> dict:
        """The document of `vdpa-lab simulate --json`; exact: precopy page by page."""
        run = precopy(self.scenario, exact)
        return {
            "scenario": self.scenario.name,
            "optimizations": list(self.plan.applied),
            "testbed": self.calibration.name,
            "windows": {
                **{f"{name}_ns": ns for name, ns in self.windows.items()},
                "network_outage_ns": [each["ns"] for each in self.outages()],
            },
            "outages": self.outages(),
            "breakdown": self.rows(),
            "precopy": {
                "total_ns": run.total_ns,
                "iterations": [each._asdict() for each in run.iterations],
                "transferred_bytes": run.transferred_bytes,
                "converged": run.converged,
                "model": "page by page" if exact else "in amounts",
                "syncs": run.syncs,
                "left_pages": run.left_pages,
                "throttle": run.throttle,
                "cancelled": run.cancelled,
            },
            "traffic": self.traffic().json(),
            "counts": {window: self.counts(window) for window in WINDOWS},
            "sources": [
                {
                    "key": cost.key,
                    "value": cost.in_unit(cost.value),
                    "unit": cost.unit,
                    "low": cost.in_unit(cost.low),
                    "high": cost.in_unit(cost.high),
                    "basis": cost.basis,
                    "source": cost.source,
                }
                for cost in self.sources()
            ],
            "share_by_basis": self.share_by_basis(),
        }


def simulate(
    scenario: Scenario | str,
    names: Iterable[str] | None = None,
    calibration: Calibration | None = None,
    knobs: dict[str, dict[str, int]] | None = None,
) -> Run:
    """Run a scenario with these toggles (None: its default ones) under its testbed's prices, or those given.

    scenario: one, or the name or path of one. Raises InputError when a toggle cannot apply or a price is missing.
    """
    scenario = find_scenario(scenario)
    return run_plan(plan_of(scenario, names, knobs), calibration or read_calibration(scenario.testbed))


def run_plan(plan: Plan, calibration: Calibration) -> Run:
    """Price and schedule a plan."""
    if WIRE not in calibration:
        calibration = calibration.with_costs([SCENARIO_TIME])
    return Run(plan, calibration, schedule(plan, price(plan, calibration)))
