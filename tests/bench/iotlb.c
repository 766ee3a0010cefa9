/* Own C for vdpa_lab/bench/iotlb.py. "twin" is the kernels' algorithm again, on the same arrays; "peer" the way of Linux
 * and QEMU: a red-black tree of nodes with pointers, and for first fit a walk in order over all entries. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;
#define HELPER static inline __attribute__((always_inline))
#define ONES (~0ull)
enum { ENTRIES, LEAVES, STEPS, FREE, USED };
enum { GROUP = 32 };

HELPER u64 least(u64 a, u64 b) { return a < b ? a : b; }

/* ---- twin ---- */

HELPER u64 leaf_of(const u64 *state, const u64 *tops, u64 at)
{
    u64 place = 0;
    for (u64 shift = state[STEPS]; shift--;) place += (u64)(tops[place + (1ull << shift) - 1] < at) << shift;
    return place;
}

HELPER u64 slot_of(const u64 *keys, u64 slot, u64 at)
{
    slot += (u64)(keys[slot + 31] < at) << 5;
    slot += (u64)(keys[slot + 15] < at) << 4;
    slot += (u64)(keys[slot + 7] < at) << 3;
    slot += (u64)(keys[slot + 3] < at) << 2;
    slot += (u64)(keys[slot + 1] < at) << 1;
    return slot + (keys[slot] < at);
}

HELPER void search(const u64 *sorted, u64 steps, const u64 *at, u64 *slots, u64 low, u64 high)
{
    for (u64 shift = steps; shift--;) {
        u64 jump = (1ull << shift) - 1;
        for (u64 i = low; i < high; i++) slots[i] += (u64)(sorted[slots[i] + jump] < at[i]) << shift;
    }
}

HELPER void locate(const u64 *state, const u64 *tops, const u64 *heads, const u64 *keys, const u64 *at, u64 *slots,
                   u64 low, u64 high)
{
    for (u64 i = low; i < high; i++) slots[i] = 0;
    search(tops, state[STEPS], at, slots, low, high);
    for (u64 i = low; i < high; i++) slots[i] = heads[slots[i]] & ~63ull;
    search(keys, 6, at, slots, low, high);
}

u64 twin_lookup_batch(u64 *state, u64 *tops, u64 *heads, u64 *keys, u64 *rows, u64 *at, u64 *slots, u64 *physical,
                      u64 size)
{
    u64 total = 0;
    for (u64 low = 0; low < size; low += GROUP) {
        u64 high = least(low + GROUP, size);
        locate(state, tops, heads, keys, at, slots, low, high);
        for (u64 i = low; i < high; i++) {
            u64 row = 4 * slots[i], start = rows[row], held = (rows[row + 2] != 0) & (start <= at[i]);
            total += held;
            slots[i] = held ? slots[i] : ONES;
            physical[i] = held ? rows[row + 1] + (at[i] - start) : ONES;
        }
    }
    return total;
}

u64 twin_lookup_each(u64 *state, u64 *tops, u64 *heads, u64 *keys, u64 *rows, u64 *at, u64 size)
{
    u64 total = 0, before = 0;
    for (u64 i = 0; i < size; i++) {
        u64 address = at[i] + (before >> 63), head = heads[leaf_of(state, tops, address)], base = head & ~63ull;
        u64 slot = slot_of(keys, base, address);
        before = slot - base < (head & 63) && rows[4 * slot] <= address ? rows[4 * slot + 1] + address - rows[4 * slot] : 0;
        total += before;
    }
    return total;
}

HELPER int split(u64 *state, u64 *tops, u64 *heads, u64 *keys, u64 *rows, u64 place, u64 slot, u64 leaves_at_most)
{
    u64 new, leaves = state[LEAVES];
    if (state[FREE]) {
        new = state[FREE] - 1;
        state[FREE] = keys[new];
        keys[new] = ONES;
    } else if (state[USED] < leaves_at_most) {
        new = state[USED]++ * 64;
    } else {
        return 0;
    }
    u64 base = heads[place] & ~63ull, count = heads[place] & 63;
    u64 keep = place + 1 == leaves && slot == base + count ? count : 32;
    for (u64 i = 0; i < count - keep; i++) {
        keys[new + i] = keys[base + keep + i];
        keys[base + keep + i] = ONES;
    }
    for (u64 i = 0; i < 4 * (count - keep); i++) {
        rows[4 * new + i] = rows[4 * (base + keep) + i];
        rows[4 * (base + keep) + i] = 0;
    }
    memmove(tops + place + 1, tops + place, 8 * (leaves - place));
    memmove(heads + place + 1, heads + place, 8 * (leaves - place));
    tops[place] = keys[base + keep - 1];
    heads[place] = base | keep, heads[place + 1] = new | (count - keep);
    state[LEAVES] = leaves + 1;
    if (leaves == 1ull << state[STEPS]) state[STEPS]++;
    return 1;
}

