"""Many pricings of one plan: durations from prices, starts by the scheduler's rule, lengths of windows; no objects.

A node stands for one step, or for a chain of steps in series that never wait for a lane; a node without a lane starts
when it is ready. At one instant things happen in rounds: what ends frees its slots and makes others ready, then lanes
are looked at; a step of no duration ends in the next round. So times are pairs (ns, round), compared in that order,
and a chain of which the last k steps take no time ends in round k.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels._jit import kernel

U0, U1 = np.uint64(0), np.uint64(1)
NONE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
DONE, ODD, STUCK = 0, 1, 2  # of a run: priced; other steps take no time than was foreseen; some node never starts


class Network(NamedTuple):
    """A plan as arrays; uint64 unless said otherwise. Lists of lists are a flat one and where each begins.

    term_key, term_rounds (float64): the different products of a price and a number of rounds. work_at, work_term: the
    different sums of them, each the duration of a step; work_none: 1 where that is foreseen to be 0. node_at,
    node_work, node_times: works of each node and how often. node_steps, node_tail: how many steps it has, how many at
    its end take no time. lane (NONE: none), width, waits (for how many nodes), follow_at, follow: of each node. slots:
    of each lane. window_at, begin, end: intervals of each window between the ends of two nodes; window_sum: 1 where
    they add up, 0 where the longest counts.
    """

    term_key: np.ndarray
    term_rounds: np.ndarray
    work_at: np.ndarray
    work_term: np.ndarray
    work_none: np.ndarray
    node_at: np.ndarray
    node_work: np.ndarray
    node_times: np.ndarray
    node_steps: np.ndarray
    node_tail: np.ndarray
    lane: np.ndarray
    width: np.ndarray
    waits: np.ndarray
    follow_at: np.ndarray
    follow: np.ndarray
    slots: np.ndarray
    window_at: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    window_sum: np.ndarray


class Scratch(NamedTuple):
    """Working memory of one thread, uint64; `ends` holds each node's end after a run."""

    products: np.ndarray
    works: np.ndarray
    took: np.ndarray
    ends: np.ndarray
    waiting: np.ndarray
    ready: np.ndarray  # two halves: nodes that are ready, lanes to look at
    heap: np.ndarray  # three thirds: ns, round, node
    ready_at: np.ndarray
    behind: np.ndarray  # next in the queue of a lane
    lanes: np.ndarray  # three thirds: free slots, first and last of the queue


def scratch(net: Network) -> Scratch:
    """Working memory for `net`."""
    nodes = net.lane.size
    sizes = (net.term_key.size, net.work_none.size, nodes, nodes, nodes, 3 * nodes, 3 * nodes, nodes, nodes)
    return Scratch(*(np.zeros(size, np.uint64) for size in (*sizes, 3 * net.slots.size)))


@kernel(inline=True)
def _push(heap, third, count, ns, late, node):
    """Add (ns, late, node) to a binary heap of `count`."""
    at = count
    while at > U0:
        up = (at - U1) >> U1
        if heap[up] < ns or (heap[up] == ns and heap[third + up] <= late):
            break
        heap[at], heap[third + at] = heap[up], heap[third + up]
        heap[third + third + at] = heap[third + third + up]
        at = up
    heap[at], heap[third + at], heap[third + third + at] = ns, late, node


@kernel(inline=True)
def _pop(heap, third, count):
    """Take the first of a binary heap that has `count` left afterwards."""
    ns, late, node = heap[count], heap[third + count], heap[third + third + count]
    at = U0
    while True:
        down = at + at + U1
        if down >= count:
            break
        other = down + U1
        if other < count and (
            heap[other] < heap[down] or (heap[other] == heap[down] and heap[third + other] < heap[third + down])
        ):
            down = other
        if ns < heap[down] or (ns == heap[down] and late <= heap[third + down]):
            break
        heap[at], heap[third + at] = heap[down], heap[third + down]
        heap[third + third + at] = heap[third + third + down]
        at = down
    heap[at], heap[third + at], heap[third + third + at] = ns, late, node


@kernel(inline=True)
def _queue(lanes, count, lane, behind, ready_at, node):
    """Put a node into its lane's queue: by when it became ready, then by place in the plan."""
    first, last = count + lane, count + count + lane
    if lanes[first] == NONE:
        lanes[first] = lanes[last] = node
        behind[node] = NONE
        return
    tail = lanes[last]
    if ready_at[tail] < ready_at[node] or tail < node:  # nobody became ready later than now
        behind[tail], behind[node] = node, NONE
        lanes[last] = node
        return
    before, at = NONE, lanes[first]
    while ready_at[at] < ready_at[node] or at < node:
        before, at = at, behind[at]
    behind[node] = at
    if before == NONE:
        lanes[first] = node
    else:
        behind[before] = node


