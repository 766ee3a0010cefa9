/* Own C for vdpa_lab/bench/svq.py. A lap: the guest adds `batch` buffers, the shadow virtqueue forwards them, the
 * device uses them, they come back and the guest gets them. "twin" is the kernels' algorithm again; "peer" goes the
 * way of QEMU: an element on the heap for each buffer, a walk over the maps for each descriptor, a publication, a
 * barrier and a kick check for each buffer; what would be system calls only counts. */
#include <stdint.h>
#include <stdlib.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

enum { SIZE, MASK, FEATURES, ORIGIN, BYTES, TABLE, DRIVER, DEVICE, ROOM, FREE, OLDEST, NEXT_AVAIL, AVAIL_TOLD,
       NEXT_USED, USED_TOLD };
enum { PARKED, KICKS, CALLS, FORWARDED, RETURNED, DESCRIPTORS, BATCHED, USED_RAM };
#define LOW16 0xFFFFull
#define LOW32 0xFFFFFFFFull
#define NODE (1ull << 63)
#define GUEST (1ull << 40)
#define RELEASE() __atomic_thread_fence(__ATOMIC_RELEASE)
#define ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define HELPER static inline __attribute__((always_inline))

HELPER void FULL(void) /* as the kernels have it: orders what mfence orders, and is faster */
{
    u64 word;
    __atomic_exchange_n(&word, 0, __ATOMIC_SEQ_CST);
    __asm__ volatile("" : : "r"(&word) : "memory");
}

HELPER u64 least(u64 a, u64 b) { return a < b ? a : b; }

/* ---- both sides of a split ring, as the kernels have them ---- */

HELPER int64_t add(u64 *m64, u16 *m16, u64 *q, u64 *book, u64 *addr, u64 *length, u64 *outs, u64 *ins, u64 *heads,
                   u64 count, u64 left)
{
    u64 mask = q[MASK], table = q[TABLE], ring = q[DRIVER] + 2, free = q[FREE], room = q[ROOM], index = q[NEXT_AVAIL];
    u64 first = 0, done = 0;
    int64_t error = 0;
    while (done < count) {
        u64 n_out = outs[done], n_in = ins[done];
        if (n_out > room || n_in > room - n_out) { error = -19; break; }
        u64 total = n_out + n_in;
        if (total == 0 || total > left) { error = -18; break; }
        u64 head = free, at = free, tail = free, everything = 0, wrong = 0;
        for (u64 step = 0; step < total;) {
            u64 here = length[first + step], following = book[at] & LOW16, flags = step >= n_out ? 2 : 0;
            if (++step < total) flags |= 1;
            wrong |= here == 0 || here > LOW32;
            everything += here;
            m64[table + 2 * at] = addr[first + step - 1];
            m64[table + 2 * at + 1] = (here & LOW32) | flags << 32 | following << 48;
            tail = at, at = following;
        }
        if (wrong || everything > 1ull << 32) { error = -7; break; }
        book[head] = (book[head] & LOW16) | tail << 16 | total << 32;
        m16[ring + (index & mask)] = head;
        heads[done] = head;
        index++, free = at, room -= total, first += total, left -= total, done++;
    }
    q[FREE] = free, q[ROOM] = room, q[NEXT_AVAIL] = index & LOW16;
    return done ? (int64_t)done : error;
}

HELPER int64_t push(u32 *m32, u16 *m16, u64 *q, u64 *heads, u64 *written, u64 count)
{
    u64 size = q[SIZE], mask = q[MASK], entries = (q[DEVICE] + 2) / 2, index = q[NEXT_USED], beyond = 0;
    if (count > ((q[NEXT_AVAIL] - index) & LOW16)) return -21;
    for (u64 done = 0; done < count; done++) {
        u64 at = entries + 2 * ((index + done) & mask);
        beyond |= heads[done] >= size;
        m32[at] = heads[done], m32[at + 1] = written[done];
    }
    if (beyond) return -16;
    q[NEXT_USED] = (index + count) & LOW16;
    RELEASE();
    m16[q[DEVICE] + 1] = q[NEXT_USED];
    return count;
}

