"""The words that the command line understands."""

from __future__ import annotations

import argparse
from pathlib import Path

from vdpa_lab import __version__


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(" ", ",").split(",") if name)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="vdpa-lab", description="Downtime of live migration with vDPA network devices."
    )
    whole.add_argument("--version", action="version", version=f"vdpa-lab {__version__}")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=about, description=about)
        one.add_argument("--json", action="store_true", help="one JSON document instead of text")
        return one

    def toggles(one: argparse.ArgumentParser) -> None:
        one.add_argument("scenario", metavar="SCENARIO", help="name in data/scenarios, or a TOML file")
        one.add_argument("--on", type=_names, default=(), metavar="NAME,…", help="also these optimisations")
        one.add_argument("--off", type=_names, default=(), metavar="NAME,…", help="without these")
        one.add_argument("--only", type=_names, default=None, metavar="NAME,…", help="just these; '' is stock")

    def window(one: argparse.ArgumentParser) -> None:
        one.add_argument("--window", default="network_outage", metavar="WINDOW")

    def seed(one: argparse.ArgumentParser) -> None:
        one.add_argument("--seed", type=int, default=1, metavar="N")

    def knobs(one: argparse.ArgumentParser) -> None:
        one.add_argument("--knob", action="append", default=[], metavar="NAME.KNOB=N", help="turn a knob of one")

    traced = verb("trace", "a recorded migration: where its downtime went")
    traced.add_argument("logs", nargs="+", metavar="RUN|LOG", help="folder of a run, or SRC.log [DST.log] and more")
    traced.add_argument("--side", default="", choices=("", "source", "destination"), help="of a single log")
    traced.add_argument("--same-machine", action="store_true", help="both logs are of one machine, one clock")
    traced.add_argument("--offset", metavar="TIME", help="the destination's clock minus the source's, as 3ms or -3ms")
    traced.add_argument("--perfetto", type=Path, metavar="JSON", help="write it for ui.perfetto.dev")
    compared = verb("compare", "scenarios, recorded runs and published figures on the same axes")
    compared.add_argument("names", nargs="+", metavar="NAME", help="one RUN alone is compared with its own scenario")
    compared.add_argument("--out", type=Path, metavar="DIR", help="write pictures and CSV")
    derived = verb("scenario", "a scenario like a recorded run; which line of it gave which value")
    derived.add_argument("logs", nargs="+", metavar="RUN|LOG")
    derived.add_argument("--side", default="", choices=("", "source", "destination"))
    derived.add_argument("--same-machine", action="store_true")
    derived.add_argument("--out", type=Path, metavar="TOML")
    attributed = verb("attribute", "which optimisation is worth how much, whatever the order")
    toggles(attributed)
    attributed.add_argument("--among", type=_names, default=None, metavar="NAME,…", help="share among these only")
    window(attributed)
    attributed.add_argument("--orders", type=int, default=200, metavar="N", help="sampled where there are many toggles")
    seed(attributed)
    meeting = verb("target", "what meets a downtime target: the fewest optimisations, and the largest guest")
    toggles(meeting)
    meeting.add_argument("time", metavar="TIME", help="the target, as 500ms")
    meeting.add_argument("--among", type=_names, default=None, metavar="NAME,…", help="choose among these only")
    meeting.add_argument("--base", type=_names, default=(), metavar="NAME,…", help="on in any case, not counted")
    meeting.add_argument("--step", default="1GiB", metavar="SIZE", help="of the guest's memory")
    window(meeting)
    moved = verb("sensitivity", "what a window depends on: prices, and the axes of a specification")
    toggles(moved)
    moved.add_argument("--method", default="tornado", choices=("tornado", "monte-carlo", "morris", "sobol"))
    moved.add_argument("--axes", type=Path, metavar="SPEC", help="a TOML file with [axes], as a sweep has")
    moved.add_argument("--no-prices", action="store_true", help="morris, sobol: vary the axes alone")
    moved.add_argument("--samples", type=int, default=512, metavar="N", help="draws, or SALib's N")
    seed(moved)
    window(moved)
    ending = verb("frontier", "the fastest writer with which precopy converges")
    toggles(ending)
    ending.add_argument("--bandwidths", type=_names, default=("32MiB/s", "128MiB/s", "1GiB/s", "10GiB/s"),
                        metavar="RATE,…")  # fmt: skip
    ending.add_argument("--downtime-limits", type=_names, default=("30ms", "100ms", "300ms", "1s", "3s"),
                        metavar="TIME,…")  # fmt: skip
    ending.add_argument("--out", type=Path, metavar="FILE", help="as a picture: svg, png or pdf")
    swept = verb("sweep", "many runs, from a specification")
    swept.add_argument("spec", metavar="SPEC", help="TOML file, or a name in data/sweeps")
    swept.add_argument("--out", type=Path, metavar="DIR", help="append results there as they come")
    swept.add_argument("--resume", action="store_true", help="go on with what is in DIR")
    swept.add_argument("--scheduler", default="", metavar="ADDRESS", help="of a dask cluster, as tcp://host:8786")
    swept.add_argument("--workers", type=int, default=None, metavar="N", help="processes here; 0 is none")
    swept.add_argument("--plot", type=Path, metavar="FILE", help="a grid's results as a picture: svg, png or pdf")
    swept.add_argument("--window", metavar="WINDOW", help="of the picture; default: the first of the specification")
    manned = verb("fleet", "a table of VMs before and after an upgrade")
    manned.add_argument("vms", metavar="CSV")
    for when in ("before", "after"):
        manned.add_argument(f"--{when}", required=True, metavar="QEMU,LINUX", help="versions, as 10.0,6.8")
    manned.add_argument("--target", default="300ms", metavar="TIME")
    manned.add_argument("--out", type=Path, metavar="FILE", help="both distributions as a picture: svg, png or pdf")
    window(manned)
    verbs.add_parser("lab", help="JupyterLab on the start notebook").add_argument("options", nargs=argparse.REMAINDER)
    listed = verb("list", "what there is")
    listed.add_argument("what", nargs="?", default="optimizations",
                        choices=("optimizations", "scenarios", "testbeds", "figures", "traces"))  # fmt: skip
    simulated = verb("simulate", "one migration: windows, breakdown, sources")
    toggles(simulated)
    knobs(simulated)
    simulated.add_argument("--out", type=Path, metavar="FILE", help="as svg, pdf, csv, md, perfetto.json, …")
    simulated.add_argument("--testbed", metavar="NAME", help="prices of another testbed, or a CSV file")
    simulated.add_argument("--exact", action="store_true", help="precopy page by page, in the JSON document")
    planned = verb("plan", "the operations of one migration, before they are priced")
    toggles(planned)
    knobs(planned)
    planned.add_argument("--kernel-ops", action="store_true", help="as a kernel log of the real thing")
    planned.add_argument("--diff", action="store_true", help="against the plan with nothing optimised")
    figures = verb("figures", "every published figure beside the model")
    figures.add_argument("names", nargs="*", metavar="NAME")
    figures.add_argument("--out", type=Path, metavar="DIR", help="write pictures and CSV")
    calibrated = verb("calibrate", "fit prices to published figures, or to your own recorded runs")
    calibrated.add_argument("names", nargs="*", metavar="FIGURE|RUN", help="default: every fitted row of the figures")
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
    return whole
