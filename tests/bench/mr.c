/* Own C to measure the memory region kernels against: the same algorithms, and the plain way over IOTLB entries. */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;

enum { IOVA, SIZE, LOG_SIZE, NSG, FIRST, LAST, SKIP, COLUMNS };
enum { GROUP = 64 };

static u64 gcd(u64 a, u64 b)
{
    while (b) {
        u64 rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

typedef struct {
    u64 common, i, skip, need;
} state;

static inline state walk(const u32 *counts, state s, u64 stop)
{
    size_t group = GROUP;
    while (s.need && s.i < stop) {
        if (group > 1 && !s.skip && s.common && !(s.common & (s.common - 1))) {
            if (s.i + group <= stop) {
                u64 total = 0, bits = 0;
                for (size_t j = s.i; j < s.i + group; j++) {
                    total += counts[j];
                    bits |= counts[j];
                }
                if (total <= s.need && !(bits & (s.common - 1))) {
                    s.need -= total;
                    s.i += group;
                    continue;
                }
            }
            group >>= 2;
            continue;
        }
        u64 pages = counts[s.i] - s.skip, taken = pages < s.need ? pages : s.need;
        if (taken != s.common) {
            u64 common = gcd(s.common, taken);
            group = common == s.common ? group : GROUP;
            s.common = common;
        }
        s.need -= taken;
        s.skip = taken == pages ? 0 : s.skip + taken;
        s.i += taken == pages;
    }
    return s;
}

static size_t filled(const u64 *starts, size_t at, size_t sections)
{
    while (at < sections && starts[at] == starts[at + 1])
        at++;
    return at;
}

/* The same algorithm as the kernel `plan`. */
u64 plan(const u64 *iova, const u64 *perm, const u64 *starts, const u32 *counts, size_t sections, size_t window,
         u64 *windows, u64 *totals)
{
    u64 direct = 0, klms = 0, mtts = 0, blocks = 0;
    size_t at = filled(starts, 0, sections);
    u64 low = at < sections ? iova[at] : 0;
    while (at < sections) {
        if (low != iova[at])
            klms += (((iova[at] - low) >> 12) + window - 1) / window;
        u64 access = perm[at];
        state s = {0, starts[at], 0, 0};
        int joined = 1;
        low = iova[at];
        while (joined) {
            u64 *row = windows + direct * COLUMNS;
            row[IOVA] = low;
            row[FIRST] = s.i;
            row[SKIP] = s.skip;
            s.common = 0;
            s.need = window;
            while (joined && s.need) {
                s = walk(counts, s, starts[at + 1]);
                if (s.i == starts[at + 1]) {
                    at = filled(starts, at + 1, sections);
                    u64 end = low + ((window - s.need) << 12);
                    joined = at < sections && iova[at] == end && perm[at] == access;
                }
            }
            u64 log_size = 63 - __builtin_clzll(s.common);
            u64 nsg = (window - s.need + (1ull << log_size) - 1) >> log_size;
            row[SIZE] = (window - s.need) << 12;
            row[LOG_SIZE] = log_size + 12;
            row[NSG] = nsg;
            row[LAST] = s.skip ? s.i : s.i - 1;
            low += row[SIZE];
            direct++;
            mtts += nsg;
            blocks += (nsg + 63) / 64;
        }
    }
    totals[0] = starts[sections];
    totals[1] = direct;
    totals[2] = klms + direct;
    totals[3] = mtts;
    totals[4] = blocks;
    return direct;
}

/* The driver's way, without its tree: entries in bytes, a gcd for each, chain by chain and window by window. */
u64 plan_entries(const u64 *iova, const u64 *size, const u64 *perm, size_t n, u64 *totals)
{
    const u64 most = 1ull << 30;
    u64 direct = 0, klms = 0, mtts = 0, blocks = 0, before = 0;
    for (size_t first = 0, last; first < n; first = last) {
        u64 start = iova[first], end = start;
        for (last = first; last < n && iova[last] == end && perm[last] == perm[first]; last++)
            end += size[last];
        if (direct)
            klms += (start - before + most - 1) / most;
        size_t i = first;
        for (u64 low = start; low < end; low += most) {
            u64 high = end - low < most ? end : low + most, common = 0;
            while (i < last && iova[i] < high) {
                u64 left = iova[i] > low ? iova[i] : low;
                u64 right = iova[i] + size[i] < high ? iova[i] + size[i] : high;
                common = gcd(common, right - left);
                if (iova[i] + size[i] > high)
                    break;
                i++;
            }
            u64 log_size = 63 - __builtin_clzll(common);
            u64 nsg = (high - low + (1ull << log_size) - 1) >> log_size;
            direct++;
            mtts += nsg;
            blocks += (nsg + 63) / 64;
        }
        before = end;
    }
    totals[0] = n;
    totals[1] = direct;
    totals[2] = klms + direct;
    totals[3] = mtts;
    totals[4] = blocks;
    return direct;
}

u64 fill_mtts(const u32 *counts, const u64 *physical, const u64 *windows, size_t rows, u64 *mtts)
{
    u64 at = 0;
    for (size_t w = 0; w < rows; w++) {
        const u64 *row = windows + w * COLUMNS;
        u64 log_size = row[LOG_SIZE], left = row[NSG], skip = row[SKIP] << 12, step = 1ull << log_size;
        u64 rest = row[SIZE];
        for (u64 i = row[FIRST]; i <= row[LAST]; i++) {
            u64 length = ((u64)counts[i] << 12) - skip;
            if (length > rest)
                length = rest;
            u64 pieces = (length + step - 1) >> log_size, address = physical[i] + skip;
            if (pieces > left)
                pieces = left;
            for (u64 piece = 0; piece < pieces; piece++, address += step)
                mtts[at++] = address;
            left -= pieces;
            rest -= length;
            skip = 0;
        }
        if (row[NSG] & 1)
            mtts[at++] = 0;
    }
    return at;
}
