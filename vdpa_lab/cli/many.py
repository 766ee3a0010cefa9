"""Commands about many runs: sweep, attribute, fleet."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vdpa_lab.cli.verbs import show, toggled
from vdpa_lab.paths import data_dir
from vdpa_lab.units import SECOND, format_duration
from vdpa_lab.words import InputError

PAUSE = 0.1  # s between two words on how far it is


@contextmanager
def counted(what: str) -> Iterator[Callable[..., None]]:
    """How far it is, on a terminal: called with the number done, with that of all, and with the seconds that are left,
    as far as they are known. The line ends with the work, whatever comes after it."""
    begun, told = time.monotonic(), 0.0

    def tell(done: int, total: int = 0, eta: float | None = None) -> None:
        nonlocal told
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - told < PAUSE and done != total):
            return
        told = now
        if total and eta is None:
            eta = (now - begun) / done * (total - done)
        left = f", {format_duration(eta * SECOND)} left" if eta else ""
        far = f"{done}{f' of {total}' if total else ''} {what}{left}"
        print(f"\r{far:60}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if told:
            print(file=sys.stderr)


def attribute(args: argparse.Namespace) -> None:
    """Shares of a saving."""
    from vdpa_lab import sweep

    scenario, names = toggled(args)
    with counted("sets simulated") as tell:
        found = sweep.attribute(
            scenario, args.among, on=names, window=args.window, orders=args.orders, seed=args.seed, progress=tell
        )
    show(found.json() if args.json else None, () if args.json else sweep.attribution_text(found), args.json)


def _spec(name: str) -> str:
    shipped = data_dir() / "sweeps" / f"{name}.toml"
    return str(shipped) if Path(name).name == name and shipped.is_file() else name


def sweep(args: argparse.Namespace) -> None:
    """Many runs."""
    from vdpa_lab import sweep as package

    if args.resume and not args.out:
        raise InputError("--resume goes on with what is in a folder: name it with --out")
    spec = package.read_spec(_spec(args.spec))
    if args.plot:
        from vdpa_lab.plot import results_figure, save_figure, shown_axes

        shown_axes(spec, args.window)  # before any work is done
    with counted("runs") as tell:
        found = package.sweep(
            spec,
            out=args.out,
            resume=args.resume,
            workers=args.workers,
            scheduler=args.scheduler,
            progress=lambda far: tell(far.done, far.total, far.eta),
        )
    if args.plot:
        save_figure(results_figure(found, args.window), args.plot)
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
    with counted("VMs") as tell:
        found = package.fleet(args.vms, before, after, parse_duration(args.target), window=args.window, progress=tell)
    if args.out:
        from vdpa_lab.plot import distribution_figure, save_figure

        save_figure(distribution_figure(found.table, found.target_ns, window=found.window), args.out)
    show(found.json() if args.json else None, () if args.json else package.fleet_text(found), args.json)