@kernel(inline=True)
def _start(net, work, running, node, ns, late):
    took = work.took[node]
    work.ends[node] = ns + took
    late = late + net.node_steps[node] if took == U0 else net.node_tail[node]
    _push(work.heap, np.uint64(net.lane.size), running, ns + took, late, node)


@kernel(inline=True)
def _assign(net, work):
    """Ends of all nodes from `took`; how many nodes ended."""
    nodes, lanes = np.uint64(net.lane.size), np.uint64(net.slots.size)
    running, ended, ready = U0, U0, U0
    for i in range(lanes):
        work.lanes[i], work.lanes[lanes + i] = net.slots[i], NONE
    for i in range(nodes):
        work.waiting[i] = net.waits[i]
        if net.waits[i] == U0:
            work.ready[ready] = i
            ready += U1
    now, late, looks = U0, U0, U0
    while True:
        for at in range(ready):
            node = work.ready[at]
            lane = net.lane[node]
            if lane == NONE:
                _start(net, work, running, node, now, late)
                running += U1
            else:
                work.ready_at[node] = now
                _queue(work.lanes, lanes, lane, work.behind, work.ready_at, node)
                work.ready[nodes + looks] = lane
                looks += U1
        for at in range(looks):
            lane = work.ready[nodes + at]
            node = work.lanes[lanes + lane]
            while node != NONE and net.width[node] <= work.lanes[lane]:
                work.lanes[lane] -= net.width[node]
                work.lanes[lanes + lane] = work.behind[node]
                _start(net, work, running, node, now, late)
                running += U1
                node = work.lanes[lanes + lane]
        if running == U0:
            return ended
        now, late, ready, looks = work.heap[U0], work.heap[nodes], U0, U0
        while running > U0 and work.heap[U0] == now and work.heap[nodes] == late:
            node = work.heap[nodes + nodes]
            running -= U1
            _pop(work.heap, nodes, running)
            ended += U1
            lane = net.lane[node]
            if lane != NONE:
                work.lanes[lane] += net.width[node]
                work.ready[nodes + looks] = lane
                looks += U1
            for each in range(net.follow_at[node], net.follow_at[node + U1]):
                after = net.follow[each]
                work.waiting[after] -= U1
                if work.waiting[after] == U0:
                    work.ready[ready] = after
                    ready += U1


@kernel(inline=True)
def _durations(net, work, prices, run):
    """`took` of every node; False when other steps take no time than was foreseen."""
    for i in range(np.uint64(net.term_key.size)):
        # float64 product, then to the even neighbour of a tie: what round(rounds * value) does
        work.products[i] = np.uint64(np.rint(net.term_rounds[i] * prices[run, net.term_key[i]]))
    foreseen = True
    for i in range(np.uint64(net.work_none.size)):
        total = U0
        for at in range(net.work_at[i], net.work_at[i + U1]):
            total += work.products[net.work_term[at]]
        work.works[i] = total
        foreseen &= (total == U0) == (net.work_none[i] == U1)
    for i in range(np.uint64(net.lane.size)):
        total = U0
        for at in range(net.node_at[i], net.node_at[i + U1]):
            total += work.works[net.node_work[at]] * net.node_times[at]
        work.took[i] = total
    return foreseen


@kernel(counted=False)
def windows_of_runs(net, work, prices, careful, windows, states):
    """Windows in ns (int64 [runs, windows]) of each row of prices (float64 [runs, keys]); states: uint64 [runs].

    A window without intervals is left as it is. careful: 1 leaves runs of state ODD unpriced, which it has to do where
    nodes are chains; 0 prices them.
    """
    for run in range(np.uint64(prices.shape[0])):
        states[run] = DONE
        if not _durations(net, work, prices, run) and careful:
            states[run] = ODD
            continue
        if _assign(net, work) < np.uint64(net.lane.size):
            states[run] = STUCK
            continue
        for w in range(np.uint64(net.window_sum.size)):
            if net.window_at[w] == net.window_at[w + U1]:
                continue
            length = np.int64(0)
            for at in range(net.window_at[w], net.window_at[w + U1]):
                ns = np.int64(work.ends[net.end[at]]) - np.int64(work.ends[net.begin[at]])
                if net.window_sum[w] == U1:
                    length += ns
                elif at == net.window_at[w] or ns > length:
                    length = ns
            windows[run, w] = length
