"""A question from the other end: the fewest optimisations that meet a target."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

from vdpa_lab.library import Calibration
from vdpa_lab.migration import catalogue
from vdpa_lab.migration.optimization import known
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.sweep.coalitions import Game, checked_whole, no_window
from vdpa_lab.words import InputError

MOST_SETS = 4000  # sets simulated before a search for the smallest stops being exhaustive


@dataclass(frozen=True, slots=True)
class SmallestSet:
    """The smallest set of toggles that meets a target, of a migration whose precopy converges.

    names: None when none was found; ns is then the shortest that was. exhaustive: every smaller set was simulated and
    misses the target; where it is False the set was found by adding what gains most and taking out what is not needed,
    and a smaller one may exist. also: the other sets of this size that meet it, each with no shorter window; None where
    not all of this size were simulated. converges: precopy does with the set, or with any that was tried. tried: sets
    simulated.
    """

    target_ns: int
    names: tuple[str, ...] | None
    ns: int
    exhaustive: bool
    also: tuple[tuple[str, ...], ...] | None
    converges: bool
    tried: int


def smallest_set(
    scenario: Scenario | str,
    target_ns: int,
    *,
    among: Iterable[str] | None = None,
    base: Iterable[str] = (),
    window: str = "network_outage",
    calibration: Calibration | None = None,
    most_sets: int = MOST_SETS,
    progress: Callable[[int], None] | None = None,
) -> SmallestSet:
    """The smallest set of optimisations that brings a window to the target or below, with a precopy that converges.

    among: candidates (default: all for this driver that are no what-ifs). base: on in any case, and not counted.
    progress: called with the number of sets simulated after each; what it raises ends the work. Raises InputError
    when the base cannot be on, or the migration has no such window.
    """
    scenario, target_ns = find_scenario(scenario), checked_whole("target_ns", target_ns, 0, "ns")
    driver = scenario.device.driver
    if among is None:
        among = [each.name for each in catalogue().values() if each.layer != "what-if" and driver in each.drivers]
    game = Game(
        scenario, [name for name in known(among) if name not in known(base)], base, window, calibration, progress
    )
    if refused := game.refused(0):
        raise InputError("; ".join(f"{name} cannot be in the base: {why}" for name, why in refused.items()))
    if game.simulated(0)[0] is None:
        raise no_window(scenario, window)
    best = 0
    for size in range(len(game.toggles) + 1):
        words = _feasible_of_size(game, size, most_sets - game.priced)
        if words is None:
            return _greedy(game, target_ns, size)
        reached = sorted((game.ns(word), word) for word in words if game.meets(word, target_ns))
        if reached:
            ns, word = reached[0]
            also = tuple(game.names(other) for _, other in reached[1:])
            return SmallestSet(target_ns, game.names(word), ns, True, also, True, game.priced)
        best = min([best, *words], key=_by_merit(game))
    return SmallestSet(target_ns, None, game.ns(best), True, (), game.converges(best), game.priced)


def _by_merit(game: Game) -> Callable[[int], tuple[bool, int, int]]:
    """A set whose precopy converges goes first, then the shorter window, then the smaller set."""
    return lambda word: (not game.converges(word), game.ns(word), word.bit_count())


def _feasible_of_size(game: Game, size: int, most: int) -> list[int] | None:
    """Feasible sets of a size; None when there are more than `most`."""
    found = []
    for chosen in combinations(range(len(game.toggles)), size):
        word = sum(1 << i for i in chosen)
        if game.feasible(word):
            found.append(word)
            if len(found) > most:
                return None
    return found


def _greedy(game: Game, target_ns: int, size: int) -> SmallestSet:
    """Add what gains most, with what it needs, until the target is met; then take out what is not needed.

    size: every smaller set misses the target.
    """
    word, merit = 0, _by_merit(game)
    while not game.meets(word, target_ns):
        steps = [each for i in range(len(game.toggles)) if (each := _with_needs(game, word, i)) not in (None, word)]
        after = min(steps, key=merit, default=word)
        if merit(after)[:2] >= merit(word)[:2]:
            return SmallestSet(target_ns, None, game.ns(word), False, None, game.converges(word), game.priced)
        word = after
    for i in range(len(game.toggles)):
        less = word & ~(1 << i)
        if less != word and game.feasible(less) and game.meets(less, target_ns):
            word = less
    return SmallestSet(target_ns, game.names(word), game.ns(word), word.bit_count() == size, None, True, game.priced)


def _with_needs(game: Game, word: int, i: int) -> int | None:
    """The set with one more toggle and the first of each group that it needs; None when that cannot be."""
    places = {name: at for at, name in enumerate(game.toggles)}
    waiting, found = [game.toggles[i]], word
    while waiting:
        name = waiting.pop()
        if name in places:
            found |= 1 << places[name]
        on = {*game.base, *game.names(found)}
        for need in catalogue()[name].requires:
            group = (need,) if isinstance(need, str) else need
            if not on & set(group):
                waiting.append(group[0])
                if group[0] not in places:
                    return None
    return found if game.feasible(found) else None
