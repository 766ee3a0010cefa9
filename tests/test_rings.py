"""Virtqueues against slow twins, against the clauses of VIRTIO 1.3, and against random bytes.

Three ways: as it is; NUMBA_DISABLE_JIT=1; and with NUMBA_BOUNDSCHECK=1 together with a NUMBA_CACHE_DIR of its own,
because numba's cache does not ask how a kernel was compiled. A test that needs many rounds takes fewer un-jitted.
"""

import struct
from collections import deque

import naive_rings as naive
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from vdpa_lab.kernels import _jit, packed, split
from vdpa_lab.kernels.ring_errors import RingError, raised
from vdpa_lab.kernels.ring_layout import ROOM, new_shadow, views

SLOW = _jit.DISABLED
ORIGIN = 1 << 32
TABLES = 32768  # where the indirect tables of the tests lie


def u64(*values):
    return np.array(values, np.uint64)


def zeros(count):
    return np.zeros(count, np.uint64)


class Ring:
    """Memory with one new ring, split or packed."""

    def __init__(self, kind, size, *, base=None, memory=1 << 16, start=0, **features):
        self.kind, self.size, self.features = kind, size, features
        self.kernels = {"split": split, "packed": packed}[kind]
        self.base = base if base is not None else {"split": 0, "packed": 1 << 15}[kind]
        self.memory = np.zeros(memory, np.uint8)
        self.at = self.kernels.layout(size, start)
        self.views = views(self.memory)
        if kind == "split":
            for area in self.at[1:3]:
                struct.pack_into("<H", self.memory, area + 2, self.base)

    def state(self):
        known = {"origin": ORIGIN, "base": self.base}
        return self.kernels.state(self.memory, self.size, *self.at[:3], **known, **self.features)

    def driver(self, ours=True):
        return Driver(self) if ours else self.naive({"split": naive.SplitDriver, "packed": naive.PackedDriver})

    def device(self, ours=True):
        return Device(self) if ours else self.naive({"split": naive.SplitDevice, "packed": naive.PackedDevice})

    def naive(self, sides):
        known = {name: self.features.get(name, False) for name in ("event_idx", "in_order")}
        return sides[self.kind](self.memory, self.size, self.at, origin=ORIGIN, base=self.base, **known)

    def put(self, form, offset, *values):
        struct.pack_into("<" + form, self.memory, offset, *values)

    def take(self, form, offset):
        return struct.unpack_from("<" + form, self.memory, offset)


class Driver:
    """The kernels of the driver's side, with the calls of the naive driver."""

    def __init__(self, ring):
        self.kernels, self.v, self.split = ring.kernels, ring.views, ring.kind == "split"
        self.q, self.shadow = ring.state(), new_shadow(ring.size)
        self.write = (self.v.m64, self.v.m16) if self.split else (self.v.m64,)
        self.read = (self.v.m32, self.v.m16) if self.split else (self.v.m64,)

    def add_all(self, buffers, elements=None, heads=None):
        flat = [each for outs, ins in buffers for each in outs + ins]
        addr, length = u64(*(a for a, _ in flat)), u64(*(n for _, n in flat))
        outs, ins = u64(*(len(each) for each, _ in buffers)), u64(*(len(each) for _, each in buffers))
        heads = zeros(len(buffers)) if heads is None else heads
        if elements is not None:
            addr, length = addr[:elements], length[:elements]
        count = self.kernels.add_batch(*self.write, self.q, self.shadow, addr, length, outs, ins, heads, len(buffers))
        return [int(each) for each in heads[:count]] if count > 0 else int(count)

    def add_table(self, outs, ins, table):
        addr, length = u64(*(a for a, _ in outs + ins)), u64(*(n for _, n in outs + ins))
        return int(
            self.kernels.add_indirect(*self.write, self.q, self.shadow, addr, length, len(outs), len(ins), table)
        )

    def add(self, outs, ins, table=None):
        if table is not None:
            added = self.add_table(outs, ins, table)
            return None if added == -RingError.RING_FULL else raised(added)
        added = self.add_all([(outs, ins)])
        return None if added == -RingError.RING_FULL else added[0]

    def publish(self):
        if self.split:
            split.publish(self.v.m16, self.q)

    def need_notify(self):
        return bool(self.kernels.need_notify(self.v.m16, self.q))

    def want(self, wanted, after=1):
        more = () if self.split else (self.v.m64,)
        return bool(self.kernels.want_used(self.v.m16, *more, self.q, wanted, after))

    def get_raw(self, most):
        ids, lens = zeros(64), zeros(64)
        got = int(self.kernels.get_batch(*self.read, self.q, self.shadow, ids, lens, most))
        return got, list(zip(ids[: max(got, 0)].tolist(), lens[: max(got, 0)].tolist(), strict=True))

    def get(self, most):
        got, buffers = self.get_raw(most)
        raised(got)
        return buffers


