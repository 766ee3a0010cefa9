"""What precopy has to know of a guest's RAM: where zeros and writers are, and what a page costs to send."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import NamedTuple

from vdpa_lab.kernels.bitmap_sync import wire_bytes
from vdpa_lab.library import priors, read_calibration, testbed_names
from vdpa_lab.migration.fluid import max_min
from vdpa_lab.model import Scenario
from vdpa_lab.paths import data_dir
from vdpa_lab.units import PAGE_SIZE, SECOND

PAGE_WIRE, ZERO_WIRE = wire_bytes(1, 0), wire_bytes(0, 1)


class Layout(NamedTuple):
    """Pages of RAM in send order: in use, then zero, then in use again; the working set ends where the zeros begin."""

    pages: int
    zero_first: int
    zero_stop: int
    written_first: int
    written: int


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
    return Layout(pages, stop - zeros, stop, max(0, stop - zeros - written), written)


def stream_share(scenario: Scenario) -> int | None:
    """Bytes per second of the link for the stream while the guest runs: max-min fair beside what the guest transmits.

    Full duplex: what the guest receives comes the other way. None: unlimited.
    """
    link, traffic = scenario.link, scenario.workload.traffic
    if link.bandwidth is None or not link.guest_traffic or traffic is None:
        return link.bandwidth
    transmitted = scenario.device.count * traffic.tx_pps * traffic.packet
    return max(1, int(max_min(link.bandwidth, (None, transmitted))[0]))


def page_costs(scenario: Scenario) -> tuple[int, int]:
    """ns of a normal and of a zero page: the thread's work, or the wire's where that is slower."""
    known = scenario.testbed in testbed_names() or scenario.testbed.endswith(".csv")
    prices = read_calibration(scenario.testbed) if known else priors()
    link = stream_share(scenario)
    normal = max(round(prices["ram.send_page"].value), page_ns(1, link))
    return normal, max(round(prices["ram.zero_page"].value), wire_ns(ZERO_WIRE, link))
