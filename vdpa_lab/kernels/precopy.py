"""ram_save_iterate over real bitmaps: the next pages in send order until rate or time is used up, or none is left.

Source: QEMU migration/ram.c (ram_save_iterate, ram_find_and_save_block, ram_save_host_page, save_zero_page),
migration/qemu-file.c: pages go out in an I/O vector of 64 entries over a buffer of 32 KiB, and the rate limit sees only
what was flushed; migration/multifd.c: or in packets, which go out when full and at the end of a round.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import U0, U1, U6, U63, find
from vdpa_lab.kernels.bitmap_sync import PAGE_BYTES, clear_dirty_log

# Words of `limits`.
(
    PAGES, CHUNK_SHIFT, ROOM, MOST_NS, PAGE_NS, ZERO_NS, LAST_STAGE, PAGE_WIRE, ZERO_WIRE, PACKET_PAGES, PACKET_WIRE,
    ZERO_QUEUED, SYNC_WIRE, HOST_PAGES, GOES_ON, LIMITS,
) = range(16)  # fmt: skip
# Words of `state`: where the next search begins, whether the rate stopped the last call, what counts up; and of the
# slice: pages in the open packet, end of the host page begun, host pages done, ns gone by.
CURSOR, FULL, NORMAL, ZERO, WIRE, ELAPSED, CLEARED, QUEUED, HOST_END, DONE, SLICE, WORDS = range(12)
NO_LIMIT = np.uint64((1 << 64) - 1)
WITHIN = np.uint64(2)  # FULL: the rate stopped it within a host page

PAGE = np.uint64(PAGE_BYTES)
MOST_VECTORS, BUFFER = np.uint64(64), np.uint64(32768)  # qemu-file.c MAX_IOV_SIZE, IO_BUF_SIZE
CHECK_TIME = np.uint64(63)  # of every 64 pages one looks at the clock


@kernel(counted=False)
def send(bmap, zero, kernel_bits, slot_bits, clear_bmap, limits, state):
    """Send pages from the cursor on, round after round of the block; bits of sent pages are cleared.

    bmap, zero, kernel_bits, slot_bits: uint64 words, a bit a page; zero has the pages that hold only zeros.
    clear_bmap: a bit a chunk of 2^limits[CHUNK_SHIFT] pages, cleared in KVM before its first page is sent unless
    LAST_STAGE. ROOM: bytes that may be flushed before the rate limit is exceeded. HOST_PAGES, a power of two: all
    dirty pages of a host page go out before the clock is looked at; where the rate stops them (WITHIN), the caller
    waits, adds that to state[SLICE] and calls again with GOES_ON. PACKET_PAGES: pages of a multifd packet, or 0. All
    of `state` is updated; FULL says that the rate stopped it. Returns the pages sent.
    """
    pages, shift, room, last_stage = limits[PAGES], limits[CHUNK_SHIFT], limits[ROOM], limits[LAST_STAGE]
    packet, host = limits[PACKET_PAGES], limits[HOST_PAGES]
    cursor, queued, inside, host_end = state[CURSOR], state[QUEUED], limits[GOES_ON], state[HOST_END]
    done, slice_ns = state[DONE] * inside, state[SLICE] * inside
    normal, zeros, wire, flushed, elapsed = U0, U0, U0, U0, U0
    full, vectors, unflushed, buffered = U0, U0, U0, U0
    while True:
        if flushed > room:
            full = U1 + inside
            break
        if inside:
            page = find(bmap, cursor, host_end, U0)
        else:
            page = find(bmap, cursor, pages, U0)
            if page == pages:
                if packet:  # multifd_ram_flush_and_sync
                    more = limits[SYNC_WIRE] + (limits[PACKET_WIRE] if queued else U0)
                    wire += more
                    flushed += unflushed + more
                    queued, unflushed, buffered = U0, U0, U0
                page = find(bmap, U0, cursor, U0)
                if page == cursor:
                    break
            host_end = min((page & ~(host - U1)) + host, pages)
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
            size = limits[ZERO_WIRE]
            buffered += size
            vectors |= U1  # joins the header before it in one entry
            queued += limits[ZERO_QUEUED]
            elapsed += limits[ZERO_NS]
        else:
            normal += U1
            size = limits[PAGE_WIRE]
            buffered += size - PAGE
            if packet:
                queued += U1
            else:
                vectors = (vectors | U1) + U1
            elapsed += limits[PAGE_NS]
        if packet and queued == packet:
            size += limits[PACKET_WIRE]
            queued, buffered = U0, BUFFER
        wire += size
        unflushed += size
        if vectors >= MOST_VECTORS or buffered >= BUFFER:
            flushed += unflushed
            vectors, unflushed, buffered = U0, U0, U0
        inside = U0
        if cursor < host_end and find(bmap, cursor, host_end, U0) < host_end:
            inside = U1
            continue
        if (done & CHECK_TIME) == U0 and slice_ns + elapsed > limits[MOST_NS]:
            break
        done += U1
    state[CURSOR] = cursor
    state[NORMAL] += normal
    state[ZERO] += zeros
    state[WIRE] += wire
    state[ELAPSED] += elapsed
    state[FULL] = full
    state[QUEUED] = queued
    state[HOST_END] = host_end
    state[DONE] = done
    state[SLICE] = slice_ns + elapsed
    return normal + zeros


@kernel(counted=False)
def clear_pages(words, pages):
    """Clear the bits of these pages, uint64 numbers: what is written is no page of zeros."""
    for i in range(np.uint64(pages.size)):
        words[pages[i] >> U6] &= ~(U1 << (pages[i] & U63))
