"""ram_save_iterate over real bitmaps: the next pages in send order until rate or time is used up, or none is left.

Source: QEMU migration/ram.c (ram_save_iterate, ram_find_and_save_block, save_zero_page), migration/qemu-file.c: pages
go out in an I/O vector of 64 entries over a buffer of 32 KiB, and the rate limit sees only what was flushed.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import ONES, U0, U1, U6, U63, lowest
from vdpa_lab.kernels.bitmap_sync import clear_dirty_log

# Words of `limits`.
PAGES, CHUNK_SHIFT, ROOM, MOST_NS, PAGE_NS, ZERO_NS, LAST_STAGE = range(7)
# Words of `state`, all counting up but the cursor and the two of the buffer.
CURSOR, NORMAL, ZERO, WIRE, FLUSHED, BUFFERED, VECTORS, ELAPSED, FULL, CLEARED, PROTECTED = range(11)
WORDS = 11
NO_LIMIT = np.uint64((1 << 64) - 1)

HEADER, ZERO_BODY, PAGE = np.uint64(8), np.uint64(1), np.uint64(4096)  # save_page_header; one byte; a page
MOST_VECTORS, BUFFER = np.uint64(64), np.uint64(32768)  # qemu-file.c MAX_IOV_SIZE, IO_BUF_SIZE
CHECK_TIME = np.uint64(63)  # of every 64 pages one looks at the clock


@kernel(inline=True)
def _next_dirty(bmap, start, stop):
    """The first dirty page of [start, stop), stop if there is none."""
    if start >= stop:
        return stop
    at, last = start >> U6, (stop - U1) >> U6
    word = bmap[at] & (ONES << (start & U63))
    while word == U0 and at < last:
        at += U1
        word = bmap[at]
    return stop if word == U0 else min((at << U6) + lowest(word), stop)


@kernel(counted=False)
def send(bmap, zero, kernel_bits, slot_bits, clear_bmap, limits, state):
    """Send pages from the cursor on, round after round of the block; bits of sent pages are cleared.

    bmap, zero, kernel_bits, slot_bits: uint64 words, a bit a page; zero has the pages that hold only zeros.
    clear_bmap: a bit a chunk of 2^limits[CHUNK_SHIFT] pages, cleared in KVM before its first page is sent unless
    LAST_STAGE. ROOM: bytes that may be flushed before the rate limit is exceeded. All of `state` is updated; FULL says
    that the rate stopped it. Returns the pages sent.
    """
    pages, shift, room, last_stage = limits[PAGES], limits[CHUNK_SHIFT], limits[ROOM], limits[LAST_STAGE]
    cursor, buffered, vectors = state[CURSOR], state[BUFFERED], state[VECTORS]
    normal, zeros, wire, flushed, elapsed = U0, U0, U0, U0, U0
    full, done, waiting = U0, U0, U0  # waiting: bytes of whole pages in the vector
    while True:
        if flushed > room:
            full = U1
            break
        page = _next_dirty(bmap, cursor, pages)
        if page == pages:
            page = _next_dirty(bmap, U0, cursor)
            if page == cursor:
                break
        word, bit = page >> U6, U1 << (page & U63)
        chunk = page >> shift
        if last_stage == U0 and clear_bmap[chunk >> U6] & (U1 << (chunk & U63)):
            clear_bmap[chunk >> U6] &= ~(U1 << (chunk & U63))
            stop = min((chunk + U1) << shift, pages)
            state[PROTECTED] += clear_dirty_log(kernel_bits, slot_bits, chunk << shift, stop)
            state[CLEARED] += U1
        bmap[word] &= ~bit
        cursor = page + U1
        if zero[word] & bit:
            zeros += U1
            wire += HEADER + ZERO_BODY
            buffered += HEADER + ZERO_BODY
            vectors |= U1  # joins the header before it in one entry
            elapsed += limits[ZERO_NS]
        else:
            normal += U1
            wire += HEADER + PAGE
            buffered += HEADER
            waiting += PAGE
            vectors = (vectors | U1) + U1
            elapsed += limits[PAGE_NS]
        if vectors >= MOST_VECTORS or buffered >= BUFFER:
            flushed += buffered + waiting
            buffered, vectors, waiting = U0, U0, U0
        if (done & CHECK_TIME) == U0 and elapsed > limits[MOST_NS]:
            break
        done += U1
    flushed += buffered + waiting  # the end of the section flushes
    state[CURSOR], state[BUFFERED], state[VECTORS] = cursor, U0, U0
    state[NORMAL] += normal
    state[ZERO] += zeros
    state[WIRE] += wire
    state[FLUSHED] += flushed
    state[ELAPSED] += elapsed
    state[FULL] = full
    return normal + zeros


@kernel(counted=False)
def clear_pages(words, pages, first):
    """Clear the bits of these pages, uint64 numbers from `first` on: what is written is no page of zeros."""
    for i in range(np.uint64(pages.size)):
        page = first + pages[i]
        words[page >> U6] &= ~(U1 << (page & U63))
