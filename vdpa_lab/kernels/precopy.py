"""ram_save_iterate over real bitmaps: the next pages in send order until rate or time is used up, or none is left.

Source: QEMU migration/ram.c (ram_save_iterate, ram_find_and_save_block, save_zero_page), migration/qemu-file.c: pages
go out in an I/O vector of 64 entries over a buffer of 32 KiB, and the rate limit sees only what was flushed.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import U0, U1, U6, U63, find
from vdpa_lab.kernels.bitmap_sync import HEADER_BYTES, PAGE_BYTES, ZERO_BYTES, clear_dirty_log

# Words of `limits`.
PAGES, CHUNK_SHIFT, ROOM, MOST_NS, PAGE_NS, ZERO_NS, LAST_STAGE = range(7)
# Words of `state`: where the next search begins, whether the rate stopped the last call, and what counts up.
CURSOR, FULL, NORMAL, ZERO, WIRE, ELAPSED, CLEARED = range(7)
WORDS = 7
NO_LIMIT = np.uint64((1 << 64) - 1)

HEADER, PAGE, ZERO_BODY = map(np.uint64, (HEADER_BYTES, PAGE_BYTES, ZERO_BYTES))
MOST_VECTORS, BUFFER = np.uint64(64), np.uint64(32768)  # qemu-file.c MAX_IOV_SIZE, IO_BUF_SIZE
CHECK_TIME = np.uint64(63)  # of every 64 pages one looks at the clock


@kernel(counted=False)
def send(bmap, zero, kernel_bits, slot_bits, clear_bmap, limits, state):
    """Send pages from the cursor on, round after round of the block; bits of sent pages are cleared.

    bmap, zero, kernel_bits, slot_bits: uint64 words, a bit a page; zero has the pages that hold only zeros.
    clear_bmap: a bit a chunk of 2^limits[CHUNK_SHIFT] pages, cleared in KVM before its first page is sent unless
    LAST_STAGE. ROOM: bytes that may be flushed before the rate limit is exceeded. All of `state` is updated; FULL says
    that the rate stopped it. Returns the pages sent.
    """
    pages, shift, room, last_stage = limits[PAGES], limits[CHUNK_SHIFT], limits[ROOM], limits[LAST_STAGE]
    cursor = state[CURSOR]
    normal, zeros, wire, flushed, elapsed = U0, U0, U0, U0, U0
    full, done, vectors, unflushed, buffered = U0, U0, U0, U0, U0
    while True:
        if flushed > room:
            full = U1
            break
        page = find(bmap, cursor, pages, U0)
        if page == pages:
            page = find(bmap, U0, cursor, U0)
            if page == cursor:
                break
        word, bit = page >> U6, U1 << (page & U63)
        chunk = page >> shift
        if last_stage == U0 and clear_bmap[chunk >> U6] & (U1 << (chunk & U63)):
            clear_bmap[chunk >> U6] &= ~(U1 << (chunk & U63))
            stop = min((chunk + U1) << shift, pages)
            clear_dirty_log(kernel_bits, slot_bits, chunk << shift, stop)
            state[CLEARED] += U1
        bmap[word] &= ~bit
        cursor = page + U1
        if zero[word] & bit:
            zeros += U1
            size = HEADER + ZERO_BODY
            buffered += size
            vectors |= U1  # joins the header before it in one entry
            elapsed += limits[ZERO_NS]
        else:
            normal += U1
            size = HEADER + PAGE
            buffered += HEADER
            vectors = (vectors | U1) + U1
            elapsed += limits[PAGE_NS]
        wire += size
        unflushed += size
        if vectors >= MOST_VECTORS or buffered >= BUFFER:
            flushed += unflushed
            vectors, unflushed, buffered = U0, U0, U0
        if (done & CHECK_TIME) == U0 and elapsed > limits[MOST_NS]:
            break
        done += U1
    state[CURSOR] = cursor
    state[NORMAL] += normal
    state[ZERO] += zeros
    state[WIRE] += wire
    state[ELAPSED] += elapsed
    state[FULL] = full
    return normal + zeros


@kernel(counted=False)
def clear_pages(words, pages):
    """Clear the bits of these pages, uint64 numbers: what is written is no page of zeros."""
    for i in range(np.uint64(pages.size)):
        words[pages[i] >> U6] &= ~(U1 << (pages[i] & U63))
