"""KVM's dirty rings: the pages a vCPU wrote, as entries that user space fetches and the kernel then takes back.

A ring holds `size` entries of struct kvm_dirty_gfn {flags u32, slot u32, offset u64}, seen as uint64[size, 2],
little-endian: flags | slot << 32, then the page within the slot. One ring a vCPU, with a state of uint64[STATE]:
entries pushed, fetched by user space and reset by the kernel so far, all ever growing, and the soft limit. Bitmaps are
those of `kernels.bitmap`, all numbers np.uint64. A write without a vCPU (QEMU's, a device's) goes into no ring.
Sources: Linux virt/kvm/dirty_ring.c, QEMU accel/kvm/kvm-all.c.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import U0, U1, U6, U63, merge_bits

LOW32, U32, U64 = map(np.uint64, (0xFFFF_FFFF, 32, 64))

# Linux include/uapi/linux/kvm.h and include/linux/kvm_dirty_ring.h.
GFN_DIRTY, GFN_RESET = np.uint64(1), np.uint64(2)  # KVM_DIRTY_GFN_F_*
RESERVED_ENTRIES, PML_ENTRIES = 64, 512
PUSHED, FETCHED, RESET, SOFT_LIMIT, STATE = 0, 1, 2, 3, 4


def new_ring(size: int, *, pml: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(ring, state) of a vCPU's dirty ring; ValueError unless a power of two above what KVM reserves.

    soft limit = size - (64 + 512 with page modification logging). KVM kvm_dirty_ring_alloc,
    kvm_dirty_ring_get_rsvd_entries.
    """
    reserved = RESERVED_ENTRIES + (PML_ENTRIES if pml else 0)
    if size & (size - 1) or size <= reserved:
        raise ValueError(f"a dirty ring has a power of two of entries, more than {reserved}")
    state = np.zeros(STATE, np.uint64)
    state[SOFT_LIMIT] = size - reserved
    return np.zeros((size, 2), np.uint64), state


@kernel(counted=False)
def push_writes(ring, state, logged, first, slot, pages, at):
    """A vCPU writes pages[at:] of a slot; returns the index of the first page that it could not write.

    A page whose bit is set in `logged`, where page 0 of the slot is page `first`, has been pushed since it was last
    protected and is not pushed again. Pages are those of the slot: the caller has checked them. At the soft limit the
    vCPU exits (KVM_EXIT_DIRTY_RING_FULL) before its next write; hardware may add what its log of 512 still holds. KVM
    kvm_dirty_ring_push, kvm_dirty_ring_soft_full.
    """
    mask = np.uint64(ring.shape[0]) - U1
    for i in range(at, np.uint64(pages.size)):
        if state[PUSHED] - state[RESET] >= state[SOFT_LIMIT]:
            return i
        page = first + pages[i]
        bit = U1 << (page & U63)
        if logged[page >> U6] & bit == U0:
            logged[page >> U6] |= bit
            entry = state[PUSHED] & mask
            ring[entry, 1] = pages[i]
            ring[entry, 0] = GFN_DIRTY | slot << U32
            state[PUSHED] += U1
    return np.uint64(pages.size)


@kernel(counted=False)
def reap(ring, state, words, summary, slots, limit):
    """Fetch at most `limit` entries into `words`; returns (fetched, ignored).

    slots: uint64[n, 2] of (first page in `words`, pages) for each slot number. Entries of an unknown slot or a page
    beyond it are fetched and ignored. QEMU kvm_dirty_ring_reap_one, kvm_dirty_ring_mark_page.
    """
    mask, done, ignored = np.uint64(ring.shape[0]) - U1, U0, U0
    while done < limit:
        entry = state[FETCHED] & mask
        if ring[entry, 0] & LOW32 != GFN_DIRTY:
            break
        slot, page = ring[entry, 0] >> U32, ring[entry, 1]
        if slot < np.uint64(slots.shape[0]) and page < slots[slot, 1]:
            merge_bits(words, summary, slots[slot, 0] + page, U1)
        else:
            ignored += U1
        ring[entry, 0] = GFN_RESET | slot << U32
        state[FETCHED] += U1
        done += U1
    return done, ignored


@kernel(counted=False)
def reset_ring(ring, state, logged, slot_first):
    """KVM_RESET_DIRTY_RINGS: protect the fetched pages again; returns (entries, calls).

    Neighbouring entries of one slot that lie within 64 consecutive pages are protected by one call with a mask,
    forwards from its first page, and backwards as far as the mask can be moved. `logged` holds all slots, slot s from
    page slot_first[s] on. KVM kvm_dirty_ring_reset, kvm_reset_dirty_gfn.
    """
    size = np.uint64(ring.shape[0])
    entries, calls, slot, base, bits = U0, U0, U0, U0, U0
    while entries < size:
        entry = state[RESET] & (size - U1)
        if ring[entry, 0] & GFN_RESET == U0:
            break
        next_slot, page = ring[entry, 0] >> U32, ring[entry, 1]
        ring[entry, 0] = next_slot << U32
        state[RESET] += U1
        entries += U1
        if bits != U0 and next_slot == slot:
            if page >= base and page - base < U64:
                bits |= U1 << (page - base)
                continue
            if page < base and base - page < U64 and bits >> (U64 - (base - page)) == U0:
                bits = bits << (base - page) | U1
                base = page
                continue
        if bits != U0:
            _forget(logged, slot_first[slot] + base, bits)
        calls += U1
        slot, base, bits = next_slot, page, U1
    if bits != U0:
        _forget(logged, slot_first[slot] + base, bits)
    return entries, calls


@kernel(inline=True)
def _forget(logged, page, bits):
    """Clear the `bits` of 64 pages, of which bit 0 is `page`, any page."""
    at, shift = page >> U6, page & U63
    logged[at] &= ~(bits << shift)
    if shift != U0 and bits >> (U64 - shift) != U0:
        logged[at + U1] &= ~(bits >> (U64 - shift))