u64 twin_insert(u64 *state, u64 *tops, u64 *heads, u64 *keys, u64 *rows, u64 *entries, u64 size, u64 leaves)
{
    for (u64 i = 0; i < size;) {
        u64 start = entries[4 * i], last = entries[4 * i + 1], place = leaf_of(state, tops, start);
        u64 base = heads[place] & ~63ull, count = heads[place] & 63, slot = slot_of(keys, base, start);
        if (slot - base < count && rows[4 * slot] <= last) return i;
        if (count == 63) {
            if (!split(state, tops, heads, keys, rows, place, slot, leaves)) return i;
            continue;
        }
        u64 after = base + count - slot;
        memmove(keys + slot + 1, keys + slot, 8 * after);
        memmove(rows + 4 * slot + 4, rows + 4 * slot, 32 * after);
        keys[slot] = last;
        rows[4 * slot] = start, rows[4 * slot + 1] = entries[4 * i + 2], rows[4 * slot + 2] = entries[4 * i + 3];
        heads[place]++, state[ENTRIES]++, i++;
    }
    return size;
}

u64 twin_remove_each(u64 *state, u64 *tops, u64 *heads, u64 *keys, u64 *rows, u64 *at, u64 size)
{
    u64 removed = 0;
    for (u64 i = 0; i < size; i++) {
        u64 place = leaf_of(state, tops, at[i]), base = heads[place] & ~63ull, end = base + (heads[place] & 63);
        u64 slot = slot_of(keys, base, at[i]);
        if (slot == end || rows[4 * slot] > at[i]) continue;
        removed++;
        memmove(keys + slot, keys + slot + 1, 8 * (end - slot - 1));
        memmove(rows + 4 * slot, rows + 4 * slot + 4, 32 * (end - slot - 1));
        keys[end - 1] = ONES, rows[4 * (end - 1) + 2] = 0;
        heads[place]--, state[ENTRIES]--;
        u64 leaves = state[LEAVES], final = place + 1 == leaves;
        if (heads[place] & 63) {
            if (!final && slot + 1 == end) tops[place] = keys[end - 2];
            continue;
        }
        if (leaves == 1) continue;
        memmove(tops + place, tops + place + 1, 8 * (leaves - 1 - place));
        memmove(heads + place, heads + place + 1, 8 * (leaves - 1 - place));
        tops[leaves - 1] = ONES;
        if (final) tops[leaves - 2] = ONES;
        state[LEAVES] = leaves - 1;
        keys[base] = state[FREE], state[FREE] = base + 1;
    }
    return removed;
}

u64 twin_translate(u64 *state, u64 *tops, u64 *heads, u64 *keys, u64 *rows, u64 *addresses, u64 *lengths, u64 *perms,
                   u64 *ends, u64 *pieces, u64 size, u64 room)
{
    u64 made = 0;
    for (u64 low = 0; low < size; low += GROUP) {
        u64 high = least(low + GROUP, size);
        locate(state, tops, heads, keys, addresses, ends, low, high);
        for (u64 i = low; i < high; i++) {
            u64 slot = ends[i], at = addresses[i], left = lengths[i], need = perms[i];
            while (left) {
                u64 start = rows[4 * slot], perm = rows[4 * slot + 2], more = keys[slot] - at;
                if (made == room || !perm || start > at || !(perm & need)) return i;
                pieces[2 * made] = rows[4 * slot + 1] + (at - start);
                pieces[2 * made + 1] = least(left - 1, more) + 1;
                made++;
                if (left - 1 <= more) break;
                if (keys[slot] == ONES) return i;
                at = keys[slot] + 1, left -= more + 1;
                slot = slot_of(keys, heads[leaf_of(state, tops, at)] & ~63ull, at);
            }
            ends[i] = made;
        }
    }
    return size;
}

/* ---- peer: a red-black tree with parent pointers; its nodes stand in `pool`, in order of insertion ---- */

typedef struct node { struct node *left, *right, *parent; u64 red, start, last, addr, perm; } node;
typedef struct { node *root, *pool; u64 used, size; } tree;

u64 peer_new(u64 size)
{
    tree *t = calloc(1, sizeof *t);
    t->pool = calloc(size + 1, sizeof *t->pool);
    t->size = size;
    return (u64)t;
}

u64 peer_clear(tree *t) { t->root = 0; t->used = 0; return 0; }

u64 peer_copy(tree *to, tree *from) /* the same shape, at other addresses */
{
    to->used = from->used;
    memcpy(to->pool, from->pool, from->used * sizeof *from->pool);
#define MOVED(p) ((p) ? to->pool + ((p) - from->pool) : 0)
    to->root = MOVED(from->root);
    for (u64 i = 0; i < to->used; i++) {
        node *n = to->pool + i;
        n->left = MOVED(n->left), n->right = MOVED(n->right), n->parent = MOVED(n->parent);
    }
    return 0;
}

HELPER void hang(tree *t, node *old, node *new)
{
    if (!old->parent) t->root = new;
    else if (old->parent->left == old) old->parent->left = new;
    else old->parent->right = new;
    if (new) new->parent = old->parent;
}

