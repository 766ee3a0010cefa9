"""The scheduler against its witness, and what a price and a width do to a duration."""

import random

import pytest
from witness import Job, run

from vdpa_lab.library import Calibration, Cost
from vdpa_lab.migration import Plan, Step, simulate
from vdpa_lab.migration.account import account
from vdpa_lab.migration.schedule import assign, capacity, price, schedule
from vdpa_lab.model import find_scenario, scenario_names
from vdpa_lab.timeline import Lane, Term

KINDS = ("bql", "kernel", "firmware", "link", "worker")


def random_jobs(seed):
    """A random DAG: few lanes, many ties, zero durations; on the firmware lane steps of several slots."""
    rng = random.Random(seed)
    lanes = [Lane(side, kind) for side in ("source", "destination") for kind in rng.sample(KINDS, 3)]
    durations = rng.choice([(0, 1), (0, 1, 2, 5), (3,), tuple(range(20))])
    jobs = []
    for number in range(rng.randrange(1, 60)):
        lane = rng.choice(lanes)
        after = rng.sample(range(number), min(number, rng.choice((0, 1, 1, 2, 4))))
        width = rng.choice((1, 2, 15, 16, 31)) if lane.kind == "firmware" else 1
        jobs.append(Job(rng.choice(durations), tuple(sorted(after)), lane, width))
    return jobs


def as_plan(jobs, scenario):
    names = [f"step {number}" for number in range(len(jobs))]
    steps = tuple(
        Step(name, "op", job.lane, -1, "precopy", "", tuple(names[i] for i in job.after), width=job.width)
        for name, job in zip(names, jobs, strict=True)
    )
    return Plan(scenario, steps), [(Term("time", 1, job.ns),) if job.ns else () for job in jobs]


@pytest.mark.parametrize("seed", range(200))
def test_the_witness_tells_the_same_times(seed):
    jobs = random_jobs(seed)
    timeline = schedule(*as_plan(jobs, find_scenario("sim-256-1d")))
    assert [(span.start, span.end) for span in timeline.spans] == run(jobs, capacity)


@pytest.mark.parametrize("name", scenario_names())
def test_the_witness_tells_the_same_of_presets(name):
    ran = simulate(find_scenario(name))
    numbers = {step.name: number for number, step in enumerate(ran.plan)}
    jobs = [
        Job(
            span.ns,
            tuple(numbers[each] for each in step.after),
            step.lane,
            min(step.width, capacity(step.lane)),
        )
        for step, span in zip(ran.plan, ran.timeline.spans, strict=True)
    ]
    assert [(span.start, span.end) for span in ran.timeline.spans] == run(jobs, capacity)


def test_the_witness_can_tell_a_difference():
    narrow = [Job(5, (), "lane", 1), Job(5, (), "lane", 1)]
    assert run(narrow, lambda lane: 1) == [(0, 5), (5, 10)]
    assert run(narrow, lambda lane: 2) == [(0, 5), (0, 5)]


def test_the_head_of_the_queue_blocks_those_behind_it():
    jobs = [Job(10, (), "lane", 2), Job(1, (), "lane", 3), Job(1, (), "lane", 1)]
    assert run(jobs, lambda lane: 3) == [(0, 10), (10, 11), (11, 12)]
    starts, because = assign([10, 1, 1], [0, 0, 0], [[], [], []], [Lane("source", "firmware")] * 3, [30, 31, 1])
    assert starts == [0, 10, 11]
    assert because == [-1, 0, 1]


def test_what_became_ready_first_goes_first():
    """Number 3 is ready at 1, number 2 only at 2: it has to wait, though it stands before the other."""
    busy, other = Lane("source", "bql"), Lane("source", "link")
    jobs = [Job(1, (), other), Job(2, (), busy), Job(5, (1,), busy), Job(5, (0,), busy)]
    timeline = schedule(*as_plan(jobs, find_scenario("sim-256-1d")))
    assert [span.start for span in timeline.spans] == [0, 0, 7, 2] == [start for start, _ in run(jobs, capacity)]


def test_a_tie_goes_by_the_order_of_the_plan():
    one, other = Lane("source", "bql"), Lane("source", "link")
    jobs = [Job(4, (), other), Job(4, (), one), Job(7, (0,), one), Job(9, (1,), one)]
    timeline = schedule(*as_plan(jobs, find_scenario("sim-256-1d")))
    assert [span.start for span in timeline.spans] == [0, 0, 4, 11]


def test_a_circle_or_a_step_that_is_too_wide_is_refused():
    lane = Lane("source", "bql")
    with pytest.raises(ValueError, match="2 steps wait for each other in a circle"):
        assign([1, 1], [1, 1], [[1], [0]], [lane, lane], [1, 1])
    with pytest.raises(ValueError, match="more slots than a lane has"):
        assign([1], [0], [[]], [lane], [2])


def test_each_span_names_what_it_waited_for():
    """The cause of a start ends exactly then: on that the breakdown of a window rests."""
    for name in ("talk", "sim-256-2d", "tatulea2024vq"):
        timeline = simulate(find_scenario(name)).timeline
        for span, cause in zip(timeline.spans, timeline.waited_for, strict=True):
            assert span.start == (timeline.spans[cause].end if cause >= 0 else 0), span


@pytest.mark.parametrize("commands", [1, 2, 15, 16, 17, 31, 32, 100, 264])
@pytest.mark.parametrize("width", [1, 2, 16, 31])
def test_a_wide_step_takes_as_long_as_its_commands_on_as_many_slots(commands, width):
    lane, each = Lane("source", "firmware", 0), 7
    cost = Cost("mlx5.command", float(each), float(each), float(each), "ns", "guess", "test")
    step = Step("step", "MODIFY_VQ", lane, 0, "stop", "", (), (("mlx5.command", commands),), width)
    one = Plan(find_scenario("talk"), (step,))
    timeline = schedule(one, price(one, Calibration("test", [cost])))
    jobs = [Job(each, (), lane)] * commands
    assert timeline.spans[0].end == max(end for _, end in run(jobs, lambda lane: width))


def test_what_the_processor_does_is_not_shared_out():
    costs = [Cost(key, 10.0, 10.0, 10.0, "ns", "guess", "test") for key in ("x", "x_cpu")]
    step = Step("s", "op", Lane("source", "firmware", 0), 0, "stop", "", (), (("x", 100), ("x_cpu", 100)), 31)
    terms = price(Plan(find_scenario("talk"), (step,)), Calibration("test", costs))
    assert terms == [(Term("x", 100, 40), Term("x_cpu", 100, 1000))]


def test_a_caller_that_waits_between_groups_gets_less_out_of_width():
    """A ring area of two pages is mapped in two rebuilds; the keys of one overlap, those of both do not."""
    ran = simulate(find_scenario("talk"), ("suspend", "parallel-mkey"))
    price_of_one = ran.calibration["mlx5.mkey_create"].value
    found = 0
    for step, (work, groups), span in zip(ran.plan, account(ran.plan), ran.timeline.spans, strict=True):
        if step.op == "CREATE_MKEY" and groups == 2 and step.caller == "vhost_vdpa_svq_map_rings":
            assert dict(work)["mlx5.mkey_create"] <= 2 * step.width
            waited = next(term for term in span.terms if term.key == "mlx5.mkey_create")
            assert waited.ns == round(2 * price_of_one)
            found += 1
    assert found == 8  # the driver areas of four data virtqueues, on two devices


def test_terms_add_up_to_the_span():
    for name in ("talk", "sim-256-1d"):
        for span in simulate(find_scenario(name)).timeline.spans:
            assert sum(term.ns for term in span.terms) == span.ns
