"""The control virtqueue as QEMU shadows it: each command of the guest twice, and all of its state again at start.

The guest's command is copied, forwarded and polled for; only what the device acknowledged reaches the virtio-net
model, whose state is what migrates. The destination plays that state to its device, as few commands as it can.
Source: QEMU net/vhost-vdpa.c (vhost_vdpa_net_cvq_load, vhost_vdpa_net_handle_ctrl_avail), hw/net/virtio-net.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from vdpa_lab.machine.cvq_commands import (
    ERR,
    MAC_BYTES,
    MAX_KEY,
    OK,
    AnnounceAck,
    Command,
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
    encode,
    parse,
)
from vdpa_lab.model.features import Feature as F
from vdpa_lab.model.features import feature_mask
from vdpa_lab.words import InputError

CVQ_SIZE = 64  # hw/net/virtio-net.c: virtio_add_queue(vdev, 64, virtio_net_handle_ctrl)
MAC_TABLE_ENTRIES = 64  # include/hw/virtio/virtio-net.h
BUFFER = 4096  # vhost_vdpa_net_cvq_cmd_page_len: header and a full MAC table, in whole pages
DESCRIPTORS = 2  # of a command: what the device reads, and its ack
OFFLOADS = feature_mask(
    F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN, F.GUEST_UFO, F.GUEST_USO4, F.GUEST_USO6
)  # virtio_net_guest_offloads_by_features


@dataclass(frozen=True, slots=True)
class NetState:
    """What QEMU's virtio-net model holds of what the guest set (struct VirtIONet); as virtio_net_reset leaves it.

    features: the 64-bit word that the guest took. modes: receive modes that are on. offloads: None = all that the
    features allow. rss: the last RSS_CONFIG or HASH_CONFIG. max_pairs: queue pairs of the device.
    """

    features: int
    mac: bytes = bytes(MAC_BYTES)
    unicast: tuple[bytes, ...] = ()
    multicast: tuple[bytes, ...] = ()
    uni_overflow: bool = False
    multi_overflow: bool = False
    modes: frozenset[RxMode] = frozenset({RxMode.PROMISC})
    pairs: int = 1
    max_pairs: int = 1
    rss: RssConfig | HashConfig | None = None
    offloads: int | None = None
    vlans: frozenset[int] = frozenset()

    def has(self, feature: F) -> bool:
        return bool(self.features & feature.mask)

    @property
    def supported_offloads(self) -> int:
        return self.features & OFFLOADS

    def set(self, command: Command) -> NetState:
        """The state after a command of the guest. Raises InputError for what the model answers with VIRTIO_NET_ERR."""
        match command:
            case Rx(mode, on):
                return replace(self, modes=self.modes | {mode} if on else self.modes - {mode})
            case MacAddrSet(mac):
                return replace(self, mac=mac)
            case MacTableSet(unicast, multicast):  # what does not fit is not kept, only that it did not
                uni_overflow = len(unicast) > MAC_TABLE_ENTRIES
                unicast = () if uni_overflow else unicast
                multi_overflow = len(multicast) > MAC_TABLE_ENTRIES - len(unicast)
                multicast = () if multi_overflow else multicast
                tables = {"unicast": unicast, "multicast": multicast}
                return replace(self, **tables, uni_overflow=uni_overflow, multi_overflow=multi_overflow)
            case VlanAdd(vid):
                return replace(self, vlans=self.vlans | {vid})
            case VlanDel(vid):
                return replace(self, vlans=self.vlans - {vid})
            case VqPairsSet(pairs):
                return replace(self, pairs=self._pairs(pairs), rss=None)
            case RssConfig() if self.has(F.RSS):
                return replace(self, rss=command, pairs=self._pairs(command.max_tx_vq))
            case HashConfig() if self.has(F.HASH_REPORT):
                return replace(self, rss=command)
            case RssConfig() | HashConfig():
                raise InputError(f"{type(command).__name__}: the guest did not take the feature; negotiate it first")
            case GuestOffloadsSet(offloads):
                allowed = self.supported_offloads if self.has(F.CTRL_GUEST_OFFLOADS) else 0
                if offloads & ~allowed or not self.has(F.CTRL_GUEST_OFFLOADS):
                    raise InputError(f"offloads {offloads:#x}: the guest took {allowed:#x}; set of those only")
                return replace(self, offloads=offloads)
        return self  # ANNOUNCE_ACK

    def _pairs(self, pairs: int) -> int:
        if not 1 <= pairs <= self.max_pairs or not self.has(F.MQ):
            raise InputError(f"{pairs} queue pairs: the device has {self.max_pairs}, and 1 without MQ; set fewer")
        return pairs


def replay(state: NetState) -> tuple[Command, ...]:
    """The commands that set a freshly reset device to `state`, in QEMU's order; each only where it differs from it.

    The MAC address and the number of queue pairs are always sent. vhost_vdpa_net_load_mac, _mq, _offloads, _rx, _vlan.
    """
    commands: list[Command] = []
    if state.has(F.CTRL_MAC_ADDR):
        commands.append(MacAddrSet(state.mac))
    if state.has(F.CTRL_RX) and (state.unicast or state.multicast):
        commands.append(MacTableSet(state.unicast, state.multicast))
    if state.has(F.MQ):
        commands.append(VqPairsSet(state.pairs))
        commands += _replay_rss(state)
    if state.has(F.CTRL_GUEST_OFFLOADS) and state.offloads not in (None, state.supported_offloads):
        commands.append(GuestOffloadsSet(state.offloads))
    commands += _replay_modes(state)
    if state.has(F.CTRL_VLAN):
        commands += [VlanAdd(vid) for vid in sorted(state.vlans)]
    return tuple(commands)


def _replay_rss(state: NetState) -> list[Command]:
    """The last RSS_CONFIG or HASH_CONFIG, by feature and with a key of full length (vhost_vdpa_net_load_rss)."""
    if state.rss is None or not state.rss.hash_types:
        return []
    key = state.rss.key.ljust(MAX_KEY, b"\0")
    if not state.has(F.RSS):
        return [HashConfig(state.rss.hash_types, key)]
    table, unclassified = (state.rss.table, state.rss.unclassified) if isinstance(state.rss, RssConfig) else ((0,), 0)
    return [RssConfig(state.rss.hash_types, table, unclassified, state.pairs, key)]


def _replay_modes(state: NetState) -> list[Command]:
    """A reset device is promiscuous, and all other receive modes are off (vhost_vdpa_net_load_rx)."""
    if not state.has(F.CTRL_RX):
        return []
    found = [] if state.uni_overflow or RxMode.PROMISC in state.modes else [Rx(RxMode.PROMISC, False)]
    found += [Rx(RxMode.ALLMULTI, True)] if state.multi_overflow or RxMode.ALLMULTI in state.modes else []
    extra = (RxMode.ALLUNI, RxMode.NOMULTI, RxMode.NOUNI, RxMode.NOBCAST) if state.has(F.CTRL_RX_EXTRA) else ()
    return found + [Rx(mode, True) for mode in extra if mode in state.modes]


class Flush(NamedTuple):
    """Commands that the device gets before QEMU polls for their acks: the shared out buffer, and each one's bytes."""

    out: bytes
    sizes: tuple[int, ...]

    @property
    def descriptors(self) -> int:
        return DESCRIPTORS * len(self.sizes)

    def check(self, acks: bytes) -> None:
        """Raises InputError unless the device wrote one ack for each command, all VIRTIO_NET_OK (-EIO in QEMU)."""
        if len(acks) != len(self.sizes) or any(acks):
            raise InputError(f"{len(self.sizes)} commands, acks {acks.hex()!r}: the device refused state; see its log")


