"""What each optimisation is worth: its gain averaged over the orders in which the set can be turned on.

An order is counted when at every step of it what is on can be on: a toggle never comes before what it needs. No value
is made up for a set that cannot be. So this is the Shapley value over feasible orders (U. Faigle, W. Kern, The Shapley
value for cooperative games under precedence constraints, Int. J. Game Theory 21, 1992); where nothing needs anything it
is the ordinary one. A toggle that others need gets its own gain, and theirs go to those that bring them. Gains add up
to the whole saving exactly: they are fractions of integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np

from vdpa_lab.library import Calibration
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.sweep.coalitions import Game, bits, checked_whole, chosen_toggles
from vdpa_lab.sweep.pairs import Pair, pair_met, pair_of
from vdpa_lab.words import InputError

EXACT_UP_TO = 12  # toggles: 4096 sets at most
ORDERS = 200  # sampled beyond
TRIES = 100_000  # orders drawn to find one that is feasible


class Share(NamedTuple):
    """One toggle: its average gain in ns, the standard error of that (0: exact), its gain first and last of all.

    first: alone on stock (None: it needs others). last: what is lost without it (None: others need it).
    """

    toggle: str
    ns: Fraction
    error_ns: float
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True)
class Attribution:
    """Shares of the saving from `stock_ns` to `all_ns` in a window; `exact` False: sampled, with errors.

    orders: feasible orders counted. sets: different sets simulated. pairs: all, or of a sample those that stood side by
    side in several orders. converges: precopy does with all on; else windows are those of a VM stopped all the same.
    """

    scenario: str
    window: str
    base: tuple[str, ...]
    stock_ns: int
    all_ns: int
    shares: tuple[Share, ...]
    pairs: tuple[Pair, ...]
    exact: bool
    orders: int
    sets: int
    converges: bool

    @property
    def saving_ns(self) -> int:
        return self.stock_ns - self.all_ns

    def json(self) -> dict:
        """The document of `vdpa-lab attribute --json`."""
        return {
            "scenario": self.scenario, "window": self.window, "base": list(self.base), "exact": self.exact,
            "stock_ns": self.stock_ns, "all_ns": self.all_ns, "orders": self.orders, "sets": self.sets,
            "converges": self.converges,
            "shares": [{**one._asdict(), "ns": float(one.ns), "exact_ns": str(one.ns)} for one in self.shares],
            "pairs": [{**pair._asdict(), "ns": float(pair.ns), "words": pair.words()} for pair in self.pairs],
        }  # fmt: skip


def attribute(
    scenario: Scenario | str,
    toggles: Iterable[str] | None = None,
    *,
    on: Iterable[str] | None = None,
    window: str = "network_outage",
    calibration: Calibration | None = None,
    orders: int = ORDERS,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Attribution:
    """Attribute a scenario's saving to its toggles.

    toggles: those to share among (default: all of `on`). on: what is on (default: the scenario's toggles); those of it
    that are not in `toggles` stay on throughout. Up to EXACT_UP_TO toggles are exact, more are sampled from `orders`
    feasible orders, each equally likely. progress: called with the number of sets simulated after each; what it raises
    ends the work. Raises InputError when all cannot be on at once, no order is feasible, or the migration
    has no such window.
    """
    scenario = find_scenario(scenario)
    looked_at, base = chosen_toggles(scenario, toggles, on)
    game = Game(scenario, looked_at, base, window, calibration, progress)
    for word, what in ((game.full, "all on"), (0, "all of them off")):
        if refused := game.refused(word):
            why = "; ".join(f"{name} {reason}" for name, reason in refused.items())
            raise InputError(f"with {what}: {why}; choose another set to share among")
    if not (game.ns(0) or game.ns(game.full)):
        raise InputError(f"{scenario.name} has no {window}, with or without them; choose another window")
    if len(game.toggles) <= EXACT_UP_TO:
        shares, pairs, count = _exact(game)
    else:
        checked_whole("orders", orders, 2, "orders")
        checked_whole("seed", seed, 0, "any size")
        shares, pairs, count = *_sampled(game, orders, seed), orders
    return Attribution(
        scenario.name, window, base, game.ns(0), game.ns(game.full), shares, pairs,
        len(game.toggles) <= EXACT_UP_TO, count, game.priced, game.converges(game.full),
    )  # fmt: skip


def _first_last(game: Game, i: int) -> tuple[int | None, int | None]:
    alone, without = 1 << i, game.full & ~(1 << i)
    return (
        game.ns(0) - game.ns(alone) if game.feasible(alone) else None,
        game.ns(without) - game.ns(game.full) if game.feasible(without) else None,
    )


def _exact(game: Game) -> tuple[tuple[Share, ...], tuple[Pair, ...], int]:
    count = len(game.toggles)
    up, down = _orders(game)
    total = down[0]
    if not total:
        raise InputError("these toggles need each other in a circle: there is no order to turn them on")
    passed = [word for word in up if down.get(word)]
    gains = [0] * count
    for word in passed:
        for i in range(count):
            after = word | 1 << i
            if after != word and (weight := up[word] * down.get(after, 0)):
                gains[i] += weight * (game.ns(word) - game.ns(after))
    shares = tuple(
        Share(name, Fraction(gains[i], total), 0.0, *_first_last(game, i)) for i, name in enumerate(game.toggles)
    )
    pairs = tuple(pair_of(game, up, down, passed, i, j) for i, j in combinations(range(count), 2))
    return shares, pairs, total


def _orders(game: Game) -> tuple[dict[int, int], dict[int, int]]:
    """Per set the number of feasible orders that lead up to it, and from it to all."""
    up, layer = {0: 1}, [0]
    while layer:  # one more toggle on at a time
        following: dict[int, None] = {}
        for word in layer:
            for i in bits(game.full & ~word):
                after = word | 1 << i
                if game.feasible(after):
                    up[after] = up.get(after, 0) + up[word]
                    following[after] = None
        layer = list(following)
    down = {game.full: 1} if game.full in up else {}
    for word in sorted(up, key=int.bit_count, reverse=True):
        if word != game.full:
            down[word] = sum(down.get(word | 1 << i, 0) for i in bits(game.full & ~word) if word | 1 << i in up)
    down.setdefault(0, 0)
    return up, down


def _sampled(game: Game, orders: int, seed: int) -> tuple[tuple[Share, ...], tuple[Pair, ...]]:
    """Uniform among feasible orders, by rejection; every order's gains add up to the saving, so do their averages.

    Two that stand side by side in an order are tried in the other order too, as `pair_of` does in every one.
    """
    random = np.random.default_rng(seed)
    count = len(game.toggles)
    gains = np.zeros((orders, count), object)
    met: dict[tuple[int, int], list[int]] = {}
    for number in range(orders):
        word, before, last = 0, game.ns(0), None
        for i in _feasible_order(game, random):
            if last is not None and game.feasible(turned := word & ~(1 << last) | 1 << i):
                more = game.ns(word) + game.ns(turned) - game.ns(word & turned) - game.ns(word | turned)
                met.setdefault((min(last, i), max(last, i)), []).append(more)
            word, last = word | 1 << i, i
            after = game.ns(word)
            gains[number, i], before = before - after, after
    errors = gains.astype(np.float64).std(axis=0, ddof=1) / orders**0.5
    shares = tuple(
        Share(name, Fraction(int(sum(gains[:, i])), orders), float(errors[i]), *_first_last(game, i))
        for i, name in enumerate(game.toggles)
    )
    return shares, tuple(pair_met(game, i, j, met[i, j]) for i, j in sorted(met) if len(met[i, j]) > 1)


def _feasible_order(game: Game, random: np.random.Generator) -> list[int]:
    for _ in range(TRIES):
        order, word = random.permutation(len(game.toggles)).tolist(), 0
        for i in order:
            word |= 1 << i
            if not game.feasible(word):
                break
        else:
            return order
    raise InputError(f"none of {TRIES} orders of these toggles can be carried out; choose fewer")
