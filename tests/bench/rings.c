/* Own C for tests/bench/rings.py: the kernels' algorithm again ("twin"), and a plain driver and device one buffer at
 * a time ("plain"). A lap adds, notifies, takes, gives back, interrupts and gets `batch` buffers of one descriptor. */
#include <pthread.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;

enum { SIZE, MASK, FEATURES, ORIGIN, BYTES, TABLE, DRIVER, DEVICE, ROOM, FREE, OLDEST, NEXT_AVAIL, AVAIL_TOLD,
       NEXT_USED, USED_TOLD, AVAIL_WRAP, USED_WRAP, TAKEN };
#define LOW16 0xFFFFull
#define LOW32 0xFFFFFFFFull
#define BOTH 0x8080ull
#define RELEASE() __atomic_thread_fence(__ATOMIC_RELEASE)
#define ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define FULL() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define HELPER static inline __attribute__((always_inline))

typedef struct { u64 *data, size; } array;
HELPER u64 least(u64 a, u64 b) { return a < b ? a : b; }

/* ---- twin, split ---- */

HELPER u64 split_add_singles(u64 *m64, u16 *m16, u64 *q, u64 *shadow, array addr, array length, array outs, array ins,
                             array heads, u64 first, u64 done, u64 most, u64 *next, u64 index)
{
    u64 size = q[SIZE], mask = q[MASK], table = q[TABLE], ring = q[DRIVER] + 2, in_order = q[FEATURES] & 4;
    u64 free = *next, step = 0;
    for (; step < most; step++) {
        u64 n_in = ins.data[done + step], here = length.data[first + step];
        if (n_in > 1 || outs.data[done + step] != (n_in ^ 1) || here == 0 || here > LOW32) break;
        u64 following = shadow[free] & LOW16;
        m64[table + 2 * free] = addr.data[first + step];
        m64[table + 2 * free + 1] = here | n_in << 33 | following << 48;
        shadow[free] = following | free << 16 | 1ull << 32;
        if (in_order) shadow[size + free] = n_in ? here : 0;
        m16[ring + ((index + step) & mask)] = free;
        heads.data[done + step] = free;
        free = following;
    }
    *next = free;
    return step;
}

HELPER int64_t split_add(u64 *m64, u16 *m16, u64 *q, u64 *shadow, array addr, array length, array outs, array ins,
                         array heads, u64 count)
{
    u64 size = q[SIZE], mask = q[MASK], table = q[TABLE], ring = q[DRIVER] + 2, in_order = q[FEATURES] & 4;
    u64 free = q[FREE], room = q[ROOM], index = q[NEXT_AVAIL], first = 0, done = 0;
    u64 most = least(least(count, outs.size), least(ins.size, heads.size)), elements = least(addr.size, length.size);
    int64_t error = 0;
    while (done < most) {
        u64 end = least(least(most - done, room), elements - first);
        u64 run = split_add_singles(m64, m16, q, shadow, addr, length, outs, ins, heads, first, done, end, &free,
                                    index);
        index += run, room -= run, first += run, done += run;
        if (done == most) break;
        u64 n_out = outs.data[done], n_in = ins.data[done];
        if (n_out > room || n_in > room - n_out) { error = -19; break; }
        u64 total = n_out + n_in;
        if (total == 0 || total > elements - first) { error = -18; break; }
        u64 at = free, tail = free, writable = 0, everything = 0, wrong = 0;
        for (u64 step = 0; step < total;) {
            u64 here = length.data[first + step], following = shadow[at] & LOW16, flags = 0;
            if (step >= n_out) { flags = 2; writable += here; }
            wrong |= here == 0 || here > LOW32;
            everything += here;
            m64[table + 2 * at] = addr.data[first + step];
            if (++step < total) flags |= 1;
            m64[table + 2 * at + 1] = (here & LOW32) | flags << 32 | following << 48;
            tail = at, at = following;
        }
        if (wrong || everything > 1ull << 32) { error = -7; break; }
        shadow[free] = (shadow[free] & LOW16) | tail << 16 | total << 32;
        if (in_order) shadow[size + free] = writable;
        m16[ring + (index & mask)] = free;
        heads.data[done] = free;
        index++, free = at, room -= total, first += total, done++;
    }
    q[FREE] = free, q[ROOM] = room, q[NEXT_AVAIL] = index & LOW16;
    return done ? (int64_t)done : error;
}

