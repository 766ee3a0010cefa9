"""The slow truth of mlx5 memory regions: a dictionary of pages, windows by stepping, a clock that ticks.

An IOTLB entry is (IOVA, size, perm) in bytes; a layout is a list of them in IOVA order.
"""

from math import gcd

from vdpa_lab.units import GIB, PAGE_SIZE


def page_table(entries):
    """Page of IOVA -> (number of the entry, perm, page inside the entry)."""
    table = {}
    for number, (iova, size, perm) in enumerate(entries):
        for inside in range(size // PAGE_SIZE):
            assert iova // PAGE_SIZE + inside not in table
            table[iova // PAGE_SIZE + inside] = (number, perm, inside)
    return table


def windows(entries, window=GIB):
    """[(IOVA, size, entity, number of MTTs, numbers of the entries inside)] of create_user_mr, and the null keys."""
    table = page_table(entries)
    found, nulls = [], 0
    page, before = min(table, default=0), None
    last = max(table, default=-1)
    while page <= last:
        if page not in table:
            page += 1
            continue
        if before is not None:
            while before < page:
                before, nulls = before + window // PAGE_SIZE, nulls + 1
        start, perm = page, table[page][1]
        end = start
        while end in table and table[end][1] == perm:
            end += 1
        while page < end:
            inside = {}
            low = page
            while page < min(low + window // PAGE_SIZE, end):
                inside[table[page][0]] = inside.get(table[page][0], 0) + PAGE_SIZE
                page += 1
            common, entity = gcd(*inside.values()), 1
            while entity * 2 <= common:
                entity *= 2
            size = (page - low) * PAGE_SIZE
            found.append((low * PAGE_SIZE, size, entity, len(range(0, size, entity)), sorted(inside)))
        before = end
    return found, nulls


def totals(entries, window=GIB):
    """(entries, direct MKEYs, KLMs, MTTs, mailbox blocks)."""
    direct, nulls = windows(entries, window)
    mtts = [count for _, _, _, count, _ in direct]
    blocks = sum(len(range(0, 8 * (count + count % 2), 512)) for count in mtts)
    return len(entries), len(direct), len(direct) + nulls, sum(mtts), blocks


def closed_form(stretches, window=GIB):
    """`totals` of stretches (IOVA, size, perm, chunk, first chunk) of equal chunks, by arithmetic on each window."""
    chains = []
    for stretch in stretches:
        iova, _, perm, *_ = stretch
        if chains and sum(chains[-1][-1][:2]) == iova and chains[-1][-1][2] == perm:
            chains[-1].append(stretch)
        else:
            chains.append([stretch])
    every = direct = klms = count = blocks = 0
    before = None
    for chain in chains:
        start, end = chain[0][0], sum(chain[-1][:2])
        every += sum(1 + -(-(size - first) // chunk) for _, size, _, chunk, first in chain)
        klms += 0 if before is None else -(-(start - before) // window)
        for low in range(start, end, window):
            high, common = min(low + window, end), 0
            for iova, size, _, chunk, first in chain:
                left, right = max(low, iova), min(high, iova + size)
                head = iova + first if left < iova + first else left + (iova + first - left) % chunk
                if head >= right:
                    common = gcd(common, max(right - left, 0))
                else:
                    whole, tail = divmod(right - head, chunk)
                    common = gcd(common, head - left, chunk if whole else 0, tail)
            nsg = -(-(high - low) // (1 << common.bit_length() - 1))
            direct, klms, count, blocks = direct + 1, klms + 1, count + nsg, blocks + -(-(nsg + nsg % 2) // 64)
        before = end
    return every, direct, klms, count, blocks


def mtts(entries, physical, window=GIB):
    """The MTT list of each window: entity after entity of every entry inside, as map_direct_mr fills the sg table."""
    table, lists = page_table(entries), []
    for iova, size, entity, count, inside in windows(entries, window)[0]:
        pages = range(iova // PAGE_SIZE, (iova + size) // PAGE_SIZE)
        listed = []
        for number in inside:
            mine = [physical[number] + table[page][2] * PAGE_SIZE for page in pages if table[page][0] == number]
            listed += list(range(mine[0], mine[-1] + PAGE_SIZE, entity))
        lists.append(listed[:count])
    return lists


def lifetime(rebuilds, delay):
    """(starts, finishes, waits, collections, peak) of mr_lifetime.lifetime, tick by tick."""
    waiting, asked, dropped, live = list(rebuilds), None, [], {}
    building, collecting, due = None, None, None
    starts, finishes, waits, runs, changes = [], [], [], [], []

    tick = 0
    while waiting or building or collecting or due is not None:
        moved = True
        while moved:
            moved = False
            if building and building[1] == tick:
                old = live.get(building[0].asid)
                if old:
                    dropped.append(old)
                    due = tick + delay if due is None else due
                live[building[0].asid], building, moved = building[0], None, True
            if collecting == tick:
                collecting, moved = None, True
            if due == tick:
                moved = True
                if building or collecting is not None:
                    due = tick + delay
                else:
                    collecting, due = tick, None
                    for region in dropped:
                        collecting += region.destroy
                        changes.append((collecting, -region.size))
                    runs.append((tick, collecting))
                    dropped = []
                continue
            if waiting and not building and waiting[0].time <= tick:
                asked = tick if asked is None else asked
                if collecting is None:
                    rebuild = waiting.pop(0)
                    building, moved = (rebuild, tick + rebuild.build), True
                    starts.append(tick)
                    finishes.append(tick + rebuild.build)
                    waits.append(tick - asked)
                    changes.append((tick, rebuild.size))
                    asked = None
        tick += 1
    assert [at for at, _ in changes] == sorted(at for at, _ in changes)
    held = [sum(size for _, size in changes[: n + 1]) for n in range(len(changes))]
    return tuple(starts), tuple(finishes), tuple(waits), tuple(runs), max(held, default=0)