HELPER int64_t get(u32 *m32, u16 *m16, u64 *q, u64 *book, u64 *ids, u64 *lens, u64 most)
{
    u64 size = q[SIZE], mask = q[MASK], entries = (q[DEVICE] + 2) / 2, free = q[FREE], room = q[ROOM];
    u64 last = q[NEXT_USED], pending = (m16[q[DEVICE] + 1] - last) & LOW16, done = 0;
    if (pending > ((q[NEXT_AVAIL] - last) & LOW16)) return -15;
    ACQUIRE();
    u64 limit = least(most, pending);
    int64_t error = 0;
    while (done < limit) {
        u64 at = entries + 2 * ((last + done) & mask), head = m32[at];
        if (head >= size) { error = -16; break; }
        u64 word = book[head];
        if (!(word >> 32)) { error = -17; break; }
        ids[done] = head, lens[done] = m32[at + 1];
        book[head] = word & LOW16;
        book[word >> 16 & LOW16] = free;
        free = head, room += word >> 32, done++;
    }
    q[FREE] = free, q[ROOM] = room, q[NEXT_USED] = (last + done) & LOW16;
    return done ? (int64_t)done : error;
}

HELPER u64 need_notify(u16 *m16, u64 *q)
{
    FULL();
    u64 new = q[NEXT_AVAIL], old = q[AVAIL_TOLD];
    q[AVAIL_TOLD] = new;
    if (!(q[FEATURES] & 1)) return !(m16[q[DEVICE]] & 1);
    return ((new - m16[q[DEVICE] + 2 + 4 * q[SIZE]] - 1) & LOW16) < ((new - old) & LOW16);
}

HELPER void publish(u16 *m16, u64 *q) { RELEASE(); m16[q[DRIVER] + 1] = q[NEXT_AVAIL]; }

HELPER int want_available(u16 *m16, u64 *q, int wanted)
{
    u64 last = q[NEXT_AVAIL];
    if (q[FEATURES] & 1) m16[q[DEVICE] + 2 + 4 * q[SIZE]] = wanted ? last : last + LOW16;
    else m16[q[DEVICE]] = !wanted;
    FULL();
    return m16[q[DRIVER] + 1] != last;
}

HELPER int want_used(u16 *m16, u64 *q, int wanted)
{
    u64 last = q[NEXT_USED];
    if (q[FEATURES] & 1) m16[q[DRIVER] + 2 + q[SIZE]] = wanted ? last : last + LOW16;
    else m16[q[DRIVER]] = !wanted;
    FULL();
    return m16[q[DEVICE] + 1] != last;
}

/* ---- the shadow virtqueue, as the kernels have it ---- */

typedef struct {
    void *g, *s;
    u64 *guest, *driver, *book, *kept, *state, *maps, *words;
    u64 *heads, *length, *ids;
} shadow;

HELPER u64 map_of(const u64 *maps, u64 shift, u64 last_cell, u64 where)
{
    u64 entry = maps[3 + least(where >> shift, last_cell)];
    while (entry >= NODE) entry = maps[(entry & LOW32) + ((where >> (entry >> 32 & LOW16)) & ((entry ^ NODE) >> 48))];
    return entry + 4 * (where > maps[entry + 1]);
}

HELPER void mark(u64 *words, u64 ram, u64 count)
{
    u64 low = ram >> 12, high = (ram + count - 1) >> 12;
    for (; low <= high; low++) words[low >> 6] |= 1ull << (low & 63);
}

HELPER void mark_asked(shadow *q)
{
    mark(q->words, q->state[USED_RAM] + (q->guest[FEATURES] & 1 ? 4 + 8 * q->guest[SIZE] : 0), 2);
}

HELPER void mark_used(shadow *q, u64 first, u64 count)
{
    mark(q->words, q->state[USED_RAM] + 2, 2);
    for (u64 at = first & q->guest[MASK], here; count; at = 0, count -= here) {
        here = least(count, q->guest[SIZE] - at);
        mark(q->words, q->state[USED_RAM] + 4 + 8 * at, 8 * here);
    }
}

