"""QEMU's downtime checkpoints as the table that is posted with them, and the devices' shares, largest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from vdpa_lab.traces.events import Event, printable
from vdpa_lab.units import MS, US

#: QEMU migration/: the arguments of vmstate_downtime_checkpoint in precopy
NAMES = (
    "src-downtime-start",
    "src-vm-stopped",
    "src-iterable-saved",
    "src-non-iterable-saved",
    "dst-precopy-loadvm-completed",
    "dst-precopy-bh-enter",
    "dst-precopy-bh-announced",
    "dst-precopy-bh-vm-started",
    "src-downtime-end",
)
TOP = 8


def checkpoint_rows(marks: Mapping[str, int]) -> list[dict]:
    """Each checkpoint to the next in time: from, to, us."""
    found = sorted((marks[name], order, name) for order, name in enumerate(NAMES) if name in marks)
    return [
        {"from": a, "to": b, "us": (t2 - t1) // US}
        for (t1, _, a), (t2, _, b) in pairwise(found)
    ]  # fmt: skip


def device_rows(events: Iterable[tuple[Event, int]]) -> list[dict]:
    """What saving or loading each state took, as QEMU says it, the longest first."""
    rows = [
        {
            "idstr": printable(event.fields["idstr"]),
            "type": printable(event.fields["type"]),
            "us": event.fields["us"],
            "side": "source" if event.name == "vmstate_downtime_save" else "destination",
            "instance": event.fields["instance"],
        }
        for event, _ in events
        if event.name in ("vmstate_downtime_save", "vmstate_downtime_load")
    ]
    return sorted(rows, key=lambda row: (-row["us"], row["side"], row["idstr"], row["instance"]))


def checkpoint_text(rows: Sequence[dict]) -> Iterator[str]:
    """The table, line for line."""
    for row in rows:
        yield f"{row['from']} -> {row['to']}: {row['us']} (us)"


def device_text(rows: Sequence[dict], top: int = TOP) -> Iterator[str]:
    """The `top` longest, then how many were left out."""
    for row in rows[:top]:
        yield f"{row['us']:>10} us  {row['side']:11}  {row['type']:12}  {row['idstr']}"
    if len(rows) > top:
        yield f"({len(rows) - top} omitted)"


def reported_text(ns: int) -> str:
    """The reported downtime as a sum of microseconds and in QEMU's own unit."""
    return f"{ns // US:,} us ({(ns + MS // 2) // MS} ms)"
