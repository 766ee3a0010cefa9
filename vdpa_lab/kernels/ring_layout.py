"""What split and packed rings share: the bytes of a descriptor, the words of a queue's state, views of memory.

Memory is a caller's uint8 array whose first byte has guest address `origin`; a ring lies anywhere in it. Kernels see
it through views of 8, 16, 32 and 64 bits, so host and guest are little-endian. All numbers in kernels are uint64:
signed ones would cost a test for negative indices at each access, and mixing both gives floats in compiled code.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from vdpa_lab.kernels._jit import kernel

U0, U1, U2, U3, U4, U7, U8 = (np.uint64(value) for value in (0, 1, 2, 3, 4, 7, 8))
U15, U16, U32, U33, U48, U49 = (np.uint64(value) for value in (15, 16, 32, 33, 48, 49))
LOW16, LOW32, ROUND16 = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF), np.uint64(0x1_0000)
FOUR_GIB = np.uint64(1 << 32)

# Flags of a descriptor (2.7.5; 2.8.1, 2.8.3, 2.8.6, 2.8.7) and of the two suppression fields (2.7.6, 2.7.8).
NEXT, WRITE, INDIRECT, AVAIL, USED = (np.uint64(bit) for bit in (1, 2, 4, 1 << 7, 1 << 15))
BOTH = np.uint64(1 << 7 | 1 << 15)
QUIET = np.uint64(1)  # VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY
# Values of the flags of a packed event suppression structure (2.8.10).
EVENT_ENABLE, EVENT_DISABLE, EVENT_DESC = U0, U1, U2

# What was negotiated: bits of state[FEATURES].
EVENT_IDX, INDIRECT_DESC, IN_ORDER = U1, U2, U4

# Words of a queue's state, uint64[STATE_WORDS]; driver and device have one each.
SIZE, MASK, FEATURES, ORIGIN, BYTES = 0, 1, 2, 3, 4
TABLE = 5  # first word of the descriptor table or ring, in 8-byte steps
DRIVER, DEVICE = 6, 7  # driver area, device area, in 2-byte steps
ROOM, FREE, OLDEST = 8, 9, 10  # free descriptors; head of the free list; oldest outstanding buffer (in-order)
NEXT_AVAIL, AVAIL_TOLD = 11, 12  # where the next buffer becomes available, or is taken; as of the last notification
NEXT_USED, USED_TOLD = 13, 14  # where the next used buffer is read, or written; as of the last notification
AVAIL_WRAP, USED_WRAP = 15, 16  # wrap counters (packed)
TAKEN = 17  # descriptors that the device holds (packed)
STATE_WORDS = 24


class Views(NamedTuple):
    """One memory, as arrays of bytes, 2, 4 and 8 bytes."""

    m8: np.ndarray
    m16: np.ndarray
    m32: np.ndarray
    m64: np.ndarray


def views(memory: np.ndarray) -> Views:
    """Views of a contiguous uint8 array that starts and ends on 8-byte steps; ValueError otherwise."""
    if sys.byteorder != "little":
        raise ValueError("rings are little-endian (VIRTIO 1.3, 1.4), and this machine is not")
    if memory.dtype != np.uint8 or memory.ndim != 1 or not memory.flags.c_contiguous:
        raise ValueError("memory is a contiguous array of bytes")
    if memory.ctypes.data % 8 or memory.size % 8:
        raise ValueError("memory starts and ends on a multiple of 8 bytes")
    return Views(memory, memory.view(np.uint16), memory.view(np.uint32), memory.view(np.uint64))


def new_state(
    memory: np.ndarray,
    size: int,
    areas: dict[str, tuple[int, int, int]],
    *,
    event_idx: bool,
    indirect: bool,
    in_order: bool,
    origin: int,
) -> np.ndarray:
    """uint64[STATE_WORDS] for areas {name: (offset, bytes, alignment)}, in the order table, driver, device."""
    state = np.zeros(STATE_WORDS, np.uint64)
    for name, (offset, length, alignment) in areas.items():
        if (origin + offset) % alignment or offset % alignment:
            raise ValueError(f"the {name} is aligned to {alignment} bytes (VIRTIO 1.3, 2.7.1, 2.8.11)")
        if offset < 0 or offset + length > memory.size:
            raise ValueError(f"the {name} is not wholly in memory")
    (table, _, _), (driver, _, _), (device, _, _) = areas.values()
    state[SIZE], state[MASK], state[ROOM] = size, size - 1, size
    state[FEATURES] = event_idx | indirect << 1 | in_order << 2
    state[ORIGIN], state[BYTES] = origin, memory.size
    state[TABLE], state[DRIVER], state[DEVICE] = table // 8, driver // 2, device // 2
    return state


def new_shadow(size: int) -> np.ndarray:
    """The driver's private book, uint64[2 * size]: the other side may write the ring, so nothing is read back from it.

    Word i: bits 0-15 the free descriptor (packed: id) after i, 16-31 the last of the chain that starts at i, 32-47 its
    descriptors (0: not outstanding). Word size + i: bytes that the device may write to buffer i (in-order only).
    """
    shadow = np.zeros(2 * size, np.uint64)
    shadow[:size] = (np.arange(size) + 1) % size
    return shadow


@kernel(inline=True, counted=False)
def load64(m8, at):
    """The little-endian uint64 at byte `at` of uint8[], at any alignment (one load when compiled)."""
    word = np.uint64(m8[at])
    for step in range(1, 8):
        word |= np.uint64(m8[at + np.uint64(step)]) << np.uint64(8 * step)
    return word


@kernel(inline=True, counted=False)
def passed(event, new, old):
    """Whether a 16-bit index going from old to new reaches event + 1 (2.7.7.2, 2.7.10.1); uint64, all below 2^16."""
    return ((new + ROUND16 + ROUND16 - event - U1) & LOW16) < ((new + ROUND16 - old) & LOW16)
