"""The command line: one thin command per verb. Exit status 0, or 2 with one message on bad input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from vdpa_lab.cli import many, questions, traces, verbs
from vdpa_lab.cli.parser import parser

VERBS = {
    "lab": verbs.lab, "list": verbs.list_, "simulate": verbs.simulate_, "plan": verbs.plan_,
    "figures": verbs.figures_, "calibrate": verbs.calibrate, "probe": verbs.probe, "bench": verbs.bench,
    "attribute": many.attribute, "sweep": many.sweep, "fleet": many.fleet,
    "target": questions.target, "sensitivity": questions.sensitivity, "frontier": questions.frontier,
    "trace": traces.trace, "scenario": traces.scenario, "compare": traces.compare,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    args = parser().parse_args(arguments)
    try:
        VERBS[args.verb](args)
    except (ValueError, FileNotFoundError) as error:
        print(f"vdpa-lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        out = getattr(args, "out", None)
        print(f"vdpa-lab: interrupted{f'; what was written to {out} stays' if out else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
