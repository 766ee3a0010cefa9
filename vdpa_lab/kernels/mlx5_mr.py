"""The memory region that mlx5_vdpa builds from an IOTLB, entry by entry: direct MKEYs, KLMs, MTTs, mailbox blocks.

The compact form of an IOTLB: sections in IOVA order, each `iova` (bytes) and `perm` (both uint64[s]) and physically
contiguous chunks, an IOTLB entry each: section k has `counts[starts[k]:starts[k + 1]]` 4 KiB pages (uint32[n],
starts uint64[s + 1] from 0 to n). Sections that touch with one permission are one chain; their entries stay apart.

Source: Linux drivers/vdpa/mlx5/core/mr.c (create_user_mr, add_direct_chain, map_direct_mr, fill_indir), core/cmd.c.
Addresses play no part in the size of an MTT. The first MTT of an entry that begins before its window is taken where
the window begins, as since "vdpa/mlx5: Fix PA offset with unaligned starting iotlb map" (Linux 6.12).
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel

U0, U1, U2, U12, U64 = map(np.uint64, (0, 1, 2, 12, 64))
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
PAGE_MASK = np.uint64(0xFFF)
MOST_PAGES = np.uint64(0xFFFF_FFFF)  # of one entry, 16 TiB
GROUP = np.uint64(64)  # entries looked at together, or a fourth of them, or of those
WINDOW_PAGES = np.uint64(1 << 18)  # LOG_MAX_KLM_SIZE 30: the largest range of one direct MKEY, and of a null key
MTTS_A_BLOCK = U64  # MLX5_CMD_DATA_BLOCK_SIZE 512 over 8 bytes
KLM_BYTES, KLM_ALIGN = 16, 4

IOVA, SIZE, LOG_SIZE, NSG, FIRST, LAST, SKIP = range(7)  # columns of a table of windows
TOTALS = ("entries", "direct", "klms", "mtts", "blocks")

UNEVEN, UNORDERED, TOO_LONG = ONES, ONES - U1, ONES - U1 - U1  # returned by `compact` in place of a count
_REFUSED = {
    int(UNEVEN): "a size or an address is not a whole number of pages, or a size is zero",
    int(UNORDERED): "an entry begins before the one in front of it ends",
    int(TOO_LONG): "an entry is 16 TiB or longer",
}
NO_ROOM = ONES  # returned by `fill_mtts`


@kernel(inline=True)
def _gcd(a, b):
    while b != U0:
        a, b = b, a % b
    return a


@kernel(inline=True)
def _log2(value):
    found = U0
    while value > U1:
        value >>= U1
        found += U1
    return found


@kernel(counted=False)
def compact(iova, size, perm, counts, starts):
    """IOTLB entries (uint64[n] `iova` and `size` in bytes, uint8 or uint64[n] `perm`, in IOVA order) as sections.

    Writes uint32[n] `counts` and uint64[n + 1] `starts`, and returns how many sections there are; or UNEVEN (an entry
    is not whole pages, or empty), UNORDERED (or overlapping) or TOO_LONG (for uint32 pages).
    """
    found, end = U0, U0
    for i in range(np.uint64(iova.size)):
        if (iova[i] | size[i]) & PAGE_MASK != U0 or size[i] == U0:
            return UNEVEN
        if iova[i] < end:
            return UNORDERED
        if size[i] >> U12 > MOST_PAGES:
            return TOO_LONG
        if i == U0 or iova[i] != end or perm[i] != perm[i - U1]:
            starts[found] = i
            found += U1
        counts[i] = size[i] >> U12
        end = iova[i] + size[i]
    starts[found] = np.uint64(iova.size)
    return found


@kernel(inline=True)
def _walk(counts, i, skip, stop, need, common):
    """(gcd in pages, entry, pages into it, pages still needed) behind the next `need` pages before entry `stop`.

    Most windows have equal pages, or soon a gcd of 1, so groups of entries that cannot change the gcd only need a sum.
    """
    group = GROUP
    while need > U0 and i < stop:
        if group > U1 and skip == U0 and common != U0 and common & (common - U1) == U0:
            if i + group <= stop:
                total, bits = U0, U0
                for j in range(i, i + group):
                    pages = np.uint64(counts[j])
                    total += pages
                    bits |= pages
                if total <= need and bits & (common - U1) == U0:
                    need -= total
                    i += group
                    continue
            group >>= U2
            continue
        pages = np.uint64(counts[i]) - skip
        taken = min(pages, need)
        if taken != common:
            before, common = common, _gcd(common, taken)
            group = group if common == before else GROUP
        need -= taken
        if taken == pages:
            i += U1
            skip = U0
        else:
            skip += taken
    return common, i, skip, need


@kernel(inline=True)
def _filled(starts, at):
    """The first section from `at` on that has an entry."""
    while at + U1 < np.uint64(starts.size) and starts[at] == starts[at + U1]:
        at += U1
    return at


@kernel(counted=False)
def plan(iova, perm, starts, counts, window, windows, totals):
    """Sizes of the memory region of sections; `window` is WINDOW_PAGES but in tests.

    Writes a row of uint64[w, 7] `windows` for each direct MKEY: IOVA and size in bytes, log2 of the entity's bytes,
    number of MTTs, first and last entry (indices into `counts`), pages of the first entry that lie before the window.
    Writes uint64[5] `totals`: entries, direct MKEYs, KLMs with the null keys of gaps, MTTs, 512-byte mailbox blocks of
    the MTT lists (whose padding to 16 bytes never takes another). Returns the number of rows.
    """
    direct, klms, mtts, blocks = U0, U0, U0, U0
    sections, at = np.uint64(iova.size), _filled(starts, U0)
    low = iova[at] if at < sections else U0
    while at < sections:
        if low != iova[at]:
            klms += (((iova[at] - low) >> U12) + window - U1) // window
        low, access, i, skip, joined = iova[at], perm[at], starts[at], U0, True
        while joined:  # a window of the chain
            first, offset, common, need = i, skip, U0, window
            while joined and need > U0:
                common, i, skip, need = _walk(counts, i, skip, starts[at + U1], need, common)
                if i == starts[at + U1]:
                    at = _filled(starts, at + U1)
                    end = low + ((window - need) << U12)
                    joined = at < sections and iova[at] == end and perm[at] == access
            log_size = _log2(common)
            nsg = (window - need + (U1 << log_size) - U1) >> log_size
            windows[direct, IOVA] = low
            windows[direct, SIZE] = (window - need) << U12
            windows[direct, LOG_SIZE] = log_size + U12
            windows[direct, NSG] = nsg
            windows[direct, FIRST] = first
            windows[direct, LAST] = i if skip > U0 else i - U1
            windows[direct, SKIP] = offset
            low += (window - need) << U12
            direct += U1
            mtts += nsg
            blocks += (nsg + MTTS_A_BLOCK - U1) // MTTS_A_BLOCK
    totals[0] = np.uint64(counts.size)
    totals[1] = direct
    totals[2] = klms + direct
    totals[3] = mtts
    totals[4] = blocks
    return direct


@kernel(counted=False)
def fill_mtts(counts, physical, windows, mtts):
    """Write the MTT list of each of `windows` behind one another into uint64 `mtts`; returns the places used.

    `physical`: the address in bytes of each entry (uint64[n]), as the device sees it. An MTT is the address of an
    entity, here in the order of the host (populate_mtts stores it big-endian); a list of odd length is padded with a
    zero. Returns NO_ROOM, with nothing written, if `mtts` is too short.
    """
    need = U0
    for w in range(np.uint64(windows.shape[0])):
        need += windows[w, NSG] + (windows[w, NSG] & U1)
    if need > np.uint64(mtts.size):
        return NO_ROOM
    at = U0
    for w in range(np.uint64(windows.shape[0])):
        log_size, left, skip = windows[w, LOG_SIZE], windows[w, NSG], windows[w, SKIP] << U12
        step, rest = U1 << log_size, windows[w, SIZE]
        for i in range(windows[w, FIRST], windows[w, LAST] + U1):
            length = min((np.uint64(counts[i]) << U12) - skip, rest)
            pieces = min((length + step - U1) >> log_size, left)
            address = physical[i] + skip
            for _ in range(pieces):
                mtts[at] = address
                address += step
                at += U1
            left -= pieces
            rest -= length
            skip = U0
        if windows[w, NSG] & U1:
            mtts[at] = U0
            at += U1
    return at


def most_windows(sections: int, pages: int, window: int = int(WINDOW_PAGES)) -> int:
    """Rows that `plan` can write for so many sections of so many pages in all."""
    return sections + pages // window


def region(
    iova: np.ndarray, perm: np.ndarray, starts: np.ndarray, counts: np.ndarray, window: int = int(WINDOW_PAGES)
) -> tuple[np.ndarray, np.ndarray]:
    """(totals uint64[5] in the order of TOTALS, windows uint64[w, 7]) of sections in compact form; see `plan`."""
    room = most_windows(iova.size, int(counts.sum(dtype=np.uint64)), window)
    windows, totals = np.empty((room, 7), np.uint64), np.empty(5, np.uint64)
    counts = counts.view()
    counts.flags.writeable = False  # whoever calls: numba compiles once more for an array that may be written
    return totals, windows[: int(plan(iova, perm, starts, counts, np.uint64(window), windows, totals))]


def sections_of(
    iova: np.ndarray, size: np.ndarray, perm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(iova, perm, starts, counts) of IOTLB entries, for `region`; see `compact`. ValueError says what is wrong."""
    counts, starts = np.empty(iova.size, np.uint32), np.empty(iova.size + 1, np.uint64)
    found = int(compact(iova, size, perm, counts, starts))
    if found > iova.size:
        raise ValueError(f"these are no IOTLB entries in IOVA order: {_REFUSED[found]}")
    starts = starts[: found + 1].copy()
    return iova[starts[:-1]], perm[starts[:-1]].astype(np.uint64), starts, counts


def mtt_places(windows: np.ndarray) -> int:
    """uint64 places that `fill_mtts` needs."""
    return int((windows[:, NSG] + (windows[:, NSG] & U1)).sum())


def indirect_bytes(klms: int) -> int:
    """KLM list of the indirect MKEY in bytes. Source: mr.c, klm_byte_size."""
    return KLM_BYTES * (-(-klms // KLM_ALIGN) * KLM_ALIGN)