HELPER int passed(u64 event, u64 new, u64 old) { return ((new - event - 1) & LOW16) < ((new - old) & LOW16); }

HELPER int split_told(u16 *m16, u64 *q, u64 position, u64 last, u64 flags, u64 event)
{
    FULL();
    u64 new = q[position], old = q[last];
    q[last] = new;
    return q[FEATURES] & 1 ? passed(m16[event], new, old) : !(m16[flags] & 1);
}

HELPER u64 split_pop_singles(u64 *m64, u16 *m16, u64 *q, array heads, array outs, array ins, array addr, array length,
                             u64 first, u64 done, u64 most, u64 index)
{
    u64 size = q[SIZE], mask = q[MASK], table = q[TABLE], ring = q[DRIVER] + 2, step = 0;
    for (; step < most; step++) {
        u64 head = m16[ring + ((index + step) & mask)];
        if (head >= size) break;
        u64 word = m64[table + 2 * head + 1], writable = word >> 33 & 1;
        if ((word >> 32 & 5) || !(word & LOW32)) break;
        addr.data[first + step] = m64[table + 2 * head], length.data[first + step] = word & LOW32;
        heads.data[done + step] = head, outs.data[done + step] = writable ^ 1, ins.data[done + step] = writable;
    }
    return step;
}

HELPER int64_t split_pop(u64 *m64, u16 *m16, u64 *q, array heads, array outs, array ins, array addr, array length,
                         u64 most)
{
    u64 size = q[SIZE], last = q[NEXT_AVAIL], pending = (m16[q[DRIVER] + 1] - last) & LOW16;
    if (!pending) return 0;
    if (pending + ((last - q[NEXT_USED]) & LOW16) > size) return -1;
    ACQUIRE();
    u64 limit = least(least(most, pending), least(heads.size, least(outs.size, ins.size)));
    u64 end = least(limit, least(addr.size, length.size));
    u64 done = split_pop_singles(m64, m16, q, heads, outs, ins, addr, length, 0, 0, end, last);
    q[NEXT_AVAIL] = (last + done) & LOW16;
    return done ? (int64_t)done : -3; /* the laps have no chains */
}

HELPER int64_t split_push(u32 *m32, u16 *m16, u64 *q, array heads, array written, u64 count)
{
    u64 size = q[SIZE], mask = q[MASK], entries = (q[DEVICE] + 2) / 2, index = q[NEXT_USED], done = 0, beyond = 0;
    u64 limit = least(count, least(heads.size, written.size));
    if (limit > ((q[NEXT_AVAIL] - index) & LOW16)) return -21;
    for (; done < limit; done++) {
        u64 head = heads.data[done], at = entries + 2 * ((index + done) & mask);
        beyond |= head >= size;
        m32[at] = head, m32[at + 1] = written.data[done];
    }
    if (beyond) return -16;
    q[NEXT_USED] = (index + done) & LOW16;
    RELEASE();
    m16[q[DEVICE] + 1] = q[NEXT_USED];
    return done;
}

HELPER int64_t split_get(u32 *m32, u16 *m16, u64 *q, u64 *shadow, array ids, array lens, u64 most)
{
    u64 size = q[SIZE], mask = q[MASK], entries = (q[DEVICE] + 2) / 2, free = q[FREE], room = q[ROOM];
    u64 last = q[NEXT_USED], pending = (m16[q[DEVICE] + 1] - last) & LOW16, done = 0;
    if (pending > ((q[NEXT_AVAIL] - last) & LOW16)) return -15;
    ACQUIRE();
    u64 limit = least(least(most, pending), least(ids.size, lens.size));
    int64_t error = 0;
    while (done < limit) {
        u64 at = entries + 2 * ((last + done) & mask), head = m32[at];
        if (head >= size) { error = -16; break; }
        u64 word = shadow[head];
        if (!(word >> 32)) { error = -17; break; }
        ids.data[done] = head, lens.data[done] = m32[at + 1];
        shadow[head] = word & LOW16;
        shadow[word >> 16 & LOW16] = free;
        free = head, room += word >> 32, done++;
    }
    q[FREE] = free, q[ROOM] = room, q[NEXT_USED] = (last + done) & LOW16;
    return done ? (int64_t)done : error;
}

