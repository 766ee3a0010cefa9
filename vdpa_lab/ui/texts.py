"""What the dashboard says, as HTML. Here and in `view_texts` every string is escaped; nowhere else is HTML made."""

from __future__ import annotations

import base64
from html import escape

from vdpa_lab.library import BASES, bibliography
from vdpa_lab.migration import Optimization, Run
from vdpa_lab.model import Scenario
from vdpa_lab.plot import FAMILIES, Bar, duration_words, shown_windows, swatch_png
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import MS, format_bytes

TOTALS = (
    "svq_switch",
    "source_teardown",
    "destination_setup",
    "network_outage",
    "vm_paused",
    "reported_downtime",
    "third_blackout",
)
LAYERS = {
    "kernel": "Linux kernel",
    "qemu": "QEMU",
    "device": "Device and firmware",
    "what-if": "What if",
}
VISIBLE = 0.002  # of a bar: about a pixel
NONE_HERE = "–"


def heading(scenario: Scenario) -> str:
    """Name and size of what is simulated."""
    device = scenario.device
    facts = (
        f"{format_bytes(scenario.guest.memory)} guest, {device.count} × {device.driver} with "
        f"{device.queue_pairs} queue pair{'s' if device.queue_pairs != 1 else ''}, prices of testbed {scenario.testbed}"
    )
    return (
        f"<div class='vdpa-head'><h2>Where the downtime goes: {escape(scenario.name)}</h2>"
        f"<span>{escape(facts)}</span></div>"
    )


def section(title: str, number: int | None = None) -> str:
    """A heading inside the controls."""
    return f"<h3 class='vdpa-section'>{escape(title)}{'' if number is None else f' ({number})'}</h3>"


def optimization_text(each: Optimization, reason: str) -> str:
    """Effect, status and sources of an optimisation; first of all why it cannot apply, if it cannot."""
    why = f"<div class='vdpa-why'>Cannot apply: {escape(reason)}.</div>" if reason else ""
    sources = "; ".join(map(source, each.refs))
    return (
        f"<div class='vdpa-about'>{why}<div>{escape(each.effect)}</div><div class='vdpa-source'>"
        f"<code>{escape(each.name)}</code> · <i>{escape(each.status)}</i> · {sources}</div></div>"
    )


def source(key: str) -> str:
    """Who said it, where and when, with a link to it where there is one."""
    found = bibliography()[key]
    text = f"{escape(found.author)}, “{escape(found.title)}”, {escape(found.date)}"
    if not found.url.startswith("https://"):
        return text
    named = f"aria-label='read {escape(found.title)}'"
    return f"{text} <a href='{escape(found.url)}' {named} target='_blank' rel='noopener noreferrer'>read</a>"


def status(error: str, notice: str, summary: str) -> str:
    """The line that is always in sight."""
    if error:
        words = f"<b>Refused.</b> {escape(error)} <i>The last good run stays.</i>"
        return f"<div role='alert' class='vdpa-error'>{words}</div>"
    return f"<div role='status'>{escape(notice)} {escape(summary)}</div>"


def difference(now: int | None, then: int | None) -> str:
    """The change in ms, or in what suits it from ten seconds on, and percent."""
    if now is None or then is None:
        return "–"
    if now == then:
        return "no change"
    ms = (now - then) / MS
    digits = 0 if abs(ms) >= 1000 else 1 if abs(ms) >= 10 else 3
    change = f"{ms:+,.{digits}f} ms" if abs(ms) < 10_000 else f"{'+' if ms > 0 else ''}{duration_words(now - then)}"
    return f"{change}{_percent(now, then)}".replace("-", "−")


def _percent(now: int, then: int) -> str:
    """The change in percent, so that it neither hides a change nor claims more than there is."""
    if not then:
        return ""
    share = (now - then) / then
    if share > 100:
        return f" (× {now / then:,.0f})"
    if -1 < share < -0.9995:
        return " (≈ -100%)"
    return f" ({share:+.{1 if abs(share) < 0.1 or -1 < share < -0.99 else 0}%})"


