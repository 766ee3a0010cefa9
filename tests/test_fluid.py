"""Rates that several share: by hand, against a simulation in small steps of time, and in the scheduler."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdpa_lab.library import read_calibration
from vdpa_lab.migration import Plan, Step, simulate
from vdpa_lab.migration.fluid import LINK, Demand, max_min
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.precopy_layout import page_costs, stream_share, wire_ns
from vdpa_lab.migration.schedule import schedule, sharing
from vdpa_lab.migration.simulate import SCENARIO_TIME, run_plan
from vdpa_lab.model import Dirty, Link, Traffic, Workload, find_scenario
from vdpa_lab.sweep.vectorised import ABSENT, PricedPlan
from vdpa_lab.timeline import Lane, Term
from vdpa_lab.units import GIB, SECOND

TALK = find_scenario("talk")
WIRE = SCENARIO_TIME.key


def plan_of(jobs, bandwidth):
    """Each job waits `delay` ns on a lane of its own, then carries `size` bytes."""
    steps = []
    for number, (delay, size) in enumerate(jobs):
        lane = Lane("source", "worker", number)
        steps.append(Step(f"wait {number}", "wait", lane, number, "precopy", "", (), ((WIRE, delay),)))
        work = ((WIRE, wire_ns(size, bandwidth)),)
        step = Step(f"send {number}", "send", lane, number, "precopy", "", (f"wait {number}",), work)
        steps.append(step._replace(demand=Demand(LINK, size)))
    return Plan(replace(TALK, link=Link(bandwidth)), tuple(steps))


def times(plan):
    run = schedule(plan, [tuple(Term(*each, each[1]) for each in step.work) for step in plan])
    assert all(sum(term.ns for term in span.terms) == span.ns for span in run.spans)
    return [(span.start, span.end) for span in run.spans if span.op == "send"]


def naive(jobs, bandwidth, tick):
    """Starts and ends where time goes by in steps of `tick` ns, each shared evenly by who is there at its beginning."""
    left, now, ends = {i: Fraction(size * SECOND) for i, (_, size) in enumerate(jobs)}, 0, {}
    while left:
        here = [i for i in left if jobs[i][0] <= now]
        for i in here:
            left[i] -= Fraction(bandwidth * tick, len(here))
        now += tick
        for i in here:
            if left[i] <= 0:
                ends[i] = now
                del left[i]
    return [(jobs[i][0], ends[i]) for i in range(len(jobs))]


def test_shares_by_hand():
    assert max_min(90, (None, None, None)) == [30, 30, 30]
    assert max_min(90, (None, 10, None)) == [40, 10, 40]
    assert max_min(90, (50, 10, None)) == [40, 10, 40]
    assert max_min(90, (35, 10, None)) == [35, 10, 45]
    assert max_min(90, (5, 10)) == [5, 10]
    assert max_min(90, ()) == []


@given(st.integers(1, 10**12), st.lists(st.none() | st.integers(0, 10**12), min_size=1, max_size=7))
def test_max_min_is_feasible_and_whoever_is_held_back_has_the_most(capacity, wanted):
    shares = max_min(capacity, wanted)
    assert all(0 <= got <= (capacity if want is None else want) for got, want in zip(shares, wanted, strict=True))
    assert sum(shares) <= capacity
    held = [got for got, want in zip(shares, wanted, strict=True) if want is None or got < want]
    assert not held or (sum(shares) == capacity and set(held) == {max(shares)})


def test_demands_by_hand():
    """1000 bytes/s: A of 1000 bytes from 0 s, B of 500 from 0.5 s; both have 500 left then, and end at 1.5 s."""
    assert times(plan_of([(0, 1000), (SECOND // 2, 500)], 1000)) == [
        (0, 3 * SECOND // 2),
        (SECOND // 2, 3 * SECOND // 2),
    ]
    # Three at once of 100, 200 and 300 bytes: 300 for the first, 200 more for the second, 100 more for the third.
    assert [end for _, end in times(plan_of([(0, 300), (0, 100), (0, 200)], 100))] == [
        6 * SECOND,
        3 * SECOND,
        5 * SECOND,
    ]
    # One after the other: each takes what it takes alone.
    assert times(plan_of([(0, 1000), (SECOND, 500)], 1000)) == [(0, SECOND), (SECOND, 3 * SECOND // 2)]
    assert times(plan_of([(0, 1000), (0, 0)], 1000)) == [(0, SECOND), (0, 0)]


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60)), min_size=1, max_size=6))
def test_the_scheduler_shares_as_a_simulation_in_small_steps_does(jobs):
    """All ends fall on multiples of 1/60 of a byte's time at most; the twin's step is as small."""
    rate, unit = 10**6, 1000  # a byte a 1000 ns
    jobs = [(delay * unit, size) for delay, size in jobs]
    for (start, end), (begun, ended) in zip(times(plan_of(jobs, rate)), naive(jobs, rate, 50), strict=True):
        assert start == begun
        assert abs(end - ended) <= 50 * (1 + len(jobs))


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)), min_size=1, max_size=6), st.integers(1, 10**11)
)
def test_no_byte_is_lost_and_none_is_faster_than_alone(jobs, rate):
    found = times(plan_of(jobs, rate))
    for (start, end), (_, size) in zip(found, jobs, strict=True):
        assert wire_ns(size, rate) <= end - start <= wire_ns(sum(size for _, size in jobs), rate) + 1
    # While anyone sends the rate is used up: from the first beginning to the last end of each busy stretch.
    edge, begun, carried = 0, 0, 0
    for (start, end), (_, size) in sorted(zip(found, jobs, strict=True)):
        if start >= edge and carried:
            assert abs(edge - begun - wire_ns(carried, rate)) <= 1
            carried = 0
        if not carried:
            begun = start
        edge, carried = max(edge, end), carried + size
    assert abs(edge - begun - wire_ns(carried, rate)) <= 1


def test_a_follower_and_the_lane_wait_for_the_true_end():
    plan = plan_of([(0, 1000), (0, 1000)], 1000)
    after = Step("then", "then", Lane("source", "bql"), -1, "precopy", "", ("send 0",), ((WIRE, 7),))
    same = Step("same lane", "send", Lane("source", "worker", 1), 1, "precopy", "", (), ((WIRE, 5),))
    plan = replace(plan, steps=(*plan.steps, after, same))
    run = schedule(plan, [tuple(Term(*each, each[1]) for each in step.work) for step in plan])
    spans = {span.name: span for span in run.spans}
    assert {spans["send 0"].end, spans["then"].start, spans["same lane"].start} == {2 * SECOND}
    names = [span.name for span in run.spans]
    assert names[run.waited_for[names.index("then")]] == "send 0"


def test_the_sweep_prices_a_shared_plan_as_the_scheduler_does():
    """A second stream beside the last RAM: both routes see it, and the outage grows by what it takes."""
    scenario = replace(TALK, workload=Workload(Dirty("sequential", 20_000, 4 * GIB)))
    alone = simulate(scenario)
    assert sharing(alone.plan) is None
    last = alone.plan.select(op="last RAM")[0]
    beside = last._replace(name="beside", op="beside", lane=Lane("source", "worker"), after=last.after)
    where = alone.plan.steps.index(last)
    plan = replace(alone.plan, steps=(*alone.plan.steps[:where], beside, *alone.plan.steps[where:]))
    prices = read_calibration(scenario.testbed)
    run = run_plan(plan, prices)
    shared = next(span for span in run.timeline.spans if span.op == "last RAM")
    size = last.demand.size
    assert wire_ns(2 * size, scenario.link.bandwidth) - 2 <= shared.ns <= wire_ns(2 * size, scenario.link.bandwidth)
    found = PricedPlan(plan).under([prices])[0]
    lengths = [ABSENT if ns is None else ns for ns in run.windows.values()]
    assert found.tolist() == lengths
    assert isinstance(found, np.ndarray)


def test_an_unlimited_link_is_nobodys_bottleneck():
    plan = replace(plan_of([(0, 5), (0, 6)], 1000), scenario=replace(TALK, link=Link(None)))
    assert sharing(plan) is None


def test_guest_traffic_on_the_link_takes_its_fair_share_from_precopy():
    """Of 1.25 GB/s the guest transmits 0.6, so that pages go out at 0.65; it never takes more than half."""
    traffic = Traffic(tx_pps=200_000, packet=1500)
    dirty = Dirty("sequential", 1000, GIB)
    own = replace(TALK, link=Link(1_250_000_000), workload=Workload(dirty, traffic))
    own = replace(own, migration=replace(own.migration, max_bandwidth=None), device=replace(own.device, count=2))
    shared = replace(own, link=replace(own.link, guest_traffic=True))
    assert stream_share(own) == 1_250_000_000
    assert stream_share(shared) == 650_000_000
    assert stream_share(replace(shared, workload=Workload(dirty, replace(traffic, tx_pps=10**6)))) == 625_000_000
    assert (
        stream_share(replace(shared, workload=Workload(dirty, replace(traffic, tx_pps=0, rx_pps=10**6))))
        == 1_250_000_000
    )
    assert stream_share(replace(shared, workload=Workload(dirty))) == 1_250_000_000
    assert stream_share(replace(shared, link=Link(None, guest_traffic=True))) is None
    assert page_costs(shared)[0] == wire_ns(4104, 650_000_000)
    ratio = precopy(shared).total_ns / precopy(own).total_ns
    assert ratio == pytest.approx(1250 / 650, rel=0.03)