def flushes(commands: Iterable[Command], cvq_size: int = CVQ_SIZE) -> tuple[Flush, ...]:
    """The commands packed one after the other into the out buffer of one page (vhost_vdpa_net_load_cmd).

    A flush when the ring has no 2 free descriptors or the buffer no room, and one at the end: with 64 descriptors one
    every 32 commands.
    """
    done: list[Flush] = []
    out, sizes = b"", ()
    for command in commands:
        data = encode(command)
        if DESCRIPTORS * (len(sizes) + 1) > cvq_size or len(out) + len(data) > BUFFER:
            done.append(Flush(out, sizes))
            out, sizes = b"", ()
        out, sizes = out + data, (*sizes, len(data))
    return (*done, Flush(out, sizes)) if sizes else tuple(done)


class Shadowed(NamedTuple):
    """What became of a guest's command: the ack that it reads, what the device got (b"": nothing), and the model."""

    ack: int
    forwarded: bytes
    state: NetState


def shadow(state: NetState, out: bytes, device: Callable[[bytes], int]) -> Shadowed:
    """Handle a guest's command (vhost_vdpa_net_handle_ctrl_avail): device, then model; `device` returns its ack.

    out: all that the guest sent, copied before it is looked at, so that the guest cannot change it meanwhile. The
    device gets at most a page: for a longer MAC table it gets PROMISC on, and the model a table that overflows.
    ANNOUNCE_ACK is QEMU's own and is not forwarded.
    """
    sent, command = b"", bytes(out[:BUFFER])
    try:
        copied = command
        if len(out) > BUFFER and command[:2] == encode(MacTableSet((), ()))[:2]:
            parse(bytes(out))  # a table that is wrong in itself never reaches the device
            copied, command = encode(Rx(RxMode.PROMISC, True)), overflow_table()
        if command[:1] != encode(AnnounceAck())[:1]:
            sent = copied
            if device(sent) != OK:
                return Shadowed(ERR, sent, state)
        return Shadowed(OK, sent, state.set(parse(command)))
    except InputError:  # VIRTIO_NET_ERR of the model
        return Shadowed(ERR, sent, state)


def overflow_table() -> bytes:
    """MAC_TABLE_SET with one address too many of each kind: the model marks both as overflowed."""
    too_many = (bytes(MAC_BYTES),) * (MAC_TABLE_ENTRIES + 1)
    return encode(MacTableSet(too_many, too_many))
