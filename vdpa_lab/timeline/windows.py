"""The windows of a vDPA live migration: each defined once, in words and as marks."""

from __future__ import annotations

from typing import NamedTuple

from vdpa_lab.timeline.spans import Timeline


class Window(NamedTuple):
    """`begin` and `end` are mark names; `{d}` stands for each device, `combine` says how devices join: max | sum."""

    name: str
    title: str
    begin: str
    end: str
    combine: str
    meaning: str


_BACK = ("svq-back-begin:{d}", "svq-back-end:{d}")
_SVQ = ("svq-switch-begin:{d}", "svq-switch-end:{d}")
WINDOWS = {
    window.name: window
    for window in (
        Window(
            "svq_switch",
            "SVQ switch (Downtime #1)",
            *_SVQ,
            "max",
            "the longest of any one device, from its suspension to the last data VRING_ENABLE of the switch to "
            "shadow virtqueues; the VM runs",
        ),
        Window(
            "svq_switch_sum",
            "SVQ switch, all devices",
            *_SVQ,
            "sum",
            "the same summed over devices, which are switched in series under the BQL: what a vCPU may stall",
        ),
        Window(
            "source_teardown",
            "Source teardown (Downtime #2)",
            "stop-begin:{d}",
            "stop-end:{d}",
            "sum",
            "sum over devices of stopping the device on the source after the VM was stopped: suspension, ring "
            "unmaps, reset, unpinning",
        ),
        Window(
            "destination_setup",
            "Destination set-up",
            "start-begin:{d}",
            "start-end:{d}",
            "sum",
            "sum over devices of vhost_net_start on the destination: features, rings, memory map, DRIVER_OK, CVQ "
            "replay, VRING_ENABLE",
        ),
        Window(
            "vm_paused",
            "VM paused",
            "vcpus-paused",
            "vcpus-resumed",
            "max",
            "no vCPU runs: from pause_all_vcpus on the source to resume_all_vcpus on the destination",
        ),
        Window(
            "reported_downtime",
            "Reported downtime",
            "src-downtime-start",
            "src-downtime-end",
            "max",
            "what query-migrate reports: until the source has flushed its stream, or with a return path until the "
            "destination says that it runs",
        ),
        Window(
            "network_outage",
            "Network outage (blackout 2)",
            "stop-begin:{d}",
            "network-up:{d}",
            "max",
            "the longest of any one device, from its suspension on the source to its last data VRING_ENABLE on the "
            "destination",
        ),
        Window(
            "third_blackout",
            "End of shadowing (blackout 3)",
            *_BACK,
            "max",
            "only of a cancelled migration: the longest of any one device, from its suspension to the last data "
            "VRING_ENABLE of the switch back to passthrough; the VM runs",
        ),
    )
}


class Interval(NamedTuple):
    """One device's share of a window (device -1: the whole VM), between two marks of the timeline, in ns."""

    device: int
    begin: str
    end: str
    start_ns: int
    ns: int


def intervals(timeline: Timeline, window: Window) -> tuple[Interval, ...]:
    """The window's intervals, one a device where its marks carry a device number; marks that are absent give none."""
    if "{d}" not in window.begin:
        names = [(-1, window.begin, window.end)]
    else:
        prefix = window.begin.partition("{d}")[0]
        devices = sorted(int(mark[len(prefix) :]) for mark in timeline.marks if mark.startswith(prefix))
        names = [(d, window.begin.format(d=d), window.end.format(d=d)) for d in devices]
    return tuple(
        Interval(device, begin, end, timeline.marks[begin], timeline.marks[end] - timeline.marks[begin])
        for device, begin, end in names
        if begin in timeline.marks and end in timeline.marks
    )


def counted_intervals(timeline: Timeline, window: Window) -> tuple[Interval, ...]:
    """The intervals whose lengths make up the window: all of a sum, the longest of a max."""
    found = intervals(timeline, window)
    return found if window.combine == "sum" else found and (max(found, key=lambda each: each.ns),)


def window_ns(timeline: Timeline, name: str) -> int | None:
    """Length of the window in ns, None where the timeline lacks its marks."""
    found = counted_intervals(timeline, WINDOWS[name])
    return sum(each.ns for each in found) if found else None
