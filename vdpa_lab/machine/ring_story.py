"""A short stretch in the life of one virtqueue, step by step, on the bytes of its rings: passthrough, shadowed, moved.

Every step is a call of the kernels in `kernels.split`, `kernels.packed` and `kernels.svq`; each frame then reads the
rings back from memory. Sources: VIRTIO 1.3, 2.7 and 2.8; QEMU hw/virtio/vhost-shadow-virtqueue.c, vhost-vdpa.c,
virtio.c; Linux drivers/virtio/virtio_ring.c, drivers/net/virtio_net.c.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import ring_layout, split, svq, svq_translate
from vdpa_lab.kernels.bitmap import new_words
from vdpa_lab.kernels.ring_errors import raised
from vdpa_lab.machine.iova import shadow_layout
from vdpa_lab.machine.ring_bytes import PackedRing, SplitRing, split_ring
from vdpa_lab.machine.sections import is_ram, sections
from vdpa_lab.machine.shadow import Stop, base_after_stop, load_virtqueue, offered_again, stop_shadow
from vdpa_lab.model import Guest, VdpaDevice
from vdpa_lab.units import KIB, PAGE_SIZE, format_bytes
from vdpa_lab.words import InputError

RX, TX = "RX", "TX"
HEADER, FRAME, RX_BUFFER = 12, 1514, 1536  # virtio_net_hdr_v1; Ethernet of MTU 1500; GOOD_PACKET_LEN, up to a line
WINDOW = 256 * KIB  # of guest RAM: the rings on its first page, buffers of a page each behind them


class Frame(NamedTuple):
    """What one step left behind.

    stage: passthrough, suspended, shadowed, stopped or destination; actor: who does it; call: its function or clause;
    words: what happened. ring: the guest's; shadow: the shadow ring while there is one. dirty: guest pages that the
    migration bitmap has so far; kicks, calls: notifications by the shadow virtqueue so far.
    """

    stage: str
    actor: str
    call: str
    words: str
    ring: SplitRing | PackedRing
    shadow: SplitRing | None = None
    dirty: tuple[int, ...] = ()
    kicks: int = 0
    calls: int = 0


class Buffers:
    """Buffers of one direction, as arrays for the kernels: RX one writable element, TX a header and a frame."""

    def __init__(self, queue: str, first: int) -> None:
        if queue not in (RX, TX):
            raise InputError(f"queue {queue!r}; a queue pair has {RX} and {TX}")
        self.receives, self.first, self.made = queue == RX, first, 0
        self.lengths = (RX_BUFFER,) if self.receives else (HEADER, FRAME)
        self.written = FRAME + HEADER if self.receives else 0

    def make(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """addr, length, outs, ins of the next `count` buffers, uint64[]; a page each, 62 in turn."""
        pages = [self.first + PAGE_SIZE * ((self.made + each) % 62) for each in range(count)]
        self.made += count
        elements = [(page + sum(self.lengths[:part]), size) for page in pages for part, size in enumerate(self.lengths)]
        addr, length = (np.array(column, np.uint64) for column in zip(*elements, strict=True))
        outs, ins = (0, 1) if self.receives else (2, 0)
        return addr, length, np.full(count, outs, np.uint64), np.full(count, ins, np.uint64)


def window_of(guest: Guest, device: VdpaDevice) -> tuple[int, int]:
    """(GPA, IOVA when shadowed) of the stretch of RAM that the rings and buffers are put in: the largest section.

    Raises InputError if no RAM section is large enough.
    """
    _, shadowed = shadow_layout(guest, device)
    found = [(section.size, section.gpa, run.iova) for section, run in zip(sections(guest), shadowed, strict=True)
             if is_ram(section) and section.size >= WINDOW]  # fmt: skip
    if not found:
        raise InputError(f"no RAM section of the guest has {format_bytes(WINDOW)}; give one that has")
    _, gpa, iova = max(found)
    return gpa, iova


class _SplitWorld:
    """A guest's driver and a device on one split queue; the device is moved to the shadow ring and away from it."""

    def __init__(self, queue: str, size: int, backwards: bool, window: tuple[int, int]) -> None:
        self.gpa, self.iova = window
        self.size, self.backwards, self.frames = size, backwards, []
        self.memory, at = np.zeros(PAGE_SIZE, np.uint8), split.layout(size)
        self.at, self.views = at, ring_layout.views(self.memory)
        self.driver, self.book = split.state(self.memory, size, *at[:3], origin=self.gpa), ring_layout.new_shadow(size)
        self.device, self.device_views = split.state(self.memory, size, *at[:3], origin=self.gpa), self.views
        self.buffers = Buffers(queue, self.gpa + PAGE_SIZE)
        self.taken: list[int] = []
        self.shadow: svq.Shadow | None = None
        self.words, _ = new_words((self.gpa + WINDOW) // PAGE_SIZE)

    def tell(self, stage: str, actor: str, call: str, words: str) -> None:
        q, told = self.shadow, (0, 0)
        ring = split_ring(self.memory, self.driver, q.guest if q else self.device)
        if q:
            told = tuple(int(q.state[word]) for word in (svq.KICKS, svq.CALLS))
        lower = split_ring(q.s8, q.driver, self.device) if q and stage == "shadowed" else None
        at = np.flatnonzero(self.words)
        dirty = tuple(64 * int(word) + bit for word in at for bit in range(64) if int(self.words[word]) >> bit & 1)
        self.frames.append(Frame(stage, actor, call, words, ring, lower, dirty, *told))

    def add(self, count: int) -> int:
        heads = np.zeros(count, np.uint64)
        made = self.buffers.make(count)
        added = raised(split.add_batch(self.views.m64, self.views.m16, self.driver, self.book, *made, heads, count))
        split.publish(self.views.m16, self.driver)
        return added

    def take(self) -> int:
        v, room = self.device_views, [np.zeros(2 * self.size, np.uint64) for _ in range(5)]
        found = raised(split.pop_batch(v.m8, v.m64, v.m16, self.device, *room, self.size))
        self.taken += map(int, room[0][:found])
        return found

    def use(self, count: int) -> list[int]:
        done = [self.taken.pop(-1 if self.backwards else 0) for _ in range(count)]
        v, written = self.device_views, np.full(count, self.buffers.written, np.uint64)
        raised(split.push_batch(v.m32, v.m16, self.device, np.array(done, np.uint64), written, count))
        return done

    def get(self) -> int:
        ids, lens = (np.zeros(self.size, np.uint64) for _ in range(2))
        v = self.views
        return raised(split.get_batch(v.m32, v.m16, self.driver, self.book, ids, lens, self.size))

    def suspend(self) -> int:
        """SUSPEND, then GET_VRING_BASE: mlx5 answers with its used index."""
        base = base_after_stop(Stop.SUSPENDED, device=int(self.device[ring_layout.NEXT_USED]))
        split.restart(self.device, base)
        self.taken = []
        return base

    def start_shadow(self, base: int) -> None:
        maps = svq_translate.directory([(self.gpa, WINDOW, self.iova)])
        self.shadow = svq.new(self.memory, self.size, *self.at[:3], maps, self.words, origin=self.gpa, base=base)
        self.device = split.state(self.shadow.s8, self.size, *svq.layout(self.size)[:3])
        self.device_views = ring_layout.views(self.shadow.s8)


def split_story(
    guest: Guest, device: VdpaDevice, queue: str = RX, size: int = 8, backwards: bool = False
) -> tuple[Frame, ...]:
    """One split queue of `size` entries through a migration; backwards: the device uses what it took last first.

    Rings and buffers lie in the guest's largest RAM section, at its GPA and at its IOVA when shadowed. Raises
    InputError for an unknown queue, or a guest without room.
    """
    world = _SplitWorld(queue, size, backwards, window_of(guest, device))
    _passthrough(world)
    _shadowed(world)
    return tuple(world.frames)


def _passthrough(world: _SplitWorld) -> None:
    say, full = world.tell, world.size // len(world.buffers.lengths)
    count = world.add(full)
    say("passthrough", "guest", "virtqueue_add, virtqueue_kick", f"The driver makes {count} buffers available.")
    taken = world.take()
    say(
        "passthrough",
        "device",
        "VIRTIO 1.3, 2.7.6",
        f"The device takes {taken}: its last_avail_idx moves, no byte does.",
    )
    # Used index and GET_VRING_BASE are one for mlx5, which completes in order; another device has to be drained first.
    done = world.use(taken if world.backwards else full // 2)
    blind = " It writes guest memory, and nobody marks the pages." if world.buffers.receives else ""
    say("passthrough", "device", "VIRTIO 1.3, 2.7.8.2", f"The device uses descriptors {_list(done)}.{blind}")
    got = world.get()
    say(
        "passthrough",
        "guest",
        "virtqueue_get_buf, virtqueue_add",
        f"The driver takes {got} back and adds {world.add(got)} anew.",
    )
    held = len(world.taken)
    base = world.suspend()
    say(
        "suspended",
        "QEMU",
        "VHOST_VDPA_SUSPEND, VHOST_GET_VRING_BASE",
        f"The device stops with {held} buffers taken and not used, and answers with its used index, {base}: what it "
        "had taken is available once more.",
    )
    world.start_shadow(base)


def _shadowed(world: _SplitWorld) -> None:
    say, q = world.tell, world.shadow
    say("shadowed", "QEMU", "vhost_svq_start",
        f"A shadow ring begins at index 0; the guest's goes on at {int(q.guest[ring_layout.NEXT_AVAIL])}.")  # fmt: skip
    count = svq.checked(svq.forward_avail(q))
    say("shadowed", "QEMU", "vhost_handle_guest_kick",
        f"QEMU forwards {count} buffers: the same lengths, IOVAs instead of guest addresses.")  # fmt: skip
    say("shadowed", "device", "VIRTIO 1.3, 2.7.6", f"The device takes {world.take()} buffers of the shadow ring.")
    done = world.use(max(1, count // 2))
    say("shadowed", "device", "VIRTIO 1.3, 2.7.8.2",
        f"The device uses shadow descriptors {_list(done)}; the guest does not see it yet.")  # fmt: skip
    back = svq.checked(svq.forward_used(q))
    marks = "their pages and those of the used ring" if world.buffers.receives else "the page of the used ring"
    say("shadowed", "QEMU", "vhost_svq_flush", f"QEMU returns {back} to the guest and marks {marks} dirty.")
    got = world.get()
    added = world.add(got)
    say("shadowed", "guest", "virtqueue_get_buf, virtqueue_add", f"The driver takes {got} back and adds {added} anew.")
    kicked = svq.checked(svq.forward_avail(q))
    say("shadowed", "QEMU", "vhost_handle_guest_kick", f"QEMU forwards {kicked} more.")
    world.take()
    last = world.use(1)
    say("shadowed", "device", "VHOST_VDPA_SUSPEND",
        f"The device uses {_list(last)}, then is suspended: nobody forwarded that one yet.")  # fmt: skip
    held = {int(q.kept[head]) & 0xFFFF for head in world.taken}
    state = stop_shadow(q)
    world.taken = []
    say("stopped", "QEMU", "vhost_svq_stop, vhost_svq_flush",
        f"QEMU returns what is used, and steps last_avail_idx back by {len(held)} to {state.last_avail}: each of "
        "those is available again.")  # fmt: skip
    loaded, offered = load_virtqueue(state, world.memory, world.gpa), offered_again(state, world.memory, world.gpa)
    words = (
        f"virtio_load has last_avail_idx {state.last_avail} and recomputes the rest from memory: {loaded.waiting} "
        f"available, {loaded.inuse} in use. The device is offered heads {_list(offered)}."
    )
    if lost := sorted(held - set(offered)):
        words += f" Heads {_list(lost)} were held and are not offered: lost."
    if twice := sorted(head for head, times in Counter(offered).items() if times > 1):
        words += f" Heads {_list(twice)} are offered twice."
    say("destination", "QEMU", "virtio_load", words)


def _list(heads) -> str:
    return ", ".join(map(str, heads)) or "none"
