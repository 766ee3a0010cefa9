"""Packets through the data paths of one migration: the arrays that the kernels work on, and the order of work.

Time is cut where any device's path changes. In a stretch a flow in passthrough or closed runs by itself; transmit
before receive, because the fabric learns from what was sent. Shadowed flows share one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vdpa_lab.kernels import traffic as k
from vdpa_lab.kernels import traffic_svq as svq
from vdpa_lab.library import Cost
from vdpa_lab.migration.traffic_flows import BLOCK, BLOCKS, RX, SMALLEST, TX, Arrivals, Flow
from vdpa_lab.migration.traffic_paths import DataPath

QDISC = 1000  # packets: DEFAULT_TX_QUEUE_LEN, Linux include/net/pkt_sched.h, drivers/net
STOP_FREE = 18  # virtio_net stops a queue with fewer than 2 + MAX_SKB_FRAGS (17) free descriptors: check_sq_full
FRAME_OVERHEAD = 24  # bytes on the wire around a frame: preamble 8, FCS 4, gap 12 (IEEE 802.3)


@dataclass(frozen=True)
class Prices:
    """ns of one frame through the port, in the guest's driver and through SVQ, and of a wake-up of SVQ's thread."""

    service: int
    guest: int
    element: int
    wake: int

    @classmethod
    def of(cls, costs: Mapping[str, Cost], packet: int, descriptors: int = 1) -> Prices:
        """From the price list, for packets of so many bytes and a chain of so many descriptors."""
        wire = (packet + FRAME_OVERHEAD) * costs["wire.byte"].value
        element = costs["svq.element"].value + costs["svq.kick"].value + descriptors * costs["svq.descriptor"].value
        return cls(
            max(1, round(max(costs["nic.packet"].value, wire))),
            max(1, round(costs["guest.rx_packet"].value)),
            max(1, round(element)),
            max(1, round(costs["svq.wakeup"].value)),
        )


class Engine:
    """One simulation of `flows` along `path`; `run()` fills counts, gaps and histograms (see `kernels.traffic`).

    ring: descriptors of a data virtqueue. deadline: ns after which a delivered packet is late. qdisc, block: packets.
    """

    def __init__(
        self, path: DataPath, flows: Sequence[Flow], prices: Prices, ring: int, deadline: int, vcpus: int = 1,
        seed: int = 0, qdisc: int = QDISC, block: int = BLOCK,
    ):  # fmt: skip
        count, devices = max(len(flows), 1), len(path.phases)
        self.path, self.flows, self.prices = path, tuple(flows), prices
        self.block = min(block, max(SMALLEST, BLOCKS // count))
        self.caps = [ring if each.direction == RX else max(1, ring - STOP_FREE) + qdisc for each in flows]
        slots = 1 << (max(self.caps, default=1) - 1).bit_length()
        self.params = np.zeros((count, k.PARAMS), np.uint64)
        for row, flow, cap in zip(self.params, flows, self.caps, strict=False):
            rx = flow.direction == RX
            row[:] = cap, prices.service, prices.guest, rx, flow.device, flow.pair % vcpus, deadline, ring
        self.state = np.zeros((count, k.STATE), np.uint64)
        self.state[:, k.LAST] = k.LATEST
        self.where = np.zeros((count, k.PATH), np.uint64)
        self.bounds = np.array(path.bounds, np.uint64).reshape(devices, k.EPOCHS - 1)
        self.clock = np.zeros((vcpus, k.CLOCK), np.uint64)
        self.clock[:] = path.paused, path.resumed, k.LATEST, 0
        known = path.known or (None,) * devices
        self.learned = np.array([k.LATEST if at is None else at for at in known], np.uint64)
        self.slots = np.zeros((count, slots), np.uint64)
        self.counts = np.zeros((count, k.EPOCHS, k.KINDS), np.uint64)
        self.gaps = np.zeros((count, 3, 2), np.uint64)
        self.hist = np.zeros((count, k.EPOCHS, k.BUCKETS), np.uint64)
        self.arrivals = np.zeros((count, self.block + 1), np.uint64)
        self.sizes = np.zeros(count, np.uint64)
        self.holds = np.array(path.holds, np.uint64).reshape(len(path.holds), 2)
        self.thread = np.zeros(svq.THREAD, np.uint64)
        self.thread[svq.WAKE], self.thread[svq.ELEMENT] = prices.wake, prices.element
        self._streams = [Arrivals(each, seed + i, self.block, path.horizon) for i, each in enumerate(flows)]
        self._order = sorted(range(len(flows)), key=lambda i: flows[i].direction == RX)

    def run(self) -> Engine:
        """Every packet up to the horizon."""
        last = self.path.horizon
        edges = sorted({each.start for device in self.path.phases for each in device if each.start < last} | {last})
        for i in self._order:
            self._refill(i)
        for begin, end in pairwise(edges):
            self._stretch(begin, np.uint64(end))
        return self

    @property
    def queued(self) -> np.ndarray:
        """uint64[flow, EPOCHS]: packets still in a ring or the qdisc at the end, by the epoch of their arrival."""
        found = np.zeros((len(self.flows), k.EPOCHS), np.uint64)
        for i, waiting in enumerate(self._waiting()):
            epochs = np.searchsorted(self.bounds[self.flows[i].device], waiting, side="right")
            found[i] = np.bincount(epochs, minlength=k.EPOCHS)
        return found

    def overdue(self, deadline: int) -> np.ndarray:
        """int64[flow, EPOCHS]: those of the queued that are past the deadline at the end."""
        found = np.zeros((len(self.flows), k.EPOCHS), np.int64)
        for i, waiting in enumerate(self._waiting()):
            old = waiting[waiting.astype(np.int64) < self.path.horizon - deadline]
            epochs = np.searchsorted(self.bounds[self.flows[i].device], old, side="right")
            found[i] = np.bincount(epochs, minlength=k.EPOCHS)
        return found

    def _waiting(self) -> list[np.ndarray]:
        mask = self.slots.shape[1] - 1
        return [
            self.slots[i, np.arange(int(row[k.SERVED]), int(row[k.ACCEPTED])) & mask]
            for i, row in enumerate(self.state[: len(self.flows)])
        ]

    def _refill(self, i: int) -> None:
        self.sizes[i] = self._streams[i].next(self.arrivals[i], k.LATEST)
        self.state[i, k.POS] = 0

    def _stretch(self, begin: int, end: np.uint64) -> None:
        for i, flow in enumerate(self.flows):
            phases = self.path.phases[flow.device]
            at = max(n for n, each in enumerate(phases) if each.start <= begin)
            until = phases[at + 1].start if at + 1 < len(phases) else self.path.horizon
            now = phases[at]
            self.where[i] = now.mode, now.cause, now.learns, now.start, until
        for device, started, ended, released in self.path.switches:
            if started == begin:
                self._stall(device, started, ended, released)
        shared = (self.bounds, self.clock, self.learned, self.slots, self.counts)
        own = (self.params, self.state, self.where, *shared)
        for i in self._order:
            if self.where[i, k.MODE] != k.SHADOW:
                while k.run_flow(np.uint64(i), self._block(i), end, *own, self.gaps, self.hist):
                    self._refill(i)
        self.thread[svq.NOW] = max(int(self.thread[svq.NOW]), begin)
        if self.thread[svq.BUDGET] or (self.where[:, k.MODE] == k.SHADOW).any():
            while True:
                wants = svq.run_shadow(
                    self.arrivals, self.sizes, self.holds, end, self.thread, *own, self.gaps, self.hist
                )
                if wants == svq.FINISHED:
                    break
                self._refill(int(wants))

    def _block(self, i: int) -> np.ndarray:
        return self.arrivals[i, : int(self.sizes[i])]

    def _stall(self, device: int, started: int, ended: int, released: int) -> None:
        """A vCPU that kicks a device whose notifiers are gone waits for the BQL until all devices are switched."""
        for i, flow in enumerate(self.flows):
            if flow.direction != TX or flow.device != device:
                continue
            kick = int(self.arrivals[i, int(self.state[i, k.POS])])
            vcpu = self.clock[int(self.params[i, k.VCPU])]
            already = int(vcpu[k.STALLED]) if int(vcpu[k.RELEASED]) > started else k.LATEST
            if kick < min(ended, already):
                vcpu[k.STALLED], vcpu[k.RELEASED] = kick, released