HELPER int64_t chain(shadow *q, u64 size, u64 head, u64 *free, u64 room, u64 shift, u64 last_cell)
{
    u64 *g64 = q->g, *s64 = q->s, *book = q->book, *kept = q->kept, *maps = q->maps;
    u64 from = q->guest[TABLE], to = q->driver[TABLE], at = head, slot = *free, tail = slot, pieces = 0, readable = 0;
    u64 seen = 0, everything = 0, writable = 0;
    for (;;) {
        u64 where = g64[from + 2 * at], word = g64[from + 2 * at + 1], left = word & LOW32, flags = word >> 32;
        if (!left | (flags & 4) != 0 | (flags & 2) < writable | seen == size) return -200;
        writable = flags & 2, seen++, everything += left;
        for (;;) {
            u64 found = map_of(maps, shift, last_cell, where);
            if (where < maps[found] | where > maps[found + 1]) return -101;
            if (pieces == room) return 0;
            u64 offset = where - maps[found], following = book[slot] & LOW16;
            u64 here = least(left, maps[found + 1] - where + 1), more = (here != left) | (flags & 1);
            s64[to + 2 * slot] = maps[found + 2] + offset;
            s64[to + 2 * slot + 1] = here | (writable | more) << 32 | following << 48;
            if (writable) kept[size + 2 * slot] = maps[found + 3] + offset, kept[size + 2 * slot + 1] = here;
            tail = slot, slot = following, pieces++;
            if (here == left) break;
            where += here, left -= here;
        }
        if (!writable) readable = pieces;
        if (!(flags & 1)) break;
        at = word >> 48;
        if (at >= size) return -200;
    }
    if (everything > 1ull << 32) return -200;
    book[*free] = (book[*free] & LOW16) | tail << 16 | pieces << 32;
    kept[*free] = head | readable << 16 | (pieces - readable) << 32;
    *free = slot;
    return pieces;
}

HELPER int64_t forward_burst(shadow *q)
{
    u64 *guest = q->guest, *driver = q->driver, *state = q->state;
    u16 *g16 = q->g, *s16 = q->s;
    u64 size = guest[SIZE], mask = guest[MASK], began = guest[NEXT_AVAIL], free = driver[FREE];
    u64 index = driver[NEXT_AVAIL], pending = (g16[guest[DRIVER] + 1] - began) & LOW16;
    if (!pending) return 0;
    if (pending + ((began - guest[NEXT_USED]) & LOW16) > size) return -1;
    ACQUIRE();
    u64 shift = q->maps[0], last_cell = q->maps[1], from = guest[DRIVER] + 2, to = driver[DRIVER] + 2;
    u64 batched = state[BATCHED], event_idx = driver[FEATURES] & 1, flags = driver[DEVICE], event = flags + 2 + 4 * size;
    u64 room = driver[ROOM], kicks = 0, done = 0;
    int64_t result = 1;
    while (done < pending) {
        u64 head = g16[from + ((began + done) & mask)], first = free;
        if (head >= size) { result = -2; break; }
        result = chain(q, size, head, &free, room, shift, last_cell);
        if (result <= 0) break;
        s16[to + (index & mask)] = first;
        u64 old = index;
        room -= result, index = (index + 1) & LOW16, done++;
        if (batched) continue;
        RELEASE();
        s16[driver[DRIVER] + 1] = index;
        FULL();
        kicks += event_idx ? s16[event] == old : 1 - (s16[flags] & 1);
    }
    state[DESCRIPTORS] += driver[ROOM] - room;
    guest[NEXT_AVAIL] = (began + done) & LOW16;
    driver[FREE] = free, driver[ROOM] = room, driver[NEXT_AVAIL] = index;
    if (batched && done) publish(s16, driver), kicks = need_notify(s16, driver);
    driver[AVAIL_TOLD] = index;
    state[KICKS] += kicks, state[FORWARDED] += done;
    state[PARKED] = result == 0; /* what else may be wrong is not in the laps */
    return result < 0 ? result : (int64_t)done;
}

static __attribute__((noinline)) int64_t forward_avail(shadow *q)
{
    int64_t total = 0, added;
    q->state[PARKED] = 0;
    do {
        want_available(q->g, q->guest, 0);
        mark_asked(q);
        while ((added = forward_burst(q)) > 0) total += added;
        if (added < 0) return added;
        if (q->state[PARKED]) return total;
    } while (want_available(q->g, q->guest, 1));
    return total;
}

