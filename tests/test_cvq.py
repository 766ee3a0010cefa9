"""The control virtqueue's bytes against VIRTIO 1.3 and real logs; its replay and its shadow against QEMU's rules.

Also the gate and the state transfer of `machine.shadow`.
"""

import struct
from dataclasses import replace

import naive_rings as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.kernels import split, svq, svq_translate
from vdpa_lab.kernels.bitmap import new_words
from vdpa_lab.machine import cvq, shadow
from vdpa_lab.machine import cvq_commands as commands
from vdpa_lab.machine.cvq_commands import (
    AnnounceAck,
    GuestOffloadsSet,
    HashConfig,
    MacAddrSet,
    MacTableSet,
    RssConfig,
    Rx,
    RxMode,
    VlanAdd,
    VlanDel,
    VqPairsSet,
)
from vdpa_lab.model.features import Feature as F
from vdpa_lab.model.features import feature_mask
from vdpa_lab.words import InputError

MAC = bytes.fromhex("525400000001")
EVERYTHING = sum(1 << bit for bit in range(64))

# ---- bytes ----


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (Rx(RxMode.PROMISC, False), "00 00 00"),
        (Rx(RxMode.ALLMULTI, True), "00 01 01"),
        (Rx(RxMode.ALLUNI, True), "00 02 01"),
        (Rx(RxMode.NOMULTI, True), "00 03 01"),
        (Rx(RxMode.NOUNI, True), "00 04 01"),
        (Rx(RxMode.NOBCAST, True), "00 05 01"),
        (MacAddrSet(MAC), "01 01 525400000001"),
        (MacTableSet((MAC,), ()), "01 00 01000000 525400000001 00000000"),
        (MacTableSet((), (MAC, b"\1" * 6)), "01 00 00000000 02000000 525400000001 010101010101"),
        (VlanAdd(4094), "02 00 fe0f"),
        (VlanDel(1), "02 01 0100"),
        (AnnounceAck(), "03 00"),
        (VqPairsSet(2), "04 00 0200"),
        (RssConfig(0x3F, (0, 1), 1, 2, b"\xaa\xbb"), "04 01 3f000000 0100 0100 0000 0100 0200 02 aabb"),
        (HashConfig(0x3F, b"\xaa"), "04 02 3f000000 0000000000000000 01 aa"),
        (GuestOffloadsSet(1 << 7 | 1 << 1), "05 00 8200000000000000"),
    ],
)
def test_the_bytes_of_each_command_are_those_of_the_specification(command, wanted):
    """VIRTIO 1.3, 5.1.6.5.1 to 5.1.6.5.8, written out by hand."""
    assert commands.encode(command) == bytes.fromhex(wanted)
    assert commands.parse(bytes.fromhex(wanted)) == command


macs = st.binary(min_size=6, max_size=6)
u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
tables = st.lists(macs, max_size=70).map(tuple)
keys = st.binary(max_size=40)
any_command = st.one_of(
    st.builds(Rx, st.sampled_from(RxMode), st.booleans()),
    st.builds(MacTableSet, tables, tables),
    st.builds(MacAddrSet, macs),
    st.builds(VlanAdd, st.integers(0, 4095)),
    st.builds(VlanDel, st.integers(0, 4095)),
    st.just(AnnounceAck()),
    st.builds(VqPairsSet, st.integers(1, 0x8000)),
    st.builds(RssConfig, u32, st.integers(0, 7).flatmap(lambda n: st.tuples(*[u16] * (1 << n))), u16, u16, keys),
    st.builds(HashConfig, u32, keys),
    st.builds(GuestOffloadsSet, st.integers(0, (1 << 64) - 1)),
)


@given(any_command)
def test_what_is_encoded_is_parsed_again(command):
    assert commands.parse(commands.encode(command)) == command


