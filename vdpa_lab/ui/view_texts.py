"""What the views beside the downtime say, as HTML; every string is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from vdpa_lab.library import Cost, bibliography
from vdpa_lab.migration import Run as Migration
from vdpa_lab.timeline import Span
from vdpa_lab.ui import texts
from vdpa_lab.units import format_duration

MOST_LINES = 1500
MOST_PAIRS = 6
WINDOW = "network_outage"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], label: str) -> str:
    """A table that scrolls sideways; cells are HTML already."""
    header = "".join(f"<th scope='col'>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<div class='vdpa-scroll' tabindex='0' role='region' aria-label='{escape(label)}'>"
        f"<table class='vdpa-view'><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def listing(text: str, label: str) -> str:
    """Text in columns, cut after MOST_LINES lines."""
    lines = text.splitlines()
    cut = f"\n… {len(lines) - MOST_LINES} more lines" if len(lines) > MOST_LINES else ""
    return (
        f"<pre class='vdpa-listing' tabindex='0' role='region' aria-label='{escape(label)}'>"
        f"{escape(chr(10).join(lines[:MOST_LINES]) + cut)}</pre>"
    )


def describe(run: Migration, span: Span) -> str:
    """An operation in words: what, how long, and the price and source of each share."""
    shares = [
        f"{term.key} × {term.amount:,} = {format_duration(term.ns)} ({cost.basis}: {cost.source})"
        for term in span.terms
        if term.ns
        for cost in [run.cost(term.key)]
    ]
    return "\n".join([f"{span.op}: {format_duration(span.ns)}", f"{span.lane}", *shares])


def sources(run: Migration) -> str:
    """Every price of a run with its grade and source, those that the outage rests on first."""
    used: dict[str, int] = {}
    for part in run.breakdown(WINDOW):
        used[part.key] = used.get(part.key, 0) + part.ns
    whole = sum(used.values()) or 1
    rows = []
    for cost in sorted(run.sources(), key=lambda cost: -used.get(cost.key, 0)):
        share = used.get(cost.key, 0) / whole
        rows.append(
            (
                f"<code>{escape(cost.key)}</code>",
                f"{share:.1%}" if share else "–",
                escape(f"{cost.in_unit(cost.value):.4g} {cost.unit}"),
                escape(f"{cost.in_unit(cost.low):.4g} – {cost.in_unit(cost.high):.4g}"),
                escape(cost.basis),
                f"{_source(cost)}<br><small>{escape(cost.locator)}</small>",
            )
        )
    said = escape(texts.rests_on(run, WINDOW))
    head = ("Price", "Share of outage", "Value", "Range", "Grade", "Source")
    return f"<p>Network outage {said}.</p>{table(head, rows, 'Prices and their sources')}"


def _source(cost: Cost) -> str:
    return texts.source(cost.source) if cost.source in bibliography() else escape(cost.source)


def told_file(what: str, name: str) -> str:
    """That a file was written or read."""
    return f"<p role='status'>{escape(what)} <code>{escape(name)}</code>, beside the notebook.</p>"


def worth_caveat() -> str:
    """What a share is, and is not."""
    return (
        "<p>The saving is shared among the optimisations: averaged over every order in which they could be turned on "
        "(Shapley value; exact up to 12). What one gains depends on what else is on: a share is no promise of what it "
        "gains alone.</p>"
    )


def working(toggles: int) -> str:
    """That work goes on."""
    return f"<p role='status'>Working out all sets of {toggles} optimisations … the rest of the page stays usable.</p>"


def cancelled() -> str:
    """That work was ended."""
    return f"<p role='status'>Cancelled.</p>{worth_caveat()}"


def failed(why: str) -> str:
    """That work came to nothing, and why."""
    return f"<p role='alert' class='vdpa-error'>Not worked out: {escape(why)}</p>"


def worth(found: dict[str, Any]) -> str:
    """Shares as a table with bars, then the pairs that matter most."""
    total = found["stock_ns"] - found["all_ns"]
    rows = []
    for share in sorted(found["shares"], key=lambda share: -share["ns"]):
        width = max(0.0, share["ns"] / total * 100) if total > 0 else 0.0
        bar = f"<div class='vdpa-share' style='width:{min(width, 100):.1f}%'></div>"
        alone = "needs others" if share["first_ns"] is None else format_duration(share["first_ns"])
        last = "others need it" if share["last_ns"] is None else format_duration(share["last_ns"])
        rows.append(
            (f"<code>{escape(share['toggle'])}</code>", escape(format_duration(share["ns"])), bar, escape(alone),
             escape(last))
        )  # fmt: skip
    meeting = [pair for pair in found["pairs"] if pair["kind"] not in ("needs", "independent")]
    pairs = [pair["words"] for pair in sorted(meeting, key=lambda pair: -abs(pair["ns"]))]
    said = "".join(f"<li>{escape(words)}</li>" for words in pairs[:MOST_PAIRS])
    base = escape(", ".join(found["base"]) or "nothing")
    return (
        f"<p>{escape(format_duration(found['stock_ns']))} → {escape(format_duration(found['all_ns']))}; on throughout: "
        f"{base}.</p>{table(('Optimisation', 'Share', 'of the saving', 'Alone', 'Last'), rows, 'Shares of the saving')}"
        f"<ul class='vdpa-pairs'>{said}</ul>{worth_caveat()}"
    )
