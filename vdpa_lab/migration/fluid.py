"""Rates that several share: max-min fair shares, and demands that share a rate as a fluid while each lasts.

A share is what a fluid gets, not packets: TCP streams of one bottleneck come near it on average. Exact in fractions;
only the instant at which a demand ends is rounded, up to the next ns.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from vdpa_lab.units import SECOND

LINK = "link"  # the migration network of a scenario (`Link.bandwidth`)


class Demand(NamedTuple):
    """`size` bytes to be carried by the rate of this name."""

    rate: str
    size: int


def max_min(capacity: int, wanted: Sequence[int | None]) -> list[Fraction]:
    """Max-min fair shares of `capacity` for those who want at most so much each (None: all they can get).

    Nobody gets more than it wants, and what one leaves is split evenly among the others.
    """
    shares = [Fraction(0)] * len(wanted)
    left, most = Fraction(capacity), [capacity if each is None else each for each in wanted]
    rest = sorted(range(len(wanted)), key=lambda i: most[i])
    for taken, i in enumerate(rest):
        shares[i] = min(Fraction(most[i]), left / (len(rest) - taken))
        left -= shares[i]
    return shares


class _Rate:
    """One rate: `served` is what each demand has had that was there from the beginning, in bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.served, self.at = capacity, Fraction(0), Fraction(0)
        self.under_way: list[tuple[Fraction, int]] = []  # what `served` is when it ends, and whose it is

    def ends(self) -> Fraction:
        """When the next demand ends, if none comes before."""
        owed = self.under_way[0][0] - self.served
        return self.at + owed * len(self.under_way) * SECOND / self.capacity

    def run(self, until: int) -> list[int]:
        """Whose demands end up to this instant."""
        done = []
        while self.under_way and (ends := self.ends()) <= until:
            self.served, self.at = self.under_way[0][0], ends
            done.append(heapq.heappop(self.under_way)[1])
        if self.under_way:
            self.served += (until - self.at) * self.capacity / (SECOND * len(self.under_way))
        self.at = Fraction(until)
        return done


class Fluid:
    """Demands of at least one byte that share rates (bytes per second by name) evenly.

    Time does not go back, and `ended` is asked before a demand begins at the same instant. `took`: ns that each ended
    demand was under way.
    """

    def __init__(self, rates: Mapping[str, int], demands: Mapping[int, Demand]) -> None:
        self.rates, self.demands = {name: _Rate(rate) for name, rate in rates.items()}, demands
        self.began: dict[int, int] = {}
        self.took: dict[int, int] = {}

    def begin(self, now: int, who: int) -> None:
        """The demand of `who` starts."""
        demand = self.demands[who]
        rate = self.rates[demand.rate]
        rate.run(now)
        heapq.heappush(rate.under_way, (rate.served + demand.size, who))
        self.began[who] = now

    def next(self) -> int | None:
        """When the next demand ends; None when none is under way."""
        ends = [rate.ends() for rate in self.rates.values() if rate.under_way]
        return ceil(min(ends)) if ends else None

    def ended(self, now: int) -> list[int]:
        """Whose demands have ended by now, once each, in their order."""
        found = sorted(who for rate in self.rates.values() for who in rate.run(now))
        self.took.update((who, now - self.began[who]) for who in found)
        return found