@settings(max_examples=300)
@given(any_command, st.data())
def test_a_command_cut_short_or_with_bytes_too_many_is_named(command, data):
    whole = commands.encode(command)
    for wrong in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(InputError, match=r"a control command of|end before|too many|queue pairs|hash key"):
            commands.parse(wrong)


@settings(max_examples=300)
@given(st.binary(max_size=64))
def test_random_bytes_are_a_command_or_a_named_error(out):
    try:
        found = commands.parse(out)
    except InputError:  # any other exception fails the test
        return
    assert commands.parse(commands.encode(found)) == found


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (VlanAdd(4096), "VLAN is from 0 to 4095, not 4096"),
        (VqPairsSet(0), "queue pairs is from 1 to 32768, not 0"),
        (MacAddrSet(b"12345"), "6 bytes, not 5"),
        (RssConfig(1, (0, 1, 2), 0, 1, b""), "power of two"),
        (RssConfig(1, (0,) * 256, 0, 1, b""), "at most 128"),
        (HashConfig(1, bytes(41)), "from 0 to 40, not 41"),
    ],
)
def test_a_command_that_cannot_be_is_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        commands.encode(wrong)


def test_a_number_that_virtio_does_not_have_is_named():
    with pytest.raises(InputError, match="class 7, command 0"):
        commands.parse(b"\7\0")


# ---- replay ----

SIM = feature_mask(F.VERSION_1, F.ACCESS_PLATFORM, F.CTRL_VQ, F.CTRL_MAC_ADDR)

# (class, cmd, size) of vhost_vdpa_net_load_cmd in the destination's trace: two real runs with vdpa_sim_net.
LOGS = {
    "v-256-1d-r2": (SIM, 1, [(1, 1, 6)]),
    "v-256-1d-2qp-r2": (SIM | F.MQ.mask, 2, [(1, 1, 6), (4, 0, 2)]),
    "tcg-256-1d-r1": (SIM, 1, [(1, 1, 6)]),
    "v-256-1d-svq-r1": (SIM, 1, [(1, 1, 6)]),
}


@pytest.mark.parametrize("run", LOGS)
def test_the_replay_is_what_real_runs_logged(run):
    features, pairs, wanted = LOGS[run]
    found = cvq.replay(cvq.NetState(features, mac=MAC, pairs=pairs, max_pairs=pairs))
    data = [commands.encode(command) for command in found]
    assert [(each[0], each[1], len(each) - 2) for each in data] == wanted
    assert data[0] == bytes.fromhex("0101525400000001")  # the guest's mac= on the command line of these runs


def replayed(**changes):
    state = cvq.NetState(EVERYTHING & ~F.RSS.mask, mac=MAC, max_pairs=4)
    return cvq.replay(state)[:2], cvq.replay(replace(state, **changes))[2:]


def test_the_order_and_the_conditions_of_the_replay():
    always, nothing_more = replayed()
    assert always == (MacAddrSet(MAC), VqPairsSet(1))
    assert nothing_more == ()
    for changes, wanted in (
        ({"modes": frozenset()}, (Rx(RxMode.PROMISC, False),)),
        ({"modes": frozenset(), "uni_overflow": True}, ()),
        ({"multi_overflow": True}, (Rx(RxMode.ALLMULTI, True),)),
        ({"modes": frozenset(RxMode)}, tuple(Rx(mode, True) for mode in RxMode if mode != RxMode.PROMISC)),
        ({"offloads": cvq.OFFLOADS}, ()),
        ({"offloads": 0}, (GuestOffloadsSet(0),)),
        ({"vlans": frozenset({7, 3})}, (VlanAdd(3), VlanAdd(7))),
        ({"rss": HashConfig(0, b"key")}, ()),
        ({"rss": HashConfig(5, b"key")}, (HashConfig(5, b"key" + bytes(37)),)),
        (
            {"vlans": frozenset({1}), "modes": frozenset(), "offloads": 0},
            (GuestOffloadsSet(0), Rx(RxMode.PROMISC, False), VlanAdd(1)),
        ),
    ):  # fmt: skip
        assert replayed(**changes)[1] == wanted, changes
    table = cvq.NetState(EVERYTHING, multicast=(MAC,))
    assert cvq.replay(table)[1] == MacTableSet((), (MAC,))
    assert cvq.replay(cvq.NetState(0, vlans=frozenset({1}), modes=frozenset(), offloads=0, multicast=(MAC,))) == ()


