"""Slow twins of the sweep floor, in other representations: exact fractions, permutations spelled out, nested loops."""

from fractions import Fraction
from itertools import permutations, product


def duration(rounds, prices):
    """ns of a step: every product exactly, once to the nearest double, once to the nearest even integer."""
    return sum(round(float(Fraction(count) * Fraction(prices[key]))) for key, count in rounds)


def shares(toggles, value, feasible):
    """Average gain of each toggle over all orders that can be carried out; None when there is none.

    value and feasible take a frozenset of toggles.
    """
    gains, count = dict.fromkeys(toggles, Fraction(0)), 0
    for order in permutations(toggles):
        sets = [frozenset(order[:n]) for n in range(len(order) + 1)]
        if all(map(feasible, sets)):
            count += 1
            for toggle, before, after in zip(order, sets, sets[1:], strict=False):
                gains[toggle] += value(before) - value(after)
    return {toggle: gain / count for toggle, gain in gains.items()} if count else None


def meeting(first, second, toggles, value, feasible):
    """Average of what two gain together beyond their own gains, over the orders in which they come one after the other.

    Only where the second could have come first as well.
    """
    found, count = Fraction(0), 0
    for order in permutations(toggles):
        sets = [frozenset(order[:n]) for n in range(len(order) + 1)]
        at = order.index(first)
        if not all(map(feasible, sets)) or at + 1 == len(order) or order[at + 1] != second:
            continue
        before = sets[at]
        if not feasible(before | {second}):
            continue
        count += 1
        found += value(before | {first}) + value(before | {second}) - value(before) - value(before | {first, second})
    return found / count if count else None


def grid(axes):
    """Every combination as a dict, the last axis fastest."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def fastest_writer(converges, most):
    """The largest rate up to `most` that converges, tried one by one."""
    found = None
    for rate in range(most + 1):
        if converges(rate):
            found = rate
    return found
