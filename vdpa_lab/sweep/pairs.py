"""Two toggles: what both together gain beyond each."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from vdpa_lab.sweep.coalitions import Game
from vdpa_lab.units import format_duration

NEEDS, TOGETHER, IN_EACH_OTHERS_WAY, INDEPENDENT = "needs", "gain together", "overlap", "independent"


class Pair(NamedTuple):
    """Two toggles: gain of both minus the gains of each, averaged over the sets in which all can be tried; ns.

    kind: "needs" (one cannot be without the other; ns is 0), "gain together", "overlap", or "independent" (0 over each
    of those sets). alone, other and both: gains on stock, where that can be. error: standard error of ns (0: exact).
    """

    first: str
    second: str
    ns: Fraction
    kind: str
    alone_ns: int | None
    other_ns: int | None
    both_ns: int | None
    error_ns: float = 0.0

    def words(self) -> str:
        """The pair in a sentence."""
        if self.kind == NEEDS:
            return f"{self.first} and {self.second}: one needs the other"
        if self.kind == INDEPENDENT:
            return f"{self.first} and {self.second}: independent"
        size = format_duration(abs(float(self.ns)))
        if self.error_ns:
            size += f" ± {format_duration(self.error_ns)}"
        if self.kind == IN_EACH_OTHERS_WAY:
            return f"{self.first} and {self.second} overlap: together {size} less than the sum of both"
        neither = self.alone_ns == self.other_ns == 0 and self.both_ns
        tail = "what neither gains alone" if neither else "more than the sum of both"
        return f"{self.first} and {self.second} together gain {size} {tail}"


def pair_of(game: Game, up: dict[int, int], down: dict[int, int], passed: list[int], i: int, j: int) -> Pair:
    one, other = 1 << i, 1 << j
    both = one | other
    found, weights, meet = 0, 0, False
    for word in passed:
        if word & both or not all(game.feasible(word | each) for each in (one, other, both)):
            continue
        weight = up[word] * down.get(word | both, 0)
        if weight:
            more = game.ns(word | one) + game.ns(word | other) - game.ns(word) - game.ns(word | both)
            weights, found, meet = weights + weight, found + weight * more, meet or more != 0
    ns = Fraction(found, weights) if weights else Fraction(0)
    kind = NEEDS if not weights else INDEPENDENT if not meet else TOGETHER if ns > 0 else IN_EACH_OTHERS_WAY
    return Pair(game.toggles[i], game.toggles[j], ns, kind, *_on_stock(game, i, j))


def _on_stock(game: Game, i: int, j: int) -> list[int | None]:
    """What each of two gains alone, and both together; None where that cannot be."""
    words = (1 << i, 1 << j, 1 << i | 1 << j)
    return [game.ns(0) - game.ns(each) if game.feasible(each) else None for each in words]


def pair_met(game: Game, i: int, j: int, seen: list[int]) -> Pair:
    """Two toggles, by what both together gained beyond each in several orders."""
    ns, error = Fraction(sum(seen), len(seen)), float(np.std(np.array(seen, float), ddof=1)) / len(seen) ** 0.5
    kind = INDEPENDENT if not any(seen) else TOGETHER if ns > 0 else IN_EACH_OTHERS_WAY
    return Pair(game.toggles[i], game.toggles[j], ns, kind, *_on_stock(game, i, j), error)
