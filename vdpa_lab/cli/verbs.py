"""What each command does, thin: read the options, call the package, print."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable

from vdpa_lab.words import InputError, nearest


def toggled(args: argparse.Namespace):
    """Scenario and toggle names that the options ask for."""
    from vdpa_lab.migration import catalogue, default_toggles
    from vdpa_lab.migration.optimization import known
    from vdpa_lab.model import find_scenario

    scenario = find_scenario(args.scenario)
    names = set(default_toggles(scenario)) if args.only is None else set(known(args.only))
    names = (names | set(known(args.on))) - set(known(args.off))
    return scenario, [name for name in catalogue() if name in names]


def knobs(args: argparse.Namespace, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """The knobs that the options turn, of `names`, by optimisation and name. Raises InputError."""
    turned: dict[str, dict[str, int]] = {}
    for text in args.knob:
        found = re.fullmatch(r"([\w-]+)\.(\w+)=(\d{1,9})", text)
        if not found:
            raise InputError(f"--knob {text!r}: write optimisation, knob and number, as async-vq.in_flight=4")
        if found[1] not in names:
            raise InputError(f"--knob {text}: {found[1]} is not on; {nearest(found[1], names)}")
        turned.setdefault(found[1], {})[found[2]] = int(found[3])
    return turned


def show(document: object, text: Iterable[str], as_json: bool) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False) if as_json else "\n".join(text))


def lab(args: argparse.Namespace) -> None:
    from vdpa_lab.paths import notebooks_dir

    start = str(notebooks_dir() / "00_start_here.ipynb")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *args.options, start])


def list_(args: argparse.Namespace) -> None:
    from vdpa_lab import library, report

    rows = {
        "optimizations": report.optimization_rows,
        "scenarios": report.scenario_rows,
        "testbeds": lambda: [{"name": name} for name in library.testbed_names()],
        "figures": report.figure_rows,
        "traces": report.trace_rows,
    }[args.what]()
    show(rows, report.table(rows), args.json)


def simulate_(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.library import read_calibration
    from vdpa_lab.migration import simulate

    scenario, names = toggled(args)
    run = simulate(scenario, names, read_calibration(args.testbed or scenario.testbed), knobs(args, names))
    if args.out:
        from vdpa_lab.export import export

        export(run, args.out)
    show(run.json(args.exact) if args.json else None, () if args.json else report.run_text(run), args.json)


def plan_(args: argparse.Namespace) -> None:
    from vdpa_lab.migration import plan
    from vdpa_lab.migration.kernel_ops import kernel_ops
    from vdpa_lab.migration.show import plan_diff, plan_text

    scenario, names = toggled(args)
    made = plan(scenario, names, knobs(args, names))
    if args.kernel_ops:
        text = kernel_ops(made)
    else:
        text = plan_diff(plan(scenario, ()), made) if args.diff else plan_text(made)
    show({"scenario": scenario.name, "optimizations": list(made.applied), "plan": text.splitlines()},
           text.splitlines(), args.json)  # fmt: skip


def figures_(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.migration.compare import compare_figures

    rows = compare_figures(args.names)
    if args.out:
        from vdpa_lab.plot import write_figures, write_pins

        write_figures(rows, args.out)
        if not args.names:
            write_pins(args.out)
    show(rows, report.figures_text(rows), args.json)


def calibrate(args: argparse.Namespace) -> None:
    """Prices from published figures, or from recorded runs where such are named."""
    from vdpa_lab.cli import traces

    if traces.are_runs(args.names):
        return traces.calibrate_runs(args)
    from vdpa_lab import report
    from vdpa_lab.library import costs_text
    from vdpa_lab.migration.calibrate import calibrate
    from vdpa_lab.migration.crosscheck import cross_predictions
    from vdpa_lab.model.scenario_file import save_text

    fit = calibrate(args.names, args.reading)
    if args.out:
        constants = [cost for costs in fit.constants.values() for cost in costs] if len(fit.constants) == 1 else []
        save_text(costs_text([*fit.costs, *constants]), args.out)
    across = [] if args.names else report.cross_rows(cross_predictions())
    text = [
        *report.fit_text(fit),
        *(["", "predicted from rows that the fit never saw:", *report.table(across)] if across else []),
    ]
    show({**report.fit_json(fit), "cross_predictions": across}, text, args.json)


def bench(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.bench import benchmarks

    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, not {args.rounds}")
    rows = list(benchmarks(args.subjects, args.rounds, args.quick))
    if args.out:
        from vdpa_lab.plot import write_growth

        write_growth(rows, args.out)
    show(rows, report.table(report.bench_rows(rows)), args.json)


def probe(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.library import costs_text
    from vdpa_lab.model.scenario_file import save_text
    from vdpa_lab.probe import LARGEST_UNASKED, probe
    from vdpa_lab.units import TIB, parse_bytes

    def tell(what: str) -> None:
        print(f"{what} …", file=sys.stderr, flush=True)

    allowed = TIB if args.yes else LARGEST_UNASKED
    found = probe(parse_bytes(args.memory), args.rounds, allowed=allowed, tell=tell)
    if args.out:
        save_text(costs_text(found.costs), args.out)
    show(report.probe_json(found), report.probe_text(found), args.json)
