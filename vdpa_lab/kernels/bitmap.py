"""Dirty bitmaps: one bit a 4 KiB page in uint64 words, as KVM_GET_DIRTY_LOG and QEMU lay them out, little-endian.

Page p is bit p % 64 of word p // 64. A bitmap may have a summary: one bit for each line of 8 words (512 pages, one
cache line), set when a page of the line is marked, so that a sync reads only the lines that were written; a bitmap
without one passes an empty array. Both come from `new_words`. QEMU marks and collects with atomic operations, because
vCPUs run meanwhile; here one thread does both, and plain loads and stores give the same bits.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import DISABLED, kernel

U0, U1, U2, U3, U4, U6, U8, U9, U15, U56, U63, U64, U65 = map(np.uint64, (0, 1, 2, 3, 4, 6, 8, 9, 15, 56, 63, 64, 65))
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
PAIRS, NIBBLES, BYTES = map(np.uint64, (0x5555_5555_5555_5555, 0x3333_3333_3333_3333, 0x0F0F_0F0F_0F0F_0F0F))
EACH_BYTE = np.uint64(0x0101_0101_0101_0101)
GROUP = np.uint64(512)  # words under one word of a summary

NO_SUMMARY = np.zeros(0, np.uint64)


def new_words(pages: int) -> tuple[np.ndarray, np.ndarray]:
    """A clean bitmap of `pages` pages and its summary, both uint64; words are padded to whole summary words."""
    if pages < 0:
        raise ValueError("a bitmap has no fewer than 0 pages")
    groups = -(-pages // (512 * 64))
    return np.zeros(groups * 512, np.uint64), np.zeros(groups, np.uint64)


@kernel(inline=True)
def _popcnt(word):  # pragma: no cover - the compiler knows this form and puts one instruction in its place
    word = word - ((word >> U1) & PAIRS)
    word = (word & NIBBLES) + ((word >> U2) & NIBBLES)
    return ((word + (word >> U4)) & BYTES) * EACH_BYTE >> U56


popcount = (lambda word: np.uint64(int(word).bit_count())) if DISABLED else _popcnt


@kernel(inline=True)
def lowest(word):
    """Position of the lowest one of a word that has one."""
    return popcount(~word & (word - U1))


@kernel(inline=True)
def end_mask(stop):
    """The pages before `stop` in the word of page `stop - 1`; stop is 1 or more."""
    return ONES >> (U63 - ((stop - U1) & U63))


@kernel(inline=True)
def _merge_word(words, summary, at, bits):
    if bits != U0:
        words[at] |= bits
        if np.uint64(summary.size) > U0:
            summary[at >> U9] |= U1 << ((at >> U3) & U63)


@kernel(inline=True)
def merge_bits(words, summary, page, bits):
    """Set the nonzero `bits` of 64 pages, of which bit 0 is `page`, any page."""
    shift = page & U63
    _merge_word(words, summary, page >> U6, bits << shift)
    if shift != U0:
        _merge_word(words, summary, (page >> U6) + U1, bits >> (U64 - shift))


@kernel(inline=True)
def _mark_gathered(words, summary, pages, first, count, low, high):
    """Mark pages[low:high], bits that follow each other in one word at a time; how many are not below `count`."""
    outside, at, bits = U0, first >> U6, U0
    for i in range(low, high):
        if pages[i] >= count:
            outside += U1
            continue
        page = first + pages[i]
        if page >> U6 != at:
            _merge_word(words, summary, at, bits)
            at, bits = page >> U6, U0
        bits |= U1 << (page & U63)
    _merge_word(words, summary, at, bits)
    return outside


@kernel(counted=False)
def mark_pages(words, summary, pages, first, count):
    """Set the bits of `first + page` for each of the uint64 `pages` that is below `count`; returns how many are not.

    QEMU set_bit in cpu_physical_memory_set_dirty_flag, KVM mark_page_dirty_in_slot.
    """
    outside, size = U0, np.uint64(pages.size)
    careful = np.uint64(summary.size) > U0
    for low in range(U0, size, GROUP):
        high, highest = min(low + GROUP, size), U0
        for i in range(low, high):
            highest = max(highest, pages[i])
        near = (pages[low] ^ pages[high - U1]) >> U15 == U0  # many bits of one word, perhaps
        if careful or near or highest >= count:
            outside += _mark_gathered(words, summary, pages, first, count, low, high)
        else:
            for i in range(low, high):
                page = first + pages[i]
                words[page >> U6] |= U1 << (page & U63)
    return outside


@kernel(inline=True)
def fill(words, start, stop):
    """Set the bits [start, stop), start < stop."""
    low, high = start >> U6, (stop - U1) >> U6
    head, tail = ONES << (start & U63), end_mask(stop)
    if low == high:
        words[low] |= head & tail
        return
    words[low] |= head
    for i in range(low + U1, high):
        words[i] = ONES
    words[high] |= tail


@kernel(inline=True)
def set_range(words, summary, start, stop):
    """`mark_range` for use in kernels."""
    if start < stop:
        fill(words, start, stop)
        if np.uint64(summary.size) > U0:
            fill(summary, start >> U9, ((stop - U1) >> U9) + U1)


@kernel(counted=False)
def mark_range(words, summary, start, stop):
    """Set the bits [start, stop). QEMU bitmap_set_atomic in cpu_physical_memory_set_dirty_range."""
    set_range(words, summary, start, stop)


@kernel(counted=False)
def mark_ranges(words, summary, ranges):
    """`mark_range` for each row (start, stop) of uint64[n, 2]."""
    for i in range(np.uint64(ranges.shape[0])):
        set_range(words, summary, ranges[i, 0], ranges[i, 1])


@kernel(counted=False)
def count(words):
    """Number of ones. QEMU bitmap_count_one."""
    total = U0
    for i in range(np.uint64(words.size)):
        total += popcount(words[i])
    return total


@kernel(counted=False)
def count_range(words, start, stop):
    """Number of ones in the pages [start, stop)."""
    if start >= stop:
        return U0
    low, high = start >> U6, (stop - U1) >> U6
    head, tail = ONES << (start & U63), end_mask(stop)
    if low == high:
        return popcount(words[low] & head & tail)
    total = popcount(words[low] & head) + popcount(words[high] & tail)
    for i in range(low + U1, high):
        total += popcount(words[i])
    return total


@kernel(counted=False)
def clear_range(words, start, stop):
    """Clear the bits [start, stop) and return how many were set. QEMU bitmap_test_and_clear, bitmap_clear."""
    if start >= stop:
        return U0
    total = U0
    low, high = start >> U6, (stop - U1) >> U6
    for i in range(low, high + U1):
        mask = ONES
        if i == low:
            mask &= ONES << (start & U63)
        if i == high:
            mask &= end_mask(stop)
        total += popcount(words[i] & mask)
        words[i] &= ~mask
    return total


@kernel(inline=True)
def find(words, start, stop, flip):
    """The first page of [start, stop) whose bit differs from those of `flip` (0 or ONES); stop if there is none."""
    if start >= stop:
        return stop
    low, high = start >> U6, (stop - U1) >> U6
    word = (words[low] ^ flip) & (ONES << (start & U63))
    while word == U0:
        low += U1
        if low > high:
            return stop
        word = words[low] ^ flip
    return min((low << U6) + lowest(word), stop)


@kernel(counted=False)
def next_run(words, start, stop):
    """(first, end) of the first run of ones in the pages [start, stop); (stop, stop) if there is none.

    QEMU find_next_bit, as in pss_find_next_dirty, then find_next_zero_bit.
    """
    first = find(words, start, stop, U0)
    return first, find(words, first, stop, ONES)


@kernel(counted=False)
def dirty_runs(words, edges, at):
    """All runs of ones from word `at` on, as ascending page numbers: first, end, first, end, ... into uint64 `edges`.

    Returns (n, next): n edges were written and the words before `next` are done; next < words.size when fewer than 65
    places are left, and a call with at=next goes on, in the middle of a run if n is odd. QEMU asks for one bit at a
    time (find_next_bit in pss_find_next_dirty).
    """
    n, size, space = U0, np.uint64(words.size), np.uint64(edges.size)
    before = words[at - U1] >> U63 if at > U0 else U0
    while at < size:
        if at + U8 <= size:
            flip, other = U0 if before == U0 else ONES, U0
            for i in range(U8):
                other |= words[at + np.uint64(i)] ^ flip
            if other == U0:  # the run, or the gap, goes on throughout
                at += U8
                continue
        high = min(at + U8, size)
        for i in range(at, high):
            word = words[i]
            changes = word ^ (word << U1 | before)
            if changes != U0 and space < n + U65:
                return n, i
            base = i << U6
            while changes != U0:
                edges[n] = base + lowest(changes)
                changes &= changes - U1
                n += U1
            before = word >> U63
        at = high
    if before != U0:
        if space == n:
            return n, size - U1
        edges[n] = size << U6
        n += U1
    return n, size
