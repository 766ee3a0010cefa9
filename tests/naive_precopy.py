"""Precopy page by page with plain lists and sets: the slow twin of `precopy_exact`, which also keeps versions.

Every page knows how often it was written, and which version was sent last; nothing here is a bitmap.
"""

from collections import Counter

PAGE, HEADER, VECTORS, BUFFER = 4096, 8, 64, 32768


class NaiveRam:
    def __init__(self, pages, zero, chunk_pages, page_ns, zero_ns, host_pages=1, packet=None):
        """packet: pages, bytes of its header, are zeros listed in it, bytes of a synchronisation; None: plain."""
        self.host_pages, self.packet, self.open_packet, self.wire, self.slice_ns = host_pages, packet, [], 0, 0
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

    def end_packet(self):
        self.open_packet = []
        self.wire += self.packet[1]
        return self.packet[1]

    def send(self, room, most_ns, last_stage=False, waited=None):
        """Normal and zero pages, ns, whether the rate stopped it, and whether within a host page."""
        normal = zeros = ns = flushed = 0
        buffered, waiting, vectors, open_buffer = 0, 0, 0, False
        if waited is None:
            self.slice_ns, self.host_done = 0, 0
        self.slice_ns += waited or 0
        order = self.in_order()
        wraps = [i for i, page in enumerate(order) if page < self.cursor][:1] or [len(order)]
        for number in range(len(order) + 1):
            page = order[number] if number < len(order) else None
            inside = page is not None and (number or waited is not None) and page // self.host_pages == self.host_page
            inside = bool(inside and self.host_pages > 1 and page >= self.cursor)
            if number and not inside:  # a host page is done
                if self.host_done % 64 == 0 and self.slice_ns > most_ns:
                    return normal, zeros, ns, False, False
                self.host_done += 1
            if room is not None and flushed > room:
                return normal, zeros, ns, True, inside
            if self.packet and number in (wraps[0], len(order)):
                self.wire += self.packet[3]
                flushed += self.packet[3] + (self.end_packet() if self.open_packet else 0) + buffered + waiting
                buffered, waiting, vectors, open_buffer = 0, 0, 0, False
            if page is None:
                break
            self.host_page = page // self.host_pages
            chunk = page // self.chunk_pages
            if not last_stage and chunk in self.uncleared:
                self.uncleared.discard(chunk)
                cleared = set(range(chunk * self.chunk_pages, (chunk + 1) * self.chunk_pages))
                self.kernel -= self.fetched & cleared
                self.fetched -= cleared
                self.clears += 1
            self.to_send.discard(page)
            self.cursor = page + 1
            self.sent_version[page] = self.version[page]
            self.times_sent[page] += 1
            vectors += not open_buffer
            open_buffer = True
            is_zero = page in self.zero
            queued = self.packet and (self.packet[2] or not is_zero)
            before = buffered + waiting
            if queued:
                self.open_packet.append(page)
            else:
                buffered += HEADER + is_zero
            if is_zero:
                zeros += 1
                took = self.costs[1]
            else:
                normal += 1
                waiting += PAGE
                vectors += 1
                open_buffer = False
                took = self.costs[0]
            ns += took
            self.slice_ns += took
            self.wire += buffered + waiting - before
            if queued and len(self.open_packet) == self.packet[0]:
                flushed += buffered + waiting + self.end_packet()
                buffered, waiting, vectors, open_buffer = 0, 0, 0, False
            elif buffered >= BUFFER or (vectors >= VECTORS and not self.packet):
                flushed += buffered + waiting
                buffered, waiting, vectors, open_buffer = 0, 0, 0, False
        return normal, zeros, ns, False, False
