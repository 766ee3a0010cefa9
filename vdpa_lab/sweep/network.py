"""A plan as a small graph: steps in series that never wait for a lane become one node; the schedule stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vdpa_lab.migration.schedule import capacity
from vdpa_lab.migration.step import Step
from vdpa_lab.timeline import Lane


class Graph(NamedTuple):
    """nodes: the steps of each, in series. free: whether it never waits for its lane. after: the nodes it waits for."""

    nodes: tuple[tuple[int, ...], ...]
    free: tuple[bool, ...]
    after: tuple[tuple[int, ...], ...]


def as_it_is(steps: Sequence[Step]) -> Graph:
    """A node a step, each on its lane."""
    nodes = tuple((i,) for i in range(len(steps)))
    return Graph(nodes, (False,) * len(steps), tuple(map(tuple, predecessors(steps))))


def joined(steps: Sequence[Step]) -> Graph:
    """Chains of steps joined where that changes no start: nothing else can be on their lane, and no mark is inside."""
    before = predecessors(steps)
    chain_of, count = _chains(before)
    on_lane = _free_on_lane(steps, before, chain_of, count)
    nodes: list[list[int]] = []
    free: list[bool] = []
    open_node: dict[int, int] = {}  # chain -> the node that its next step may join
    node_of: list[int] = []
    for i, step in enumerate(steps):
        chain = chain_of[i]
        alone = on_lane[step.lane, chain]
        if alone and chain in open_node:
            node = open_node[chain]
            nodes[node].append(i)
        else:
            node = len(nodes)
            nodes.append([i])
            free.append(alone)
        node_of.append(node)
        if alone and not step.mark:
            open_node[chain] = node
        else:
            open_node.pop(chain, None)
    after = tuple(tuple(dict.fromkeys(node_of[j] for j in before[node[0]])) for node in nodes)
    return Graph(tuple(map(tuple, nodes)), tuple(free), after)


def predecessors(steps: Sequence[Step]) -> list[list[int]]:
    """The steps that each waits for, by index."""
    index = {step.name: i for i, step in enumerate(steps)}
    return [[index[name] for name in step.after] for step in steps]


def _chains(before: Sequence[Sequence[int]]) -> tuple[list[int], int]:
    """The chain of each step, and how many there are: a step whose only predecessor nothing else waits for goes on."""
    followers = [0] * len(before)
    for each in before:
        for j in each:
            followers[j] += 1
    chain_of, count = [], 0
    for each in before:
        if len(each) == 1 and followers[each[0]] == 1:
            chain_of.append(chain_of[each[0]])
        else:
            chain_of.append(count)
            count += 1
    return chain_of, count


def _free_on_lane(
    steps: Sequence[Step], before: Sequence[Sequence[int]], chain_of: Sequence[int], count: int
) -> dict[tuple[Lane, int], bool]:
    """Whether the steps of a chain on a lane are in series with all others there, so that they never meet another.

    Also true where the lane has slots for all at once. Reachability is kept as bit sets of chains.
    """
    earlier = [0] * count
    for i, each in enumerate(before):
        chain = chain_of[i]
        for j in each:
            if chain_of[j] != chain:
                earlier[chain] |= earlier[chain_of[j]] | 1 << chain_of[j]
    later = [0] * count
    for chain in range(count):
        rest = earlier[chain]
        while rest:
            low = rest & -rest
            later[low.bit_length() - 1] |= 1 << chain
            rest ^= low
    on: dict[Lane, int] = {}
    wanted: dict[Lane, int] = {}
    for step, chain in zip(steps, chain_of, strict=True):
        on[step.lane] = on.get(step.lane, 0) | 1 << chain
        wanted[step.lane] = wanted.get(step.lane, 0) + min(step.width, capacity(step.lane))
    return {
        (lane, chain): wanted[lane] <= capacity(lane) or not bits & ~(earlier[chain] | later[chain] | 1 << chain)
        for lane, bits in on.items()
        for chain in _bits(bits)
    }


def _bits(word: int):
    while word:
        low = word & -word
        yield low.bit_length() - 1
        word ^= low
