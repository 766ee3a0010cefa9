"""Commands about recorded migrations."""

from __future__ import annotations

import argparse

from vdpa_lab.cli.verbs import show
from vdpa_lab.paths import data_dir
from vdpa_lab.units import parse_duration


def _paths(names: list[str]) -> list[str]:
    """A run that comes with the package is named by its folder in data/traces."""
    shipped = data_dir() / "traces" / names[0]
    return [str(shipped)] if len(names) == 1 and "/" not in names[0] and shipped.is_dir() else names


def trace(args: argparse.Namespace) -> None:
    """A recorded run: windows, checkpoints, devices, counts; as a Perfetto file when asked for."""
    from vdpa_lab import traces

    offset = (
        None if args.offset is None else parse_duration(args.offset.lstrip("-")) * (-1 if args.offset[0] == "-" else 1)
    )
    found = traces.run(*_paths(args.logs), side=args.side, same_machine=args.same_machine, offset_ns=offset)
    if args.perfetto:
        traces.save_chrome_trace(args.perfetto, traces.chrome_trace(found.timeline, found.assembled.counters))
    show(found.json() if args.json else None, () if args.json else found.text(), args.json)


def scenario(args: argparse.Namespace) -> None:
    """A scenario like a recorded run, with the line of its files that gave each value."""
    from vdpa_lab import traces
    from vdpa_lab.model.scenario_file import save_text

    made, facts = traces.scenario(traces.run(*_paths(args.logs), side=args.side, same_machine=args.same_machine))
    text = traces.scenario_toml(made, facts)
    if args.out:
        save_text(text, args.out)
    rows = [{"key": fact.key, "where": fact.where} for fact in facts]
    show({"scenario": made.name, "toml": text, "facts": rows}, text.splitlines(), args.json)