def test_rss_is_replayed_with_the_present_number_of_pairs_and_a_full_key():
    state = cvq.NetState(EVERYTHING, pairs=2, max_pairs=2)
    assert cvq.replay(state.set(RssConfig(3, (1, 0), 1, 2, b"k")))[2:] == (
        RssConfig(3, (1, 0), 1, 2, b"k" + bytes(39)),
    )
    assert cvq.replay(state.set(HashConfig(3, b"k")))[2:] == (RssConfig(3, (0,), 0, 2, b"k" + bytes(39)),)


def test_mlx5_offers_no_receive_modes_and_is_sent_none():
    mlx5 = SIM | feature_mask(F.MQ, F.CTRL_VLAN)
    state = cvq.NetState(mlx5, mac=MAC, modes=frozenset(), multicast=(MAC,), vlans=frozenset({5}), max_pairs=8, pairs=8)
    assert cvq.replay(state) == (MacAddrSet(MAC), VqPairsSet(8), VlanAdd(5))


def test_trap_35_the_replay_grows_with_the_vlans_and_flushes_every_32():
    """Trap 35: 100 VLANs are 100 commands more, two descriptors each, and the ring of 64 is full after 32 commands."""
    state = cvq.NetState(SIM | F.CTRL_VLAN.mask, mac=MAC)
    few = cvq.replay(state)
    many = cvq.replay(replace(state, vlans=frozenset(range(1, 101))))
    assert len(many) == len(few) + 100
    packed = cvq.flushes(many)
    assert [len(each.sizes) for each in packed] == [32, 32, 32, 5]
    assert [each.descriptors for each in packed] == [64, 64, 64, 10]
    assert len(cvq.flushes(few)) == 1
    assert cvq.flushes(()) == ()
    assert b"".join(each.out for each in packed) == b"".join(map(commands.encode, many))
    assert packed[0].sizes == (8, *(4,) * 31)


def test_a_flush_comes_too_when_the_out_buffer_is_full():
    tables = MacTableSet((MAC,) * 64, ())
    packed = cvq.flushes([tables] * 11)
    assert len(commands.encode(tables)) == 394  # vhost_vdpa_net_cvq_cmd_len
    assert [len(each.sizes) for each in packed] == [10, 1]
    assert all(len(each.out) <= 4096 for each in packed)


def test_acks_are_one_byte_each_and_all_ok():
    (flush,) = cvq.flushes([VlanAdd(1), VlanAdd(2)])
    flush.check(b"\0\0")
    for acks in (b"\0", b"\0\1", b""):
        with pytest.raises(InputError, match="refused"):
            flush.check(acks)


# ---- the shadow of a guest's command ----


class Device:
    """Keeps what it was sent, and acknowledges as told."""

    def __init__(self, ack=commands.OK):
        self.ack, self.sent = ack, []

    def __call__(self, out):
        self.sent.append(out)
        return self.ack


def shadowed(command, device=None, features=EVERYTHING, **state):
    device = Device() if device is None else device
    out = command if isinstance(command, bytes) else commands.encode(command)
    return cvq.shadow(cvq.NetState(features, **state), out, device), device


def test_a_command_reaches_the_device_and_then_the_model():
    found, device = shadowed(VlanAdd(9))
    assert device.sent == [commands.encode(VlanAdd(9))] == [found.forwarded]
    assert found.ack == commands.OK
    assert found.state.vlans == {9}


