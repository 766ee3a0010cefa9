"""Slow virtqueues, straight from VIRTIO 1.3 (2.7, 2.8): struct on bytes, sets and deques, one buffer at a time.

A buffer is (id, readable elements, writable elements), an element (guest address, bytes). Rings are taken to be sound.
"""

import struct
from collections import deque

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15


class Naive:
    """What both sides of both rings share: fields of memory by byte offset, elements, and the features."""

    def __init__(self, memory, size, at, *, event_idx, in_order, origin, base):
        self.memory, self.size, self.at, self.origin = memoryview(memory), size, at, origin
        self.event_idx, self.in_order, self.base = event_idx, in_order, base

    def read(self, form, offset):
        return struct.unpack_from("<" + form, self.memory, offset)

    def write(self, form, offset, *values):
        struct.pack_into("<" + form, self.memory, offset, *values)


def elements(outs, ins):
    return [(addr, length, 0) for addr, length in outs] + [(addr, length, WRITE) for addr, length in ins]


def sides(found):
    return [(a, n) for a, n, flags in found if not flags & WRITE], [(a, n) for a, n, flags in found if flags & WRITE]


class SplitDriver(Naive):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.free, self.outstanding = deque(range(self.size)), {}
        self.idx = self.told = self.last = self.base

    def add(self, outs, ins, table=None):
        chain = elements(outs, ins)
        needed = 1 if table is not None else len(chain)
        if needed > len(self.free):
            return None
        places = [self.free.popleft() for _ in range(needed)]
        if table is None:
            for step, (addr, length, flags) in enumerate(chain):
                following = places[step + 1] if step + 1 < needed else 0
                more = NEXT if step + 1 < needed else 0
                self.write("QIHH", self.at[0] + 16 * places[step], addr, length, flags | more, following)
        else:
            for step, (addr, length, flags) in enumerate(chain):
                more = NEXT if step + 1 < len(chain) else 0
                self.write("QIHH", table + 16 * step, addr, length, flags | more, step + 1)
            self.write("QIHH", self.at[0] + 16 * places[0], self.origin + table, 16 * len(chain), INDIRECT, 0)
        self.write("H", self.at[1] + 4 + 2 * (self.idx % self.size), places[0])
        self.idx = (self.idx + 1) % 65536
        self.outstanding[places[0]] = places, sum(length for _, length in ins)
        return places[0]

    def publish(self):
        self.write("H", self.at[1] + 2, self.idx)

    def need_notify(self):
        old, self.told = self.told, self.idx
        flags, (event,) = self.read("H", self.at[2])[0], self.read("H", self.at[2] + 4 + 8 * self.size)
        return crossed(old, self.idx, event) if self.event_idx else flags == 0

    def want(self, wanted):
        if self.event_idx:
            self.write("H", self.at[1] + 4 + 2 * self.size, (self.last if wanted else self.last - 1) % 65536)
        else:
            self.write("H", self.at[1], 0 if wanted else 1)
        return self.read("H", self.at[2] + 2)[0] != self.last

    def get(self, most):
        got = []
        while self.last != self.read("H", self.at[2] + 2)[0] and len(got) < most:
            head, length = self.read("II", self.at[2] + 4 + 8 * (self.last % self.size))
            for each in list(self.outstanding) if self.in_order else [head]:
                places, writable = self.outstanding.pop(each)
                self.free.extend(places)
                self.last = (self.last + 1) % 65536
                got.append((each, length if each == head else writable))
                if each == head:
                    break
        return got


class SplitDevice(Naive):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.last = self.idx = self.told = self.base

    def pop(self, most):
        got = []
        while self.last != self.read("H", self.at[1] + 2)[0] and len(got) < most:
            (head,) = self.read("H", self.at[1] + 4 + 2 * (self.last % self.size))
            self.last = (self.last + 1) % 65536
            found, place, more = [], self.at[0] + 16 * head, True
            table = self.at[0]
            while more:
                addr, length, flags, following = self.read("QIHH", place)
                if flags & INDIRECT:
                    place = table = addr - self.origin
                    continue
                found.append((addr, length, flags))
                more, place = flags & NEXT, table + 16 * following
            got.append((head, *sides(found)))
        return got

    def push(self, used, as_batch=False):
        for head, written in used[-1:] if as_batch else used:
            self.write("II", self.at[2] + 4 + 8 * (self.idx % self.size), head, written)
            self.idx = (self.idx + (len(used) if as_batch else 1)) % 65536
        self.write("H", self.at[2] + 2, self.idx)

    def need_interrupt(self):
        old, self.told = self.told, self.idx
        flags, (event,) = self.read("H", self.at[1])[0], self.read("H", self.at[1] + 4 + 2 * self.size)
        return crossed(old, self.idx, event) if self.event_idx else flags == 0

    def want(self, wanted):
        if self.event_idx:
            self.write("H", self.at[2] + 4 + 8 * self.size, (self.last if wanted else self.last - 1) % 65536)
        else:
            self.write("H", self.at[2], 0 if wanted else 1)
        return self.read("H", self.at[1] + 2)[0] != self.last


