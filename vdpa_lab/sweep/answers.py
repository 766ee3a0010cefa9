"""Answers to questions about a window in words: what meets a target, what it depends on, where precopy ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vdpa_lab.sweep.fleet import ENDLESS
from vdpa_lab.sweep.inverse import SmallestSet
from vdpa_lab.sweep.limits import Largest
from vdpa_lab.sweep.sensitivity import Distribution, Swing
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import format_bytes, format_duration, format_rate

TOP = 20


def _lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Columns, the first to the left, the others to the right."""
    listed = [[*row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for first, *rest in listed:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def smallest_text(found: SmallestSet, window: str) -> Iterator[str]:
    """The set, whether a smaller one may exist, and others of its size."""
    goal = f"{WINDOWS[window].title} of at most {format_duration(found.target_ns)}"
    search = f"{found.tried} sets simulated"
    if found.names is None:
        why = f"the shortest is {format_duration(found.ns)}" if found.converges else ENDLESS
        how = "no set meets it" if found.exhaustive else "no set that was tried meets it"
        yield f"{goal}: {how}; {why} ({search})"
        return
    names = " + ".join(found.names) or "nothing at all"
    sure = "no smaller set does" if found.exhaustive else "a smaller set may do too: not all were tried"
    yield f"{goal}: {names} ({format_duration(found.ns)}); {sure} ({search})"
    for also in (found.also or ())[:TOP]:
        yield f"  as small: {' + '.join(also)}"
    if found.also is None:
        yield "  other sets as small were not all tried"
    elif len(found.also) > TOP:
        yield f"  and {len(found.also) - TOP} more as small"


def largest_text(found: Largest, target_ns: int, window: str) -> Iterator[str]:
    """The largest guest, and how far that can be trusted."""
    goal = f"{WINDOWS[window].title} of at most {format_duration(target_ns)}"
    smallest, ns = found.measured[0]
    if found.value is None:
        why = f"never ends: {ENDLESS}" if ns is None else f"has {format_duration(ns)}"
        yield f"{goal}: no guest meets it; one of {format_bytes(smallest)} {why}"
        return
    most = ", the largest that was asked for" if found.at_limit else f", in steps of {format_bytes(found.step)}"
    yield f"{goal}: guests up to {format_bytes(found.value)} meet it{most} ({len(found.measured)} simulated)"
    if not found.monotone:
        yield "  of those simulated a larger one was shorter: larger guests may meet it again"


def tornado_text(nominal_ns: int, swings: Sequence[Swing], window: str) -> Iterator[str]:
    """Each factor's swing, the widest first."""
    yield f"{WINDOWS[window].title}: {format_duration(nominal_ns)}; each alone from its low to its high:"
    yield from _lines(
        (swing.key, format_duration(swing.low_ns), "–", format_duration(swing.high_ns), swing.basis)
        for swing in swings[:TOP]
    )


def distribution_text(found: Distribution) -> Iterator[str]:
    """What the draws of the prices say."""
    low, middle, high = (format_duration(found.quantile(share)) for share in (0.05, 0.5, 0.95))
    nominal = format_duration(found.nominal_ns)
    yield f"{WINDOWS[found.window].title}: {nominal} at the prices' values; {len(found.ns)} draws of all prices:"
    yield f"90 % lie in {low} – {high}, median {middle}"


def indices_text(rows: Sequence[Mapping[str, Any]], method: str, window: str) -> Iterator[str]:
    """Morris: mean absolute effect and spread in time. Sobol: shares of the variance."""
    if method == "morris":
        yield f"{WINDOWS[window].title}: effect of each factor over its whole way (mu_star ± 95 %, sigma)"
        names = ("mu_star", "mu_star_conf", "sigma")
        cells = [[format_duration(row[name]) for name in names] for row in rows[:TOP]]
        yield from _lines((row["key"], a, f"± {b}", c) for row, (a, b, c) in zip(rows, cells, strict=False))
    else:
        yield f"{WINDOWS[window].title}: shares of the variance (total ST ± 95 %, alone S1 ± 95 %)"
        yield from _lines(
            (row["key"], f"{row['ST']:.3f}", f"± {row['ST_conf']:.3f}", f"{row['S1']:.3f}", f"± {row['S1_conf']:.3f}")
            for row in rows[:TOP]
        )


def frontier_text(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each bandwidth and downtime limit."""
    yield "precopy converges with writers up to"
    cells = []
    for row in rows:
        rate = "no writer at all does" if row["dirty_rate"] is None else f"{row['dirty_rate']:,} pages/s"
        sure = "" if row["monotone"] else "a faster one converged again"
        most = "or more" if row["at_limit"] else sure
        cells.append((format_rate(row["max_bandwidth"]), format_duration(row["downtime_limit_ns"]), rate, most))
    yield from _lines([("bandwidth", "downtime limit", "dirty rate", ""), *cells])
