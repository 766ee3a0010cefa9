"""Prices a plan and puts it in time: every step starts when what it waits for is done and its lane has a slot.

A lane serves steps in the order in which they become ready (plan order at the same instant); a step at the head of the
queue that wants more slots than are free blocks those behind it. Steps that demand bytes of a rate of the scenario
share it evenly while they run side by side. Deterministic, in integer nanoseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import add

from vdpa_lab.library import Calibration
from vdpa_lab.migration.account import account
from vdpa_lab.migration.ancestry import Ancestry
from vdpa_lab.migration.fluid import LINK, Fluid
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step, Work
from vdpa_lab.timeline import Lane, Span, Term, Timeline

FIRMWARE_SLOTS = 31  # mlx5_core cmd.c: 2^log_sz - 1 regular commands, log_sz 5


def price(plan: Plan, calibration: Calibration) -> list[tuple[Term, ...]]:
    """Per step the terms of its duration.

    Commands in flight share their waiting: ceil(amount / width) rounds; what the CPU does for them (`_cpu`) does not.
    """
    known: dict[tuple, tuple[Term, ...]] = {}
    result = []
    for step, (work, groups) in zip(plan.steps, account(plan), strict=True):
        cached = (work, step.width, groups)
        terms = known.get(cached)
        if terms is None:
            terms = known[cached] = _terms(work, step.width, groups, calibration)
        result.append(terms)
    return result


# Done by one at a time however many share the step: what one CPU does for firmware commands, and one tree's entries.
SERIAL = ("_cpu", "iotlb.entry", "vhost.message")


def _terms(work: Work, width: int, groups: int, calibration: Calibration) -> tuple[Term, ...]:
    terms = []
    for key, amount in work:
        if not amount:
            continue
        rounds = amount
        if width > 1 and not key.endswith(SERIAL):
            rounds = groups * -(-amount // (groups * width))
        terms.append(Term(key, amount, round(rounds * calibration[key].value)))
    return tuple(terms)


def capacity(lane: Lane) -> int:
    """Slots of a lane."""
    return FIRMWARE_SLOTS if lane.kind == "firmware" else 1


def sharing(plan: Plan) -> Fluid | None:
    """The demands of those steps that may run beside another one of the same rate; None when there are none."""
    bandwidth = plan.scenario.link.bandwidth
    rates = {LINK: bandwidth} if bandwidth else {}
    found = {i: s.demand for i, s in enumerate(plan.steps) if s.demand and s.demand.size and s.demand.rate in rates}
    if len(found) < 2:
        return None
    known = Ancestry(plan)
    shared = {
        i: demand
        for i, demand in found.items()
        if any(
            other.rate == demand.rate and i != j and not known.precedes(i, j) and not known.precedes(j, i)
            for j, other in found.items()
        )
    }
    return Fluid(rates, shared) if shared else None


def schedule(plan: Plan, terms: Sequence[tuple[Term, ...]]) -> Timeline:
    """The timeline of a priced plan."""
    of = dict(zip(Step._fields, zip(*plan.steps, strict=True), strict=True))
    index = {name: i for i, name in enumerate(of["name"])}
    durations = [each[0].ns if len(each) == 1 else sum([term.ns for term in each]) for each in terms]
    followers: list[list[int]] = [[] for _ in durations]
    for i, after in enumerate(of["after"]):
        for name in after:
            followers[index[name]].append(i)
    slots = {lane: capacity(lane) for lane in set(of["lane"])}
    widths = [min(width, slots[lane]) if width > 1 else 1 for width, lane in zip(of["width"], of["lane"], strict=True)]
    fluid = sharing(plan)
    starts, because = assign(durations, [*map(len, of["after"])], followers, of["lane"], widths, fluid)
    if fluid:
        terms = list(terms)
        for i, ns in fluid.took.items():
            durations[i], terms[i] = ns, (Term(terms[i][0].key, ns, ns),)
    ends = [*map(add, starts, durations)]
    rows = zip(of["name"], of["op"], of["lane"], of["device"], starts, ends, terms, strict=True)
    spans = tuple(map(Span._make, rows))
    marks = {mark: i for i, mark in enumerate(of["mark"]) if mark}
    return Timeline(spans, {mark: spans[i].end for mark, i in marks.items()}, tuple(because), marks)


def assign(
    durations: Sequence[int],
    waiting: list[int],
    followers: Sequence[Sequence[int]],
    lanes: Sequence[Lane],
    widths: Sequence[int],
    fluid: Fluid | None = None,
) -> tuple[list[int], list[int]]:
    """Start of each step, and the step that it waited for last (-1: none). Raises ValueError when some never start.

    fluid: how long its steps take, instead of `durations`.
    """
    count = len(durations)
    starts, ends, because = [-1] * count, [-1] * count, [-1] * count
    numbers = {lane: number for number, lane in enumerate(dict.fromkeys(lanes))}
    lane_of, free, freed_by = (
        [numbers[lane] for lane in lanes],
        [capacity(lane) for lane in numbers],
        [-1] * len(numbers),
    )
    queues: list[list[tuple[int, int]]] = [[] for _ in numbers]  # when ready, place in the plan
    ready = [i for i in range(count) if not waiting[i]]
    running: list[tuple[int, int]] = []
    now, started, freed = 0, 0, []

    def release(done: int) -> None:
        for follower in followers[done]:
            waiting[follower] -= 1
            because[follower] = done
            if not waiting[follower]:
                ready.append(follower)

    while True:
        # Most of a migration is one step after the other: then nothing else can happen before it ends.
        while len(ready) == 1 and not fluid and not any(map(queues.__getitem__, freed)):
            i = ready[0]
            lane, end = lane_of[i], now + durations[i]
            if queues[lane] or widths[i] > free[lane] or (running and running[0][0] <= end):
                break
            starts[i], ends[i], now, freed, ready = now, end, end, [], []
            freed_by[lane] = i
            started += 1
            release(i)
        for i in ready:
            heapq.heappush(queues[lane_of[i]], (now, i))
        for lane in (*freed, *[lane_of[i] for i in ready]):
            queue = queues[lane]
            while queue and widths[queue[0][1]] <= free[lane]:
                i = heapq.heappop(queue)[1]
                free[lane] -= widths[i]
                starts[i] = now
                if now and (because[i] < 0 or ends[because[i]] < now):
                    because[i] = freed_by[lane]
                started += 1
                if fluid and i in fluid.demands:
                    fluid.begin(now, i)
                else:
                    heapq.heappush(running, (now + durations[i], i))
        carried = fluid.next() if fluid else None
        if not running and carried is None:
            break
        now = running[0][0] if carried is None else min(carried, running[0][0]) if running else carried
        ready, freed = [], []
        for i in fluid.ended(now) if fluid else ():
            heapq.heappush(running, (now, i))
        while running and running[0][0] == now:
            _, i = heapq.heappop(running)
            ends[i] = now
            lane = lane_of[i]
            free[lane] += widths[i]
            freed.append(lane)
            freed_by[lane] = i
            release(i)
    if started < count:
        raise ValueError(f"{count - started} steps wait for each other in a circle, or for more slots than a lane has")
    return starts, because
