"""The scheduler's rule told a second time, with SimPy: an independent witness that shares no code with it.

A step is ready when all that it waits for is done. A lane has slots; it serves ready steps by the time at
which they became ready, in the order of the plan where that is the same; one that wants more slots than are
free holds up those behind it. What takes no time is done at once, and what it sets free is looked at last of
all that is due at that instant.
"""

import heapq
from typing import NamedTuple

import simpy

LATE = 2  # SimPy's priorities are 0 and 1: looked at when all else of this instant has happened


class Job(NamedTuple):
    """A step: how long it takes, the numbers of those it waits for, its lane, the slots that it takes."""

    ns: int
    after: tuple[int, ...]
    lane: object
    width: int = 1


class Lane:
    def __init__(self, slots):
        self.free, self.queue = slots, []


def run(jobs, slots):
    """Start and end of each job, where `slots(lane)` says how many a lane has."""
    env = simpy.Environment()
    lanes = {job.lane: Lane(slots(job.lane)) for job in jobs}
    admitted, done = [env.event() for _ in jobs], [env.event() for _ in jobs]
    times = [None] * len(jobs)

    def look(_event):
        for lane in lanes.values():
            while lane.queue and jobs[lane.queue[0][1]].width <= lane.free:
                _, number = heapq.heappop(lane.queue)
                lane.free -= jobs[number].width
                admitted[number].succeed()

    def look_later():
        event = simpy.Event(env)
        event._ok, event._value = True, None
        event.callbacks.append(look)
        env.schedule(event, priority=LATE)

    def carry_out(number):
        job = jobs[number]
        yield env.all_of([done[each] for each in job.after])
        heapq.heappush(lanes[job.lane].queue, (env.now, number))
        look_later()
        yield admitted[number]
        start = env.now
        yield env.timeout(job.ns)
        times[number] = (start, env.now)
        lanes[job.lane].free += job.width
        look_later()
        done[number].succeed()

    for number in range(len(jobs)):
        env.process(carry_out(number))
    env.run()
    return times