/* work: heads, outs, ins, addr, length, ids, lens, each of `batch` words; the same for both kinds of ring */
u64 twin_split(void *memory, u64 *driver, u64 *device, u64 *shadow, u64 *addr, u64 *length, u64 *outs, u64 *ins,
               u64 *work, u64 batch, u64 laps)
{
    u64 sum = 0;
    array in[4] = {{addr, batch}, {length, batch}, {outs, batch}, {ins, batch}}, w[8];
    for (int i = 0; i < 8; i++) w[i] = (array){work + i * batch, batch};
    for (u64 lap = 0; lap < laps; lap++) {
        split_add(memory, memory, driver, shadow, in[0], in[1], in[2], in[3], w[0], batch);
        RELEASE();
        ((u16 *)memory)[driver[DRIVER] + 1] = driver[NEXT_AVAIL];
        sum += split_told(memory, driver, NEXT_AVAIL, AVAIL_TOLD, driver[DEVICE], driver[DEVICE] + 2 + 4 * driver[SIZE]);
        u64 got = split_pop(memory, memory, device, w[0], w[1], w[2], w[3], w[4], batch);
        split_push(memory, memory, device, w[0], w[4], got);
        sum += split_told(memory, device, NEXT_USED, USED_TOLD, device[DRIVER], device[DRIVER] + 2 + device[SIZE]);
        sum += split_get(memory, memory, driver, shadow, w[5], w[6], batch);
    }
    return sum;
}

/* ---- twin, packed ---- */

HELPER u64 packed_add_singles(u64 *m64, u64 ring, u64 size, u64 in_order, u64 *shadow, array addr, array length,
                              array outs, array ins, array ids, u64 first, u64 done, u64 most, u64 *next, u64 marks)
{
    u64 free = *next, step = 0;
    for (; step < most; step++) {
        u64 n_in = ins.data[done + step], here = length.data[first + step];
        if (n_in > 1 || outs.data[done + step] != (n_in ^ 1) || here == 0 || here > LOW32) break;
        m64[ring + 2 * step] = addr.data[first + step];
        u64 following = shadow[free] & LOW16;
        shadow[free] = following | 1ull << 32;
        if (in_order) shadow[size + free] = n_in ? here : 0;
        ids.data[done + step] = free;
        RELEASE();
        m64[ring + 2 * step + 1] = here | free << 32 | marks << 48 | n_in << 49;
        free = following;
    }
    *next = free;
    return step;
}

HELPER int64_t packed_add(u64 *m64, u64 *q, u64 *shadow, array addr, array length, array outs, array ins, array ids,
                          u64 count)
{
    u64 size = q[SIZE], table = q[TABLE], in_order = q[FEATURES] & 4, free = q[FREE], room = q[ROOM];
    u64 slot = q[NEXT_AVAIL], marks = q[AVAIL_WRAP] ? 0x80 : 0x8000, first = 0, done = 0;
    u64 most = least(least(count, outs.size), least(ins.size, ids.size)), elements = least(addr.size, length.size);
    int64_t error = 0;
    while (done < most) {
        u64 end = least(least(most - done, room), least(elements - first, size - slot));
        u64 run = packed_add_singles(m64, table + 2 * slot, size, in_order, shadow, addr, length, outs, ins, ids, first,
                                     done, end, &free, marks);
        slot += run, room -= run, first += run, done += run;
        if (slot == size) { slot = 0; marks ^= BOTH; }
        if (done == most) break;
        u64 n_out = outs.data[done], n_in = ins.data[done];
        if (n_out > room || n_in > room - n_out) { error = -19; break; }
        u64 total = n_out + n_in;
        if (total == 0 || total > elements - first) { error = -18; break; }
        u64 at = slot, mark = marks, writable = 0, wrong = 0, top = 0;
        for (u64 step = 0; step < total; step++) {
            u64 here = length.data[first + step], flags = mark;
            if (step >= n_out) { flags |= 2; writable += here; }
            if (step + 1 < total) flags |= 1;
            wrong |= here == 0 || here > LOW32;
            u64 word = (here & LOW32) | free << 32 | flags << 48;
            m64[table + 2 * at] = addr.data[first + step];
            if (step) m64[table + 2 * at + 1] = word; else top = word;
            if (++at == size) { at = 0; mark ^= BOTH; }
        }
        if (wrong) { error = -7; break; }
        u64 following = shadow[free] & LOW16;
        shadow[free] = following | total << 32;
        if (in_order) shadow[size + free] = writable;
        ids.data[done] = free;
        RELEASE();
        m64[table + 2 * slot + 1] = top;
        slot = at, marks = mark, free = following;
        room -= total, first += total, done++;
    }
    q[AVAIL_TOLD] += q[ROOM] - room;
    q[FREE] = free, q[ROOM] = room, q[NEXT_AVAIL] = slot, q[AVAIL_WRAP] = marks == 0x80;
    return done ? (int64_t)done : error;
}