def crossed(old, new, event):
    """Whether the entry with index `event` is among those written while the index went from old to new."""
    while old != new:
        if old == event:
            return True
        old = (old + 1) % 65536
    return False


class Place:
    """A slot of a packed ring and its wrap counter."""

    def __init__(self, size, base):
        self.size, self.slot, self.wrap = size, base & 0x7FFF, base >> 15

    def forward(self, slots):
        for _ in range(slots):
            self.slot += 1
            if self.slot == self.size:
                self.slot, self.wrap = 0, 1 - self.wrap


class Packed(Naive):
    """area: of the own suppression structure; the other one is the other side's."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.avail, self.used = Place(self.size, self.base), Place(self.size, self.base)
        self.news = []  # places (as off_wrap) that changed since the other side was told

    def passed(self, place, slots):
        for _ in range(slots):
            self.news.append(place.slot | place.wrap << 15)
            place.forward(1)

    def tell(self, area):
        where, flags = self.read("HH", area)
        news, self.news = self.news, []
        return where in news if flags == 2 and self.event_idx else flags != 1

    def ask(self, area, place, wanted):
        mode = (2 if self.event_idx else 0) if wanted else 1
        self.write("HH", area, place.slot | place.wrap << 15, mode)


class PackedDriver(Packed):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ids, self.room, self.outstanding = deque(range(self.size)), self.size, {}

    def add(self, outs, ins, table=None):
        chain = elements(outs, ins)
        if table is not None:
            for step, (addr, length, flags) in enumerate(chain):
                self.write("QIHH", table + 16 * step, addr, length, 0, flags)
            chain = [(self.origin + table, 16 * len(chain), INDIRECT)]
        if len(chain) > self.room:
            return None
        buffer, writes = self.ids.popleft(), []
        for step, (addr, length, flags) in enumerate(chain):
            flags |= AVAIL if self.avail.wrap else USED
            flags |= NEXT if step + 1 < len(chain) else 0
            writes.append((self.at[0] + 16 * self.avail.slot, addr, length, buffer, flags))
            self.passed(self.avail, 1)
        for each in reversed(writes):
            self.write("QIHH", *each)
        self.room -= len(chain)
        self.outstanding[buffer] = len(chain), sum(length for _, length in ins)
        return buffer

    def publish(self):
        pass

    def need_notify(self):
        return self.tell(self.at[2])

    def want(self, wanted):
        self.ask(self.at[1], self.used, wanted)
        return self.is_used()

    def is_used(self):
        flags = self.read("H", self.at[0] + 16 * self.used.slot + 14)[0]
        return bool(flags & AVAIL) == bool(flags & USED) == bool(self.used.wrap) and self.room != self.size

    def get(self, most):
        got = []
        while self.is_used() and len(got) < most:
            _, length, buffer, flags = self.read("QIHH", self.at[0] + 16 * self.used.slot)
            for each in list(self.outstanding) if self.in_order else [buffer]:
                slots, writable = self.outstanding.pop(each)
                self.room += slots
                self.used.forward(slots)
                self.ids.append(each)
                got.append((each, (length if flags & WRITE else 0) if each == buffer else writable))
                if each == buffer:
                    break
        return got


class PackedDevice(Packed):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.slots, self.held = {}, 0

    def is_available(self):
        flags = self.read("H", self.at[0] + 16 * self.avail.slot + 14)[0]
        return bool(flags & AVAIL) != bool(flags & USED) and bool(flags & AVAIL) == bool(self.avail.wrap)

    def pop(self, most):
        got = []
        while self.held < self.size and self.is_available() and len(got) < most:
            found, slots, more = [], 0, True
            while more:
                addr, length, buffer, flags = self.read("QIHH", self.at[0] + 16 * self.avail.slot)
                if flags & INDIRECT:
                    for step in range(length // 16):
                        addr_in, length_in, _, flags_in = self.read("QIHH", addr - self.origin + 16 * step)
                        found.append((addr_in, length_in, flags_in))
                else:
                    found.append((addr, length, flags))
                more, slots = flags & NEXT, slots + 1
                self.avail.forward(1)
            self.slots[buffer] = slots
            self.held += slots
            got.append((buffer, *sides(found)))
        return got

    def push(self, used, as_batch=False):
        for buffer, written in used[-1:] if as_batch else used:
            flags = AVAIL | USED if self.used.wrap else 0
            self.write("IHH", self.at[0] + 16 * self.used.slot + 8, written, buffer, flags | (WRITE if written else 0))
            together = [each for each, _ in used] if as_batch else [buffer]
            slots = sum(self.slots.pop(each) for each in together)
            self.held -= slots
            self.passed(self.used, slots)

    def need_interrupt(self):
        return self.tell(self.at[1])

    def want(self, wanted):
        self.ask(self.at[2], self.avail, wanted)
        return self.is_available()
