"""Slow twins of the IOTLB and IOVA kernels: a plain list, walked from its start every time; pages in a dict."""

ALL = (1 << 64) - 1
PAGE = 4096


class Iotlb:
    """Entries (start, last, addr, perm) in a list, in order of insertion."""

    def __init__(self):
        self.entries = []

    def overlapping(self, start, last):
        return [entry for entry in sorted(self.entries) if entry[0] <= last and start <= entry[1]]

    def add(self, start, last, addr, perm):
        """None, or the name of the error."""
        if last < start:
            return "EFAULT"
        if perm not in (1, 2, 3):
            return "EINVAL"
        if self.overlapping(start, last):
            return "EEXIST"
        if (start, last) == (0, ALL):
            self.entries += [(0, ALL // 2, addr, perm), (ALL // 2 + 1, ALL, addr + ALL // 2 + 1, perm)]
        else:
            self.entries.append((start, last, addr, perm))
        return None

    def remove(self, start, last):
        gone = self.overlapping(start, last)
        self.entries = [entry for entry in self.entries if entry not in gone]
        return gone

    def lookup(self, address):
        """(physical, perm) or None."""
        for start, last, addr, perm in self.entries:
            if start <= address <= last:
                return addr + address - start, perm
        return None

    def translate(self, address, length, need):
        """Pieces, or the name of the error: from boundary to boundary, each piece within one entry."""
        pieces = []
        while length:
            held = self.overlapping(address, address) if address <= ALL else []
            if not held:
                return "EINVAL"
            start, last, addr, perm = held[0]
            if not perm & need:
                return "EPERM"
            size = min(length, last - address + 1)
            pieces.append((addr + address - start, size))
            address, length = address + size, length - size
        return pieces


class IovaTree:
    """QEMU's linear walk, holes in order of the entries, in arithmetic modulo 2^64."""

    def __init__(self):
        self.entries = []  # (iova, size less one, addr, perm)

    def insert(self, iova, more, addr, perm):
        if iova + more > ALL or not perm:
            return "IOVA_ERR_INVALID"
        if any(at <= iova + more and iova <= at + size for at, size, _, _ in self.entries):
            return "IOVA_ERR_OVERLAP"
        self.entries.append((iova, more, addr, perm))
        return None

    def allocate(self, begin, last, more, addr, perm):
        """The IOVA, or the name of the error."""
        if last < begin:
            return "IOVA_ERR_INVALID"
        after, found = 0, None
        for at, size, _, _ in [*sorted(self.entries), (ALL, 0, 0, 0)]:
            if at + size < begin:
                after = (at + size + 1) & ALL
                continue
            hole = max(after, begin)
            if (at - hole) & ALL > more:
                found = hole
                break
            after = (at + size + 1) & ALL
        if found is None or (found + more) & ALL > last:
            return "IOVA_ERR_NOMEM"
        return self.insert(found, more, addr, perm) or found

    def remove(self, iova, more):
        kept = [entry for entry in self.entries if entry[0] > iova + more or entry[0] + entry[1] < iova]
        gone = len(self.entries) - len(kept)
        self.entries = kept
        return gone


def chunks(pfns, iova):
    """(start, last, addr) of each run of page numbers that count up by one."""
    found = []
    for i, pfn in enumerate(pfns):
        if i and pfn == pfns[i - 1] + 1:
            found[-1][1] += PAGE
        else:
            found.append([iova + PAGE * i, iova + PAGE * (i + 1) - 1, pfn * PAGE])
    return [tuple(each) for each in found]


def leaves(iova, physical, size):
    """(1 GiB, 2 MiB, 4 KiB) leaves of iommu_map, one at a time."""
    counts = {1 << 30: 0, 1 << 21: 0, PAGE: 0}
    while size:
        step = next(each for each in counts if size >= each and iova % each == physical % each == 0)
        counts[step] += 1
        iova, physical, size = iova + step, physical + step, size - step
    return tuple(counts.values())
