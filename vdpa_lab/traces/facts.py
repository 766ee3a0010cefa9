"""What only a log knows of a VM: negotiated rings and features, mapped sections, active pairs; each with its line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from vdpa_lab.model.errors import ScenarioError
from vdpa_lab.model.features import Feature
from vdpa_lab.model.guest import Section
from vdpa_lab.traces.events import Event
from vdpa_lab.traces.sides import Side
from vdpa_lab.units import GIB
from vdpa_lab.words import InputError

#: QEMU hw/i386/pc_q35.c: low memory ends at 2 GiB or 0xb0000000, and PCI holes begin behind it
_LOW_END = 0xB000_0000


class Fact(NamedTuple):
    """A value for a key of a scenario, and where it is from: file and line, or the rule that gave it."""

    key: str
    value: object
    where: str


def log_facts(side: Side) -> Iterator[Fact]:
    """Facts of the source's log; the first device start counts, for that is when the guest's driver has negotiated."""
    events = list(zip(side.log.events, side.devices.of(side.log.events), strict=True))
    name = os.path.basename(side.log.path)

    def at(event: Event) -> str:
        return f"{name}:{event.line} {event.name}"

    if not side.devices.count:
        return
    last = max(side.log.events, key=lambda event: event.fields.get("index", -1), default=None)
    yield Fact("device.count", side.devices.count, f"{name}: vdpa_shared addresses")
    started = next((i for i, (event, _) in enumerate(events) if event.name == "vhost_vdpa_set_features"), None)
    if started is None:
        return
    device = events[started][1]
    pairs, cvq = side.devices.queue_pairs(device), side.devices.cvq(device)
    if pairs is not None and last is not None:
        yield Fact("device.queue_pairs", pairs, f"{at(last)}: the highest virtqueue index")
        yield Fact("device.cvq", cvq is not None, f"{at(last)}: a last index that is even is the control virtqueue")
    first = events[started][0]
    yield Fact("device.features", first.fields["features"], at(first))
    own = [event for event, number in events[started:] if number == device]
    end = next((i for i, event in enumerate(own) if event.name == "vhost_vdpa_suspend"), len(own))
    for event in own[:end]:
        if event.name == "vhost_vdpa_set_vring_num" and event.fields["index"] in (0, cvq):
            key = "device.queue_size" if event.fields["index"] == 0 else "device.cvq_size"
            yield Fact(key, event.fields["num"], at(event))
        elif event.name == "vhost_vdpa_set_dev_vring_base" and event.fields["index"] == 0:
            yield Fact("device.svq", "on" if event.fields["svq"] else "auto", f"{at(event)}: svq: of the first start")
    yield from _driver([event for event, number in events if number == device], at)
    yield from _control(side, device, at)
    found = _sections(events, started, device)
    if found:
        lines = ", ".join(str(event.line) for _, event in found)
        where = f"{name}: vhost_vdpa_listener_region_add of lines {lines}"
        yield Fact("guest.sections", tuple(section for section, _ in found), where)


def memory_fact(side: Side) -> Iterator[Fact]:
    """RAM by what is mapped, where no command line says it: low memory from 0, and all above 4 GiB (q35)."""
    events = list(zip(side.log.events, side.devices.of(side.log.events), strict=True))
    started = next((i for i, (event, _) in enumerate(events) if event.name == "vhost_vdpa_set_features"), None)
    if started is None:
        return
    found = [section for section, _ in _sections(events, started, events[started][1])]
    low = max((section.end for section in found if section.end <= _LOW_END), default=0)
    high = sum(section.size for section in found if section.gpa >= 4 * GIB)
    if low:
        where = f"{os.path.basename(side.log.path)}: vhost_vdpa_listener_region_add"
        yield Fact("guest.memory", low + high, f"{where}: the end of low memory, and what is above 4 GiB")


def _driver(own: list[Event], at) -> Iterator[Fact]:
    offered = next((event for event in own if event.name == "vhost_vdpa_get_features"), None)
    if offered is not None:
        # Linux drivers/vdpa/vdpa_sim offers ANY_LAYOUT; get_supported_features of mlx5_vdpa does not
        sim = bool(offered.fields["features"] & Feature.ANY_LAYOUT.mask)
        why = "offers ANY_LAYOUT, as vdpa_sim does" if sim else "offers no ANY_LAYOUT; taken to be mlx5_vdpa"
        yield Fact("device.driver", "vdpa_sim" if sim else "mlx5", f"{at(offered)}: the device {why}")


def _control(side: Side, device: int, at) -> Iterator[Fact]:
    """What the guest had set through its control virtqueue when the migration began."""
    stopped = side.marks.get("src-downtime-start") if side.log.timed else None
    own = [e for e, number in side.events if number == device and (stopped is None or e.t < stopped)]
    pairs = [event for event in own if event.name == "vhost_vdpa_net_load_mq"]
    if pairs:
        yield Fact("device.active_pairs", pairs[-1].fields["pairs"], at(pairs[-1]))
    vlans = [
        event
        for event in own
        if event.name == "vhost_vdpa_net_load_cmd" and (event.fields["class"], event.fields["cmd"]) == (2, 0)
    ]
    if vlans:
        yield Fact("device.vlans", len(vlans), f"{at(vlans[0])} and on: VLAN_ADD commands")


def _sections(events: list[tuple[Event, int]], started: int, device: int) -> list[tuple[Section, Event]]:
    """What is mapped once the first start has committed its batch, in order of address.

    vhost_vdpa_listener_region_add prints the end as the first byte behind the section, region_del as its last byte
    (QEMU hw/virtio/vhost-vdpa.c).
    """
    mapped: dict[tuple[int, int], tuple[Section, Event]] = {}
    for number, (event, its) in enumerate(events):
        fields = event.fields
        if event.name == "vhost_vdpa_suspend" and number > started:
            break
        if event.name == "vhost_vdpa_listener_region_add" and its == device and fields["llend"] > fields["gpa"]:
            perm = "ro" if fields["readonly"] else "rw"
            key = fields["gpa"], fields["llend"]
            try:
                mapped[key] = Section(fields["gpa"], fields["llend"] - fields["gpa"], perm), event
            except ScenarioError as error:
                raise InputError(f"line {event.line} maps what can be no section of guest memory: {error}") from error
        elif event.name == "vhost_vdpa_listener_region_del" and its == device:
            mapped.pop((fields["gpa"], fields["llend"] + 1), None)
    return [mapped[key] for key in sorted(mapped)]