static __attribute__((noinline)) int64_t forward_used(shadow *q)
{
    int64_t total = 0;
    u64 size = q->driver[SIZE], *kept = q->kept, *book = q->book;
    do {
        want_used(q->s, q->driver, 0);
        int64_t got = get(q->s, q->s, q->driver, book, q->ids, q->length, size);
        if (got < 0) return got;
        u64 index = q->guest[NEXT_USED];
        for (int64_t each = 0; each < got; each++) {
            u64 at = q->ids[each], word = kept[at], left = q->length[each];
            q->heads[each] = word & LOW16;
            for (u64 n = word >> 16 & LOW16; word >> 32 && n; n--) at = book[at] & LOW16;
            for (u64 n = word >> 32; n; n--) {
                u64 here = least(left, kept[size + 2 * at + 1]);
                if (!here) break;
                mark(q->words, kept[size + 2 * at], here);
                left -= here, at = book[at] & LOW16;
            }
        }
        push(q->g, q->g, q->guest, q->heads, q->length, got);
        mark_used(q, index, got);
        q->state[CALLS]++, q->state[RETURNED] += got;
        total += got;
        if (q->state[PARKED] && forward_avail(q) < 0) return -1;
    } while (want_used(q->s, q->driver, 1));
    return total;
}

/* ---- QEMU's way ---- */

typedef struct { u64 gpa, last, iova; } map;
typedef struct node { map *key; struct node *left, *right; u8 left_child, right_child; } node; /* as GTree threads it */
typedef struct { u64 gpa, last, refs; u8 *host; } section;
typedef struct { u64 host, len; } piece;
typedef struct { u32 head, ndescs, out_num, in_num; piece *sg; u64 *gpas; section **mrs; } element;
typedef struct { element *elem; u16 next, ndescs; } desc_state;
typedef struct { u64 addr; u32 len; u16 flags, next; } desc;
typedef struct { u16 flags, idx, ring[]; } avail_ring;
typedef struct { u16 flags, idx; struct { u32 id, len; } ring[]; } used_ring;

typedef struct {
    desc *g_desc, *s_desc;
    avail_ring *g_avail, *s_avail;
    used_ring *g_used, *s_used;
    u64 num, num_free, g_base, used_ram;
    u16 last_avail, used_idx, s_avail_idx, s_used_idx, last_used, free_head;
    desc_state *states;
    element *parked;
    node *tree;
    section *sections, *recent;
    u64 count, *bitmap, kicks, calls, wrong;
} queue;

/* The read side of RCU as QEMU builds it by default, without membarrier: a barrier where the outermost one begins and
 * ends. Taken in virtqueue_split_pop, set_notification, qemu_ram_block_from_host and the dirty bitmaps. */
static __thread volatile u64 rcu_depth, rcu_counter;

static __attribute__((noinline)) void rcu_lock(void)
{
    if (rcu_depth++) return;
    rcu_counter = 1;
    FULL();
}

static __attribute__((noinline)) void rcu_unlock(void)
{
    if (--rcu_depth) return;
    rcu_counter = 0;
    FULL();
}

typedef struct { u64 gpa, last; map *found; } needle;

static int is_wanted(map *each, void *opaque)
{
    needle *n = opaque;
    if (each->last < n->gpa || n->last < each->gpa) return 0;
    n->found = each;
    return 1;
}

static int (*volatile visitor)(map *, void *) = is_wanted;

static map *tree_find(node *tree, u64 gpa, u64 len) /* g_tree_foreach: in order from the first, one call a node */
{
    needle n = {gpa, gpa + len - 1, 0};
    int (*visit)(map *, void *) = visitor;
    node *at = tree;
    while (at && at->left_child) at = at->left;
    while (at && !visit(at->key, &n)) {
        node *next = at->right;
        if (at->right_child)
            while (next->left_child) next = next->left;
        at = next;
    }
    return n.found;
}

/* The maps [low, high) as a balanced tree whose leaves point to their neighbours in order. */
static node *tree_build(const u64 *maps, u64 low, u64 high, node *before, node *after)
{
    if (low == high) return 0;
    u64 middle = (low + high) / 2;
    node *made = calloc(1, sizeof(node));
    made->key = malloc(sizeof(map));
    *made->key = (map){maps[3 * middle], maps[3 * middle] + maps[3 * middle + 1] - 1, maps[3 * middle + 2]};
    made->left = tree_build(maps, low, middle, before, made), made->left_child = low != middle;
    made->right = tree_build(maps, middle + 1, high, made, after), made->right_child = middle + 1 != high;
    if (!made->left_child) made->left = before;
    if (!made->right_child) made->right = after;
    return made;
}

