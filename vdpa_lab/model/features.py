"""Feature bits of a virtio-net device by name, and those with which QEMU can shadow its virtqueues.

Source: VIRTIO 1.3, clauses 5.1.3 (network device feature bits), 5.1.3.1 (their requirements), 5.1.3.2 and 6.3
(legacy bits) and 6 (reserved, that is transport, feature bits).
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache


class Feature(IntEnum):
    """Bit numbers, named as in VIRTIO 1.3 without the prefixes VIRTIO_NET_F_, VIRTIO_F_, VIRTIO_RING_F_.

    DEVICE_STATS is newer than 1.3: Linux include/uapi/linux/virtio_net.h.
    """

    CSUM = 0
    GUEST_CSUM = 1
    CTRL_GUEST_OFFLOADS = 2
    MTU = 3
    MAC = 5
    GSO = 6
    GUEST_TSO4 = 7
    GUEST_TSO6 = 8
    GUEST_ECN = 9
    GUEST_UFO = 10
    HOST_TSO4 = 11
    HOST_TSO6 = 12
    HOST_ECN = 13
    HOST_UFO = 14
    MRG_RXBUF = 15
    STATUS = 16
    CTRL_VQ = 17
    CTRL_RX = 18
    CTRL_VLAN = 19
    CTRL_RX_EXTRA = 20
    GUEST_ANNOUNCE = 21
    MQ = 22
    CTRL_MAC_ADDR = 23
    NOTIFY_ON_EMPTY = 24
    ANY_LAYOUT = 27
    INDIRECT_DESC = 28
    EVENT_IDX = 29
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    IN_ORDER = 35
    ORDER_PLATFORM = 36
    SR_IOV = 37
    NOTIFICATION_DATA = 38
    NOTIF_CONFIG_DATA = 39
    RING_RESET = 40
    ADMIN_VQ = 41
    DEVICE_STATS = 50
    HASH_TUNNEL = 51
    VQ_NOTF_COAL = 52
    NOTF_COAL = 53
    GUEST_USO4 = 54
    GUEST_USO6 = 55
    HOST_USO = 56
    HASH_REPORT = 57
    GUEST_HDRLEN = 59
    RSS = 60
    RSC_EXT = 61
    STANDBY = 62
    SPEED_DUPLEX = 63

    @property
    def mask(self) -> int:
        """The feature as a bit of the 64-bit feature word."""
        return 1 << self.value


F = Feature

#: Features that are of no use without the control virtqueue. VIRTIO 1.3, 5.1.3.1, says so of all but
#: CTRL_GUEST_OFFLOADS and CTRL_RX_EXTRA, which only add commands to it.
NEED_CTRL_VQ = (
    F.CTRL_GUEST_OFFLOADS, F.CTRL_RX, F.CTRL_VLAN, F.CTRL_RX_EXTRA, F.GUEST_ANNOUNCE, F.MQ, F.CTRL_MAC_ADDR,
    F.VQ_NOTF_COAL, F.NOTF_COAL, F.RSS, F.HASH_TUNNEL,
)  # fmt: skip

#: Of the transport bits, shadow virtqueues want these (QEMU hw/virtio/vhost-shadow-virtqueue.c,
#: vhost_svq_valid_features), ...
SHADOW_NEEDS = (F.VERSION_1, F.ACCESS_PLATFORM)
#: ... leave these to the device, and any other blocks migration.
SHADOW_ALLOWS = (F.ANY_LAYOUT, F.EVENT_IDX)
#: linux/virtio_config.h: VIRTIO_TRANSPORT_F_START .. VIRTIO_TRANSPORT_F_END, the bits of the transport
TRANSPORT_BITS = range(28, 43)


def feature_mask(*features: Feature) -> int:
    """The 64-bit feature word with these features."""
    return sum(feature.mask for feature in set(features))


def feature_names(word: int) -> tuple[str, ...]:
    """Names of the features in a 64-bit word, lowest bit first; a bit without a name is "bit 25"."""
    known = {feature.value: feature.name for feature in Feature}
    return tuple(known.get(bit, f"bit {bit}") for bit in range(word.bit_length()) if word >> bit & 1)


def shadow_blockers(word: int) -> str:
    """Why QEMU cannot shadow a device with these features, in words; "" if it can."""
    needed = feature_mask(*SHADOW_NEEDS)
    allowed = needed | feature_mask(*SHADOW_ALLOWS)
    transport = sum(1 << bit for bit in TRANSPORT_BITS)
    if missing := needed & ~word:
        return f"shadow virtqueues need {', '.join(feature_names(missing))}"
    if foreign := word & transport & ~allowed:
        return (
            f"{', '.join(feature_names(foreign))} blocks migration: shadow virtqueues are split rings, and "
            f"of the transport features only {', '.join(feature_names(allowed))} go with them"
        )
    return ""


_CONTROL = (F.CTRL_VQ, F.CTRL_MAC_ADDR)
_PLATFORM = (F.VERSION_1, F.ACCESS_PLATFORM)
_MLX5 = (F.MRG_RXBUF, F.CSUM, F.GUEST_CSUM, F.HOST_TSO4, F.HOST_TSO6, F.STATUS, F.MAC, F.MTU)


@cache
def default_features(driver: str, multiqueue: bool, cvq: bool) -> int:
    """What guest and device agree on when a scenario does not say: the parent driver's offer.

    vdpa_sim: seen in runs, 0x300830000 with one queue pair and 0x300c30000 with more. mlx5: Linux
    drivers/vdpa/mlx5/net/mlx5_vnet.c, get_supported_features, with the usual offloads; no CTRL_RX. iommu: a
    parent that passes on a physical virtio device; taken to offer what mlx5 does.
    """
    offered = {*_PLATFORM, F.STATUS} if driver == "vdpa_sim" else {*_PLATFORM, *_MLX5}
    if cvq:
        offered |= set(_CONTROL) if driver == "vdpa_sim" else {*_CONTROL, F.CTRL_VLAN}
        offered |= {F.MQ} if multiqueue else set()
    return feature_mask(*offered)