def rests_on(run: Run, window: str) -> str:
    """On which grade of numbers a window rests, in percent."""
    shares = run.share_by_basis(window)
    said = [f"{shares[basis]:.0%} on {basis}" for basis in BASES if shares.get(basis, 0) >= 0.005]
    return f"rests {', '.join(said)}" if said else ""


def interval(run: Run, window: str) -> str:
    """Between which lengths a window lies as its prices vary; an interval of no width is not told."""
    if run.windows[window] is None:
        return ""
    low, high = run.interval(window)
    words = duration_words(low), duration_words(high)
    return f"90 %: {words[0]} to {words[1]}" if words[0] != words[1] else ""


def summary(run: Run, reference: Run, name: str) -> str:
    """The outage now, in a sentence."""
    now, then = run.windows["network_outage"], reference.windows["network_outage"]
    if (back := run.windows.get("third_blackout")) is not None:
        return f"Cancelled: no switchover; shadowing ends with {duration_words(back)} of blackout 3."
    if now is None:
        return "This migration has no network outage."
    return f"Network outage now {duration_words(now)}; {difference(now, then)} against {name}."


def totals(run: Run, previous: Run | None, reference: Run, name: str) -> str:
    """Every window of the three runs in words, and what it rests on."""
    head = ("Window", name, "previous", "now", f"vs. {name}", "vs. previous")
    rows = []
    for window in TOTALS:
        lengths = [each.windows[window] if each else None for each in (reference, previous, run)]
        if window == "third_blackout" and lengths == [None] * 3:
            continue  # only a cancelled migration has it
        cells = [f"<td>{NONE_HERE if ns is None else escape(duration_words(ns))}</td>" for ns in lengths]
        cells += [f"<td>{difference(lengths[2], then)}</td>" for then in lengths[:2]]
        title, said = escape(WINDOWS[window].title), (interval(run, window), rests_on(run, window))
        meaning, basis = escape(WINDOWS[window].meaning), escape("; ".join(filter(None, said)))
        rows.append(
            f"<tr data-window='{window}'><th scope='row' title='{meaning}'>{title}</th>{''.join(cells)}</tr>"
            f"<tr class='vdpa-basis'><td colspan='{len(head)}'>{basis}</td></tr>"
        )
    header = "".join(f"<th scope='col'>{escape(each)}</th>" for each in head)
    return (
        "<div class='vdpa-scroll' tabindex='0' role='region' aria-label='Length of every window'>"
        f"<table class='vdpa-totals'><thead><tr>{header}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def legend(bars: list[Bar]) -> str:
    """The families that the figure shows, each with its colour and hatch."""
    used = {
        name
        for bar in bars
        for window, parts in bar.windows.items()
        for name, ns in (parts or {}).items()
        if ns >= VISIBLE * bar.total(window)
    }
    items = [
        f"<li><img alt='' src='data:image/png;base64,{base64.b64encode(swatch_png(name)).decode()}'>"
        f"{escape(family.title)}</li>"
        for name, family in FAMILIES.items()
        if name in used
    ]
    if any(bar.spread for bar in bars):
        items.append("<li>├─┤ 90 % of the draws of all prices</li>")
    return f"<ul class='vdpa-legend' aria-label='Colours of the figure'>{''.join(items)}</ul>"


def alternative(bars: list[Bar]) -> str:
    """The figure in words, for those who do not see it."""
    said = []
    for window in shown_windows(bars):
        lengths = [f"{bar.label} {duration_words(bar.total(window))}" for bar in bars]
        said.append(f"{WINDOWS[window].title}: {', '.join(lengths)}")
    return f"<div class='vdpa-alt'>Stacked bars of the downtime. {escape('. '.join(said))}.</div>"