static void tree_free(node *tree)
{
    if (tree->left_child) tree_free(tree->left);
    if (tree->right_child) tree_free(tree->right);
    free(tree->key), free(tree);
}

static __attribute__((noinline)) void set_dirty(queue *q, u64 ram, u64 len)
{
    rcu_lock();
    for (u64 page = ram >> 12, last = (ram + len - 1) >> 12; page <= last; page++)
        if (!(q->bitmap[page >> 6] >> (page & 63) & 1))
            __atomic_fetch_or(&q->bitmap[page >> 6], 1ull << (page & 63), __ATOMIC_SEQ_CST);
    rcu_unlock();
}

static __attribute__((noinline)) section *find_section(queue *q, u64 gpa)
{
    section *recent = q->recent;
    if (recent && gpa >= recent->gpa && gpa <= recent->last) return recent;
    u64 low = 0, high = q->count;
    while (low + 1 < high) {
        u64 middle = (low + high) / 2;
        if (q->sections[middle].gpa <= gpa) low = middle;
        else high = middle;
    }
    return q->recent = &q->sections[low];
}

static __attribute__((noinline)) element *vq_pop(queue *q)
{
    u64 gpas[1024], n = 0, out_num = 0;
    piece sg[1024];
    section *mrs[1024];
    if (*(volatile u16 *)&q->g_avail->idx == q->last_avail) return 0;
    rcu_lock();
    ACQUIRE();
    u16 head = q->g_avail->ring[q->last_avail & (q->num - 1)];
    q->last_avail++;
    for (u16 at = head;;) {
        desc d = q->g_desc[at];
        for (u64 left = d.len, gpa = d.addr; left;) {
            section *mr = find_section(q, gpa);
            u64 here = least(left, mr->last - gpa + 1);
            __atomic_fetch_add(&mr->refs, 1, __ATOMIC_SEQ_CST);
            mrs[n] = mr, gpas[n] = gpa, sg[n] = (piece){(u64)mr->host + gpa - mr->gpa, here}, n++;
            gpa += here, left -= here;
        }
        if (!(d.flags & 2)) out_num = n;
        if (!(d.flags & 1)) break;
        at = d.next;
    }
    element *e = malloc(sizeof(element) + n * (sizeof(piece) + sizeof(u64) + sizeof(section *)));
    e->sg = (piece *)(e + 1), e->gpas = (u64 *)(e->sg + n), e->mrs = (section **)(e->gpas + n);
    e->head = head, e->ndescs = 1, e->out_num = out_num, e->in_num = n - out_num;
    for (u64 i = 0; i < n; i++) e->sg[i] = sg[i], e->gpas[i] = gpas[i], e->mrs[i] = mrs[i];
    rcu_unlock();
    return e;
}

static int write_descs(queue *q, u64 *addrs, piece *sg, u64 num, u64 *gpas, int more, u16 flags)
{
    if (!num) return 1;
    for (u64 i = 0; i < num; i++) {
        map *found = tree_find(q->tree, gpas[i], sg[i].len);
        if (!found || gpas[i] + sg[i].len - 1 > found->last) return 0;
        addrs[i] = found->iova + gpas[i] - found->gpa;
    }
    u16 at = q->free_head, last = at;
    for (u64 n = 0; n < num; n++) {
        u16 next = q->states[at].next;
        q->s_desc[at].flags = flags;
        if (more || n + 1 < num) q->s_desc[at].flags = flags | 1, q->s_desc[at].next = next;
        q->s_desc[at].addr = addrs[n], q->s_desc[at].len = sg[n].len;
        last = at, at = next;
    }
    q->free_head = q->states[last].next;
    return 1;
}

