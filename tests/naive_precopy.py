"""Precopy page by page with plain lists and sets: the slow twin of `precopy_exact`, which also keeps versions.

Every page knows how often it was written, and which version was sent last; nothing here is a bitmap.
"""

from collections import Counter

PAGE, HEADER, VECTORS, BUFFER = 4096, 8, 64, 32768


class NaiveRam:
    def __init__(self, pages, zero, chunk_pages, page_ns, zero_ns):
        self.pages, self.chunk_pages, self.costs = pages, chunk_pages, (page_ns, zero_ns)
        self.zero = set(zero)
        self.to_send = set(range(pages))
        self.kernel = set(range(pages))
        self.fetched = set()
        self.uncleared = set()
        self.cursor = 0
        self.version, self.sent_version, self.times_sent = Counter(), {}, Counter()
        self.clears = 0

    def write(self, pages):
        for page in pages:
            self.version[page] += 1
            self.kernel.add(page)
            self.zero.discard(page)

    def sync(self):
        self.fetched = set(self.kernel)
        new = self.fetched - self.to_send
        self.to_send |= new
        if self.pages % 64:  # the slow path clears at once, page by page
            self.kernel.clear()
        else:
            self.uncleared = set(range(self.pages // self.chunk_pages))
        return len(new)

    def in_order(self):
        ahead = sorted(page for page in self.to_send if page >= self.cursor)
        return ahead + sorted(page for page in self.to_send if page < self.cursor)

    def send(self, room, most_ns, last_stage=False):
        normal = zeros = ns = flushed = 0
        buffered, waiting, vectors, open_buffer = 0, 0, 0, False
        for number, page in enumerate(self.in_order()):
            if room is not None and flushed > room:
                return normal, zeros, ns, True
            chunk = page // self.chunk_pages
            if not last_stage and chunk in self.uncleared:
                self.uncleared.discard(chunk)
                inside = set(range(chunk * self.chunk_pages, (chunk + 1) * self.chunk_pages))
                self.kernel -= self.fetched & inside
                self.fetched -= inside
                self.clears += 1
            self.to_send.discard(page)
            self.cursor = page + 1
            self.sent_version[page] = self.version[page]
            self.times_sent[page] += 1
            vectors += not open_buffer
            open_buffer = True
            buffered += HEADER
            if page in self.zero:
                zeros += 1
                buffered += 1
                ns += self.costs[1]
            else:
                normal += 1
                waiting += PAGE
                vectors += 1
                open_buffer = False
                ns += self.costs[0]
            if vectors >= VECTORS or buffered >= BUFFER:
                flushed += buffered + waiting
                buffered, waiting, vectors, open_buffer = 0, 0, 0, False
            if number % 64 == 0 and ns > most_ns:
                return normal, zeros, ns, False
        return normal, zeros, ns, room is not None and flushed > room
