"""Commands about recorded migrations."""

from __future__ import annotations

import argparse
from pathlib import Path

from vdpa_lab.cli.verbs import show
from vdpa_lab.units import parse_duration


def trace(args: argparse.Namespace) -> None:
    """A recorded run: windows, checkpoints, devices, counts; as a Perfetto file when asked for."""
    from vdpa_lab import traces

    offset = (
        None if args.offset is None else parse_duration(args.offset.lstrip("-")) * (-1 if args.offset[0] == "-" else 1)
    )
    found = traces.run(*args.logs, side=args.side, same_machine=args.same_machine, offset_ns=offset)
    if args.perfetto:
        traces.save_chrome_trace(args.perfetto, traces.chrome_trace(found.timeline, found.assembled.counters))
    show(found.json() if args.json else None, () if args.json else found.text(), args.json)


def scenario(args: argparse.Namespace) -> None:
    """A scenario like a recorded run, with the line of its files that gave each value."""
    from vdpa_lab import traces
    from vdpa_lab.model.scenario_file import save_text

    made, facts = traces.scenario(traces.run(*args.logs, side=args.side, same_machine=args.same_machine))
    text = traces.scenario_toml(made, facts)
    if args.out:
        save_text(text, args.out)
    rows = [{"key": fact.key, "where": fact.where} for fact in facts]
    show({"scenario": made.name, "toml": text, "facts": rows}, text.splitlines(), args.json)


def compare(args: argparse.Namespace) -> None:
    """Scenarios, recorded runs and published figures on the same axes."""
    from vdpa_lab.beside import compare

    found = compare(*args.names)
    if args.out:
        from vdpa_lab.plot import write_comparison

        write_comparison(found, args.out)
    show(found.json(), () if args.json else found.text(), args.json)


def calibrate_runs(args: argparse.Namespace) -> None:
    """Prices from recorded runs, with what the recordings cannot tell; each run predicted from the others."""
    from vdpa_lab import traces
    from vdpa_lab.beside import calibrate_runs, fit_json, fit_text, leave_one_out
    from vdpa_lab.library import costs_text
    from vdpa_lab.model.scenario_file import save_text

    runs = [traces.run(name) for name in args.names]
    fit = calibrate_runs(runs)
    if args.out:
        save_text(costs_text([*fit.costs, *fit.constants]), args.out)
    left_out = leave_one_out(runs) if len(runs) > 1 else []
    show(fit_json(fit, left_out), () if args.json else fit_text(fit, left_out), args.json)


def are_runs(names: list[str]) -> bool:
    """Are these recorded runs, not figures? Raises InputError for some of each."""
    from vdpa_lab.traces import shipped_runs
    from vdpa_lab.words import InputError

    told = {name: "/" in name or Path(name).exists() or name in shipped_runs() for name in names}
    if len(set(told.values())) > 1:
        runs, figures = ([name for name in names if told[name] is kind] for kind in (True, False))
        raise InputError(
            f"prices are fitted to recorded runs ({', '.join(runs)}) or to figures ({', '.join(figures)}), not both"
        )
    return bool(names) and all(told.values())
