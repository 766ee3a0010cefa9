"""How often each operation took place in a window, and the map rebuilds that follow from the order of messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vdpa_lab.timeline import WINDOWS, Timeline, intervals
from vdpa_lab.traces.events import Event
from vdpa_lab.traces.kernel_vdt import KernelOp
from vdpa_lab.traces.tracepoints import tracepoints

SET_MAP = "set_map"


class Op(NamedTuple):
    """One operation in the time of a Timeline: ns, side, device, name."""

    t: int
    side: str
    device: int
    op: str


class Rebuild(NamedTuple):
    """A rebuild of an address space: by a batch of `messages`, or by one message outside of any.

    kind: pin | unpin for a batch of updates or invalidations, ring for a single message. t is when it was asked for.
    """

    t: int
    device: int
    asid: int
    kind: str
    messages: int
    size: int


def rebuilds(events: Iterable[tuple[Event, int]]) -> Iterator[Rebuild]:
    """What a device with set_map rebuilds, from a QEMU log.

    vhost_vdpa (Linux drivers/vhost/vdpa.c) rebuilds after each message outside of a batch and once at a batch's end.
    A single update of several physically contiguous chunks rebuilds once a chunk, which a QEMU log does not show.
    """
    batches: dict[int, list[Event]] = {}
    for event, device in events:
        if event.name == "vhost_vdpa_listener_begin_batch":
            batches[device] = []
        elif event.name == "vhost_vdpa_listener_commit":
            inside = batches.pop(device, [])
            kind = "pin" if any(each.name == "vhost_vdpa_dma_map" for each in inside) else "unpin"
            asid = inside[0].fields["asid"] if inside else 0
            yield Rebuild(event.t, device, asid, kind, len(inside), sum(each.fields["size"] for each in inside))
        elif event.name in ("vhost_vdpa_dma_map", "vhost_vdpa_dma_unmap"):
            if device in batches:
                batches[device].append(event)
            else:
                yield Rebuild(event.t, device, event.fields["asid"], "ring", 1, event.fields["size"])


def cvq_name(fields: dict) -> str:
    """A control command by its class and number (VIRTIO 1.3, 5.1.6.5)."""
    names = {
        (1, 0): "MAC_TABLE_SET", (1, 1): "MAC_ADDR_SET", (2, 0): "VLAN_ADD", (2, 1): "VLAN_DEL", (3, 0): "ANNOUNCE_ACK",
        (4, 0): "MQ_VQ_PAIRS_SET", (4, 1): "RSS_CONFIG", (4, 2): "HASH_CONFIG", (5, 0): "GUEST_OFFLOADS_SET",
    }  # fmt: skip
    if fields["class"] == 0 and 0 <= fields["cmd"] <= 5:
        return "RX_MODE"
    return names.get((fields["class"], fields["cmd"]), f"CVQ class {fields['class']} command {fields['cmd']}")


def log_ops(side: str, events: Sequence[tuple[Event, int]], shift: int, kernel: bool) -> Iterator[Op]:
    """Operations that a QEMU log shows; those of the kernel are left out where the kernel's own log tells them."""
    for event, device in events:
        point = tracepoints()[event.name]
        if event.name == "vhost_vdpa_net_load_cmd":
            yield Op(event.t + shift, side, device, cvq_name(event.fields))
        elif point.op and point.lane == "kernel" and not kernel:
            yield Op(event.t + shift, side, device, point.op)
    if not kernel:
        for each in rebuilds(events):
            yield Op(each.t + shift, side, each.device, SET_MAP)


def kernel_ops(ops: Iterable[KernelOp], shift: int) -> Iterator[Op]:
    """Operations of a kernel log."""
    for op in ops:
        yield Op(op.start + shift, op.side, op.device, op.op)


def counted(timeline: Timeline, ops: Sequence[Op]) -> dict[str, dict[str, int]]:
    """Counts per window; a window that the trace cannot answer has none."""
    found = {}
    for name, window in WINDOWS.items():
        total: Counter[str] = Counter()
        each_interval = intervals(timeline, window)
        for each in each_interval:
            end = each.start_ns + each.ns
            total.update(op.op for op in ops if each.start_ns <= op.t <= end and each.device in (-1, op.device))
        if each_interval:
            found[name] = dict(sorted(total.items()))
    return found