HELPER void rotate(tree *t, node *n, int left)
{
    node *up = left ? n->right : n->left, *middle = left ? up->left : up->right;
    hang(t, n, up);
    if (left) n->right = middle, up->left = n;
    else n->left = middle, up->right = n;
    if (middle) middle->parent = n;
    n->parent = up;
}

HELPER node *peer_find(tree *t, u64 at, u64 last)
{
    node *n = t->root;
    while (n && (n->start > last || n->last < at)) n = n->last < at ? n->right : n->left;
    return n;
}

u64 peer_insert(tree *t, u64 *entries, u64 size)
{
    for (u64 i = 0; i < size; i++) {
        u64 start = entries[4 * i], last = entries[4 * i + 1];
        node *n = t->root, *parent = 0;
        while (n) {
            if (n->start <= last && start <= n->last) return i;
            parent = n, n = n->last < start ? n->right : n->left;
        }
        n = t->pool + t->used++;
        *n = (node){0, 0, parent, 1, start, last, entries[4 * i + 2], entries[4 * i + 3]};
        if (!parent) t->root = n;
        else if (parent->last < start) parent->right = n;
        else parent->left = n;
        while ((parent = n->parent) && parent->red) {
            node *grand = parent->parent;
            int left = grand->left == parent;
            node *uncle = left ? grand->right : grand->left;
            if (uncle && uncle->red) {
                parent->red = uncle->red = 0, grand->red = 1, n = grand;
                continue;
            }
            if (n == (left ? parent->right : parent->left)) rotate(t, parent, left), n = parent, parent = n->parent;
            parent->red = 0, grand->red = 1;
            rotate(t, grand, !left);
        }
        t->root->red = 0;
    }
    return size;
}

static void erase(tree *t, node *z)
{
    node *x, *parent, *y = z;
    u64 red = z->red;
    if (!z->left) x = z->right, parent = z->parent, hang(t, z, x);
    else if (!z->right) x = z->left, parent = z->parent, hang(t, z, x);
    else {
        for (y = z->right; y->left;) y = y->left;
        red = y->red, x = y->right, parent = y;
        if (y->parent != z) {
            parent = y->parent;
            hang(t, y, x);
            y->right = z->right, y->right->parent = y;
        }
        hang(t, z, y);
        y->left = z->left, y->left->parent = y, y->red = z->red;
    }
    if (red) return;
    while (x != t->root && !(x && x->red)) {
        int left = parent->left == x;
        node *w = left ? parent->right : parent->left;
        if (w->red) w->red = 0, parent->red = 1, rotate(t, parent, left), w = left ? parent->right : parent->left;
        node *near = left ? w->left : w->right, *far = left ? w->right : w->left;
        if (!(near && near->red) && !(far && far->red)) {
            w->red = 1, x = parent, parent = x->parent;
            continue;
        }
        if (!(far && far->red)) near->red = 0, w->red = 1, rotate(t, w, !left), w = left ? parent->right : parent->left;
        far = left ? w->right : w->left;
        w->red = parent->red, parent->red = 0;
        if (far) far->red = 0;
        rotate(t, parent, left);
        x = t->root;
    }
    if (x) x->red = 0;
}

u64 peer_remove_each(tree *t, u64 *at, u64 size)
{
    u64 removed = 0;
    for (u64 i = 0; i < size; i++) {
        node *n = peer_find(t, at[i], at[i]);
        if (n) erase(t, n), removed++;
    }
    return removed;
}

u64 peer_lookup_batch(tree *t, u64 *at, u64 *physical, u64 size)
{
    u64 total = 0;
    for (u64 i = 0; i < size; i++) {
        node *n = peer_find(t, at[i], at[i]);
        total += n != 0;
        physical[i] = n ? n->addr + at[i] - n->start : ONES;
    }
    return total;
}

u64 peer_lookup_each(tree *t, u64 *at, u64 size)
{
    u64 total = 0, before = 0;
    for (u64 i = 0; i < size; i++) {
        u64 address = at[i] + (before >> 63);
        node *n = peer_find(t, address, address);
        before = n ? n->addr + address - n->start : 0;
        total += before;
    }
    return total;
}

HELPER node *next(node *n)
{
    if (n->right) {
        for (n = n->right; n->left;) n = n->left;
        return n;
    }
    while (n->parent && n->parent->right == n) n = n->parent;
    return n->parent;
}

u64 peer_first_fit(tree *t, u64 *more, u64 size, u64 begin) /* allocate, free; the sum of the addresses */
{
    u64 total = 0;
    for (u64 i = 0; i < size; i++) {
        node *n = t->root;
        while (n && n->left) n = n->left;
        u64 after = 0, hole = 0;
        for (; n; after = n->last + 1, n = next(n)) {
            if (n->last < begin) continue;
            hole = after > begin ? after : begin;
            if (n->start - hole > more[i]) break;
        }
        if (!n) hole = after > begin ? after : begin;
        u64 entry[4] = {hole, hole + more[i], 0, 3};
        if (!peer_insert(t, entry, 1)) return ONES;
        total += hole;
        peer_remove_each(t, &hole, 1);
        t->used--;
    }
    return total;
}
