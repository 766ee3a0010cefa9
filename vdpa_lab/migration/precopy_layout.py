"""What precopy has to know of a guest's RAM: where zeros and writers are, and what a page costs to send."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from vdpa_lab.kernels.bitmap_sync import HEADER_BYTES, wire_bytes
from vdpa_lab.library import Calibration, priors, read_calibration, testbed_names
from vdpa_lab.migration.fluid import max_min
from vdpa_lab.model import Scenario
from vdpa_lab.paths import data_dir
from vdpa_lab.units import PAGE_SIZE, SECOND

PAGE_WIRE, ZERO_WIRE = wire_bytes(1, 0), wire_bytes(0, 1)
HOST_PAGES = {"2M": 512, "1G": 1 << 18}  # pages of a host page; a THP is none to QEMU (qemu_ram_pagesize)
PACKET_PAGES = 512 * 1024 // PAGE_SIZE  # multifd.h MULTIFD_PACKET_SIZE
PACKET_WIRE = (
    320 + 8 * PACKET_PAGES
)  # multifd.c packet_len: MultiFDPacket_t and room for as many offsets, even if unused
ZEROS_IN_THREADS = (9, 0)  # QEMU: zero-page-detection is multifd by default


class Layout(NamedTuple):
    """Pages of RAM in send order: in use, then zero, then in use again; the working set ends where the zeros begin.

    ring: entries of the dirty ring that tells of writes, 0: KVM's dirty log does.
    """

    pages: int
    zero_first: int
    zero_stop: int
    written_first: int
    written: int
    ring: int = 0


class Stream(NamedTuple):
    """How pages go out: bytes of a whole and of a zero page in the stream, and what comes on top.

    packet_pages: pages in a packet of multifd, 0 without; zero_queued: pages of zeros are listed in packets too.
    packet_wire, sync_wire: bytes of a packet's header, and of all channels' synchronisation at the end of a round.
    host_pages: pages of a host page, which go out together.
    """

    page_wire: int = PAGE_WIRE
    zero_wire: int = ZERO_WIRE
    packet_pages: int = 0
    packet_wire: int = 0
    zero_queued: bool = False
    sync_wire: int = 0
    host_pages: int = 1


PLAIN = Stream()


class Writer:
    """How many pages a guest has written. In whole numbers: however time is cut up, it comes to the same."""

    def __init__(self, rate: int) -> None:
        self.rate, self._work = rate, 0

    def run(self, ns: int, share: float) -> tuple[int, int]:
        """Pages written before, and in these ns, of which the vCPUs run for `share`, to a percent."""
        before, self._work = self._work, self._work + self.rate * ns * round(100 * share)
        second = 100 * SECOND
        return before // second, self._work // second - before // second


class Costs(NamedTuple):
    """ns of a normal and of a zero page: the threads' work, or the wire's where that is slower; and the stream."""

    page_ns: int
    zero_ns: int
    stream: Stream


def wire_ns(size: int, bandwidth: int | None) -> int:
    """Time on the wire of `size` bytes."""
    return 0 if bandwidth is None else -(-size * SECOND // bandwidth)


def page_ns(pages: int, bandwidth: int | None) -> int:
    """Time on the wire of whole pages with their headers."""
    return wire_ns(pages * PAGE_WIRE, bandwidth)


@lru_cache(maxsize=1)
def _behind_zeros() -> float:
    """Share of RAM in use behind the free, zero memory (data/precopy/layout.toml)."""
    with open(data_dir() / "precopy" / "layout.toml", "rb") as file:
        return float(tomllib.load(file)["layout"]["behind_zeros"]["value"])


def layout(scenario: Scenario) -> Layout:
    """Where in RAM the zero pages and the working set lie."""
    pages = scenario.guest.ram // PAGE_SIZE
    zeros = int(pages * scenario.guest.zero_pages)
    stop = pages - min(pages - zeros, round(pages * _behind_zeros()))
    dirty = scenario.workload.dirty
    written = min(pages, dirty.working_set // PAGE_SIZE) if dirty and dirty.rate else 0
    return Layout(pages, stop - zeros, stop, max(0, stop - zeros - written), written, scenario.guest.dirty_ring_size)


def stream_share(scenario: Scenario) -> int | None:
    """Bytes per second of the link for the stream while the guest runs: max-min fair beside what the guest transmits.

    Full duplex: what the guest receives comes the other way. None: unlimited.
    """
    link, traffic = scenario.link, scenario.workload.traffic
    if link.bandwidth is None or not link.guest_traffic or traffic is None:
        return link.bandwidth
    transmitted = scenario.device.count * traffic.tx_pps * traffic.packet
    return max(1, int(max_min(link.bandwidth, (None, transmitted))[0]))


def stream(scenario: Scenario) -> Stream:
    """The stream of this scenario's migration. Source: QEMU ram.c, multifd.c (multifd_send_fill_packet)."""
    host_pages, channels = HOST_PAGES.get(scenario.guest.backing, 1), scenario.migration.multifd_channels
    if not channels:
        return Stream(host_pages=host_pages)
    queued = scenario.source.qemu_version >= ZEROS_IN_THREADS
    zero, end = 0 if queued else ZERO_WIRE, channels * PACKET_WIRE + HEADER_BYTES  # RAM_SAVE_FLAG_MULTIFD_FLUSH
    return Stream(PAGE_SIZE, zero, PACKET_PAGES, PACKET_WIRE, queued, end, host_pages)


@lru_cache(maxsize=32)
def _prices(testbed: str) -> Calibration:
    """Those of the testbed, or the common ones where there is none of that name."""
    return read_calibration(testbed) if testbed in testbed_names() or testbed.endswith(".csv") else priors()


def page_costs(scenario: Scenario) -> Costs:
    """What pages cost; channels of multifd share the work on whole pages, and on zeros where they look for them."""
    prices = _prices(scenario.testbed)
    link, how = stream_share(scenario), stream(scenario)
    threads = max(1, scenario.migration.multifd_channels)
    packet = how.packet_wire / how.packet_pages if how.packet_pages else 0
    normal = max(round(prices["ram.send_page"].value / threads), wire_ns(ceil(how.page_wire + packet), link))
    seekers, zero = (threads, packet) if how.zero_queued else (1, how.zero_wire)
    return Costs(normal, max(round(prices["ram.zero_page"].value / seekers), wire_ns(ceil(zero), link)), how)