static __attribute__((noinline)) int svq_add(queue *q, element *e)
{
    u64 ndescs = e->out_num + e->in_num;
    if (ndescs > q->num_free) return -1;
    u64 *addrs = malloc(sizeof(u64) * (e->out_num > e->in_num ? e->out_num : e->in_num));
    u16 head = q->free_head;
    int ok = write_descs(q, addrs, e->sg, e->out_num, e->gpas, e->in_num > 0, 0) &&
             write_descs(q, addrs, e->sg + e->out_num, e->in_num, e->gpas + e->out_num, 0, 2);
    free(addrs);
    if (!ok) return -2;
    q->s_avail->ring[q->s_avail_idx & (q->num - 1)] = head;
    q->s_avail_idx++;
    RELEASE();
    *(volatile u16 *)&q->s_avail->idx = q->s_avail_idx;
    q->num_free -= ndescs;
    q->states[head].elem = e, q->states[head].ndescs = ndescs;
    FULL();
    if (!(*(volatile u16 *)&q->s_used->flags & 1)) q->kicks++;
    return 0;
}

static void set_notification(queue *q, int on)
{
    rcu_lock();
    *(volatile u16 *)&q->g_used->flags = !on;
    set_dirty(q, q->used_ram, 2);
    if (on) FULL();
    rcu_unlock();
}

static __attribute__((noinline)) void handle_kick(queue *q)
{
    do {
        set_notification(q, 0);
        for (;;) {
            element *e = q->parked ? q->parked : vq_pop(q);
            q->parked = 0;
            if (!e) break;
            int r = svq_add(q, e);
            if (r == -1) { q->parked = e; return; }
            if (r) { q->wrong++; free(e); return; }
        }
        set_notification(q, 1);
    } while (*(volatile u16 *)&q->g_avail->idx != q->last_avail);
}

static int more_used(queue *q)
{
    if (q->last_used != q->s_used_idx) return 1;
    q->s_used_idx = *(volatile u16 *)&q->s_used->idx;
    return q->last_used != q->s_used_idx;
}

static __attribute__((noinline)) element *get_buf(queue *q, u32 *len)
{
    if (!more_used(q)) return 0;
    ACQUIRE();
    u64 at = q->last_used++ & (q->num - 1);
    u32 id = q->s_used->ring[at].id;
    *len = q->s_used->ring[at].len;
    if (id >= q->num || !q->states[id].ndescs) return 0;
    u16 num = q->states[id].ndescs, tail = id;
    q->states[id].ndescs = 0;
    for (u16 i = 1; i < num; i++) tail = q->states[tail].next;
    q->states[tail].next = q->free_head;
    q->free_head = id, q->num_free += num;
    element *e = q->states[id].elem;
    q->states[id].elem = 0;
    return e;
}

static __attribute__((noinline)) void fill(queue *q, element *e, u32 len, u16 i)
{
    u64 offset = 0;
    for (u32 n = 0; n < e->in_num; n++) {
        piece *in = &e->sg[e->out_num + n];
        u64 here = least(len - offset, in->len);
        rcu_lock(); /* which block of RAM the host address is in */
        q->wrong += in->host - (u64)e->mrs[e->out_num + n]->host >= GUEST;
        rcu_unlock();
        if (here) set_dirty(q, e->gpas[e->out_num + n], here);
        offset += in->len < len - offset ? in->len : len - offset;
    }
    for (u32 n = 0; n < e->out_num + e->in_num; n++) __atomic_fetch_sub(&e->mrs[n]->refs, 1, __ATOMIC_SEQ_CST);
    u64 at = (u16)(q->used_idx + i) & (q->num - 1);
    q->g_used->ring[at].id = e->head, q->g_used->ring[at].len = len;
    set_dirty(q, q->used_ram + 4 + 8 * at, 8);
}

static __attribute__((noinline)) void handle_call(queue *q)
{
    do {
        u16 i = 0;
        u32 len;
        q->s_avail->flags |= 1;
        for (element *e; (e = get_buf(q, &len)); free(e)) fill(q, e, len, i++);
        RELEASE();
        q->used_idx += i;
        *(volatile u16 *)&q->g_used->idx = q->used_idx;
        set_dirty(q, q->used_ram + 2, 2);
        q->calls++;
        if (q->parked) handle_kick(q);
        q->s_avail->flags &= ~1;
        FULL();
    } while (more_used(q));
}

/* ---- laps ---- */