def test_what_the_device_refuses_does_not_reach_the_model():
    found, device = shadowed(VlanAdd(9), Device(commands.ERR))
    assert (found.ack, found.state.vlans, len(device.sent)) == (commands.ERR, frozenset(), 1)


def test_the_answer_to_an_announcement_is_not_forwarded():
    found, device = shadowed(AnnounceAck())
    assert (found.ack, device.sent, found.forwarded) == (commands.OK, [], b"")


@pytest.mark.parametrize(
    ("command", "features"),
    [
        (VqPairsSet(2), EVERYTHING),
        (VqPairsSet(1), 0),
        (RssConfig(1, (0,), 0, 2, b""), EVERYTHING),
        (RssConfig(1, (0,), 0, 1, b""), F.MQ.mask),
        (HashConfig(1, b""), F.MQ.mask),
        (GuestOffloadsSet(1 << 40), EVERYTHING),
        (GuestOffloadsSet(0), 0),
        (b"\7\7\7", EVERYTHING),
        (b"", EVERYTHING),
    ],
)
def test_what_the_model_refuses_is_an_error_for_the_guest(command, features):
    found, device = shadowed(command, features=features)
    assert found.ack == commands.ERR
    assert found.state == cvq.NetState(features)
    assert len(device.sent) == 1


def test_the_model_takes_every_command():
    state = cvq.NetState(EVERYTHING, max_pairs=4, vlans=frozenset({1}))
    for command, name, wanted in (
        (Rx(RxMode.PROMISC, False), "modes", frozenset()),
        (Rx(RxMode.NOUNI, True), "modes", {RxMode.PROMISC, RxMode.NOUNI}),
        (MacAddrSet(MAC), "mac", MAC),
        (VlanDel(1), "vlans", frozenset()),
        (VqPairsSet(3), "pairs", 3),
        (RssConfig(1, (0,), 0, 2, b""), "pairs", 2),
        (HashConfig(1, b""), "rss", HashConfig(1, b"")),
        (GuestOffloadsSet(1 << 7), "offloads", 1 << 7),
        (MacTableSet((MAC,), ()), "unicast", (MAC,)),
    ):
        assert getattr(state.set(command), name) == wanted
    assert state.set(RssConfig(1, (0,), 0, 2, b"")).set(VqPairsSet(1)).rss is None  # virtio_net_disable_rss


def test_a_table_of_more_than_64_overflows_in_the_model_and_goes_to_the_device_as_it_is():
    for unicast, multicast, overflows in ((65, 0, (True, False)), (1, 64, (False, True)), (65, 65, (True, True))):
        table = MacTableSet((MAC,) * unicast, (MAC,) * multicast)
        found, device = shadowed(table)
        assert device.sent == [commands.encode(table)]
        assert (found.state.uni_overflow, found.state.multi_overflow) == overflows


def test_a_table_beyond_a_page_makes_the_device_promiscuous_and_overflows_the_model():
    """vhost_vdpa_net_excessive_mac_filter_cvq_add: 682 addresses need more than 4096 bytes."""
    assert len(commands.encode(MacTableSet((MAC,) * 681, ()))) == 4096
    assert shadowed(MacTableSet((MAC,) * 681, ()))[1].sent[0][:2] == b"\1\0"
    found, device = shadowed(MacTableSet((MAC,) * 600, (MAC,) * 82), modes=frozenset())
    assert device.sent == [bytes.fromhex("000001")]
    assert (found.ack, found.state.uni_overflow, found.state.multi_overflow) == (commands.OK, True, True)
    assert found.state.modes == frozenset()  # the guest did not ask for it
    assert cvq.replay(found.state)[-1] == Rx(RxMode.ALLMULTI, True)  # the reset device is promiscuous already
    assert commands.parse(cvq.overflow_table()) == MacTableSet((bytes(6),) * 65, (bytes(6),) * 65)
    wrong = commands.encode(MacTableSet((MAC,) * 700, ())) + b"\0"
    found, device = shadowed(wrong)
    assert (found.ack, device.sent) == (commands.ERR, [])
    found, device = shadowed(MacTableSet((MAC,) * 700, ()), Device(commands.ERR))
    assert (found.ack, found.state.uni_overflow, len(device.sent)) == (commands.ERR, False, 1)


