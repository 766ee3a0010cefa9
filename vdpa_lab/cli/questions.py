"""Commands that ask from the other end: what meets a target, what the answer depends on, where precopy ends."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from vdpa_lab.cli.many import counted
from vdpa_lab.cli.verbs import show, toggled
from vdpa_lab.units import parse_bytes, parse_duration, parse_rate
from vdpa_lab.words import InputError


def target(args: argparse.Namespace) -> None:
    """The fewest optimisations that meet a target, and the largest guest that does with what is on."""
    from vdpa_lab import sweep
    from vdpa_lab.sweep.answers import largest_text, smallest_text

    (scenario, names), wanted = toggled(args), parse_duration(args.time)
    with counted("sets simulated") as tell:
        fewest = sweep.smallest_set(
            scenario, wanted, among=args.among, base=args.base, window=args.window, progress=tell
        )
    guest = sweep.largest_guest(scenario, wanted, names, window=args.window, step=parse_bytes(args.step))
    document = {
        "scenario": scenario.name, "window": args.window, "target_ns": wanted,
        "smallest_set": asdict(fewest), "optimizations": names, "largest_guest": asdict(guest),
    }  # fmt: skip
    show(document, (*smallest_text(fewest, args.window), *largest_text(guest, wanted, args.window)), args.json)


def sensitivity(args: argparse.Namespace) -> None:
    """What a window depends on: one factor at a time, by chance, or Morris and Sobol indices."""
    from vdpa_lab import sweep
    from vdpa_lab.sweep.answers import distribution_text, indices_text, tornado_text
    from vdpa_lab.sweep.spec import read_axes

    scenario, names = toggled(args)
    axes, asked = read_axes(args.axes) if args.axes else None, {"window": args.window}
    if args.method == "monte-carlo":
        if axes:
            raise InputError("--axes is not for monte-carlo, which draws prices: sweep a specification with draws")
        found = sweep.monte_carlo(scenario, names, draws=args.samples, seed=args.seed, **asked)
        shares = {str(share): found.quantile(share) for share in (0.05, 0.5, 0.95)}
        document = {"draws": len(found.ns), "nominal_ns": found.nominal_ns, "quantiles_ns": shares}
        text = distribution_text(found)
    elif args.method == "tornado":
        nominal, swings = sweep.tornado(scenario, names, axes=axes, **asked)
        document = {"nominal_ns": nominal, "swings": [swing._asdict() for swing in swings]}
        text = tornado_text(nominal, swings, args.window)
    else:
        with counted("runs") as tell:
            rows = sweep.global_sensitivity(
                scenario, names, axes=axes, prices=not args.no_prices, method=args.method, samples=args.samples,
                seed=args.seed, progress=tell, **asked,
            )  # fmt: skip
        document, text = {"indices": rows}, indices_text(rows, args.method, args.window)
    about = {"scenario": scenario.name, "window": args.window, "method": args.method}
    show({**about, **document}, text, args.json)


def frontier(args: argparse.Namespace) -> None:
    """The fastest writer with which precopy converges."""
    from vdpa_lab import sweep
    from vdpa_lab.sweep.answers import frontier_text

    scenario, names = toggled(args)
    rates, limits = map(parse_rate, args.bandwidths), map(parse_duration, args.downtime_limits)
    with counted("points") as tell:
        rows = sweep.convergence_frontier(
            scenario, bandwidths=[*rates], downtime_limits=[*limits], names=names, progress=tell
        )
    if args.out:
        from vdpa_lab.plot import frontier_figure, save_figure

        save_figure(frontier_figure(rows), args.out)
    show({"scenario": scenario.name, "rows": rows}, frontier_text(rows), args.json)