HELPER int packed_told(u16 *m16, u64 *q, u64 told, u64 event, u64 place, u64 wrap)
{
    FULL();
    u64 moved = q[told], flags = m16[event + 1] & 3, where = m16[event], size = q[SIZE];
    q[told] = 0;
    if (flags == 1) return 0;
    if (flags != 2 || !(q[FEATURES] & 1)) return 1;
    u64 target = (where & 0x7FFF) + (where >> 15 == wrap ? size : 0);
    return target < place + size && target + moved >= place + size;
}

HELPER u64 packed_pop_singles(u64 *m64, u64 ring, array ids, array slots, array outs, array ins, array addr,
                              array length, u64 first, u64 done, u64 most, u64 marks)
{
    u64 step = 0;
    for (; step < most; step++) {
        u64 word = m64[ring + 2 * step + 1], writable = word >> 49 & 1;
        if ((word >> 48 & (BOTH | 5)) != marks || !(word & LOW32)) break;
        ACQUIRE();
        addr.data[first + step] = m64[ring + 2 * step], length.data[first + step] = word & LOW32;
        ids.data[done + step] = word >> 32 & LOW16, slots.data[done + step] = 1;
        outs.data[done + step] = writable ^ 1, ins.data[done + step] = writable;
    }
    return step;
}

HELPER int64_t packed_pop(u64 *m64, u64 *q, array ids, array slots, array outs, array ins, array addr, array length,
                          u64 most)
{
    u64 size = q[SIZE], table = q[TABLE], slot = q[NEXT_AVAIL], marks = q[AVAIL_WRAP] ? 0x80 : 0x8000;
    u64 taken = q[TAKEN], first = 0, done = 0, room = least(addr.size, length.size);
    u64 limit = least(least(most, ids.size), least(slots.size, least(outs.size, ins.size)));
    int64_t error = 0;
    while (done < limit && taken < size) {
        u64 end = least(least(limit - done, room - first), least(size - slot, size - taken));
        u64 run = packed_pop_singles(m64, table + 2 * slot, ids, slots, outs, ins, addr, length, first, done, end,
                                     marks);
        first += run, taken += run, slot += run, done += run;
        if (slot == size) { slot = 0; marks ^= BOTH; }
        if (run == end && run) continue;
        if ((m64[table + 2 * slot + 1] >> 48 & BOTH) == marks) error = -3; /* the laps have no lists */
        break;
    }
    q[NEXT_AVAIL] = slot, q[AVAIL_WRAP] = marks == 0x80, q[TAKEN] = taken;
    return done ? (int64_t)done : error;
}

HELPER int64_t packed_push(u64 *m64, u64 *q, array ids, array slots, array written, u64 count)
{
    u64 size = q[SIZE], table = q[TABLE], slot = q[NEXT_USED], taken = q[TAKEN], done = 0;
    u64 marks = q[USED_WRAP] ? BOTH : 0;
    u64 limit = least(least(count, ids.size), least(slots.size, written.size));
    int64_t error = 0;
    RELEASE();
    while (done < limit) {
        u64 used = slots.data[done], wrote = written.data[done] & LOW32;
        if (used == 0 || used > taken) { error = -21; break; }
        u64 flags = marks | (wrote ? 2 : 0);
        m64[table + 2 * slot + 1] = wrote | (ids.data[done] & LOW16) << 32 | flags << 48;
        taken -= used, slot += used, done++;
        if (slot >= size) { slot -= size; marks ^= BOTH; }
    }
    q[USED_TOLD] += q[TAKEN] - taken;
    q[NEXT_USED] = slot, q[USED_WRAP] = marks != 0, q[TAKEN] = taken;
    return done ? (int64_t)done : error;
}

