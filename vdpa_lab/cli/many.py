"""Commands about many runs: sweep, attribute, fleet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vdpa_lab.cli.verbs import show, toggled
from vdpa_lab.paths import data_dir
from vdpa_lab.units import SECOND, format_duration
from vdpa_lab.words import InputError


def attribute(args: argparse.Namespace) -> None:
    """Shares of a saving."""
    from vdpa_lab import sweep

    scenario, names = toggled(args)
    found = sweep.attribute(scenario, args.among, on=names, window=args.window)
    show(found.json() if args.json else None, () if args.json else sweep.attribution_text(found), args.json)


def _spec(name: str) -> str:
    shipped = data_dir() / "sweeps" / f"{name}.toml"
    return str(shipped) if Path(name).name == name and shipped.is_file() else name


def sweep(args: argparse.Namespace) -> None:
    """Many runs; progress goes to stderr."""
    from vdpa_lab import sweep as package

    if args.resume and not args.out:
        raise InputError("--resume goes on with what is in a folder: name it with --out")

    def tell(progress: package.Progress) -> None:
        left = "" if progress.eta is None else f", {format_duration(progress.eta * SECOND)} left"
        print(f"\r{progress.done} of {progress.total} runs{left}    ", end="", file=sys.stderr, flush=True)

    found = package.sweep(
        _spec(args.spec),
        out=args.out,
        resume=args.resume,
        workers=args.workers,
        scheduler=args.scheduler,
        progress=tell,
    )
    print(file=sys.stderr)
    show(found.json() if args.json else None, () if args.json else package.results_text(found), args.json)


def fleet(args: argparse.Namespace) -> None:
    """A table of VMs before and after an upgrade."""
    from vdpa_lab import sweep as package
    from vdpa_lab.units import parse_duration

    def versions(text: str, option: str) -> package.Versions:
        qemu, comma, linux = text.partition(",")
        if not comma:
            raise InputError(f"--{option} {text!r}: give QEMU and Linux versions, as 10.0,6.8")
        return package.Versions(qemu.strip(), linux.strip())

    before, after = versions(args.before, "before"), versions(args.after, "after")
    found = package.fleet(args.vms, before, after, parse_duration(args.target))
    show(found.json() if args.json else None, () if args.json else package.fleet_text(found), args.json)