@settings(max_examples=60)
@given(st.lists(any_command, max_size=12))
def test_a_replay_of_the_model_sets_a_second_device_to_the_same_state(sent):
    """What every device accepted, played to a new one, leaves it as the first one is; but for what overflowed."""
    start = cvq.NetState(EVERYTHING, max_pairs=0x8000)
    state = start
    for command in sent:
        state = cvq.shadow(state, commands.encode(command), Device()).state
    again = start
    for command in cvq.replay(state):
        again = again.set(commands.parse(commands.encode(command)))
    assert (again.mac, again.vlans, again.pairs, again.unicast) == (state.mac, state.vlans, state.pairs, state.unicast)
    assert again.modes - {RxMode.ALLMULTI, RxMode.PROMISC} == state.modes - {RxMode.ALLMULTI, RxMode.PROMISC}
    assert (again.offloads if again.offloads is not None else cvq.OFFLOADS) == (
        state.offloads if state.offloads is not None else cvq.OFFLOADS
    )


# ---- the gate, and what travels ----

PLATFORM = feature_mask(F.VERSION_1, F.ACCESS_PLATFORM)


def test_trap_29_the_gate_blocks_what_a_split_shadow_ring_cannot_do():
    """Trap 29: packed, indirect, in-order and other transport features of the device block migration, by name."""
    assert shadow.shadow_gate(PLATFORM).open
    assert shadow.shadow_gate(PLATFORM | feature_mask(F.ANY_LAYOUT, F.EVENT_IDX, F.MQ, F.CTRL_VQ)).open
    for bit in range(64):
        gate = shadow.shadow_gate(PLATFORM | 1 << bit)
        refused = 28 <= bit <= 42 and bit not in (F.EVENT_IDX, F.VERSION_1, F.ACCESS_PLATFORM)
        assert gate.open != refused
        assert bool(gate.refused) == refused
    packed = shadow.shadow_gate(PLATFORM | feature_mask(F.RING_PACKED, F.INDIRECT_DESC, F.IN_ORDER))
    assert packed.refused == ("INDIRECT_DESC", "RING_PACKED", "IN_ORDER")
    assert "RING_PACKED" in packed.why
    bare = shadow.shadow_gate(F.RING_RESET.mask)
    assert bare.missing == ("VERSION_1", "ACCESS_PLATFORM")
    assert not bare.open


class Queue:
    """A guest's split queue in memory at an origin, with slow twins on both sides."""

    def __init__(self, size=8, base=0, origin=0x4000):
        self.size, self.origin, self.at = size, origin, split.layout(size)
        self.memory = np.zeros(4096, np.uint8)
        for area in self.at[1:3]:
            struct.pack_into("<H", self.memory, area + 2, base)
        self.driver = self.side(naive.SplitDriver, base)

    def side(self, kind, base):
        return kind(self.memory, self.size, self.at, event_idx=False, in_order=False, origin=self.origin, base=base)

    def add(self, count):
        heads = [self.driver.add([(0x100, 60)], []) for _ in range(count)]
        self.driver.publish()
        return heads

    def state(self, base):
        queue = split.state(self.memory, self.size, *self.at[:3], origin=self.origin)
        return shadow.virtqueue_state(queue, base)


