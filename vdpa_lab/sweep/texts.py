"""Answers in words: what the command line and a notebook print."""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.sweep.attribution import Attribution
from vdpa_lab.sweep.engine import Results
from vdpa_lab.sweep.evaluate import REFUSED
from vdpa_lab.sweep.fleet import ENDLESS, Fleet
from vdpa_lab.sweep.pairs import INDEPENDENT, NEEDS
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import format_duration

TOP = 8


def attribution_text(found: Attribution) -> Iterator[str]:
    """The saving, each toggle's share of it, and the pairs that matter most."""
    without, with_all = format_duration(found.stock_ns), format_duration(found.all_ns)
    yield f"{found.scenario}, {WINDOWS[found.window].title}: {without} without, {with_all} with all"
    if not found.converges:
        yield f"{ENDLESS}: these are the windows of a VM that is stopped all the same"
    if found.base:
        yield f"on throughout: {', '.join(found.base)}"
    how = "exact" if found.exact else "sampled, ± one standard error"
    yield f"shares of the {format_duration(found.saving_ns)} saved ({how}; {found.orders} orders, {found.sets} sets):"
    yield ""
    width = max((len(share.toggle) for share in found.shares), default=0)
    for share in sorted(found.shares, key=lambda share: -share.ns):
        error = "" if found.exact else f" ± {format_duration(share.error_ns)}"
        alone = "needs others" if share.first_ns is None else f"{format_duration(share.first_ns)} alone"
        last = "others need it" if share.last_ns is None else f"{format_duration(share.last_ns)} last"
        yield f"{share.toggle:{width}}  {format_duration(float(share.ns)):>10}{error}   {alone}, {last}"
    meeting = [pair for pair in found.pairs if pair.kind not in (NEEDS, INDEPENDENT)]
    if meeting:
        yield ""
        yield from (pair.words() for pair in sorted(meeting, key=lambda pair: -abs(pair.ns))[:TOP])


def results_text(found: Results) -> Iterator[str]:
    """How many runs there are, their windows from the shortest to the longest, and what was refused."""
    table = found.table
    state = "all" if found.complete else f"{found.done} of {found.spec.runs}"
    yield f"{found.spec.name}: {state} runs" + (f" in {found.store.folder}" if found.store else "")
    for name in found.spec.windows:
        lengths = table[f"{name}_ns"].dropna()
        if len(lengths):
            low, middle, high = (format_duration(float(lengths.quantile(share))) for share in (0, 0.5, 1))
            yield f"{WINDOWS[name].title:32} {low:>10} – {high}, median {middle}"
    for why, count in table[REFUSED][table[REFUSED] != ""].value_counts().head(TOP).items():
        yield f"{count} refused: {why}"


def fleet_text(found: Fleet) -> Iterator[str]:
    """The distribution before and after, and who misses the target and why."""
    before, after = found.versions
    yield f"{len(found.vms)} VMs, {WINDOWS[found.window].title}; target {format_duration(found.target_ns)}"
    if not found.vms:
        return
    for name, versions in (("before", before), ("after", after)):
        lengths = found.table[f"{name}_ns"]
        low, middle, high = (format_duration(float(lengths.quantile(share))) for share in (0, 0.5, 1))
        missed = int((~found.table[f"meets_{name}"]).sum())
        endless = int((~found.table[f"converges_{name}"]).sum())
        never = f", {endless} of them because {ENDLESS}" if endless else ""
        yield f"{name} ({versions}): {low} – {high}, median {middle}; {missed} miss the target{never}"
    for row in found.misses().to_dict("records"):
        whole, part = format_duration(row["after_ns"]), format_duration(row["why_ns"])
        why = f"{whole}, of which {part} {row['why']}" if row["converges_after"] else row["why"]
        yield f"{row['name']}: {why}"
