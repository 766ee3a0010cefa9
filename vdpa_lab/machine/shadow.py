"""Whether a device's virtqueues can be shadowed, and what of a virtqueue travels to the destination.

Sources: QEMU hw/virtio/vhost-shadow-virtqueue.c (vhost_svq_valid_features), hw/virtio/vhost-vdpa.c
(vhost_vdpa_get_vring_base), hw/virtio/vhost.c (vhost_virtqueue_stop), hw/virtio/virtio.c (virtio_save, virtio_load).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import ring_layout, split, svq
from vdpa_lab.model.features import (
    SHADOW_ALLOWS,
    SHADOW_NEEDS,
    TRANSPORT_BITS,
    feature_mask,
    feature_names,
    shadow_blockers,
)  # fmt: skip
from vdpa_lab.words import InputError

INDEX = 0xFFFF


class Gate(NamedTuple):
    """Names of feature bits that block migration: needed ones that `missing` lists, `refused` ones that are offered.

    Only bits of the transport count here. `why` says it in words, "" if nothing blocks.
    """

    missing: tuple[str, ...]
    refused: tuple[str, ...]
    why: str

    @property
    def open(self) -> bool:
        return not self.why


def shadow_gate(offered: int) -> Gate:
    """What of a device's 64-bit feature word keeps QEMU from shadowing its virtqueues.

    It is what the device offers that counts, whether or not the guest takes it. Needed: VERSION_1, ACCESS_PLATFORM;
    allowed: ANY_LAYOUT, EVENT_IDX; every other bit of the transport is refused (RING_PACKED, IN_ORDER, ...).
    """
    needed, transport = feature_mask(*SHADOW_NEEDS), sum(1 << bit for bit in TRANSPORT_BITS)
    refused = offered & transport & ~needed & ~feature_mask(*SHADOW_ALLOWS)
    return Gate(feature_names(needed & ~offered), feature_names(refused), shadow_blockers(offered))


class Stop(StrEnum):
    """How a virtqueue was stopped, which decides who knows where it is."""

    SUSPENDED = "suspended"  # VHOST_VDPA_SUSPEND, then VHOST_GET_VRING_BASE
    SHADOWED = "shadowed"  # vhost_svq_stop; no ioctl
    RESET = "reset"  # no SUSPEND: the device forgets, virtio_queue_restore_last_avail_idx


def base_after_stop(stop: Stop, *, device: int = 0, shadow: int = 0, used: int = 0) -> int:
    """The last_avail_idx that QEMU keeps of a stopped virtqueue.

    device: the answer to VHOST_GET_VRING_BASE, which for mlx5_vdpa is its used index, since what it has fetched and
    not used would be lost otherwise (mlx5_vnet.c, mlx5_vdpa_get_vq_state). shadow: what `svq.stop` returned. used: the
    used index in the guest's memory.
    """
    return {Stop.SUSPENDED: device, Stop.SHADOWED: shadow, Stop.RESET: used}[stop] & INDEX


class VirtqueueState(NamedTuple):
    """What virtio_save puts on the wire of a split virtqueue: its size, guest addresses (bytes) and last_avail_idx."""

    size: int
    desc: int
    avail: int
    used: int
    last_avail: int


class Loaded(NamedTuple):
    """What the destination makes of it from the guest's memory: both indices, and buffers that wait or are in use."""

    avail_idx: int
    used_idx: int
    waiting: int
    inuse: int


def virtqueue_state(queue: np.ndarray, base: int) -> VirtqueueState:
    """What travels of a queue that was stopped at `base`; queue: uint64[] state of either side, from `split.state`."""
    origin = int(queue[ring_layout.ORIGIN])
    places = (int(queue[ring_layout.TABLE]) * 8, int(queue[ring_layout.DRIVER]) * 2, int(queue[ring_layout.DEVICE]) * 2)
    return VirtqueueState(int(queue[ring_layout.SIZE]), *(origin + place for place in places), base & INDEX)


def _index(memory: np.ndarray, place: int) -> int:
    return int.from_bytes(memory[place : place + 2].tobytes(), "little")


def load_virtqueue(state: VirtqueueState, memory: np.ndarray, origin: int = 0, number: int = 0) -> Loaded:
    """What virtio_load recomputes and checks for virtqueue `number`; memory: uint8[] whose first byte is `origin`.

    Raises InputError if the guest's available index is ahead of last_avail, or last_avail of the used index, by more
    than the queue has entries; or if the rings are not in memory.
    """
    places = [address - origin for address in (state.desc, state.avail, state.used)]
    try:
        split.state(memory, state.size, *places, origin=origin)
    except ValueError as error:
        raise InputError(f"VQ {number}: {error}; give the guest's memory in which the rings lie") from None
    avail_idx, used_idx = _index(memory, places[1] + 2), _index(memory, places[2] + 2)
    waiting, inuse = (avail_idx - state.last_avail) & INDEX, (state.last_avail - used_idx) & INDEX
    if waiting > state.size:
        raise InputError(
            f"VQ {number} size {state.size:#x}: guest index {avail_idx:#x} is inconsistent with host index "
            f"{state.last_avail:#x}, delta {waiting:#x}; the state and the memory are not of one moment"
        )
    if inuse > state.size:
        raise InputError(
            f"VQ {number} size {state.size:#x} < last_avail_idx {state.last_avail:#x} - used_idx {used_idx:#x}; "
            "the state and the memory are not of one moment"
        )
    return Loaded(avail_idx, used_idx, waiting, inuse)


def offered_again(state: VirtqueueState, memory: np.ndarray, origin: int = 0) -> tuple[int, ...]:
    """Heads that the queue offers when it goes on at last_avail: what was in flight, then what nobody has seen yet."""
    loaded, entries = load_virtqueue(state, memory, origin), state.avail - origin + 4
    return tuple(
        _index(memory, entries + 2 * ((state.last_avail + step) % state.size)) for step in range(loaded.waiting)
    )


def stop_shadow(q: svq.Shadow) -> VirtqueueState:
    """Stop a shadowed queue; what then travels. Raises ValueError for what guest or device broke."""
    return virtqueue_state(q.guest, base_after_stop(Stop.SHADOWED, shadow=svq.checked(svq.stop(q))))