class Device:
    """The kernels of the device's side, with the calls of the naive device."""

    def __init__(self, ring):
        self.kernels, self.v, self.split = ring.kernels, ring.views, ring.kind == "split"
        self.q, self.slots = ring.state(), {}

    def pop_raw(self, most=64, elements=256):
        heads, slots, outs, ins, addr, length = *(zeros(64) for _ in range(4)), zeros(elements), zeros(elements)
        v = self.v
        if self.split:
            got = split.pop_batch(v.m8, v.m64, v.m16, self.q, heads, outs, ins, addr, length, most)
        else:
            got = packed.pop_batch(v.m8, v.m64, self.q, heads, slots, outs, ins, addr, length, most)
        buffers, first = [], 0
        for each in range(max(int(got), 0)):
            readable, total = int(outs[each]), int(outs[each] + ins[each])
            found = list(zip(addr.tolist()[first : first + total], length.tolist()[first : first + total], strict=True))
            buffers.append((int(heads[each]), found[:readable], found[readable:]))
            self.slots[int(heads[each])] = int(slots[each])
            first += total
        return int(got), buffers

    def pop(self, most):
        got, buffers = self.pop_raw(most)
        raised(got)
        return buffers

    def push_raw(self, used, as_batch=False):
        ids, written = u64(*(each for each, _ in used)), u64(*(n for _, n in used))
        slots = u64(*(self.slots.get(each, 0) for each, _ in used))
        v = self.v
        if self.split and as_batch:
            return int(split.push_in_order(v.m32, v.m16, self.q, *used[-1], len(used)))
        if self.split:
            return int(split.push_batch(v.m32, v.m16, self.q, ids, written, len(used)))
        push = packed.push_in_order if as_batch else packed.push_batch
        return int(push(v.m64, self.q, ids, slots, written, len(used)))

    def push(self, used, as_batch=False):
        assert raised(self.push_raw(used, as_batch)) == len(used)

    def need_interrupt(self):
        return bool(self.kernels.need_interrupt(self.v.m16, self.q))

    def want(self, wanted):
        more = () if self.split else (self.v.m64,)
        return bool(self.kernels.want_available(self.v.m16, *more, self.q, wanted))


class Bell:
    """When one side is to be told, in places counted without end: of buffers (split) or descriptors (packed)."""

    def __init__(self, event_idx, window):
        self.event_idx, self.window, self.on, self.event, self.told = event_idx, window, True, 0, 0

    def arm(self, wanted, place):
        self.on, self.event = wanted, place if wanted or self.window is None else None

    def expected(self, now, split_ring):
        told, self.told = self.told, now
        if not self.event_idx:
            return self.on
        if not self.on:
            return None if split_ring else False
        if not split_ring and self.event is None:
            return True  # a packed ring starts with events enabled
        if self.window is not None and now - self.event > self.window:
            return None  # a wrap counter tells two turns apart, not three
        return told <= self.event < now


