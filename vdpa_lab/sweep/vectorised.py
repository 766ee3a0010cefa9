"""One plan under many price lists at once: the windows of `simulate`, to the nanosecond, in compiled loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from vdpa_lab.kernels.schedule import DONE, NONE, ODD, Network, scratch, windows_of_runs
from vdpa_lab.library import Calibration, Cost
from vdpa_lab.migration import Plan
from vdpa_lab.migration.schedule import capacity, price, schedule, sharing
from vdpa_lab.migration.simulate import SCENARIO_TIME
from vdpa_lab.sweep.network import Graph, as_it_is, joined
from vdpa_lab.timeline import WINDOWS, Term, Timeline, intervals, window_ns
from vdpa_lab.words import InputError

ABSENT = -(1 << 62)  # the length of a window that this plan does not have
LONGEST = float(1 << 61)  # ns: all steps in series stay below this, so that no sum wraps
Rounds = tuple[tuple[str, int], ...]


class _Ones(Mapping):
    """Every price is 1, so that a term's ns is the number of rounds that its price is paid."""

    def __getitem__(self, key: str) -> Cost:
        return Cost(key, 1.0, 1.0, 1.0, "ns", "derived", "unit price")

    def __iter__(self):
        return iter(())

    def __len__(self) -> int:
        return 0


def rounds_of(plan: Plan) -> list[Rounds]:
    """Per step what it pays: pairs of cost key and rounds; its duration is the sum of round(rounds * price)."""
    return [tuple((term.key, term.ns) for term in terms) for terms in price(plan, _Ones())]