HELPER u64 packed_get_singles(u64 *m64, u64 ring, u64 size, u64 *shadow, array ids, array lens, u64 done, u64 most,
                              u64 *next, u64 marks)
{
    u64 free = *next, step = 0;
    for (; step < most; step++) {
        u64 word = m64[ring + 2 * step + 1], buffer = word >> 32 & LOW16;
        if ((word >> 48 & BOTH) != marks || buffer >= size || shadow[buffer] >> 32 != 1) break;
        ids.data[done + step] = buffer, lens.data[done + step] = word >> 48 & 2 ? word & LOW32 : 0;
        shadow[buffer] = free;
        free = buffer;
    }
    *next = free;
    return step;
}

HELPER int64_t packed_get(u64 *m64, u64 *q, u64 *shadow, array ids, array lens, u64 most)
{
    u64 size = q[SIZE], table = q[TABLE], slot = q[NEXT_USED], free = q[FREE], room = q[ROOM], done = 0;
    u64 marks = q[USED_WRAP] ? BOTH : 0, limit = least(most, least(ids.size, lens.size));
    int64_t error = 0;
    while (done < limit && room != size) {
        u64 end = least(limit - done, least(size - slot, size - room));
        u64 run = packed_get_singles(m64, table + 2 * slot, size, shadow, ids, lens, done, end, &free, marks);
        room += run, slot += run, done += run;
        if (slot == size) { slot = 0; marks ^= BOTH; }
        if (run == end) continue;
        u64 word = m64[table + 2 * slot + 1];
        if ((word >> 48 & BOTH) != marks) break;
        u64 buffer = word >> 32 & LOW16;
        if (buffer >= size) { error = -16; break; }
        u64 slots = shadow[buffer] >> 32;
        if (!slots) { error = -17; break; }
        ids.data[done] = buffer, lens.data[done] = word >> 48 & 2 ? word & LOW32 : 0;
        shadow[buffer] = free;
        free = buffer, room += slots, slot += slots, done++;
        if (slot >= size) { slot -= size; marks ^= BOTH; }
    }
    ACQUIRE();
    q[FREE] = free, q[ROOM] = room, q[NEXT_USED] = slot, q[USED_WRAP] = marks != 0;
    return done ? (int64_t)done : error;
}

u64 twin_packed(void *memory, u64 *driver, u64 *device, u64 *shadow, u64 *addr, u64 *length, u64 *outs, u64 *ins,
                u64 *work, u64 batch, u64 laps)
{
    u64 sum = 0;
    array in[4] = {{addr, batch}, {length, batch}, {outs, batch}, {ins, batch}}, w[8];
    for (int i = 0; i < 8; i++) w[i] = (array){work + i * batch, batch};
    for (u64 lap = 0; lap < laps; lap++) {
        packed_add(memory, driver, shadow, in[0], in[1], in[2], in[3], w[0], batch);
        sum += packed_told(memory, driver, AVAIL_TOLD, driver[DEVICE], driver[NEXT_AVAIL], driver[AVAIL_WRAP]);
        u64 got = packed_pop(memory, device, w[0], w[7], w[1], w[2], w[3], w[4], batch);
        packed_push(memory, device, w[0], w[7], w[4], got);
        sum += packed_told(memory, device, USED_TOLD, device[DRIVER], device[NEXT_USED], device[USED_WRAP]);
        sum += packed_get(memory, driver, shadow, w[5], w[6], batch);
    }
    return sum;
}

/* ---- plain: structs, one buffer at a time, published at once ---- */

struct desc { u64 addr; u32 len; u16 flags, next; };
struct avail { u16 flags, idx, ring[]; };
struct used { u16 flags, idx; struct { u32 id, len; } ring[]; };
struct split { u32 size; struct desc *desc; volatile struct avail *avail; volatile struct used *used; };
struct split_driver { struct split s; u16 free, avail, told, last; u32 room; void **data; };
struct split_device { struct split s; u16 last, used, told; };

int plain_split_add(struct split_driver *d, u64 addr, u32 len, int write, void *data)
{
    if (!d->room) return -1;
    u16 head = d->free;
    struct desc *e = &d->s.desc[head];
    d->free = e->next;
    e->addr = addr, e->len = len, e->flags = write ? 2 : 0;
    d->room--;
    d->data[head] = data;
    d->s.avail->ring[d->avail & (d->s.size - 1)] = head;
    RELEASE();
    d->s.avail->idx = ++d->avail;
    return head;
}

int plain_split_kick(struct split_driver *d)
{
    FULL();
    u16 old = d->told, event = *(volatile u16 *)&d->s.used->ring[d->s.size];
    d->told = d->avail;
    return (u16)(d->avail - event - 1) < (u16)(d->avail - old);
}