class Exchange(RuleBasedStateMachine):
    """Driver and device take turns in any order; buffers go through a deque and come back as they were."""

    kind, our_driver, our_device = "split", True, True

    @initialize(data=st.data(), event_idx=st.booleans(), in_order=st.booleans())
    def begin(self, data, event_idx, in_order):
        if self.kind == "split":
            self.size = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
            base = 0 if in_order else data.draw(st.sampled_from([0, 65530, 65535]))
        else:
            self.size = data.draw(st.integers(1, 17))
            base = data.draw(st.sampled_from([1 << 15, self.size - 1 | 1 << 15, self.size // 2]))
        self.in_order = in_order
        self.ring = Ring(self.kind, self.size, base=base, event_idx=event_idx, indirect=True, in_order=in_order)
        self.driver, self.device = self.ring.driver(self.our_driver), self.ring.device(self.our_device)
        self.placed, self.offered, self.taken, self.used = deque(), deque(), deque(), deque()
        self.room, self.tables, self.cost, self.serial = self.size, {}, {}, 0
        window = None if self.kind == "split" else self.size
        self.to_device, self.to_driver = Bell(event_idx, window), Bell(event_idx, window)
        for bell in (self.to_device, self.to_driver):
            bell.event = 0 if self.kind == "split" and base == 0 else None
        self.made = self.popped = self.given = self.got = 0
        if event_idx or self.kind == "packed":  # else the fields start at 0: enabled, index 0
            self.arm_device(True)
            self.arm_driver(True)

    def weight(self, buffer):
        return 1 if self.kind == "split" else self.cost[buffer]

    def free_table(self):
        """A place for an indirect table that no outstanding buffer uses: completion is in any order."""
        used = {self.tables[head] for head in self.cost}
        return next(place for place in range(TABLES, TABLES + 256 * 64, 256) if place not in used)

    @rule(shape=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4), table=st.booleans())
    def add(self, shape, table):
        for n_out, n_in in shape:
            if not n_out + n_in or n_out + n_in > self.size:
                continue
            self.serial += 1
            made = [(self.serial << 12 | step, 1 + (self.serial * 7 + step) % 1500) for step in range(n_out + n_in)]
            outs, ins = made[:n_out], made[n_out:]
            needed = 1 if table else len(made)
            place = self.free_table() if table else None
            head = self.driver.add(outs, ins, place)
            if needed > self.room:
                assert head is None
                continue
            assert head not in self.cost
            self.cost[head] = needed
            self.tables[head] = place
            self.room -= needed
            self.placed.append((head, outs, ins))
        if self.kind == "packed":
            self.expose()

    def expose(self):
        self.made += sum(self.weight(head) for head, _, _ in self.placed)
        self.offered.extend(self.placed)
        self.placed.clear()

    @rule()
    def publish(self):
        self.driver.publish()
        self.expose()
        told, needed = self.driver.need_notify(), self.to_device.expected(self.made, self.kind == "split")
        assert needed is None or told == needed

    @rule(most=st.integers(1, 6))
    def pop(self, most):
        found = self.device.pop(most)
        assert found == [self.offered.popleft() for _ in range(min(most, len(self.offered)))]
        self.popped += sum(self.weight(head) for head, _, _ in found)
        self.taken.extend(found)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), as_batch=st.booleans())
    def push(self, data, as_batch):
        count = data.draw(st.integers(1, len(self.taken)))
        order = list(range(len(self.taken))) if self.in_order else data.draw(st.permutations(range(len(self.taken))))
        chosen = [self.taken[place] for place in order[:count]]
        for buffer in chosen:
            self.taken.remove(buffer)
        used = [(head, sum(n for _, n in ins) // (1 + head % 2)) for head, _, ins in chosen]
        as_batch = as_batch and self.in_order
        self.device.push(used, as_batch)
        self.given += sum(self.weight(head) for head, _ in used)
        if as_batch:  # all but the last count as used completely (2.7.9, 2.8.8)
            used = [(head, sum(n for _, n in ins)) for head, _, ins in chosen[:-1]] + used[-1:]
        self.used.extend(used)

    @rule()
    def interrupt(self):
        told, needed = self.device.need_interrupt(), self.to_driver.expected(self.given, self.kind == "split")
        assert needed is None or told == needed

    @rule(most=st.integers(1, 6))
    def get(self, most):
        most = 64 if self.in_order else most
        found = self.driver.get(most)
        assert found == [self.used.popleft() for _ in range(min(most, len(self.used)))]
        for head, _ in found:
            self.got += self.weight(head)
            self.room += self.cost.pop(head)

    @rule(wanted=st.booleans())
    def arm_device(self, wanted):
        assert self.device.want(wanted) == bool(self.offered)
        self.to_device.arm(wanted, self.popped)

    @rule(wanted=st.booleans())
    def arm_driver(self, wanted):
        assert self.driver.want(wanted) == bool(self.used)
        self.to_driver.arm(wanted, self.got)

    def teardown(self):
        """Everything comes back once, and the ring is empty."""
        if not hasattr(self, "ring"):
            return
        self.publish()
        while self.offered:
            self.pop(64)
        if self.taken:
            used = [(head, 0) for head, _, _ in self.taken]
            self.device.push(used)
            self.used.extend(used)
            self.taken.clear()
        while self.used:
            self.get(64)
        assert not self.cost
        assert self.driver.get(64) == []
        if self.our_driver:
            assert self.driver.q[ROOM] == self.size


def exchange(kind, our_driver, our_device):
    sides = {"kind": kind, "our_driver": our_driver, "our_device": our_device}
    machine = type("Exchange", (Exchange,), sides)
    case = machine.TestCase
    case.settings = settings(
        max_examples=60 if SLOW else 150, stateful_step_count=40, deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )  # fmt: skip
    return case


TestSplitOursOurs = exchange("split", True, True)
TestSplitOursNaive = exchange("split", True, False)
TestSplitNaiveOurs = exchange("split", False, True)
TestPackedOursOurs = exchange("packed", True, True)
TestPackedOursNaive = exchange("packed", True, False)
TestPackedNaiveOurs = exchange("packed", False, True)


# Clauses, by number.


def test_2_7_the_areas_have_their_sizes_and_alignments():
    for size in (1, 2, 4, 256, 32768):
        at = split.layout(size, 48)
        assert (at.table % 16, at.avail % 2, at.used % 4) == (0, 0, 0)
        assert at.avail == at.table + 16 * size
        assert at.used - at.avail in (6 + 2 * size, 8 + 2 * size)
        assert at.end == at.used + 6 + 8 * size


@pytest.mark.parametrize("size", [0, 3, 6, 65536])
def test_2_7_the_queue_size_is_a_power_of_two_up_to_32768(size):
    with pytest.raises(ValueError, match="power of two"):
        split.state(np.zeros(64, np.uint8), size, 0, 16, 32)


@pytest.mark.parametrize("places", [(8, 64, 80), (0, 65, 80), (0, 64, 82)])
def test_2_7_1_the_driver_aligns_the_areas(places):
    with pytest.raises(ValueError, match="aligned"):
        split.state(np.zeros(256, np.uint8), 4, *places)
    with pytest.raises(ValueError, match="not wholly"):
        split.state(np.zeros(64, np.uint8), 4, 0, 64, 80)


def test_2_7_5_a_descriptor_and_both_rings_stand_byte_for_byte():
    ring = Ring("split", 4, base=65535, event_idx=True)
    driver, device = ring.driver(), ring.device()
    (head,) = driver.add_all([([(0x1122334455667788, 0x99AABBCC)], [(0x10, 0x20)])])
    driver.publish()
    assert ring.take("QIHH", ring.at.table) == (0x1122334455667788, 0x99AABBCC, 1, 1)
    assert ring.take("QIH", ring.at.table + 16) == (0x10, 0x20, 2)
    assert ring.take("HH", ring.at.avail) == (0, 0)  # flags; the index after 65535
    assert ring.take("H", ring.at.avail + 4 + 2 * 3) == (head,)  # slot 65535 mod 4
    device.pop(1)
    device.push([(head, 0x01020304)])
    assert ring.take("HH", ring.at.used) == (0, 0)
    assert ring.take("II", ring.at.used + 4 + 8 * 3) == (head, 0x01020304)
    driver.want(True, 3)
    device.want(True)
    assert ring.take("H", ring.at.avail + 4 + 2 * 4) == ((65535 + 2) % 65536,)
    assert ring.take("H", ring.at.used + 4 + 8 * 4) == (0,)


def test_2_7_5_2_in_order_descriptors_are_used_in_ring_order():
    ring = Ring("split", 4, in_order=True)
    driver, device = ring.driver(), ring.device()
    for turn in range(6):
        (head,) = driver.add_all([([(1, 1), (2, 2), (3, 3)], [])])
        assert head == 3 * turn % 4
        for place in (head, (head + 1) % 4):
            assert ring.take("HH", ring.at.table + 16 * place + 12) == (1, (place + 1) % 4)
        driver.publish()
        device.pop(1)
        device.push([(head, 0)])
        assert driver.get(1) == [(head, 0)]


def test_2_7_5_3_1_an_indirect_table_is_numbered_in_order_and_one_descriptor_refers_to_it():
    ring = Ring("split", 4, indirect=True)
    head = ring.driver().add_table([(5, 6), (7, 8)], [(9, 10)], TABLES)
    assert ring.take("QIH", ring.at.table + 16 * head) == (ORIGIN + TABLES, 48, 4)
    assert [ring.take("QIHH", TABLES + 16 * step) for step in range(3)] == [(5, 6, 1, 1), (7, 8, 1, 2), (9, 10, 2, 0)]


def test_2_7_5_3_2_write_is_ignored_on_a_table_and_plain_descriptors_may_precede_it():
    ring = Ring("split", 4, indirect=True)
    ring.put("QIHH", ring.at.table, 1, 2, 1, 3)
    ring.put("QIHH", ring.at.table + 48, ORIGIN + TABLES + 1, 32, 4 | 2, 0)  # a table may lie at any byte
    ring.put("QIHH", TABLES + 1, 3, 4, 1, 1)
    ring.put("QIHH", TABLES + 17, 5, 6, 2, 0)
    ring.put("H", ring.at.avail + 2, 1)
    assert ring.device().pop(1) == [(0, [(1, 2), (3, 4)], [(5, 6)])]


@pytest.mark.parametrize("event", [65529, 65530, 65533, 65535, 0, 2, 3, 40000])
def test_2_7_10_1_event_idx_across_65535_trap_28(event):
    """Trap 28: indices wrap; the driver tells the device iff the entry with index `event` was just written."""
    ring = Ring("split", 16, base=65530, event_idx=True)
    driver = ring.driver()
    driver.add_all([([(1, 1)], [])] * 9)
    driver.publish()
    ring.put("HH", ring.at.used, 1, 65530)  # the flag is ignored with event idx (2.7.10.1)
    ring.put("H", ring.at.used + 4 + 8 * 16, event)
    assert driver.need_notify() == (event in {*range(65530, 65536), 0, 1, 2})
    assert not driver.need_notify()  # nothing new since


def test_2_7_7_2_without_event_idx_flags_decide_and_the_event_field_is_ignored():
    ring = Ring("split", 4)
    driver, device = ring.driver(), ring.device()
    for wanted in (False, True):
        driver.want(wanted)
        device.want(wanted)
        assert ring.take("H", ring.at.avail) == ring.take("H", ring.at.used) == (not wanted,)
        assert (driver.need_notify(), device.need_interrupt()) == (wanted, wanted)


@pytest.mark.parametrize("size", [0, 32769])
def test_2_8_a_packed_ring_has_1_to_32768_descriptors(size):
    with pytest.raises(ValueError, match="1 to 32768"):
        packed.state(np.zeros(64, np.uint8), size, 0, 16, 32)


def test_2_8_1_wrap_counters_start_at_one_and_turn_after_the_last_descriptor():
    ring = Ring("packed", 3)
    driver, device = ring.driver(), ring.device()
    marks = []
    for place in range(9):
        (head,) = driver.add_all([([(1, 1)], [])])
        marks.append(ring.take("H", 16 * (place % 3) + 14)[0])
        device.pop(1)
        device.push([(head, 0)])
        marks.append(ring.take("H", 16 * (place % 3) + 14)[0])
        assert driver.get(1) == [(head, 0)]
    first, second = [1 << 7, 1 << 7 | 1 << 15], [1 << 15, 0]
    assert marks == first * 3 + second * 3 + first * 3


def test_2_8_6_a_list_has_its_id_in_the_last_descriptor_and_turns_its_marks_at_the_end_of_the_ring():
    ring = Ring("packed", 4, base=3 | 1 << 15)
    (head,) = ring.driver().add_all([([(1, 2)], [(3, 4)])])
    assert ring.take("QI", 48) == (1, 2)
    assert ring.take("H", 48 + 14) == (1 | 1 << 7,)
    assert ring.take("QIHH", 0) == (3, 4, head, 2 | 1 << 15)


def test_2_8_4_a_used_length_counts_only_with_the_write_flag():
    ring = Ring("packed", 4)
    driver = ring.driver()
    driver.add_all([([(1, 2)], []), ([(1, 2)], [])])
    ring.put("IHH", 8, 77, 0, 1 << 7 | 1 << 15)
    ring.put("IHH", 24, 78, 1, 1 << 7 | 1 << 15 | 2)
    assert driver.get(4) == [(0, 0), (1, 78)]


def test_2_8_7_flags_other_than_write_are_ignored_in_a_packed_table():
    ring = Ring("packed", 4, indirect=True)
    ring.put("QIHH", 0, ORIGIN + TABLES, 32, 3, 4 | 1 << 7)
    ring.put("QIHH", TABLES, 1, 2, 9, 5 | 1 << 15)
    ring.put("QIHH", TABLES + 16, 3, 4, 9, 2)
    assert ring.device().pop(1) == [(3, [(1, 2)], [(3, 4)])]


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_2_8_10_event_structures_stand_byte_for_byte_and_reserved_values_notify(flags):
    ring = Ring("packed", 5, event_idx=True, base=4 | 1 << 15)
    driver, device = ring.driver(), ring.device()
    device.want(True)
    assert ring.take("HH", ring.at.device) == (4 | 1 << 15, 2)
    driver.want(True, 3)
    assert ring.take("HH", ring.at.driver) == (1, 2)  # two slots on: 1, with the wrap counter turned
    driver.want(False)
    assert ring.take("H", ring.at.driver + 2) == (1,)
    ring.put("HH", ring.at.device, 1, flags)  # slot 1 of the next turn
    driver.add_all([([(1, 1)], [])] * 2)
    assert driver.need_notify() == (flags in (0, 3))
    driver.add_all([([(1, 1)], [])])
    assert driver.need_notify() == (flags != 1)


def test_a_restarted_device_goes_on_where_vring_base_says():
    for kind, base in (("split", 65535), ("packed", 2)):
        ring = Ring(kind, 4, base=base)
        device = Ring(kind, 4).device()
        device.v = ring.views
        device.kernels.restart(device.q, *((base,) if kind == "split" else (base, base)))
        driver = ring.driver()
        (head,) = driver.add_all([([(1, 1)], [])])
        driver.publish()
        assert device.pop(2) == [(head, [(1, 1)], [])]
    with pytest.raises(ValueError, match="beyond"):
        packed.restart(Ring("packed", 4).state(), 4, 0)


def test_views_are_of_aligned_contiguous_bytes():
    memory = np.zeros(64, np.uint8)
    for wrong in (memory[::2], memory[1:9], memory[:12], memory.view(np.uint16)):
        with pytest.raises(ValueError, match="memory"):
            views(wrong)


# Every error, by an image that earns it.


def image(kind, entries, *, idx=1, head=0, tables=(), size=4, indirect=True):
    """What a device says to a ring with these descriptors (addr, len, flags, next or id)."""
    ring = Ring(kind, size, indirect=indirect)
    for place, (addr, length, flags, last) in enumerate(entries):
        if kind == "split":
            ring.put("QIHH", 16 * place, addr, length, flags, last)
        else:
            ring.put("QIHH", 16 * place, addr, length, last, flags ^ 1 << 7)
    for place, (addr, length, flags, following) in enumerate(tables):
        words = (flags, following) if kind == "split" else (following, flags)
        ring.put("QIHH", TABLES + 16 * place, addr, length, *words)
    if kind == "split":
        ring.put("HH", ring.at.avail + 2, idx, head)
    device = ring.device()
    before = device.q.copy()
    answer = device.pop_raw(elements=6)[0]
    assert (device.q == before).all()
    return answer


def used_image(kind, entries, idx=1):
    """What a driver with one buffer outstanding says to used entries (id, length)."""
    ring = Ring(kind, 4)
    driver = ring.driver()
    driver.add_all([([(1, 1)], [])])
    for place, (buffer, length) in enumerate(entries):
        if kind == "split":
            ring.put("II", ring.at.used + 4 + 8 * place, buffer, length)
        else:
            ring.put("IHH", 16 * place + 8, length, buffer, 1 << 7 | 1 << 15)
    if kind == "split":
        ring.put("H", ring.at.used + 2, idx)
    return driver.get_raw(4)[0]


def offer(kind, buffers, **known):
    return Ring(kind, 4).driver().add_all(buffers, **known)


def table_of(kind, outs, place, indirect=True):
    return Ring(kind, 4, indirect=indirect).driver().add_table(outs, [], place)


TABLE = (ORIGIN + TABLES, 32, 4, 0)
ONE = ([(1, 1)], [])
CASES = [
    ("AVAIL_TOO_FAR", "split", lambda: image("split", [(1, 1, 0, 0)], idx=5)),
    ("HEAD_OUT_OF_RANGE", "split", lambda: image("split", [(1, 1, 0, 0)], head=4)),
    ("NEXT_OUT_OF_RANGE", "split", lambda: image("split", [(1, 1, 1, 4)])),
    ("NEXT_OUT_OF_RANGE", "split", lambda: image("split", [TABLE], tables=[(1, 1, 1, 2)])),
    ("CHAIN_LOOPS", "split", lambda: image("split", [(1, 1, 1, 1), (1, 1, 1, 0)])),
    ("CHAIN_LOOPS", "split", lambda: image("split", [TABLE], tables=[(1, 1, 1, 0)])),
    ("CHAIN_TOO_LONG", "split", lambda: image("split", [(ORIGIN + TABLES, 80, 4, 0)],
                                              tables=[(1, 1, 1, n + 1) for n in range(5)])),
    ("CHAIN_TOO_LONG", "packed", lambda: image("packed", [(ORIGIN + TABLES, 80, 4, 0)])),
    ("CHAIN_TOO_LONG", "packed", lambda: image("packed", [(1, 1, 1, 0)] * 4)),
    ("CHAIN_TOO_LONG", "split", lambda: table_of("split", [(1, 1)] * 5, TABLES)),
    ("CHAIN_TOO_LONG", "packed", lambda: table_of("packed", [(1, 1)] * 5, TABLES)),
    ("CHAIN_TOO_BIG", "split", lambda: image("split", [(1, 0xFFFFFFFF, 1, 1), (1, 2, 0, 0)])),
    ("CHAIN_TOO_BIG", "split", lambda: offer("split", [([(1, 0xFFFFFFFF), (1, 2)], [])])),
    ("CHAIN_TOO_BIG", "split", lambda: table_of("split", [(1, 0xFFFFFFFF), (1, 2)], TABLES)),
    ("ZERO_LENGTH", "split", lambda: image("split", [(1, 0, 0, 0)])),
    ("ZERO_LENGTH", "packed", lambda: image("packed", [(1, 0, 0, 0)])),
    ("ZERO_LENGTH", "packed", lambda: image("packed", [TABLE], tables=[(1, 1, 0, 0), (1, 0, 0, 0)])),
    ("ZERO_LENGTH", "split", lambda: offer("split", [([(1, 1), (1, 0)], [])])),
    ("ZERO_LENGTH", "packed", lambda: offer("packed", [([(1, 1 << 32)], [])])),
    ("ZERO_LENGTH", "split", lambda: table_of("split", [(1, 0)], TABLES)),
    ("ZERO_LENGTH", "packed", lambda: table_of("packed", [(1, 0)], TABLES)),
    ("READABLE_AFTER_WRITABLE", "split", lambda: image("split", [(1, 1, 3, 1), (1, 1, 0, 0)])),
    ("READABLE_AFTER_WRITABLE", "packed", lambda: image("packed", [(1, 1, 3, 1), (1, 1, 0, 0)])),
    ("READABLE_AFTER_WRITABLE", "packed", lambda: image("packed", [TABLE], tables=[(1, 1, 2, 0), (1, 1, 0, 0)])),
    ("INDIRECT_NOT_NEGOTIATED", "split", lambda: image("split", [TABLE], indirect=False)),
    ("INDIRECT_NOT_NEGOTIATED", "packed", lambda: image("packed", [TABLE], indirect=False)),
    ("INDIRECT_NOT_NEGOTIATED", "split", lambda: table_of("split", [(1, 1)], TABLES, indirect=False)),
    ("INDIRECT_NOT_NEGOTIATED", "packed", lambda: table_of("packed", [(1, 1)], TABLES, indirect=False)),
    ("INDIRECT_IN_INDIRECT", "split", lambda: image("split", [TABLE], tables=[(1, 1, 4, 0)])),
    ("INDIRECT_AND_NEXT", "split", lambda: image("split", [(ORIGIN + TABLES, 32, 5, 1)])),
    ("INDIRECT_AND_NEXT", "packed", lambda: image("packed", [(1, 1, 1, 0), TABLE])),
    ("INDIRECT_LENGTH", "split", lambda: image("split", [(ORIGIN + TABLES, 24, 4, 0)])),
    ("INDIRECT_LENGTH", "packed", lambda: image("packed", [(ORIGIN + TABLES, 0, 4, 0)])),
    ("INDIRECT_OUTSIDE", "split", lambda: image("split", [(ORIGIN + (1 << 16) - 16, 32, 4, 0)])),
    ("INDIRECT_OUTSIDE", "split", lambda: image("split", [(ORIGIN - 16, 32, 4, 0)])),
    ("INDIRECT_OUTSIDE", "packed", lambda: image("packed", [((1 << 64) - 16, 32, 4, 0)])),
    ("LIST_NOT_AVAILABLE", "packed", lambda: image("packed", [(1, 1, 1, 0)])),
    ("USED_TOO_FAR", "split", lambda: used_image("split", [(0, 1)], idx=2)),
    ("USED_OUT_OF_RANGE", "split", lambda: used_image("split", [(1 << 16, 1)])),
    ("USED_OUT_OF_RANGE", "packed", lambda: used_image("packed", [(4, 1)])),
    ("USED_NOT_OUTSTANDING", "split", lambda: used_image("split", [(1, 1)])),
    ("USED_NOT_OUTSTANDING", "packed", lambda: used_image("packed", [(1, 1)])),
    ("EMPTY_CHAIN", "split", lambda: offer("split", [([], [])])),
    ("EMPTY_CHAIN", "packed", lambda: offer("packed", [([], [])])),
    ("EMPTY_CHAIN", "split", lambda: table_of("split", [], TABLES)),
    ("EMPTY_CHAIN", "packed", lambda: table_of("packed", [], TABLES)),
    ("RING_FULL", "split", lambda: offer("split", [([(1, 1)] * 3, [(1, 1)] * 2)])),
    ("RING_FULL", "packed", lambda: offer("packed", [([(1, 1)] * 3, [(1, 1)] * 2)])),
    ("NO_ROOM", "split", lambda: offer("split", [([(1, 1)] * 2, [])], elements=1)),
    ("NO_ROOM", "packed", lambda: offer("packed", [([(1, 1)] * 2, [])], elements=1)),
    ("NO_ROOM", "split", lambda: image("split", [(1, 1, 1, n + 1) for n in range(8)], size=8)),
    ("NO_ROOM", "packed", lambda: image("packed", [(1, 1, 1, 0) for n in range(8)], size=8)),
    ("NO_ROOM", "packed", lambda: image("packed", [(ORIGIN + TABLES, 128, 4, 0)], size=8)),
    ("NOTHING_IN_USE", "split", lambda: Ring("split", 4).device().push_raw([(0, 1)])),
    ("NOTHING_IN_USE", "packed", lambda: Ring("packed", 4).device().push_raw([(0, 1)])),
    ("NOTHING_IN_USE", "split", lambda: Ring("split", 4).device().push_raw([(0, 1)], as_batch=True)),
    ("NOTHING_IN_USE", "packed", lambda: Ring("packed", 4).device().push_raw([(0, 1)], as_batch=True)),
    ("TABLE_MISPLACED", "split", lambda: table_of("split", [(1, 1)], TABLES + 8)),
    ("TABLE_MISPLACED", "packed", lambda: table_of("packed", [(1, 1)] * 2, (1 << 16) - 16)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "provoke"), CASES)
def test_a_bad_ring_gives_the_error_of_its_clause(name, kind, provoke):
    error = RingError[name]
    assert provoke() == -error
    assert getattr(error, kind).startswith({"split": "2.7", "packed": "2.8"}[kind])


def test_every_error_is_provoked_and_names_its_clause_in_words():
    assert {name for name, _, _ in CASES} == set(RingError.__members__)
    for error in RingError:
        with pytest.raises(ValueError, match=error.words.replace("^", r"\^")) as caught:
            raised(-error)
        assert error.clause in str(caught.value)
    assert raised(3) == 3


@pytest.mark.parametrize("kind", ["split", "packed"])
def test_a_batch_stops_before_what_is_wrong_and_says_so_next_time(kind):
    ring = Ring(kind, 8)
    driver, device = ring.driver(), ring.device()
    heads = driver.add_all([ONE, ONE, ([], [])])
    assert len(heads) == 2
    driver.publish()
    more = driver.add_all([ONE])
    driver.publish()
    ring.put("I", 16 * 2 + 8, 0)  # the third has no bytes
    assert device.pop_raw()[0] == 2
    assert device.pop_raw()[0] == -RingError.ZERO_LENGTH
    device.push([(heads[0], 1)])
    if kind == "split":
        assert device.push_raw([(8, 1)]) == -RingError.USED_OUT_OF_RANGE
        assert device.push_raw([(8, 1)], as_batch=True) == -RingError.USED_OUT_OF_RANGE
        ring.put("HII", ring.at.used + 2, 2, heads[0], 1)
        ring.put("I", ring.at.used + 12, 99)
    else:
        ring.put("IHH", 24, 0, 99, 1 << 7 | 1 << 15)
    got, buffers = driver.get_raw(8)
    assert (got, buffers[0][0]) == (1, heads[0])
    assert driver.get_raw(8)[0] == -RingError.USED_OUT_OF_RANGE
    assert len(more) == 1


@pytest.mark.parametrize("kind", ["split", "packed"])
def test_in_order_batches_are_whole_and_within_what_is_outstanding(kind):
    ring = Ring(kind, 8, in_order=True)
    driver, device = ring.driver(), ring.device()
    heads = driver.add_all([([], [(1, 5)])] * 4)
    driver.publish()
    device.pop(8)
    device.push([(head, 2) for head in heads[:3]], as_batch=True)
    assert driver.get_raw(2)[0] == -RingError.NO_ROOM
    assert driver.get_raw(8)[1] == [(heads[0], 5), (heads[1], 5), (heads[2], 2)]
    wrong = [(9, "OUT_OF_RANGE"), (heads[0], "NOT_OUTSTANDING")]
    for buffer, error in wrong:
        if kind == "split":
            ring.put("II", ring.at.used + 4 + 8 * 3, buffer, 0)
            ring.put("H", ring.at.used + 2, 4)
        else:
            ring.put("IHH", 16 * 3 + 8, 0, buffer, 1 << 7 | 1 << 15)
        assert driver.get_raw(8)[0] == -RingError[f"USED_{error}"]
    if kind == "split":
        ring.put("H", ring.at.used + 2, 6)
        assert driver.get_raw(8)[0] == -RingError.USED_TOO_FAR
        driver.add_all([ONE, ONE])
        driver.publish()
        ring.put("HHII", ring.at.used + 2, 4, 0, 0, 0)
        ring.put("II", ring.at.used + 4 + 8 * 3, 5, 0)
        assert driver.get_raw(8)[0] == -RingError.USED_TOO_FAR  # the batch is longer than the index went


# Random bytes.


@_jit.kernel
def draw(seed):
    """The next of a xorshift sequence; seed: uint64[1]."""
    x = seed[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    seed[0] = x
    return x >> np.uint64(16)


@_jit.kernel
def scribble(seed, m64, origin, size, is_packed):
    """Fill memory with what may pass for descriptors: flags, places and lengths are mostly small."""
    for place in range(m64.size // 2):
        r, s = draw(seed), draw(seed)
        flags = r & np.uint64(7 if r & np.uint64(64) else 3)
        length = (s & np.uint64(3)) << np.uint64(4) | (s >> np.uint64(8)) % np.uint64(2)
        if (s >> np.uint64(16)) & np.uint64(15) == np.uint64(0):
            length = np.uint64(0xFFFFFFF0)
        last = (r >> np.uint64(8)) % (size + np.uint64(1))
        m64[2 * place] = origin + (s >> np.uint64(20)) % np.uint64(8 * m64.size + 16)
        if is_packed:
            marks = np.uint64(1 << 7)
            if (r >> np.uint64(20)) & np.uint64(7) == np.uint64(0):
                marks = (r >> np.uint64(24)) & np.uint64(0x8080)
            m64[2 * place + 1] = length | last << np.uint64(32) | (flags | marks) << np.uint64(48)
        else:
            m64[2 * place + 1] = length | flags << np.uint64(32) | last << np.uint64(48)
        if (r >> np.uint64(30)) & np.uint64(15) == np.uint64(0):
            m64[2 * place + 1] = draw(seed)


@_jit.kernel
def fuzz_split(seed, m8, m16, m32, m64, driver, device, shadow, arrays, tally, rounds):
    """Tally what both sides say to random split rings: counts from tally[0], errors at tally[32 + error]."""
    size, base = driver[0], np.uint64(65530)
    kept_driver, kept_device, kept_shadow = driver.copy(), device.copy(), shadow.copy()
    for _ in range(rounds):
        driver[:], device[:], shadow[:] = kept_driver, kept_device, kept_shadow
        split.add_batch(m64, m16, driver, shadow, arrays[7], arrays[8], arrays[5], arrays[6], arrays[0], 3)
        scribble(seed, m64, driver[3], size, False)
        r = draw(seed)
        device[2] ^= np.uint64(2) if (r >> np.uint64(44)) & np.uint64(15) == np.uint64(0) else np.uint64(0)
        avail, used = driver[6], driver[7]
        if r & np.uint64(7):
            m16[avail + np.uint64(1)] = (base + (r >> np.uint64(8)) % (size + np.uint64(2))) & np.uint64(0xFFFF)
            m16[used + np.uint64(1)] = (base + (r >> np.uint64(16)) % np.uint64(5)) & np.uint64(0xFFFF)
            for place in range(int(size)):
                at = np.uint64(place)
                m16[avail + np.uint64(2) + at] = draw(seed) % (size + np.uint64(1))
                m32[used // np.uint64(2) + np.uint64(1) + np.uint64(2) * at] = draw(seed) % (size + np.uint64(1))
        for _again in range(3):
            got = split.pop_batch(m8, m64, m16, device, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], 8)
            tally[got if got >= 0 else 32 - got] += 1
            if got > 0:
                split.push_batch(m32, m16, device, arrays[0], arrays[1], got if r & np.uint64(1 << 40) else 1)
            taken = split.get_batch(m32, m16, driver, shadow, arrays[0], arrays[1], 8)
            tally[taken if taken >= 0 else 32 - taken] += 1
        split.need_notify(m16, driver)
        split.need_interrupt(m16, device)


@_jit.kernel
def fuzz_packed(seed, m8, m16, m64, driver, device, shadow, arrays, tally, rounds):
    """`fuzz_split` for packed rings."""
    kept_driver, kept_device, kept_shadow = driver.copy(), device.copy(), shadow.copy()
    for _ in range(rounds):
        driver[:], device[:], shadow[:] = kept_driver, kept_device, kept_shadow
        packed.add_batch(m64, driver, shadow, arrays[7], arrays[8], arrays[5], arrays[6], arrays[0], 3)
        scribble(seed, m64, driver[3], driver[0], True)
        device[2] ^= np.uint64(2) if draw(seed) & np.uint64(15) == np.uint64(0) else np.uint64(0)
        for _again in range(3):
            got = packed.pop_batch(m8, m64, device, arrays[0], arrays[9], arrays[1], arrays[2], arrays[3], arrays[4], 8)
            tally[got if got >= 0 else 32 - got] += 1
            if got > 0:
                packed.push_batch(m64, device, arrays[0], arrays[9], arrays[1], got)
            taken = packed.get_batch(m64, driver, shadow, arrays[0], arrays[1], 8)
            tally[taken if taken >= 0 else 32 - taken] += 1
        packed.need_notify(m16, driver)
        packed.need_interrupt(m16, device)


CANARY = 0xA5A5A5A5A5A5A5A5


def guarded(count):
    """uint64[count] between words that must stay as they are, and the whole."""
    whole = np.full(count + 16, CANARY, np.uint64)
    whole[8:-8] = 0
    return whole[8:-8], whole


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("kind", ["split", "packed"])
def test_random_rings_touch_nothing_else_and_reach_the_errors(kind, in_order):
    """Memory ends with the ring: beyond it stand canaries, and there is an IndexError where bounds are checked."""
    size, rounds = 8, 1_000 if SLOW else 250_000
    end = split.layout(size).end + 2 if kind == "split" else packed.layout(size).end
    memory, whole = guarded(-(-end // 8))
    ring = Ring(kind, size, base=65530 if kind == "split" else None, indirect=True, in_order=in_order, event_idx=True)
    ring.memory = memory.view(np.uint8)
    v = views(ring.memory)
    (heads, g0), (outs, g1), (ins, g2), (slots, g3) = (guarded(8) for _ in range(4))
    (addr, g4), (length, g5), (driver, g6), (device, g7), (shadow, g8) = (guarded(n) for n in (20, 20, 24, 24, 16))
    driver[:], device[:], shadow[:] = ring.state(), ring.state(), new_shadow(size)
    arrays = (heads, outs, ins, addr, length, u64(1, 2, 1), u64(0, 0, 1), u64(*range(5)), u64(*[64] * 5), slots)
    tally = np.zeros(64, np.int64)
    seed = u64(88172645463325252 + in_order)
    if kind == "split":
        fuzz_split(seed, *v, driver, device, shadow, arrays, tally, rounds)
    else:
        fuzz_packed(seed, v.m8, v.m16, v.m64, driver, device, shadow, arrays, tally, rounds)
    for each in (whole, g0, g1, g2, g3, g4, g5, g6, g7, g8):
        assert (each[:8] == CANARY).all()
        assert (each[-8:] == CANARY).all()
    assert tally.sum() == 6 * rounds
    rare = {RingError.CHAIN_TOO_LONG}  # takes nine sound descriptors in a row
    expected = [error for error in RingError if getattr(error, kind) and error < RingError.EMPTY_CHAIN]
    expected = [error for error in expected if error not in rare]
    missing = [error.name for error in expected if not tally[32 + error]]
    assert SLOW or not missing, missing
