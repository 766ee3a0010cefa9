"""The slow truth about dirty bitmaps: sets of page numbers, lists of writes, one page at a time."""

from collections import deque


def runs(pages):
    """[(first, end)] of a set of pages, ascending."""
    found = []
    for page in sorted(pages):
        if found and found[-1][1] == page:
            found[-1][1] = page + 1
        else:
            found.append([page, page + 1])
    return [tuple(run) for run in found]


def next_run(pages, start, stop):
    for first, end in runs({page for page in pages if start <= page < stop}):
        return first, end
    return stop, stop


def pages_written(segments, length):
    """The pages of the first `length` bytes of [(address, bytes)], byte by byte."""
    addresses = (address + i for address, size in segments for i in range(size))
    return {address >> 12 for address, _ in zip(addresses, range(length), strict=False)}


class Tracking:
    """One guest with manual protection: what KVM holds, what QEMU was told, what is to be sent."""

    def __init__(self, sizes, shift):
        self.sizes, self.shift = sizes, shift
        self.kernel, self.reported, self.migration = set(), set(), set()
        self.todo, self.chunks, self.unsent = set(), set(), set()
        self.clears = 0

    def start(self):
        self.todo = {(block, page) for block, size in enumerate(self.sizes) for page in range(size)}
        self.kernel, self.unsent = set(self.todo), set(self.todo)

    def mark(self, block, pages):
        self.kernel |= {(block, page) for page in pages}
        self.unsent |= {(block, page) for page in pages}

    def mark_qemu(self, block, pages):
        self.migration |= {(block, page) for page in pages}
        self.unsent |= {(block, page) for page in pages}

    def sync(self):
        self.reported = set(self.kernel)
        dirty = self.migration | self.reported
        new = len(dirty - self.todo)
        self.todo |= dirty
        self.migration = set()
        for block, size in enumerate(self.sizes):
            if size % 64:
                self.kernel = {each for each in self.kernel if each[0] != block}
            else:
                self.chunks |= {(block, page >> self.shift) for page in range(size)}
        return new

    def send(self, block, start, stop, last_stage):
        sent = 0
        for page in range(start, stop):
            chunk = (block, page >> self.shift)
            if not last_stage and chunk in self.chunks:
                self.chunks.remove(chunk)
                self.clears += 1
                inside = {each for each in self.reported if (each[0], each[1] >> self.shift) == chunk}
                self.kernel -= inside
                self.reported -= inside
            if (block, page) in self.todo:
                self.todo.remove((block, page))
                self.unsent.discard((block, page))
                sent += 1
        return sent


class Ring:
    """One vCPU's dirty ring as a queue of (slot, page)."""

    def __init__(self, soft_limit):
        self.soft_limit = soft_limit
        self.pushed, self.fetched, self.logged = deque(), deque(), set()

    def write(self, slot, pages):
        """How many writes went through."""
        for done, page in enumerate(pages):
            if len(self.pushed) + len(self.fetched) >= self.soft_limit:
                return done
            if (slot, page) not in self.logged:
                self.logged.add((slot, page))
                self.pushed.append((slot, page))
        return len(pages)

    def reap(self, limit):
        taken = [self.pushed.popleft() for _ in range(min(limit, len(self.pushed)))]
        self.fetched.extend(taken)
        return set(taken)

    def reset(self):
        """(entries, calls): a call takes neighbours of one slot as long as all of them lie within 64 pages."""
        entries, groups = len(self.fetched), []
        for slot, page in self.fetched:
            self.logged.discard((slot, page))
            if groups and groups[-1][0] == slot:
                low, high = min(groups[-1][1]), max(groups[-1][1])
                if max(high, page) - min(low, page) < 64:
                    groups[-1][1].append(page)
                    continue
            groups.append((slot, [page]))
        self.fetched.clear()
        return entries, len(groups)


class Xorshift:
    """Marsaglia's generator on Python integers."""

    def __init__(self, word):
        self.word = word

    def next(self):
        mask = (1 << 64) - 1
        self.word ^= self.word << 13 & mask
        self.word ^= self.word >> 7
        self.word ^= self.word << 17 & mask
        return self.word
