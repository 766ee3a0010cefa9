"""The command line: one thin command per verb. Exit status 0, or 2 with one message on bad input."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vdpa_lab import __version__
from vdpa_lab.words import InputError


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(" ", ",").split(",") if name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vdpa-lab", description="Downtime of live migration with vDPA network devices."
    )
    parser.add_argument("--version", action="version", version=f"vdpa-lab {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=about, description=about)
        one.add_argument("--json", action="store_true", help="one JSON document instead of text")
        return one

    def toggles(one: argparse.ArgumentParser) -> None:
        one.add_argument("scenario", metavar="SCENARIO", help="name in data/scenarios, or a TOML file")
        one.add_argument("--on", type=_names, default=(), metavar="NAME,…", help="also these optimisations")
        one.add_argument("--off", type=_names, default=(), metavar="NAME,…", help="without these")
        one.add_argument("--only", type=_names, default=None, metavar="NAME,…", help="just these; '' is stock")

    verbs.add_parser("lab", help="JupyterLab on the start notebook").add_argument("options", nargs=argparse.REMAINDER)
    listed = verb("list", "what there is")
    listed.add_argument("what", nargs="?", default="optimizations",
                        choices=("optimizations", "scenarios", "testbeds", "figures", "traces"))  # fmt: skip
    simulated = verb("simulate", "one migration: windows, breakdown, sources")
    toggles(simulated)
    simulated.add_argument("--out", type=Path, metavar="FILE", help="write the run as svg, png, pdf, csv, json, md, …")
    simulated.add_argument("--testbed", metavar="NAME", help="prices of another testbed, or a CSV file")
    planned = verb("plan", "the operations of one migration, before they are priced")
    toggles(planned)
    planned.add_argument("--kernel-ops", action="store_true", help="as a kernel log of the real thing")
    planned.add_argument("--diff", action="store_true", help="against the plan with nothing optimised")
    figures = verb("figures", "every published figure beside the model")
    figures.add_argument("names", nargs="*", metavar="NAME")
    figures.add_argument("--out", type=Path, metavar="DIR", help="write pictures and CSV")
    calibrated = verb("calibrate", "fit prices to published figures")
    calibrated.add_argument("names", nargs="*", metavar="FIGURE", help="default: every fitted row")
    calibrated.add_argument("--reading", default="as printed")
    calibrated.add_argument("--out", type=Path, metavar="CSV", help="write the fitted prices")
    probed = verb("probe", "measure this host's own prices: pinning, copying, syncing")
    probed.add_argument("--memory", default="256MiB", metavar="SIZE", help="pinned at a time")
    probed.add_argument("--yes", action="store_true", help="allow more than 1GiB")
    probed.add_argument("--rounds", type=int, default=5, metavar="N")
    probed.add_argument("--out", type=Path, metavar="CSV", help="write a calibration")
    timed = verb("bench", "how long things take on this machine, beside C where a compiler is")
    timed.add_argument("subjects", nargs="*", metavar="SUBJECT", help="default: all")
    timed.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each candidate")
    timed.add_argument("--quick", action="store_true", help="small sizes")
    timed.add_argument("--out", type=Path, metavar="DIR", help="write the rows, and time against size as a picture")
    return parser


def _toggled(args: argparse.Namespace):
    """Scenario and toggle names that the options ask for."""
    from vdpa_lab.migration import catalogue, default_toggles
    from vdpa_lab.migration.optimization import known
    from vdpa_lab.model import find_scenario

    scenario = find_scenario(args.scenario)
    names = set(default_toggles(scenario)) if args.only is None else set(known(args.only))
    names = (names | set(known(args.on))) - set(known(args.off))
    return scenario, [name for name in catalogue() if name in names]


def _print(document: object, text: Iterable[str], as_json: bool) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False) if as_json else "\n".join(text))


def _lab(args: argparse.Namespace) -> None:
    from vdpa_lab.paths import notebooks_dir

    start = str(notebooks_dir() / "00_start_here.ipynb")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *args.options, start])


def _list(args: argparse.Namespace) -> None:
    from vdpa_lab import library, report

    rows = {
        "optimizations": report.optimization_rows,
        "scenarios": report.scenario_rows,
        "testbeds": lambda: [{"name": name} for name in library.testbed_names()],
        "figures": report.figure_rows,
        "traces": report.trace_rows,
    }[args.what]()
    _print(rows, report.table(rows), args.json)


def _simulate(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.library import read_calibration
    from vdpa_lab.migration import simulate

    scenario, names = _toggled(args)
    run = simulate(scenario, names, read_calibration(args.testbed or scenario.testbed))
    if args.out:
        from vdpa_lab.export import export

        export(run, args.out)
    _print(run.json() if args.json else None, () if args.json else report.run_text(run), args.json)


def _plan(args: argparse.Namespace) -> None:
    from vdpa_lab.migration import plan
    from vdpa_lab.migration.kernel_ops import kernel_ops
    from vdpa_lab.migration.show import plan_diff, plan_text

    scenario, names = _toggled(args)
    made = plan(scenario, names)
    if args.kernel_ops:
        text = kernel_ops(made)
    else:
        text = plan_diff(plan(scenario, ()), made) if args.diff else plan_text(made)
    _print({"scenario": scenario.name, "optimizations": list(made.applied), "plan": text.splitlines()},
           text.splitlines(), args.json)  # fmt: skip


def _figures(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.migration.compare import compare_figures

    rows = compare_figures(args.names)
    if args.out:
        from vdpa_lab.plot import write_figures

        write_figures(rows, args.out)
    _print(rows, report.figures_text(rows), args.json)


def _calibrate(args: argparse.Namespace) -> None:
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
    _print({**report.fit_json(fit), "cross_predictions": across}, text, args.json)


def _bench(args: argparse.Namespace) -> None:
    from vdpa_lab import report
    from vdpa_lab.bench import benchmarks

    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, not {args.rounds}")
    rows = list(benchmarks(args.subjects, args.rounds, args.quick))
    if args.out:
        from vdpa_lab.plot import write_growth

        write_growth(rows, args.out)
    _print(rows, report.table(report.bench_rows(rows)), args.json)


def _probe(args: argparse.Namespace) -> None:
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
    _print(report.probe_json(found), report.probe_text(found), args.json)


VERBS = {
    "lab": _lab, "list": _list, "simulate": _simulate, "plan": _plan, "figures": _figures, "calibrate": _calibrate,
    "bench": _bench, "probe": _probe,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    args = _parser().parse_args(arguments)
    try:
        VERBS[args.verb](args)
    except (ValueError, FileNotFoundError) as error:
        print(f"vdpa-lab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
