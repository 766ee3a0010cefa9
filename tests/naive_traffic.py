"""The slow twin of `kernels.traffic`: one heap of events, a deque a queue, a coroutine as the forwarding thread.

Of two events at one instant the earlier in this order comes first: a path changes, a descriptor becomes free or a port
idle, a packet arrives, the thread goes on.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections import Counter, deque
from dataclasses import dataclass, field

CHANGE, FREE, ARRIVE, GO_ON = range(4)
DIRECT, SHADOW, CLOSED = 0, 1, 2
NAMES = {4: "source", 5: "destination", 6: "mac", 7: "vlan", 8: "buffer"}


@dataclass
class Queue:
    """One flow: what waits, how many descriptors are taken, and what became of each packet."""

    number: int
    flow: object
    capacity: int
    vcpu: int
    waiting: deque = field(default_factory=deque)
    taken: int = 0
    port_free: int = 0
    guest_free: int = 0
    fates: list = field(default_factory=list)  # (arrival, name of the fate)
    delivered: list = field(default_factory=list)  # (arrival, delivery, descriptor free)

    @property
    def receives(self):
        return self.flow.direction == "rx"


class World:
    """Every packet of `flows` (of kind list) along `path`."""

    def __init__(self, path, flows, prices, ring, vcpus, qdisc):
        self.path, self.prices, self.ring = path, prices, ring
        self.now, self.events, self.tickets = 0, [], itertools.count()
        self.queues = [
            Queue(n, flow, ring if flow.direction == "rx" else max(1, ring - 18) + qdisc, flow.pair % vcpus)
            for n, flow in enumerate(flows)
        ]
        self.phase = [device[0] for device in path.phases]
        self.known = list(path.known or [None] * len(path.phases))
        self.asleep, self.stalls = True, self._stalls()
        for device, phases in enumerate(path.phases):
            for phase in phases[1:]:
                self.at(phase.start, CHANGE, self.change, device, phase)
        for queue in self.queues:
            for time in queue.flow.times:
                self.at(time, ARRIVE, self.arrive, queue)
        self.thread = self._thread()
        next(self.thread)

    def at(self, time, rank, call, *args):
        if time < self.path.horizon or rank != ARRIVE:
            heapq.heappush(self.events, (time, rank, next(self.tickets), call, args))

    def run(self):
        while self.events and self.events[0][0] < self.path.horizon:
            self.now, _, _, call, args = heapq.heappop(self.events)
            call(*args)
        return self

    def _stalls(self):
        found = {}
        for device, begin, end, released in self.path.switches:
            for queue in self.queues:
                if queue.flow.device == device and not queue.receives:
                    kicks = [t for t in queue.flow.times if begin <= t < end]
                    if kicks:
                        which = queue.vcpu, released
                        found[which] = min(kicks[0], found.get(which, kicks[0]))
        return found

    def mode(self, queue):
        return self.phase[queue.flow.device].mode

    def change(self, device, phase):
        self.phase[device] = phase
        for queue in self.queues:
            if queue.flow.device == device:
                if phase.mode == CLOSED and queue.receives:
                    while queue.waiting:
                        self.transfer(queue, self.now)
                self.pump(queue)
        self.wake()

    def arrive(self, queue):
        lost = self.loss(queue)
        queue.fates.append((self.now, lost or "accepted"))
        if not lost:
            queue.taken += 1
            queue.waiting.append(self.now)
            self.pump(queue)
            self.wake()

    def loss(self, queue):
        phase, full = self.phase[queue.flow.device], queue.taken >= queue.capacity
        if not queue.receives:
            asleep = self.path.paused <= self.now < self.path.resumed
            stalled = any(v == queue.vcpu and since < self.now < until for (v, until), since in self.stalls.items())
            if asleep or stalled:
                return "withheld"
            return "qdisc" if full else None
        if phase.mode == CLOSED:
            return NAMES[phase.cause]
        known = self.known[queue.flow.device]
        if phase.learns and (known is None or self.now < known):
            return "mac"
        return "buffer" if full else None

    def pump(self, queue):
        while queue.waiting and self.mode(queue) == DIRECT:
            if queue.port_free > self.now:
                self.at(queue.port_free, FREE, self.pump, queue)
                return
            self.transfer(queue, self.now)

    def transfer(self, queue, start):
        arrival = queue.waiting.popleft()
        queue.port_free = free = reached = max(start, queue.port_free) + self.prices.service
        if queue.receives:
            reached = max(reached, queue.guest_free)
            if self.path.paused <= reached < self.path.resumed:
                reached = self.path.resumed
            queue.guest_free = free = reached + self.prices.guest
        elif self.phase[queue.flow.device].learns:
            known = self.known[queue.flow.device]
            self.known[queue.flow.device] = free if known is None else min(known, free)
        queue.delivered.append((arrival, reached, free))
        self.at(free, FREE, self.release, queue)

    @staticmethod
    def release(queue):
        queue.taken -= 1

    def wake(self):
        if self.asleep and self.ready(0) is not None:
            self.asleep = False
            self.at(self.now, GO_ON, self.go_on)

    def go_on(self):
        until = next(self.thread)
        if until is None:
            self.asleep = True
        else:
            self.at(until, GO_ON, self.go_on)

    def ready(self, turn):
        order = self.queues[turn:] + self.queues[:turn]
        return next((each for each in order if each.waiting and self.mode(each) == SHADOW), None)

    def _thread(self):
        turn = 0
        yield None
        while True:
            held = [end for begin, end in self.path.holds if begin <= self.now < end]
            if held:
                yield held[0]
                continue
            queue = self.ready(turn)
            if queue is None:
                yield None
                continue
            yield self.now + self.prices.wake
            for _ in range(self.ring):
                if not (queue.waiting and self.mode(queue) == SHADOW):
                    break
                self.transfer(queue, self.now + self.prices.element)
                yield self.now + self.prices.element
            turn = (queue.number + 1) % len(self.queues)

    # What the tests compare.

    def epoch(self, queue, time):
        return bisect.bisect_right(self.path.bounds[queue.flow.device], time)

    def counts(self, queue, deadline):
        """Counter of (epoch of arrival, name)."""
        found = Counter((self.epoch(queue, time), fate) for time, fate in queue.fates)
        for arrival, reached, _ in queue.delivered:
            found[self.epoch(queue, arrival), "delivered"] += 1
            found[self.epoch(queue, arrival), "late"] += reached - arrival > deadline
        return found

    def gap(self, queue, blackout):
        """Longest pause between deliveries, of those that overlap the blackout (0: of all)."""
        times = [reached for _, reached, _ in queue.delivered]
        pauses = list(itertools.pairwise(times))
        if blackout:
            begin, end = self.path.bounds[queue.flow.device][2 * blackout - 2 : 2 * blackout]
            pauses = [(a, b) for a, b in pauses if b > begin and a < end]
        return max((b - a for a, b in pauses), default=0)
