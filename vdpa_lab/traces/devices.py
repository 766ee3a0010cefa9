"""Which vDPA device an event of a QEMU log is about: QEMU prints addresses, of which each device has several."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from vdpa_lab.timeline.spans import NO_DEVICE
from vdpa_lab.traces.events import Event

# Events that a device's own code writes before its next IOTLB message.
_OWN = {"vhost_vdpa_suspend", "vhost_vdpa_set_vring_num", "vhost_vdpa_set_vring_addr", "vhost_vdpa_get_vring_base"}


class Devices:
    """Numbers of devices, in the order of their -netdev options (vhost_vdpa_init), or else as they appear.

    A device of N queue pairs has N + 1 `struct vhost_dev`, which share one `vdpa_shared` (QEMU
    include/hw/virtio/vhost-vdpa.h).
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._shared: dict[int, int] = {}
        self._dev: dict[int, int] = {}
        self.told = False
        for event in events:
            if event.name == "vhost_vdpa_init" and "shared" in event.fields:
                self._dev[event.fields["dev"]] = self._number(event.fields["shared"])
                self.told = True
        if not self.told:
            self._guess(events)
        highest: dict[int, int] = defaultdict(int)
        for event, device in zip(events, self.of(events), strict=True):
            if device != NO_DEVICE and "index" in event.fields:
                highest[device] = max(highest[device], event.fields["index"])
        self._highest = dict(highest)

    def _number(self, shared: int) -> int:
        return self._shared.setdefault(shared, len(self._shared))

    def _guess(self, events: Sequence[Event]) -> None:
        """Without vhost_vdpa_init: a vhost_dev belongs to the vdpa_shared of the IOTLB message that follows it."""
        votes: dict[int, Counter[int]] = defaultdict(Counter)
        waiting: list[int] = []
        for event in events:
            if event.name in _OWN:
                waiting.append(event.fields["dev"])
            elif "shared" in event.fields:
                for dev in waiting:
                    votes[dev][event.fields["shared"]] += 1
                waiting.clear()
                self._number(event.fields["shared"])
        for dev, found in votes.items():
            self._dev[dev] = self._shared[found.most_common(1)[0][0]]

    @property
    def count(self) -> int:
        """How many devices the log shows."""
        return max(len(self._shared), len(set(self._dev.values())))

    def of(self, events: Sequence[Event]) -> list[int]:
        """The device of each event; one that carries no address is the device that was being worked on."""
        found, current = [], NO_DEVICE
        for event in events:
            fields = event.fields
            if "shared" in fields:
                current = self._number(fields["shared"])
            elif "dev" in fields:
                current = self._dev.get(fields["dev"], max(current, 0))
            elif not event.name.startswith(("vhost_", "virtio_net_rss")):
                found.append(NO_DEVICE)
                continue
            found.append(current)
        return found

    def cvq(self, device: int) -> int | None:
        """Index of its control virtqueue: it comes behind the pairs, so the last index is even (VIRTIO 1.3, 5.1.2)."""
        highest = self._highest.get(device, 1)
        return highest if highest and highest % 2 == 0 else None

    def queue_pairs(self, device: int) -> int | None:
        """How many queue pairs it has, None where no event names a virtqueue."""
        highest = self._highest.get(device)
        return None if highest is None else max((highest + 1) // 2, 1)
