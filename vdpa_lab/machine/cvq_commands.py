"""Commands of the control virtqueue of a network device, to bytes and back (VIRTIO 1.3, 5.1.6.5)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from vdpa_lab.words import InputError

OK, ERR = 0, 1  # ack
MAC_BYTES = 6
MAX_VLAN = 1 << 12
MAX_PAIRS = 0x8000
MAX_KEY = 40  # QEMU include/hw/virtio/virtio-net.h, VIRTIO_NET_RSS_MAX_KEY_SIZE
MAX_TABLE = 128  # same, VIRTIO_NET_RSS_MAX_TABLE_LEN


class RxMode(IntEnum):
    """Commands of VIRTIO_NET_CTRL_RX (5.1.6.5.1)."""

    PROMISC = 0
    ALLMULTI = 1
    ALLUNI = 2
    NOMULTI = 3
    NOUNI = 4
    NOBCAST = 5


class Rx(NamedTuple):
    """VIRTIO_NET_CTRL_RX: one receive mode on or off."""

    mode: RxMode
    on: bool


class MacTableSet(NamedTuple):
    """VIRTIO_NET_CTRL_MAC_TABLE_SET: the addresses to receive, 6 bytes each (5.1.6.5.2)."""

    unicast: tuple[bytes, ...]
    multicast: tuple[bytes, ...]


class MacAddrSet(NamedTuple):
    """VIRTIO_NET_CTRL_MAC_ADDR_SET: the default address."""

    mac: bytes


class VlanAdd(NamedTuple):
    """VIRTIO_NET_CTRL_VLAN_ADD (5.1.6.5.3)."""

    vid: int


class VlanDel(NamedTuple):
    """VIRTIO_NET_CTRL_VLAN_DEL."""

    vid: int


class AnnounceAck(NamedTuple):
    """VIRTIO_NET_CTRL_ANNOUNCE_ACK (5.1.6.5.4)."""


class VqPairsSet(NamedTuple):
    """VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET (5.1.6.5.6)."""

    pairs: int


class RssConfig(NamedTuple):
    """VIRTIO_NET_CTRL_MQ_RSS_CONFIG (5.1.6.5.7): the table has a power of two entries."""

    hash_types: int
    table: tuple[int, ...]
    unclassified: int
    max_tx_vq: int
    key: bytes


class HashConfig(NamedTuple):
    """VIRTIO_NET_CTRL_MQ_HASH_CONFIG (5.1.6.5.6.4): as RSS_CONFIG, with zeroes for what steers."""

    hash_types: int
    key: bytes


class GuestOffloadsSet(NamedTuple):
    """VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET (5.1.6.5.8): the offloads by their feature bits."""

    offloads: int


Command = (
    Rx | MacTableSet | MacAddrSet | VlanAdd | VlanDel | AnnounceAck | VqPairsSet | RssConfig | HashConfig
    | GuestOffloadsSet
)  # fmt: skip

NUMBERS: dict[type, tuple[int, int]] = {
    MacTableSet: (1, 0),
    MacAddrSet: (1, 1),
    VlanAdd: (2, 0),
    VlanDel: (2, 1),
    AnnounceAck: (3, 0),
    VqPairsSet: (4, 0),
    RssConfig: (4, 1),
    HashConfig: (4, 2),
    GuestOffloadsSet: (5, 0),
}
KINDS = {numbers: kind for kind, numbers in NUMBERS.items()} | {(0, mode.value): Rx for mode in RxMode}


def encode(command: Command) -> bytes:
    """The bytes that the driver sends: class, command, command-specific data. Raises InputError if it cannot be."""
    match command:
        case Rx(mode, on):
            return bytes((0, mode, bool(on)))
        case MacAddrSet(mac):
            data = _macs((mac,))
        case MacTableSet():
            data = b"".join(struct.pack("<I", len(side)) + _macs(side) for side in command)
        case VlanAdd(vid) | VlanDel(vid):
            data = struct.pack("<H", _within("VLAN", vid, 0, MAX_VLAN - 1))
        case VqPairsSet(pairs):
            data = struct.pack("<H", _within("number of queue pairs", pairs, 1, MAX_PAIRS))
        case RssConfig(types, table, unclassified, max_tx_vq, key):
            mask = _table(len(table)) - 1
            data = struct.pack(f"<IHH{len(table)}HHB", types, mask, unclassified, *table, max_tx_vq, _key(len(key)))
            data += key
        case HashConfig(types, key):
            data = struct.pack("<I8xB", types, _key(len(key))) + key
        case GuestOffloadsSet(offloads):
            data = struct.pack("<Q", offloads)
        case _:
            data = b""
    return bytes(NUMBERS[type(command)]) + data


def parse(out: bytes) -> Command:
    """The command in what a driver sent. Raises InputError naming the command and what is wrong with its bytes."""
    if len(out) < 2:
        raise InputError(f"a control command of {len(out)} bytes: it starts with class and command, a byte each")
    kind = KINDS.get((out[0], out[1]))
    if kind is None:
        raise InputError(f"control class {out[0]}, command {out[1]}: VIRTIO 1.3, 5.1.6.5, has no such command")
    read = _Reader(kind.__name__, out)
    if kind is Rx:
        made = Rx(RxMode(out[1]), bool(read("B")))
    elif kind is MacTableSet:
        made = MacTableSet(*(read.macs(read("I")) for _ in range(2)))
    elif kind is MacAddrSet:
        made = MacAddrSet(read.macs(1)[0])
    elif kind is RssConfig:
        types, mask, unclassified = read("I"), read("H"), read("H")
        table = tuple(read("H") for _ in range(_table(mask + 1)))
        made = RssConfig(types, table, unclassified, read("H"), read.bytes(_key(read("B"))))
    elif kind is HashConfig:
        types, _ = read("I"), read.bytes(8)
        made = HashConfig(types, read.bytes(_key(read("B"))))
    elif kind is AnnounceAck:
        made = AnnounceAck()
    elif kind is GuestOffloadsSet:
        made = GuestOffloadsSet(read("Q"))
    elif kind is VqPairsSet:
        made = VqPairsSet(_within("number of queue pairs", read("H"), 1, MAX_PAIRS))
    else:
        made = kind(_within("VLAN", read("H"), 0, MAX_VLAN - 1))
    read.end()
    return made


class _Reader:
    """Reads little-endian fields one after the other, and says so when there are too few or too many bytes."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data, self.at = name, data, 2

    def bytes(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise InputError(f"{self.name}: {len(self.data)} bytes end before its fields do; send the whole command")
        self.at += count
        return bytes(found)

    def __call__(self, form: str) -> int:
        return struct.unpack("<" + form, self.bytes(struct.calcsize("<" + form)))[0]

    def macs(self, count: int) -> tuple[bytes, ...]:
        found = self.bytes(count * MAC_BYTES)
        return tuple(found[at : at + MAC_BYTES] for at in range(0, len(found), MAC_BYTES))

    def end(self) -> None:
        if self.at != len(self.data):
            raise InputError(f"{self.name}: {len(self.data) - self.at} bytes too many after its fields")


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise InputError(f"a {name} is from {least} to {most}, not {value}")
    return value


def _table(entries: int) -> int:
    if entries & (entries - 1) or not 1 <= entries <= MAX_TABLE:
        raise InputError(f"an indirection table has a power of two entries, at most {MAX_TABLE}, not {entries}")
    return entries


def _key(length: int) -> int:
    return _within("hash key's length in bytes", length, 0, MAX_KEY)


def _macs(macs: tuple[bytes, ...]) -> bytes:
    for mac in macs:
        if len(mac) != MAC_BYTES:
            raise InputError(f"a MAC address has 6 bytes, not {len(mac)}")
    return b"".join(macs)