int plain_split_pop(struct split_device *d, u64 *addr, u32 *len)
{
    if (d->s.avail->idx == d->last) return -1;
    ACQUIRE();
    u16 head = d->s.avail->ring[d->last++ & (d->s.size - 1)];
    if (head >= d->s.size) return -2;
    u32 count = 0;
    for (u16 at = head;; at = d->s.desc[at].next) {
        if (at >= d->s.size || count == d->s.size) return -3;
        addr[count] = d->s.desc[at].addr, len[count++] = d->s.desc[at].len;
        if (!(d->s.desc[at].flags & 1)) return head;
    }
}

void plain_split_push(struct split_device *d, u32 head, u32 len)
{
    volatile struct used *u = d->s.used;
    u->ring[d->used & (d->s.size - 1)].id = head;
    u->ring[d->used & (d->s.size - 1)].len = len;
    RELEASE();
    u->idx = ++d->used;
}

int plain_split_interrupt(struct split_device *d)
{
    FULL();
    u16 old = d->told, event = d->s.avail->ring[d->s.size];
    d->told = d->used;
    return (u16)(d->used - event - 1) < (u16)(d->used - old);
}

void *plain_split_get(struct split_driver *d, u32 *len)
{
    if (d->s.used->idx == d->last) return 0;
    ACQUIRE();
    u32 id = d->s.used->ring[d->last & (d->s.size - 1)].id;
    *len = d->s.used->ring[d->last & (d->s.size - 1)].len;
    if (id >= d->s.size || !d->data[id]) return 0;
    void *data = d->data[id];
    d->data[id] = 0;
    u16 tail = id;
    u32 count = 1;
    while (d->s.desc[tail].flags & 1) { tail = d->s.desc[tail].next; count++; }
    d->s.desc[tail].next = d->free;
    d->free = id, d->room += count, d->last++;
    return data;
}

u64 plain_split(void *memory, u64 size, u64 avail, u64 used, void **data, u64 batch, u64 laps)
{
    struct split s = {size, memory, (void *)((char *)memory + avail), (void *)((char *)memory + used)};
    struct split_driver d = {s, 0, 0, 0, 0, size, data};
    struct split_device v = {s, 0, 0, 0};
    s.avail->idx = s.used->idx = 0;
    for (u64 i = 0; i < size; i++) s.desc[i].next = i + 1, data[i] = 0;
    u64 sum = 0, addr[64];
    u32 len[64];
    for (u64 lap = 0; lap < laps; lap++) {
        for (u64 i = 0; i < batch; i++) plain_split_add(&d, 4096 * i, 1500, 1, &s);
        sum += plain_split_kick(&d);
        for (int head; (head = plain_split_pop(&v, addr, len)) >= 0;) plain_split_push(&v, head, len[0]);
        sum += plain_split_interrupt(&v);
        while (plain_split_get(&d, len)) sum++;
    }
    return sum;
}

/* Driver in this thread, device in another; each spins while it has nothing to do. */
struct served { struct split_device v; u64 buffers; };

static void *plain_serve(void *given)
{
    struct served *s = given;
    u64 addr[64], done = 0;
    u32 len[64];
    while (done < s->buffers) {
        int head = plain_split_pop(&s->v, addr, len);
        if (head < -1) break;
        if (head >= 0) { plain_split_push(&s->v, head, len[0]); done++; }
    }
    return 0;
}

u64 threads_split(void *memory, u64 size, u64 avail, u64 used, void **data, u64 batch, u64 buffers)
{
    struct split s = {size, memory, (void *)((char *)memory + avail), (void *)((char *)memory + used)};
    struct split_driver d = {s, 0, 0, 0, 0, size, data};
    struct served other = {{s, 0, 0, 0}, buffers};
    s.avail->idx = s.used->idx = 0;
    for (u64 i = 0; i < size; i++) s.desc[i].next = i + 1, data[i] = 0;
    pthread_t device;
    if (pthread_create(&device, 0, plain_serve, &other)) return 0;
    u64 added = 0, got = 0;
    u32 len;
    while (got < buffers) {
        for (u64 i = 0; i < batch && added < buffers; i++, added++)
            if (plain_split_add(&d, 4096 * i, 1500, 1, &s) < 0) break;
        while (plain_split_get(&d, &len)) got++;
    }
    pthread_join(device, 0);
    return got;
}