HELPER u64 use_all(u64 *s64, u32 *s32, u16 *s16, u64 *device, u64 written)
{
    u64 size = device[SIZE], mask = device[MASK], total = 0, last = device[NEXT_AVAIL], end = s16[device[DRIVER] + 1];
    for (; last != end; last = (last + 1) & LOW16) {
        u64 head = s16[device[DRIVER] + 2 + (last & mask)] & mask, at = head;
        for (u64 i = 0; i < size; i++) {
            total += s64[device[TABLE] + 2 * at];
            u64 word = s64[device[TABLE] + 2 * at + 1];
            if (!(word >> 32 & 1)) break;
            at = word >> 48 & mask;
        }
        u64 place = (device[DEVICE] + 2) / 2 + 2 * (last & mask);
        s32[place] = head, s32[place + 1] = written;
    }
    RELEASE();
    s16[device[DEVICE] + 1] = device[NEXT_AVAIL] = last;
    return total;
}

/* maps: count x (gpa, bytes, iova), in order; pool: `sets` batches of addresses. The sum is the same for both ways. */
u64 laps(u64 peer, void *g, void *s, u64 *guest, u64 *driver, u64 *book, u64 *kept, u64 *state, u64 *directory,
         u64 *words, u64 *own, u64 *own_book, u64 *device, u64 *pool, u64 *length, u64 *outs, u64 *ins, u64 written,
         u64 *maps, u64 count, u64 batch, u64 each, u64 sets, u64 rounds)
{
    u64 size = guest[SIZE], sum = 0, *work = calloc(6 * size, sizeof(u64)), *w[6];
    for (int i = 0; i < 6; i++) w[i] = work + i * size;
    shadow q = {g, s, guest, driver, book, kept, state, directory, words, w[0], w[1], w[2]};
    queue p = {.num = size, .num_free = size, .count = count, .bitmap = words, .used_ram = state[USED_RAM]};
    if (peer) {
        p.g_desc = (desc *)((u8 *)g + 8 * guest[TABLE]), p.g_avail = (avail_ring *)((u8 *)g + 2 * guest[DRIVER]);
        p.g_used = (used_ring *)((u8 *)g + 2 * guest[DEVICE]), p.s_desc = (desc *)((u8 *)s + 8 * driver[TABLE]);
        p.s_avail = (avail_ring *)((u8 *)s + 2 * driver[DRIVER]), p.s_used = (used_ring *)((u8 *)s + 2 * driver[DEVICE]);
        p.last_avail = guest[NEXT_AVAIL], p.used_idx = guest[NEXT_USED];
        p.s_avail_idx = driver[NEXT_AVAIL], p.s_used_idx = p.last_used = driver[NEXT_USED];
        p.states = calloc(size, sizeof(desc_state)), p.sections = calloc(count, sizeof(section));
        for (u64 i = 0; i < size; i++) p.states[i].next = (i + 1) % size;
        for (u64 i = 0; i < count; i++) {
            u64 gpa = maps[3 * i], last = gpa + maps[3 * i + 1] - 1;
            p.sections[i] = (section){gpa, last, 0, (u8 *)0x7f0000000000 + gpa};
        }
        p.tree = tree_build(maps, 0, count, 0, 0);
    }
    u64 kicks = state[KICKS], calls = state[CALLS];
    for (u64 round = 0; round < rounds; round++) {
        u64 *from = pool + (round % sets) * batch * each;
        for (u64 i = 0; i < batch * each; i++) w[3][i] = from[i];
        add(g, g, own, own_book, w[3], length, outs, ins, w[4], batch, batch * each);
        publish(g, own);
        sum += need_notify(g, own);
        if (peer) handle_kick(&p); else forward_avail(&q);
        sum += use_all(s, s, s, device, written);
        if (peer) handle_call(&p); else forward_used(&q);
        sum += get(g, g, own, own_book, w[4], w[5], batch);
    }
    if (peer) {
        guest[NEXT_AVAIL] = p.last_avail, guest[NEXT_USED] = p.used_idx;
        driver[NEXT_AVAIL] = p.s_avail_idx, driver[NEXT_USED] = p.last_used;
        sum += p.kicks + p.calls + p.wrong;
        free(p.states), free(p.sections);
        tree_free(p.tree);
    } else {
        sum += state[KICKS] - kicks + state[CALLS] - calls;
    }
    free(work);
    return sum;
}
