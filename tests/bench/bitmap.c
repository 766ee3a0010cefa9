/* Own C to measure the bitmap kernels against: the way QEMU goes about it, and the same algorithms as the kernels. */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;

/* QEMU's way: each word that is not zero is exchanged atomically. */
u64 sync_exchange(u64 *source, u64 *bmap, size_t n)
{
    u64 total = 0;
    for (size_t i = 0; i < n; i++) {
        if (__atomic_load_n(&source[i], __ATOMIC_RELAXED)) {
            u64 bits = __atomic_exchange_n(&source[i], 0, __ATOMIC_SEQ_CST);
            u64 fresh = ~bmap[i];
            bmap[i] |= bits;
            total += __builtin_popcountll(bits & fresh);
        }
    }
    return total;
}

u64 sync_plain(u64 *restrict source, u64 *restrict bmap, size_t n)
{
    u64 total = 0;
    for (size_t i = 0; i < n; i++) {
        u64 bits = source[i], had = bmap[i];
        total += __builtin_popcountll(bits & ~had);
        bmap[i] = had | bits;
        source[i] = 0;
    }
    return total;
}

u64 sync_summed(u64 *restrict source, u64 *restrict summary, u64 *restrict bmap, size_t groups)
{
    u64 total = 0;
    for (size_t g = 0; g < groups;) {
        size_t low = g * 512;
        u64 lines = summary[g];
        summary[g++] = 0;
        if (__builtin_popcountll(lines) >= 44) {
            while (g < groups && __builtin_popcountll(summary[g]) >= 44)
                summary[g++] = 0;
            total += sync_plain(source + low, bmap + low, g * 512 - low);
            continue;
        }
        for (; lines; lines &= lines - 1) {
            size_t at = low + __builtin_ctzll(lines) * 8;
            total += sync_plain(source + at, bmap + at, 8);
        }
    }
    return total;
}

void mark_plain(u64 *words, const u64 *pages, size_t n)
{
    for (size_t i = 0; i < n; i++)
        words[pages[i] >> 6] |= 1ull << (pages[i] & 63);
}

void mark_atomic(u64 *words, const u64 *pages, size_t n)
{
    for (size_t i = 0; i < n; i++)
        __atomic_fetch_or(&words[pages[i] >> 6], 1ull << (pages[i] & 63), __ATOMIC_SEQ_CST);
}

void mark_ranges(u64 *words, const u64 *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        u64 start = ranges[2 * i], stop = ranges[2 * i + 1];
        if (start >= stop)
            continue;
        size_t low = start >> 6, high = (stop - 1) >> 6;
        u64 head = ~0ull << (start & 63), tail = ~0ull >> (63 - ((stop - 1) & 63));
        if (low == high) {
            words[low] |= head & tail;
            continue;
        }
        words[low] |= head;
        for (size_t k = low + 1; k < high; k++)
            words[k] = ~0ull;
        words[high] |= tail;
    }
}

u64 count(const u64 *words, size_t n)
{
    u64 total = 0;
    for (size_t i = 0; i < n; i++)
        total += __builtin_popcountll(words[i]);
    return total;
}

/* QEMU's way: look for the next one, then for the next zero, a word at a time. */
static u64 find(const u64 *words, u64 start, u64 stop, u64 flip)
{
    if (start >= stop)
        return stop;
    size_t low = start >> 6, high = (stop - 1) >> 6;
    u64 word = (words[low] ^ flip) & (~0ull << (start & 63));
    while (!word) {
        if (++low > high)
            return stop;
        word = words[low] ^ flip;
    }
    u64 at = low * 64 + __builtin_ctzll(word);
    return at < stop ? at : stop;
}

size_t runs_find(const u64 *words, size_t n, u64 *edges)
{
    u64 at = 0, stop = n * 64;
    size_t found = 0;
    while ((at = find(words, at, stop, 0)) < stop) {
        edges[found++] = at;
        at = find(words, at, stop, ~0ull);
        edges[found++] = at;
    }
    return found;
}

size_t runs_edges(const u64 *words, size_t n, u64 *edges)
{
    u64 before = 0;
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        u64 word = words[i], changes = word ^ (word << 1 | before);
        for (; changes; changes &= changes - 1)
            edges[found++] = i * 64 + __builtin_ctzll(changes);
        before = word >> 63;
    }
    if (before)
        edges[found++] = n * 64;
    return found;
}

/* What memory gives to a loop that reads and writes in place. */
void update(u64 *restrict words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        words[i] = ~words[i];
}
