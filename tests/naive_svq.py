"""A slow shadow virtqueue after QEMU's vhost-shadow-virtqueue.c: element objects, a list of maps, a set of pages.

It keeps a parked element as QEMU does, takes one buffer at a time, and looks through all maps for each address. Rings
are taken to be sound, and the buffers to be mapped.
"""

from dataclasses import dataclass

import naive_rings as naive

PAGE = 4096


@dataclass
class Element:
    """A buffer of the guest: its head, and its pieces after the split at map boundaries, as (gpa, bytes)."""

    head: int
    outs: list
    ins: list


def find(maps, gpa):
    """The map that has the address, by looking at each; None if none has."""
    for start, size, iova, *ram in maps:
        if start <= gpa < start + size:
            return start, size, iova, ram[0] if ram else start
    return None


def pieces(maps, gpa, length):
    """(gpa, bytes) of a buffer, cut where one map ends and the next begins."""
    found = []
    while length:
        start, size, *_ = find(maps, gpa)
        here = min(length, start + size - gpa)
        found.append((gpa, here))
        gpa, length = gpa + here, length - here
    return found


class Svq:
    def __init__(self, memory, size, at, maps, shadow_memory, shadow_at, *, event_idx, origin, base):
        self.known = {"event_idx": event_idx, "in_order": False}
        self.memory, self.size, self.at, self.maps, self.origin = memory, size, at, maps, origin
        self.shadow_memory, self.shadow_at = shadow_memory, shadow_at
        self.kicks = self.calls = 0
        self.dirty = set()
        self.start(base)

    def start(self, base):
        self.shadow_memory[:] = bytes(len(self.shadow_memory))
        self.guest = naive.SplitDevice(self.memory, self.size, self.at, origin=self.origin, base=base, **self.known)
        self.guest.idx = self.guest.told = self.guest.read("H", self.at[2] + 2)[0]
        self.driver = naive.SplitDriver(self.shadow_memory, self.size, self.shadow_at, origin=0, base=0, **self.known)
        self.held, self.parked = {}, None

    def mark(self, gpa, length):
        for at in range(gpa, gpa + length):
            start, _, _, ram = find(self.maps, at)
            self.dirty.add((at - start + ram) // PAGE)

    def ask(self, wanted):
        event = 4 + 8 * self.size if self.known["event_idx"] else 0
        self.mark(self.origin + self.at[2] + event, 2)
        return self.guest.want(wanted)

    def pop(self):
        for head, outs, ins in self.guest.pop(1):
            cut = [[piece for each in side for piece in pieces(self.maps, *each)] for side in (outs, ins)]
            return Element(head, *cut)
        return None

    def device_view(self, side):
        found = []
        for gpa, length in side:
            start, _, iova, _ = find(self.maps, gpa)
            found.append((gpa - start + iova, length))
        return found

    def forward_avail(self):
        while True:
            self.ask(False)
            while element := self.parked or self.pop():
                self.parked = None
                head = self.driver.add(self.device_view(element.outs), self.device_view(element.ins))
                if head is None:
                    self.parked = element
                    return
                self.held[head] = element
                self.driver.publish()
                self.kicks += self.driver.need_notify()
            if not self.ask(True):
                return

    def forward_used(self, retry=True):
        while True:
            self.driver.want(False)
            self.mark(self.origin + self.at[2] + 2, 2)
            for head, written in self.driver.get(self.size):
                element, left = self.held.pop(head), written
                for gpa, length in element.ins:
                    self.mark(gpa, min(left, length))
                    left -= min(left, length)
                self.mark(self.origin + self.at[2] + 4 + 8 * (self.guest.idx % self.size), 8)
                self.guest.push([(element.head, written)])
            self.calls += 1
            if retry and self.parked:
                self.forward_avail()
            if not self.driver.want(True):
                return

    def stop(self):
        self.forward_used(retry=False)
        self.guest.last = (self.guest.last - len(self.held) - (self.parked is not None)) % 65536
        return self.guest.last
