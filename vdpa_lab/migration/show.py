"""A plan, or what one plan has and another has not, as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import groupby

from vdpa_lab.migration.account import account
from vdpa_lab.migration.plan import Plan

HEAD = ("where", "path", "caller", "operation", "detail", "work")
SIDES = {"source": "src", "destination": "dst", "wire": "wire"}
Row = tuple[str, str, str, str, str, str]


def _rows(plan: Plan) -> list[Row]:
    """One row a step, in the order of the plan."""
    rows = []
    for step, (work, _) in zip(plan.steps, account(plan), strict=True):
        lane = step.lane
        where = SIDES[lane.side] + (str(step.device) if step.device >= 0 else "")
        amounts = [f"{key}={amount}" for key, amount in work if amount]
        if step.width > 1:
            amounts.append(f"in-flight={step.width}")
        if lane.kind in ("thread", "worker"):
            amounts.append(f"on={lane.kind}")
        rows.append((where, step.path, step.caller, step.mark or step.op, step.detail, " ".join(amounts)))
    return rows


def _folded(rows: Iterable[tuple[str, Row]]) -> list[tuple[str, ...]]:
    """Neighbours that are equal as one row, with their number."""
    found = []
    for (sign, row), same in groupby(rows):
        count = len(list(same))
        found.append((sign, *row[:3], f"{row[3]} × {count}" if count > 1 else row[3], *row[4:]))
    return found


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def plan_text(plan: Plan) -> str:
    """An aligned table of the plan: host and device, QEMU path, caller, operation, arguments, work."""
    rows = _folded(("", row) for row in _rows(plan))
    return _aligned([row[1:] for row in [("", *HEAD), *rows]])


def plan_diff(a: Plan, b: Plan) -> str:
    """What only `a` has (-) and what only `b` has (+), host by host; then how the totals of work change.

    A step that is in both in the same order is left out; only when no step differs are the changed waits listed.
    """
    lines: list[tuple[str, Row]] = []
    before, after = _rows(a), _rows(b)
    for where in dict.fromkeys(row[0] for row in (*before, *after)):
        old, new = ([row for row in rows if row[0] == where] for rows in (before, after))
        for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                lines += [("-", row) for row in old[i:j]] + [("+", row) for row in new[k:m]]
    totals = [Counter[str](), Counter[str]()]
    for plan, total in zip((a, b), totals, strict=True):
        for work, _ in account(plan):
            for key, amount in work:
                total[key] += amount
    changed = [key for key in sorted(totals[0] | totals[1]) if totals[0][key] != totals[1][key]]
    text = _aligned([("", *HEAD), *_folded(lines)]) if lines else "no step differs\n" + _waits(a, b)
    return text + "".join(f"{key}: {totals[0][key]} -> {totals[1][key]}\n" for key in changed)


def _waits(a: Plan, b: Plan) -> str:
    """Steps that wait for something else, with what they waited for before."""
    before = {step.name: step.after for step in a.steps}
    changed = [step for step in b.steps if set(step.after) != set(before.get(step.name, step.after))]
    return "".join(f"{s.name} waits for {', '.join(s.after)}; before: {', '.join(before[s.name])}\n" for s in changed)