struct pdesc { u64 addr; u32 len; u16 id, flags; };
struct event { u16 where, flags; };
struct packed { u32 size; volatile struct pdesc *desc; volatile struct event *driver, *device; };
struct packed_driver { struct packed p; u16 free, *next, *count, slot, used; u32 room, moved; int wrap, used_wrap; };
struct packed_device { struct packed p; u16 slot, used; u32 moved; int wrap, used_wrap; };

int plain_packed_add(struct packed_driver *d, u64 addr, u32 len, int write)
{
    if (!d->room) return -1;
    u16 id = d->free;
    d->free = d->next[id], d->count[id] = 1;
    volatile struct pdesc *e = &d->p.desc[d->slot];
    e->addr = addr, e->len = len, e->id = id;
    RELEASE();
    e->flags = (write ? 2 : 0) | (d->wrap ? 0x80 : 0x8000);
    d->room--, d->moved++;
    if (++d->slot == d->p.size) d->slot = 0, d->wrap ^= 1;
    return id;
}

HELPER int plain_event(volatile struct event *e, u32 size, u16 new, int wrap, u32 moved)
{
    FULL();
    u16 flags = e->flags & 3, where = e->where, off = where & 0x7FFF;
    if (flags != 2) return flags != 1;
    if (where >> 15 != wrap) off -= size;
    return (u16)(new - off - 1) < (u16)moved;
}

int plain_packed_pop(struct packed_device *d, u64 *addr, u32 *len, u32 *count)
{
    u32 n = 0;
    for (;;) {
        volatile struct pdesc *e = &d->p.desc[d->slot];
        u16 flags = e->flags;
        if (!!(flags & 0x80) != d->wrap || !!(flags & 0x8000) == d->wrap || n == d->p.size) return -1;
        ACQUIRE();
        addr[n] = e->addr, len[n++] = e->len;
        u16 id = e->id;
        if (++d->slot == d->p.size) d->slot = 0, d->wrap ^= 1;
        if (!(flags & 1)) { *count = n; return id; }
    }
}

void plain_packed_push(struct packed_device *d, u16 id, u32 len, u32 count)
{
    volatile struct pdesc *e = &d->p.desc[d->used];
    e->id = id, e->len = len;
    RELEASE();
    e->flags = (len ? 2 : 0) | (d->used_wrap ? 0x8080 : 0);
    d->used += count, d->moved += count;
    if (d->used >= d->p.size) d->used -= d->p.size, d->used_wrap ^= 1;
}

int plain_packed_get(struct packed_driver *d, u32 *len)
{
    volatile struct pdesc *e = &d->p.desc[d->used];
    u16 flags = e->flags;
    if (!!(flags & 0x80) != !!(flags & 0x8000) || !!(flags & 0x8000) != d->used_wrap) return -1;
    ACQUIRE();
    u16 id = e->id;
    *len = e->len;
    if (id >= d->p.size || !d->count[id]) return -2;
    d->used += d->count[id], d->room += d->count[id];
    if (d->used >= d->p.size) d->used -= d->p.size, d->used_wrap ^= 1;
    d->count[id] = 0, d->next[id] = d->free, d->free = id;
    return id;
}

u64 plain_packed(void *memory, u64 size, u64 driver, u64 device, u16 *ids, u64 batch, u64 laps)
{
    struct packed p = {size, memory, (void *)((char *)memory + driver), (void *)((char *)memory + device)};
    struct packed_driver d = {p, 0, ids, ids + size, 0, 0, size, 0, 1, 1};
    struct packed_device v = {p, 0, 0, 0, 1, 1};
    for (u64 i = 0; i < size; i++) d.next[i] = i + 1, d.count[i] = 0, p.desc[i].flags = 0;
    u64 sum = 0, addr[64];
    u32 len[64], count;
    for (u64 lap = 0; lap < laps; lap++) {
        for (u64 i = 0; i < batch; i++) plain_packed_add(&d, 4096 * i, 1500, 1);
        sum += plain_event(p.device, size, d.slot, d.wrap, d.moved);
        d.moved = 0;
        for (int id; (id = plain_packed_pop(&v, addr, len, &count)) >= 0;) plain_packed_push(&v, id, len[0], count);
        sum += plain_event(p.driver, size, v.used, v.used_wrap, v.moved);
        v.moved = 0;
        while (plain_packed_get(&d, len) >= 0) sum++;
    }
    return sum;
}
