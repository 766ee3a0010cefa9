"""The shadow virtqueue's whole lap: the guest adds, buffers are forwarded, used, returned, marked and got.

Receive buffers of one descriptor, or of three (one readable, two writable), from all over a guest of 16 GiB that is
mapped in 2 to 512 pieces. The peer goes QEMU's way; both have their system calls left out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vdpa_lab.bench.harness import OURS, Case, in_c
from vdpa_lab.kernels import ring_layout as ring
from vdpa_lab.kernels import split, svq, svq_translate
from vdpa_lab.kernels._jit import kernel, release
from vdpa_lab.kernels.bitmap import new_words
from vdpa_lab.kernels.ring_layout import new_shadow, views
from vdpa_lab.units import GIB, MIB, PAGE_SIZE

SIZE, BATCH, SETS = 256, 32, 64
MEMORY = 16 * GIB
MAPS = (2, 8, 64, 512)
SHAPES = {1: (0, 1), 3: (1, 2)}  # descriptors: readable, writable
LENGTH, WRITTEN = 1024, np.uint64(1514)


@kernel(inline=True, counted=False)
def use_all(q, device, written):
    """A device that looks at each descriptor of what is available and uses it; the sum of the addresses."""
    s16, s32, s64, size, mask, total = q.s16, q.s32, q.s64, device[ring.SIZE], device[ring.MASK], np.uint64(0)
    last, end = device[ring.NEXT_AVAIL], np.uint64(s16[device[ring.DRIVER] + ring.U1])
    while last != end:
        at = head = np.uint64(s16[device[ring.DRIVER] + ring.U2 + (last & mask)]) & mask
        for _ in range(size):
            total += s64[device[ring.TABLE] + at + at]
            word = s64[device[ring.TABLE] + at + at + ring.U1]
            if (word >> ring.U32) & ring.NEXT == ring.U0:
                break
            at = (word >> ring.U48) & mask
        place = (device[ring.DEVICE] + ring.U2) // ring.U2 + ring.U2 * (last & mask)
        s32[place], s32[place + ring.U1] = head, written
        last = (last + ring.U1) & ring.LOW16
    release()
    s16[device[ring.DEVICE] + ring.U1] = device[ring.NEXT_AVAIL] = last
    return total


@kernel(counted=False)
def laps(q, v, own, book, device, pool, addr, length, outs, ins, heads, lens, rounds):
    """`rounds` laps of the buffers in pool, one set after the other; a sum that every candidate must come to."""
    total, each, sets = np.uint64(0), np.uint64(addr.size), np.uint64(pool.size // addr.size)
    batch, kicks, calls = outs.size, q.state[svq.KICKS], q.state[svq.CALLS]
    for turn in range(np.uint64(rounds)):
        first = turn % sets * each
        for i in range(each):
            addr[i] = pool[first + i]
        split.add_batch(v.m64, v.m16, own, book, addr, length, outs, ins, heads, batch)
        split.publish(v.m16, own)
        total += np.uint64(split.need_notify(v.m16, own))
        svq.forward_avail(q)
        total += use_all(q, device, WRITTEN)
        svq.forward_used(q)
        total += np.uint64(split.get_batch(v.m32, v.m16, own, book, heads, lens, batch))
    return total + q.state[svq.KICKS] - kicks + q.state[svq.CALLS] - calls


def guest_maps(count: int) -> list[tuple[int, int, int]]:
    """(gpa, bytes, iova) of `count` equal pieces with a hole of a page after each, packed behind the rings."""
    span = MEMORY // count
    return [(i * span, span - PAGE_SIZE, MIB + i * (span - PAGE_SIZE)) for i in range(count)]


class Queue(NamedTuple):
    """One candidate's own queue: the arrays of `laps` in its order, and the guest's memory."""

    q: svq.Shadow
    own: np.ndarray
    book: np.ndarray
    device: np.ndarray
    pool: np.ndarray
    length: np.ndarray
    outs: np.ndarray
    ins: np.ndarray


def queue(maps: list[tuple[int, int, int]], descriptors: int) -> Queue:
    """A fresh queue; its ring lies at the bottom of the first map."""
    memory, at = np.zeros(4 * PAGE_SIZE, np.uint8), split.layout(SIZE)
    words, _ = new_words(MEMORY // PAGE_SIZE)
    q = svq.new(memory, SIZE, *at[:3], svq_translate.directory(maps), words)
    random = np.random.default_rng(1)
    chosen = random.integers(0, len(maps), SETS * BATCH * descriptors)
    offsets = random.integers(4, maps[0][1] // PAGE_SIZE - 1, chosen.size) * PAGE_SIZE
    pool = np.array(maps, np.uint64)[chosen, 0] + offsets.astype(np.uint64)
    outs, ins = SHAPES[descriptors]
    numbers = [np.full(BATCH, value, np.uint64) for value in (outs, ins)]
    length = np.full(BATCH * descriptors, LENGTH if descriptors > 1 else 2 * LENGTH, np.uint64)
    device = split.state(q.s8, SIZE, *svq.layout(SIZE)[:3])
    return Queue(q, split.state(memory, SIZE, *at[:3]), new_shadow(SIZE), device, pool, length, *numbers)


def cases(library: ctypes.CDLL | None, quick: bool) -> Iterator[Case]:
    """Each number of descriptors with each number of maps."""
    rounds = 4 if quick else 1000
    for descriptors in SHAPES:
        for count in MAPS[:2] if quick else MAPS:
            maps = guest_maps(count)
            mine = queue(maps, descriptors)
            addr, heads, lens = (np.zeros(BATCH * descriptors, np.uint64) for _ in range(3))
            arguments = (*mine[1:5], addr, *mine[5:], heads, lens, rounds)

            def ours(mine=mine, arguments=arguments) -> int:
                return laps(mine.q, views(mine.q.g8), *arguments)

            calls = {OURS: ours}
            for name, peer in (("twin", 0), ("peer", 1)) if library else ():
                each = queue(maps, descriptors)
                q = each.q
                state = (q.g8, q.s8, q.guest, q.driver, q.book, q.kept, q.state, q.maps, q.words)
                shape = (WRITTEN, np.array(maps, np.uint64), count, BATCH, descriptors, SETS, rounds)
                calls[name] = in_c(library.laps, peer, *state, *each[1:], *shape)
            of = f"{descriptors} descriptor{'s' * (descriptors > 1)}, {count} maps"
            yield Case("shadow virtqueue, whole lap", of, count, BATCH * rounds, calls)
