"""The slow truth: the same amounts as the package, found by looking at every entry and page one at a time."""

from math import gcd

from vdpa_lab.units import GIB, MIB, PAGE_SIZE


def entries(run):
    """(IOVA, size, permission) of each IOTLB entry of a run."""
    found, at = [], run.iova
    for pages in run.lengths.tolist():
        found.append((at, pages * PAGE_SIZE, run.perm))
        at += pages * PAGE_SIZE
    assert at == run.iova + run.size
    return found


def region(runs, window=GIB):
    """(entries, direct MKEYs, KLMs, MTTs, mailbox blocks) of mlx5_vdpa's create_user_mr, entry by entry."""
    every = sorted(each for run in runs for each in entries(run))
    chains = []
    for start, size, perm in every:
        if chains and chains[-1][-1][0] + chains[-1][-1][1] == start and chains[-1][-1][2] == perm:
            chains[-1].append((start, size, perm))
        else:
            chains.append([(start, size, perm)])
    direct = klms = mtts = blocks = 0
    end_before = None
    for chain in chains:
        start, end = chain[0][0], chain[-1][0] + chain[-1][1]
        if end_before is not None:
            while end_before < start:
                end_before = min(end_before + window, start)
                klms += 1
        for low in range(start, end, window):
            high = min(low + window, end)
            sizes = [min(high, at + size) - max(low, at) for at, size, _ in chain]
            common = gcd(*(size for size in sizes if size > 0))
            entity = 1
            while entity * 2 <= common:
                entity *= 2
            count = len(range(low, high, entity))
            direct, klms, mtts = direct + 1, klms + 1, mtts + count
            inbox = 8 * (count + count % 2)
            while inbox > 0:
                blocks, inbox = blocks + 1, inbox - 512
        end_before = end
    return len(every), direct, klms, mtts, blocks


def iommu_leaves(run):
    """IOMMU page-table leaves of a run: the largest page that IOVA, physical address and rest allow, in turn.

    The chunks of a run lie at whole chunks of physical memory, far from each other.
    """
    count = 0
    for number, (at, size, _) in enumerate(entries(run)):
        physical = 2 * GIB * number + (run.chunks.page - run.chunks.first if number == 0 else 0)
        while size:
            leaf = next(
                page for page in (GIB, 2 * MIB, PAGE_SIZE) if page <= size and at % page == physical % page == 0
            )
            count, at, physical, size = count + 1, at + leaf, physical + leaf, size - leaf
    return count


class Device:
    """A vhost-vdpa device whose address spaces are sets of entries; `sizes`: what each set_map was handed."""

    def __init__(self):
        self.spaces, self.sizes = {}, []

    def update(self, asid, run, batched=False):
        for entry in entries(run):
            self.spaces.setdefault(asid, set()).add(entry)
            if not batched:
                self.set_map(asid)

    def invalidate(self, asid, run, batched=False):
        inside = {e for e in self.spaces.get(asid, set()) if run.iova <= e[0] < run.iova + run.size}
        assert inside, "nothing is mapped there"
        self.spaces[asid] -= inside
        if not batched:
            self.set_map(asid)

    def set_map(self, asid):
        self.sizes.append(len(self.spaces.get(asid, ())))
