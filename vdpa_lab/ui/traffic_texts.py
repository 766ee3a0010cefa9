"""What packets and applications see, as HTML; every string is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from vdpa_lab.ui.view_texts import table
from vdpa_lab.units import format_duration

NONE = (
    "<p>This scenario has no guest traffic. Give its file a <code>[workload.traffic]</code> with rx_pps, tx_pps, "
    "packet and tcp_rto.</p>"
)
TOO_MANY = "too many to send each of them through. Give it fewer packets a second, or optimise the migration first."
HEAD = (
    "Flow", "Offered", "Delivered", "Lost", "p50 before", "p50 shadowed", "p99 shadowed", "Longest gap", "TCP stalls",
)  # fmt: skip
GUESSED = (
    "The prices of the shadow data path are guesses; what the blackouts lose follows from their length. Lost and gap "
    "are of both blackouts; a TCP sender tries again at its retransmission timeouts only."
)


def _ns(value: int | None) -> str:
    return "–" if value is None else escape(format_duration(value))


def _causes(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {cause}" for cause, count in sorted(dropped.items(), key=lambda each: -each[1]))


def _row(flow: dict[str, Any]) -> tuple[str, ...]:
    periods = {period["name"]: period for period in flow["periods"]}
    dropped: dict[str, int] = {}
    for period in flow["periods"]:
        for cause, count in period["dropped"].items():
            dropped[cause] = dropped.get(cause, 0) + count
    latency = {name: periods[name]["latency_ns"] if name in periods else {} for name in ("before", "precopy")}
    gaps = {gap["blackout"]: gap for gap in flow["gaps"]}
    stalls = [gap["tcp_stall_ns"] for number, gap in sorted(gaps.items()) if number and gap["tcp_stall_ns"]]
    return (
        escape(f"{flow['direction']} {flow['device']}.{flow['pair']}"),
        f"{sum(period['offered'] for period in flow['periods']):,}",
        f"{sum(period['delivered'] for period in flow['periods']):,}",
        escape(_causes(dropped) or "none"),
        _ns(latency["before"].get("p50")),
        _ns(latency["precopy"].get("p50")),
        _ns(latency["precopy"].get("p99")),
        _ns(gaps[0]["ns"] if 0 in gaps else None),
        ", ".join(map(_ns, stalls)) or "–",
    )


def traffic(found: dict[str, Any]) -> str:
    """A row a flow, and when the fabric learned the VM's new place."""
    if "too_many" in found and not found.get("flows"):
        return f"<p>{found['too_many']:,} packets come while this migration lasts: {TOO_MANY}</p>"
    if not found.get("flows"):
        return NONE
    skipped = found["skipped_ns"]
    said = f" Of the precopy {_ns(skipped)} in the middle are left out." if skipped else ""
    return f"{table(HEAD, map(_row, found['flows']), 'Flows')}<p>{GUESSED}{said}</p>"
