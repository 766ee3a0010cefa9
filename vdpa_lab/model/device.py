"""The vDPA network devices of a VM, all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.model.features import (
    NEED_CTRL_VQ,
    Feature,
    default_features,
    feature_mask,
    feature_names,
    shadow_blockers,
)
from vdpa_lab.model.kinds import choice, flag, hexadecimal, optional, power_of_two, whole
from vdpa_lab.model.record import Record, key

VIRTQUEUE_MAX = 1024  # QEMU include/hw/virtio/virtio.h: the most entries of a virtqueue
VLAN_MAX = 4094  # IEEE 802.1Q: the identifiers 0 and 4095 are reserved
MLX5_MAX_VQ_ENTRIES = 256  # Linux drivers/vdpa/mlx5/net/mlx5_vnet.c


@dataclass(frozen=True, slots=True)
class VdpaDevice(Record):
    """`count` devices like this one.

    driver: the kernel's vDPA parent; iommu is one with neither dma_map nor set_map. queue_pairs: configured.
    queue_size: entries of a data virtqueue, as the guest driver negotiates it; cvq_size: of the control
    virtqueue. features: the negotiated 64-bit word; None = what driver, queue_pairs and cvq give.
    active_pairs: what the guest uses; None = all. vlans: VLAN filters that the guest has set. cvq: there is a
    control virtqueue. svq: auto shadows the device during migration, on always (QEMU's x-svq=on), off
    never, which QEMU does not do. Raises ScenarioError.
    """

    TABLE: ClassVar[str] = "device"
    REFUSED: ClassVar = {
        "packed": "packed virtqueues block migration: shadow virtqueues are split rings. Leave the key out",
        "indirect": "indirect descriptors block migration: shadow virtqueues take none. Leave the key out",
        "cvq_isolated": "a control virtqueue that the device cannot isolate is passed through, and migration "
        "is blocked or the device's state not tracked; so every device here can. Leave the key out",
    }

    count: int = key(whole(1, 64), 1)
    driver: str = key(choice("mlx5", "vdpa_sim", "iommu"), "mlx5")
    queue_pairs: int = key(whole(1, 256), 1)
    queue_size: int = key(power_of_two(2, VIRTQUEUE_MAX), 256)
    cvq_size: int = key(power_of_two(2, VIRTQUEUE_MAX), 64)
    features: int | None = key(optional(hexadecimal(64)), None, quiet=True)
    active_pairs: int | None = key(optional(whole(1, 256)), None, quiet=True)
    vlans: int = key(whole(0, VLAN_MAX), 0)
    cvq: bool = key(flag(), True)
    svq: str = key(choice("auto", "on", "off"), "auto")

    @property
    def data_vqs(self) -> int:
        """Data virtqueues of one device: one to receive and one to transmit per pair (VIRTIO 1.3, 5.1.2)."""
        return 2 * self.queue_pairs

    @property
    def pairs_in_use(self) -> int:
        """Queue pairs that the guest uses."""
        return self.queue_pairs if self.active_pairs is None else self.active_pairs

    @property
    def negotiated_features(self) -> int:
        """The 64-bit feature word that guest and device agreed on."""
        if self.features is not None:
            return self.features
        return default_features(self.driver, self.queue_pairs > 1, self.cvq)

    def has(self, feature: Feature) -> bool:
        """Is this feature negotiated?"""
        return bool(self.negotiated_features & feature.mask)

    def _check(self) -> None:
        if self.queue_pairs > 1 and not self.cvq:
            self._refuse(
                "cvq",
                "several queue pairs need a control virtqueue: MQ requires CTRL_VQ (VIRTIO 1.3, 5.1.3.1)",
            )
        if self.active_pairs is not None and self.active_pairs > self.queue_pairs:
            self._refuse("active_pairs", f"must be at most queue_pairs = {self.queue_pairs}")
        if self.features is not None:
            self._check_features(self.features)
        if self.vlans and not self.has(Feature.CTRL_VLAN):
            self._refuse("vlans", "VLAN filters need the feature CTRL_VLAN, which is not negotiated here")

    def _check_features(self, word: int) -> None:
        if blocked := shadow_blockers(word):
            self._refuse("features", blocked)
        if self.cvq != self.has(Feature.CTRL_VQ):
            self._refuse("features", f"CTRL_VQ must be among them if and only if device.cvq is true; it is {self.cvq}")
        if (orphans := word & feature_mask(*NEED_CTRL_VQ)) and not self.cvq:
            self._refuse("features", f"{', '.join(feature_names(orphans))} need a control virtqueue")
