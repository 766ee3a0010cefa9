"""What one memory message of vhost-vdpa does with pages: pinned, merged into chunks, mapped by an IOMMU, unpinned.

Sources: Linux drivers/vhost/vdpa.c (vhost_vdpa_pa_map, vhost_vdpa_pa_unmap), drivers/iommu/iommu.c (iommu_pgsize).
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel

U0, U1, U2, U12 = map(np.uint64, (0, 1, 2, 12))
PAGES_A_CALL = 512  # of one pin_user_pages: a page of struct page pointers
SINGLE = np.zeros(0, np.uint64)  # in place of `pages`: every stretch is one page
NEVER = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # no page number: one more than it is not a page either
SHIFTS = np.array([30, 21, 12], np.uint64)  # page-table leaves of 1 GiB, 2 MiB, 4 KiB


@kernel(counted=False)
def chunk(pfns, pages, count, iova, perm, out):
    """Merge the first `count` pages behind a virtual range into physically contiguous chunks, one IOTLB entry each.

    pfns, pages: uint64[n] stretches in virtual order, each of `pages` pages from `pfn` on; `pages` may be SINGLE. out:
    uint64[m, 4] of (start, last, addr, perm), the first of them at `iova`; m of n is always enough. Returns how many.
    A chunk goes on through the calls that pin 512 pages each, as the scan of vhost_vdpa_pa_map has it.
    """
    made, done, following = U0, U0, NEVER
    single = np.uint64(pages.size) == U0
    for i in range(np.uint64(pfns.size)):
        taken = min(U1 if single else pages[i], count - done)
        if taken == U0:
            continue
        pfn, start = pfns[i], iova + (done << U12)
        if pfn != following:
            out[made, 0], out[made, 2], out[made, 3] = start, pfn << U12, perm
            made += U1
        out[made - U1, 1] = start + ((taken << U12) - U1)
        following = pfn + taken
        done += taken
    return made


@kernel(counted=False)
def count_pages(entries, count):
    """(4 KiB pages, those of them that a device may write) of the first `count` rows (start, last, addr, perm).

    vhost_vdpa_pa_unmap unpins each of the former alone, also inside a huge page, and marks each of the latter dirty.
    """
    pages, writable = U0, U0
    for i in range(count):
        size = (entries[i, 1] - entries[i, 0] >> U12) + U1
        pages += size
        writable += size * (entries[i, 3] >> U1 & U1)
    return pages, writable


@kernel(counted=False)
def count_leaves(entries, count, leaves):
    """Add to uint64[3] `leaves` the 1 GiB, 2 MiB and 4 KiB page-table leaves that map the first `count` rows.

    Each step takes the largest size that fits what is left and to which both addresses are aligned (iommu_pgsize).
    """
    for i in range(count):
        iova, physical = entries[i, 0] >> U12, entries[i, 2] >> U12
        left, large = (entries[i, 1] >> U12) - iova + U1, U0
        while large < U2:
            bits = SHIFTS[large] - U12
            size, apart = U1 << bits, (iova ^ physical) & ((U1 << bits) - U1)
            head = (size - (iova & (size - U1))) & (size - U1)
            if apart == U0 and left >= head + size:
                break
            large += U1
        # Around the run of the largest leaves stand smaller ones, in front and behind.
        for step in range(large, np.uint64(3)):
            size = U1 << (SHIFTS[step] - U12)
            if step == large:
                head = (size - (iova & (size - U1))) & (size - U1)
                run = (left - head) >> (SHIFTS[step] - U12)
                leaves[step] += run
                tail = left - head - (run << (SHIFTS[step] - U12))
            else:
                bits = SHIFTS[step] - U12
                leaves[step] += (head >> bits) + (tail >> bits)
                head &= size - U1
                tail &= size - U1