class PricedPlan:
    """A plan made ready to be priced over and over.

    keys: the prices that it depends on, in the order of the columns of `windows`. names: the windows, in order.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.rounds = rounds_of(plan)
        self.keys = tuple(sorted({key for each in self.rounds for key, _ in each}))
        self.names = tuple(WINDOWS)
        self.works = tuple(dict.fromkeys(each for each in self.rounds if each))
        place = {key: i for i, key in enumerate(self.keys)}
        self._first = np.array([0, *accumulate(map(len, self.works))])[:-1]
        self._key = np.array([place[key] for each in self.works for key, _ in each], np.int64)
        self._count = np.array([count for each in self.works for _, count in each], np.float64)
        self._most = self._all_rounds()
        self._fluid = sharing(plan) is not None
        self._none: tuple[bool, ...] | None = None
        self._joined: Network | None = None
        self._plain: Network | None = None

    def values(self, calibration: Calibration) -> np.ndarray:
        """The prices in ns, float64 [keys]. Raises InputError when one is missing."""
        costs = calibration.with_costs([SCENARIO_TIME]) if SCENARIO_TIME.key not in calibration else calibration
        return np.array([costs[key].value for key in self.keys])

    def windows(self, prices: np.ndarray) -> np.ndarray:
        """Lengths in ns, int64 [runs, windows], ABSENT where the plan has no such window.

        prices: float64 [runs, keys]. Raises InputError for prices that are negative, not finite, or too large.
        """
        prices = np.ascontiguousarray(prices, np.float64)
        if not (np.isfinite(prices).all() and (prices >= 0).all()):
            raise InputError("a price has to be a number of ns that is not negative")
        if prices.size and float((prices @ self._most).max()) > LONGEST:
            raise InputError(f"with these prices a migration would take more than {LONGEST:.3g} ns")
        found = np.full((len(prices), len(self.names)), ABSENT, np.int64)
        states = np.zeros(len(prices), np.uint64)
        if not len(prices):
            return found
        if self._fluid:
            return np.array([self._one_by_one(row) for row in prices.tolist()], np.int64)
        none = self.without_time(prices[0])
        if none != self._none:
            self._none, self._joined = none, self.network(joined(self.plan.steps), none)
        windows_of_runs(self._joined, scratch(self._joined), prices, 1, found, states)
        odd = np.flatnonzero(states == ODD)
        if odd.size:
            if self._plain is None:
                self._plain = self.network(as_it_is(self.plan.steps), none)
            again, after = found[odd], states[odd]
            windows_of_runs(self._plain, scratch(self._plain), prices[odd], 0, again, after)
            found[odd], states[odd] = again, after
        if (states != DONE).any():
            raise ValueError("steps wait for each other in a circle, or for more slots than a lane has")
        return found

    def _one_by_one(self, prices: Sequence[float]) -> list[int]:
        """The windows under one price list where steps share a rate, which the kernel does not know."""
        of = dict(zip(self.keys, prices, strict=True))
        terms = [tuple(Term(key, count, round(count * of[key])) for key, count in each) for each in self.rounds]
        timeline = schedule(self.plan, terms)
        lengths = [window_ns(timeline, name) for name in self.names]
        return [ABSENT if ns is None else ns for ns in lengths]

    def under(self, calibrations: Iterable[Calibration]) -> np.ndarray:
        """The same for whole calibrations: int64 [calibrations, windows]."""
        return self.windows(np.array([self.values(each) for each in calibrations]).reshape(-1, len(self.keys)))

    def without_time(self, prices: np.ndarray) -> tuple[bool, ...]:
        """Of each work whether it takes no time at these prices."""
        if not self.works:
            return ()
        return tuple((np.add.reduceat(np.rint(self._count * prices[self._key]), self._first) == 0).tolist())

    def _all_rounds(self) -> np.ndarray:
        place, most = {key: i for i, key in enumerate(self.keys)}, np.zeros(len(self.keys))
        for each in self.rounds:
            for key, count in each:
                most[place[key]] += count + 1
        return most

    def network(self, graph: Graph, none: tuple[bool, ...]) -> Network:
        """The plan's arrays for the kernel; `none` tells of each work whether it takes no time."""
        steps, place = self.plan.steps, {key: i for i, key in enumerate(self.keys)}
        works = {each: i for i, each in enumerate(self.works)}
        terms = {term: i for i, term in enumerate(dict.fromkeys(term for each in works for term in each))}
        node_works, tails = [], []
        for node in graph.nodes:
            counts: dict[int, int] = {}
            tail = 0
            for i in node:
                each = self.rounds[i]
                tail = tail + 1 if not each or none[works[each]] else 0
                if each:
                    counts[works[each]] = counts.get(works[each], 0) + 1
            node_works.append(counts)
            tails.append(tail if len(node) > 1 else 0)  # a step of its own either takes time or it does not
        followers: list[list[int]] = [[] for _ in graph.nodes]
        for node, before in enumerate(graph.after):
            for each in before:
                followers[each].append(node)
        firsts = [steps[node[0]] for node in graph.nodes]
        lanes = {lane: i for i, lane in enumerate(dict.fromkeys(_lanes(firsts, graph.free)))}
        return Network(
            _words(place[key] for key, _ in terms),
            np.array([count for _, count in terms], np.float64),
            *_lists([[terms[term] for term in each] for each in works]),
            _words(none),
            *_lists([list(each) for each in node_works]),
            _words(times for each in node_works for times in each.values()),
            _words(len(node) for node in graph.nodes),
            _words(tails),
            _words(NONE if free else lanes[step.lane] for step, free in zip(firsts, graph.free, strict=True)),
            _words(min(step.width, capacity(step.lane)) for step in firsts),
            _words(map(len, graph.after)),
            *_lists(followers),
            _words(capacity(lane) for lane in lanes),
            *self._intervals(graph),
        )

    def _intervals(self, graph: Graph) -> tuple[np.ndarray, ...]:
        """Of each window the nodes whose ends begin and end its intervals."""
        node_of = {i: number for number, node in enumerate(graph.nodes) for i in node}
        marks = {step.mark: i for i, step in enumerate(self.plan.steps) if step.mark}
        empty = Timeline((), dict.fromkeys(marks, 0), (), marks)
        found = [[(each.begin, each.end) for each in intervals(empty, WINDOWS[name])] for name in self.names]
        at, begins = _lists([[node_of[marks[begin]] for begin, _ in each] for each in found])
        _, ends = _lists([[node_of[marks[end]] for _, end in each] for each in found])
        return at, begins, ends, _words(WINDOWS[name].combine == "sum" for name in self.names)


def _lanes(steps, free):
    return (step.lane for step, alone in zip(steps, free, strict=True) if not alone)


def _words(numbers: Iterable[int]) -> np.ndarray:
    return np.array([int(each) for each in numbers], np.uint64)


def _lists(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Where each list begins in the flat one, and the flat one."""
    return _words(accumulate(map(len, lists), initial=0)), _words(each for one in lists for each in one)
