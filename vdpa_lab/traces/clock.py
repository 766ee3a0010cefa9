"""Two hosts, two clocks: the offset between them, from what must have come before what, or as the user states it.

Instants of two hosts are never subtracted as they are. A cause on one host and its effect on the other bound the
offset from one side; bounds from both sides give an estimate and its error. Data flows from source to destination
all the time; the other direction has a witness only with a return path.
"""

from __future__ import annotations

from typing import NamedTuple

from vdpa_lab.traces.sides import Side
from vdpa_lab.units import US, format_duration
from vdpa_lab.words import InputError


class Clock(NamedTuple):
    """offset_ns: destination's clock minus source's; bound_ns: how far that may be off; method and why in words."""

    method: str
    offset_ns: int
    bound_ns: int
    why: str


ONE_HOST = Clock("one log", 0, 0, "one host's log: no second clock")


def _saved(side: Side) -> dict[tuple, int]:
    """When the source began to save each state, by its kind, name and instance."""
    found = {}
    for event, _ in side.events:
        if event.name == "vmstate_downtime_save":
            fields = event.fields
            key = fields["type"], fields["idstr"], fields["instance"]
            found[key] = event.t - max(fields["us"], 0) * US
    return found


def upper_bound(source: Side, destination: Side) -> tuple[int, str] | None:
    """The offset is at most this: no state was loaded before the source began to save it."""
    bounds = []
    saved = _saved(source)
    for event, _ in destination.events:
        if event.name == "vmstate_downtime_load":
            key = event.fields["type"], event.fields["idstr"], event.fields["instance"]
            if key in saved:
                bounds.append((event.t - saved[key], f"{key[1]} saved, then loaded"))
    last, loaded = source.marks.get("src-iterable-saved"), destination.marks.get("dst-precopy-loadvm-completed")
    if last is not None and loaded is not None:
        bounds.append((loaded - last, "src-iterable-saved, then dst-precopy-loadvm-completed"))
    return min(bounds, default=None)


def lower_bound(source: Side, destination: Side) -> tuple[int, str] | None:
    """With a return path the offset is at least this: the source waits until the destination says that it runs."""
    ran, end = destination.marks.get("dst-precopy-bh-vm-started"), source.marks.get("src-downtime-end")
    return None if ran is None or end is None else (ran - end, "dst-precopy-bh-vm-started, then src-downtime-end")


def align(
    source: Side, destination: Side, *, same_machine: bool, offset_ns: int | None, return_path: bool, why: str = ""
) -> Clock:
    """The clock of the destination against the source's.

    same_machine: both logs are of one machine, `why` says who says so. offset_ns: as the user states it.
    return_path: the migration had that capability. Raises InputError where nothing bounds the offset, or where what
    is stated contradicts the order of cause and effect.
    """
    high = upper_bound(source, destination)
    stated = 0 if same_machine and offset_ns is None else offset_ns
    if stated is not None:
        if high is not None and stated > high[0]:
            raise InputError(
                f"{destination.log.path!r}: with an offset of {stated} ns an effect precedes its cause ({high[1]}), "
                f"by {format_duration(stated - high[0])}; the two logs are not of one migration, or their clocks differ"
            )
        if same_machine and offset_ns is None:
            return Clock("same machine", 0, 0, why or "both logs are of one machine, as you say")
        return Clock("stated", stated, 0, "the offset is the one that you gave; its error is not known here")
    low = lower_bound(source, destination) if return_path else None
    if high is None or low is None:
        missing = "no state is both saved and loaded in them" if high is None else (
            "without a return path the source hears nothing from the destination"
        )  # fmt: skip
        raise InputError(
            f"nothing bounds the offset between the clocks of {source.log.path!r} and {destination.log.path!r}: "
            f"{missing}. Say that both are of one machine, or that the migration had a return path, or give the "
            "offset (destination minus source); or read each log on its own"
        )
    if low[0] > high[0]:
        raise InputError(
            f"{destination.log.path!r}: no offset puts both {high[1]} and {low[1]} in order "
            f"({format_duration(low[0] - high[0])} are missing); the logs are not of one migration, or a clock was set"
        )
    bound = (high[0] - low[0] + 1) // 2
    return Clock("causal pairs", low[0] + (high[0] - low[0]) // 2, bound, f"{high[1]}; {low[1]}")
