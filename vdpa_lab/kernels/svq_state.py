"""The state of one shadowed queue: where its rings lie, what each word means. `svq` has the kernels.

Source: QEMU hw/virtio/vhost-shadow-virtqueue.h (struct VhostShadowVirtqueue), vhost_svq_start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels import split, svq_translate
from vdpa_lab.kernels.bitmap import NO_SUMMARY

PAGE = 4096

# Words of a queue's own state.
PARKED = 0  # a buffer was taken that found no room (next_guest_avail_elem): it waits for used ones
KICKS, CALLS = 1, 2  # notifications of the device and of the guest so far
FORWARDED, RETURNED, DESCRIPTORS = 3, 4, 5  # buffers to the device and back; descriptors to the device
BATCHED = 6  # publish and kick once a burst instead of once a buffer; QEMU never does
USED_RAM = 7  # ram_addr of the guest's used ring
STATE_WORDS = 8


class Shadow(NamedTuple):
    """One shadowed queue: the views of guest and shadow memory, both sides' states, and scratch arrays."""

    g8: np.ndarray
    g16: np.ndarray
    g32: np.ndarray
    g64: np.ndarray
    s8: np.ndarray
    s16: np.ndarray
    s32: np.ndarray
    s64: np.ndarray
    guest: np.ndarray
    driver: np.ndarray
    book: np.ndarray
    kept: np.ndarray
    state: np.ndarray
    maps: np.ndarray
    words: np.ndarray
    summary: np.ndarray
    heads: np.ndarray
    addr: np.ndarray
    length: np.ndarray
    ids: np.ndarray


def layout(size: int) -> split.Layout:
    """The shadow ring in its memory: the driver area, then the device area on the next page, as QEMU maps them."""
    driver = split.layout(size)
    used = -(-driver.used // PAGE) * PAGE
    return split.Layout(driver.table, driver.avail, used, used - driver.used + driver.end)


def new(
    memory: np.ndarray,
    size: int,
    table: int,
    avail: int,
    used: int,
    maps: np.ndarray,
    words: np.ndarray,
    summary: np.ndarray = NO_SUMMARY,
    *,
    origin: int = 0,
    event_idx: bool = False,
    batched: bool = False,
    base: int = 0,
) -> Shadow:
    """Shadow a guest's split queue of `size` entries in memory, uint8[] whose first byte has guest address `origin`.

    table, avail, used: byte offsets, 16-, 2- and 4-aligned. maps: a `directory`; words, summary: the migration bitmap,
    from `bitmap.new_words`. base: the guest's last_avail_idx. batched: publish and kick once a burst, which QEMU never
    does. ValueError if VIRTIO forbids the ring, or if its used ring is not in one map.
    """
    guest = split.state(memory, size, table, avail, used, event_idx=event_idx, origin=origin)
    at = layout(size)
    own = np.zeros(-(-at.end // 8) * 8, np.uint8)
    driver = split.state(own, size, *at[:3], event_idx=event_idx)
    state = np.zeros(STATE_WORDS, np.uint64)
    state[BATCHED] = batched
    where, bytes_ = np.array([origin + used], np.uint64), np.array([6 + 8 * size], np.uint64)
    if svq_translate.translate(maps, where, bytes_, svq_translate.RAM, state[USED_RAM:]) != 1:
        raise ValueError("the guest's used ring is not in one map")
    step = [np.zeros(size, np.uint64) for _ in range(4)]
    books = ring.new_shadow(size), np.zeros(3 * size, np.uint64)
    q = Shadow(*ring.views(memory), *ring.views(own), guest, driver, *books, state, maps, words, summary, *step)
    start(q, base)
    return q


def start(q: Shadow, base: int) -> None:
    """Begin, or go on after `stop`: the shadow ring is new, the guest's goes on at `base` (vhost_svq_start).

    The guest's used index is read from its memory, as virtio_queue_update_used_idx does.
    """
    size = int(q.driver[ring.SIZE])
    q.s8[:] = 0
    split.restart(q.driver, 0)
    q.driver[ring.FREE], q.driver[ring.ROOM] = 0, size
    q.book[:] = ring.new_shadow(size)
    q.kept[:] = 0
    split.restart(q.guest, base)
    q.guest[ring.NEXT_USED] = q.guest[ring.USED_TOLD] = q.g16[int(q.guest[ring.DEVICE]) + 1]
    q.state[PARKED] = 0