@pytest.mark.parametrize("base", [0, 65530])
@pytest.mark.parametrize("stop", [shadow.Stop.SUSPENDED, shadow.Stop.RESET])
def test_trap_26_a_passthrough_queue_offers_the_unused_again_exactly_once(base, stop):
    """Trap 26: 6 fetched, 2 used, 2 never seen: the destination's device gets the 4 and the 2, in order, once."""
    queue = Queue(base=base)
    heads = queue.add(6)
    device = queue.side(naive.SplitDevice, base)
    device.pop(6)
    device.push([(heads[0], 0), (heads[1], 0)])
    heads += queue.add(2)
    kept = shadow.base_after_stop(
        stop, device=device.idx, used=struct.unpack_from("<H", queue.memory, queue.at.used + 2)[0]
    )
    state = queue.state(kept)
    at = [queue.origin + place for place in queue.at[:3]]
    assert state == (8, *at, (base + 2) % 65536)
    loaded = shadow.load_virtqueue(state, queue.memory, queue.origin)
    assert loaded == ((base + 8) % 65536, (base + 2) % 65536, 6, 0)
    assert shadow.offered_again(state, queue.memory, queue.origin) == tuple(heads[2:])
    destination = queue.side(naive.SplitDevice, state.last_avail)
    taken = [head for head, *_ in destination.pop(8)]
    assert taken == heads[2:]
    destination.push([(head, 0) for head in taken])
    assert sorted(head for head, _ in queue.driver.get(8)) == sorted(heads)
    assert queue.driver.outstanding == {}


def test_a_base_after_a_stop_of_the_shadow_is_its_own_and_no_question_to_the_device():
    queue = Queue(base=65534)
    maps = svq_translate.directory([(0, 1 << 20, 1 << 20)])
    q = svq.new(queue.memory, 8, *queue.at[:3], maps, new_words(256)[0], origin=queue.origin, base=65534)
    heads = queue.add(4)
    svq.checked(svq.forward_avail(q))
    device = naive.SplitDevice(q.s8, 8, svq.layout(8), event_idx=False, in_order=False, origin=0, base=0)
    device.push([(device.pop(3)[0][0], 0)])
    state = shadow.stop_shadow(q)
    assert state == queue.state(65535)
    assert shadow.offered_again(state, queue.memory, queue.origin) == tuple(heads[1:])
    loaded = shadow.load_virtqueue(state, queue.memory, queue.origin)
    assert (loaded.waiting, loaded.inuse) == (3, 0)
    device_answer = shadow.base_after_stop(shadow.Stop.SHADOWED, device=7, shadow=65535, used=9)
    assert device_answer == 65535


def test_a_stop_of_a_broken_shadow_says_why():
    queue = Queue()
    maps = svq_translate.directory([(0, 1 << 20, 1 << 20)])
    q = svq.new(queue.memory, 8, *queue.at[:3], maps, new_words(256)[0], origin=queue.origin)
    struct.pack_into("<H", q.s8, svq.layout(8).used + 2, 3)
    with pytest.raises(ValueError, match="used index is ahead"):
        shadow.stop_shadow(q)


@pytest.mark.parametrize(
    ("change", "used_idx", "words"),
    [
        ({"last_avail": 65530}, 0, "guest index 0x3 is inconsistent with host index 0xfffa, delta 0x9"),
        ({"last_avail": 65533, "size": 4}, 0, "delta 0x6"),
        ({}, 65530, r"last_avail_idx 0x3 - used_idx 0xfffa"),
        ({"desc": 0}, 0, "not wholly in memory"),
        ({"size": 7}, 0, "power of two"),
    ],
)
def test_the_destination_refuses_a_state_that_the_memory_contradicts(change, used_idx, words):
    """virtio_load: VQ size, guest index and host index have to agree; the rings have to be in memory."""
    queue = Queue()
    queue.add(3)
    struct.pack_into("<H", queue.memory, queue.at.used + 2, used_idx)
    state = queue.state(3)._replace(**change)
    with pytest.raises(InputError, match=words):
        shadow.load_virtqueue(state, queue.memory, queue.origin, number=1)
