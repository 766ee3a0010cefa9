"""A short stretch in the life of a packed virtqueue, and why its device cannot be migrated by shadowing it.

Every step is a call of the kernels in `kernels.packed`. Sources: VIRTIO 1.3, 2.8; QEMU
hw/virtio/vhost-shadow-virtqueue.c (vhost_svq_valid_features).
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels import packed, ring_layout
from vdpa_lab.kernels.ring_errors import raised
from vdpa_lab.machine.ring_bytes import packed_ring
from vdpa_lab.machine.ring_story import RX, Buffers, Frame, window_of
from vdpa_lab.machine.shadow import shadow_gate
from vdpa_lab.model import Guest, VdpaDevice
from vdpa_lab.model.features import Feature, feature_mask
from vdpa_lab.units import PAGE_SIZE


class _PackedWorld:
    """A guest's driver and a device on one packed queue."""

    def __init__(self, queue: str, size: int, backwards: bool, gpa: int) -> None:
        self.size, self.backwards, self.frames = size, backwards, []
        self.memory, at = np.zeros(PAGE_SIZE, np.uint8), packed.layout(size)
        self.views, self.book = ring_layout.views(self.memory), ring_layout.new_shadow(size)
        self.driver, self.device = (packed.state(self.memory, size, *at[:3], origin=gpa) for _ in range(2))
        self.buffers = Buffers(queue, gpa + PAGE_SIZE)
        self.taken: list[tuple[int, int]] = []

    def tell(self, stage: str, actor: str, call: str, words: str) -> None:
        ring = packed_ring(self.memory, self.driver, self.device)
        self.frames.append(Frame(stage, actor, call, words, ring))

    def add(self, count: int) -> int:
        made, ids = self.buffers.make(count), np.zeros(count, np.uint64)
        return raised(packed.add_batch(self.views.m64, self.driver, self.book, *made, ids, count))

    def take(self) -> int:
        ids, slots, outs, ins = (np.zeros(self.size, np.uint64) for _ in range(4))
        addr, length = (np.zeros(2 * self.size, np.uint64) for _ in range(2))
        v = self.views
        found = packed.pop_batch(v.m8, v.m64, self.device, ids, slots, outs, ins, addr, length, self.size)
        self.taken += zip(map(int, ids[: raised(found)]), map(int, slots), strict=False)
        return int(found)

    def use(self, count: int) -> list[int]:
        done = [self.taken.pop(-1 if self.backwards else 0) for _ in range(count)]
        ids, slots = (np.array(column, np.uint64) for column in zip(*done, strict=True))
        written = np.full(count, self.buffers.written, np.uint64)
        raised(packed.push_batch(self.views.m64, self.device, ids, slots, written, count))
        return [number for number, _ in done]

    def get(self) -> int:
        ids, lens = (np.zeros(self.size, np.uint64) for _ in range(2))
        return raised(packed.get_batch(self.views.m64, self.driver, self.book, ids, lens, self.size))


def packed_story(
    guest: Guest, device: VdpaDevice, queue: str = RX, size: int = 8, backwards: bool = False
) -> tuple[Frame, ...]:
    """One packed queue of `size` descriptors over its end, up to where migration is refused; see `split_story`."""
    world = _PackedWorld(queue, size, backwards, window_of(guest, device)[0])
    say, most = world.tell, size // len(world.buffers.lengths)
    first = most - most // 4
    added = world.add(first)
    say("passthrough", "guest", "virtqueue_add, virtqueue_kick",
        f"The driver makes {added} buffers available: AVAIL is its wrap counter, USED the inverse.")  # fmt: skip
    say("passthrough", "device", "VIRTIO 1.3, 2.8.2", f"The device takes {world.take()}: no byte changes.")
    done = world.use(first // 2)
    say("passthrough", "device", "VIRTIO 1.3, 2.8.1",
        f"The device uses the buffers of id {_list(done)}: it writes over the ring from its first slot on, AVAIL and "
        "USED equal.")  # fmt: skip
    say("passthrough", "guest", "virtqueue_get_buf", f"The driver takes {world.get()} back.")
    again = world.add(most - first + first // 2)
    say("passthrough", "guest", "virtqueue_add, virtqueue_kick",
        f"The driver adds {again} more, over the end of the ring: there its wrap counter turns.")  # fmt: skip
    taken = world.take()
    done = world.use(len(world.taken))
    say("passthrough", "device", "VIRTIO 1.3, 2.8.1", f"The device takes {taken} more and uses id {_list(done)}.")
    say("passthrough", "guest", "virtqueue_get_buf", f"The driver takes {world.get()} back.")
    gate = shadow_gate(feature_mask(Feature.VERSION_1, Feature.ACCESS_PLATFORM, Feature.RING_PACKED))
    say("passthrough", "QEMU", "vhost_svq_valid_features",
        f"Here the migration ends: {gate.why}. QEMU shadows split virtqueues only.")  # fmt: skip
    return tuple(world.frames)


def _list(ids) -> str:
    return ", ".join(map(str, ids))
