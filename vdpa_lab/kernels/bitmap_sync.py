"""How dirty bits travel to migration's bitmap: KVM's slot bitmaps, vhost's log, buffers that a shadow queue forwards.

Bitmaps are those of `kernels.bitmap`; all numbers are np.uint64. The way of a vCPU's write: the kernel's slot bitmap,
`get_dirty_log`, QEMU's slot bitmap, `merge`, ram_list's migration bitmap, `sync`, the block's bmap, and a page number
on the wire; `clear_dirty_log` protects pages anew. Sources: Linux virt/kvm, QEMU accel/kvm/kvm-all.c,
system/physmem.c, migration/ram.c, hw/virtio/vhost.c and virtio.c.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import (
    ONES,
    U0,
    U1,
    U3,
    U6,
    U8,
    U9,
    U63,
    end_mask,
    lowest,
    merge_bits,
    popcount,
    set_range,
)

U12 = np.uint64(12)
MANY = np.uint64(44)  # from so many dirty lines of 64, going through all of them is faster than picking them
LAST_BYTE = np.uint64(4095)

# QEMU migration/ram.c: the clear bitmap's bit stands for 2^shift pages.
CLEAR_SHIFT, CLEAR_SHIFT_MIN, CLEAR_SHIFT_MAX = 18, 6, 31
# What a page costs on the wire: header of 8 bytes (offset and flags), then one byte or the page.
HEADER_BYTES, PAGE_BYTES, ZERO_BYTES = 8, 4096, 1


def clamp_clear_shift(shift: int) -> int:
    """QEMU clamps the property x-clear-bitmap-shift (CLEAR_BITMAP_SHIFT_MIN, _MAX)."""
    return max(CLEAR_SHIFT_MIN, min(shift, CLEAR_SHIFT_MAX))


def wire_bytes(normal: int, zero: int, block_names: int = 0) -> int:
    """Bytes of `normal` and `zero` pages; block_names: 1 + length of a block's name for each change of block.

    QEMU save_page_header, save_normal_page, save_zero_page: 8 + 4096 and 8 + 1.
    """
    return normal * (HEADER_BYTES + PAGE_BYTES) + zero * (HEADER_BYTES + ZERO_BYTES) + block_names


@kernel(counted=False)
def get_dirty_log(kernel_bits, slot_bits, manual):
    """KVM_GET_DIRTY_LOG: copy the kernel's bitmap to user space, whole.

    With manual protection (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) the kernel keeps its bits until KVM_CLEAR_DIRTY_LOG;
    without, it exchanges each word with 0 (kvm_get_dirty_log_protect).
    """
    for i in range(np.uint64(kernel_bits.size)):
        slot_bits[i] = kernel_bits[i]
    if not manual:
        for i in range(np.uint64(kernel_bits.size)):
            kernel_bits[i] = U0


@kernel(counted=False)
def merge(slot_bits, words, summary, first):
    """Set in `words` the bits of a slot whose page 0 is page `first`; the words that are zero are skipped.

    QEMU cpu_physical_memory_set_dirty_lebitmap, from kvm_slot_sync_dirty_pages.
    """
    if first & U63 == U0:
        low = first >> U6
        for line in range(U0, np.uint64(slot_bits.size), U8):
            stop = min(line + U8, np.uint64(slot_bits.size))
            some = U0
            for i in range(line, stop):
                some |= slot_bits[i]
            if some != U0:
                for i in range(line, stop):
                    if slot_bits[i] != U0:
                        merge_bits(words, summary, (low + i) << U6, slot_bits[i])
        return
    for i in range(np.uint64(slot_bits.size)):
        if slot_bits[i] != U0:
            merge_bits(words, summary, first + (i << U6), slot_bits[i])


@kernel(inline=True)
def _collect(source, bmap, low, high):
    """Move the bits of words [low, high) of `source` into `bmap`; number of those that were not there."""
    new = U0
    for i in range(low, high):
        bits, had = source[i], bmap[i]
        new += popcount(bits & ~had)
        bmap[i] = had | bits
        source[i] = U0
    return new


@kernel(counted=False)
def sync(source, bmap):
    """Move all dirty bits of `source` into `bmap`, two bitmaps of one length; returns the pages newly dirty.

    A page still dirty in `bmap`, not sent yet, is not counted again. QEMU
    cpu_physical_memory_sync_dirty_bitmap: exchange a nonzero word with 0, count bits & ~bmap.
    """
    return _collect(source, bmap, U0, min(np.uint64(source.size), np.uint64(bmap.size)))


@kernel(counted=False)
def sync_summed(source, summary, bmap):
    """`sync` that goes through the lines which `summary` names, and empties it; ValueError for unlike lengths."""
    if source.size != bmap.size or source.size != summary.size * 512:
        raise ValueError("a bitmap of 512 words for each word of its summary")
    new, after, groups = U0, U0, np.uint64(summary.size)
    while after < groups:
        lines, low = summary[after], after << U9
        summary[after] = U0
        after += U1
        if popcount(lines) >= MANY:
            while after < groups and popcount(summary[after]) >= MANY:
                summary[after] = U0
                after += U1
            new += _collect(source, bmap, low, after << U9)
            continue
        while lines != U0:
            start = low + (lowest(lines) << U3)
            lines &= lines - U1
            new += _collect(source, bmap, start, start + U8)
    return new


@kernel(counted=False)
def clear_dirty_log(kernel_bits, slot_bits, start, stop):
    """KVM_CLEAR_DIRTY_LOG of pages [start, stop): clear what the last sync reported; returns the pages protected anew.

    Bits set since that sync stay for the next one. Protecting (or clearing the D bit of) a page is what a clear costs.
    QEMU kvm_log_clear_one_slot, KVM kvm_clear_dirty_log_protect.
    """
    if start >= stop:
        return U0
    low, high, total = start >> U6, (stop - U1) >> U6, U0
    for i in range(low, high + U1):
        mask = slot_bits[i]
        if i == low:
            mask &= ONES << (start & U63)
        if i == high:
            mask &= end_mask(stop)
        total += popcount(kernel_bits[i] & mask)
        kernel_bits[i] &= ~mask
        slot_bits[i] &= ~mask
    return total


@kernel(counted=False)
def scan_vhost_log(log, start, stop, words, summary, first):
    """Move the logged pages [start, stop) of guest memory into `words`, where page `start` is page `first`.

    `log` has one bit a 4 KiB page of guest physical address (VHOST_LOG_PAGE), 64 pages a chunk; a nonzero word is
    exchanged with 0, but for pages of a neighbouring section. Returns the pages moved. QEMU vhost_dev_sync_region.
    """
    if start >= stop:
        return U0
    low, high, total = start >> U6, (stop - U1) >> U6, U0
    for i in range(low, high + U1):
        bits = log[i]
        if bits == U0:
            continue
        if i == high:
            bits &= end_mask(stop)
        if i == low:
            bits &= ONES << (start & U63)
        log[i] ^= bits
        total += popcount(bits)
        if i == low:
            merge_bits(words, summary, first, bits >> (start & U63))
        else:
            merge_bits(words, summary, first + (i << U6) - start, bits)
    return total


@kernel(counted=False)
def mark_written(words, summary, segments, starts, lengths):
    """Mark what a device wrote: the first lengths[k] bytes of the segments starts[k] to starts[k + 1] - 1.

    segments: uint64[n, 2] of (byte address, bytes) of device-writable buffers; starts: uint64[k + 1]; lengths: the
    uint64 `len` of each used element. Only the pages of bytes that were written; length 0 (a rewound or a transmit
    buffer) marks none, bytes beyond the segments are ignored. Returns pages marked, each segment for itself. QEMU
    virtqueue_fill, virtqueue_unmap_sg, address_space_unmap with access_len.
    """
    total = U0
    for k in range(np.uint64(lengths.size)):
        left = lengths[k]
        for i in range(starts[k], starts[k + U1]):
            size = min(left, segments[i, 1])
            if size == U0:
                continue
            left -= size
            start = segments[i, 0] >> U12
            stop = (segments[i, 0] + size + LAST_BYTE) >> U12
            set_range(words, summary, start, stop)
            total += stop - start
    return total
