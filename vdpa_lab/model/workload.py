"""What the guest does while it is migrated: it writes memory, and it has network traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.model.kinds import choice, duration, optional, record, size, whole
from vdpa_lab.model.record import Record, key
from vdpa_lab.units import MS, PAGE_SIZE, SECOND, TIB


@dataclass(frozen=True, slots=True)
class Dirty(Record):
    """Writes to memory: `rate` pages per second within `working_set` bytes; hot prefers some of the pages."""

    TABLE: ClassVar[str] = "workload.dirty"

    pattern: str = key(choice("sequential", "random", "hot"))
    rate: int = key(whole(0, 10**9))
    working_set: int = key(size(PAGE_SIZE, 4 * TIB, PAGE_SIZE))


@dataclass(frozen=True, slots=True)
class Traffic(Record):
    """Packets per second of one device each way, bytes of a packet, and TCP's retransmission timeout in ns.

    tcp_rto: Linux include/net/tcp.h has at least 200 ms (TCP_RTO_MIN) and at most 120 s (TCP_RTO_MAX); RFC
    6298 clause 2.4 asks for at least 1 s.
    """

    TABLE: ClassVar[str] = "workload.traffic"

    rx_pps: int = key(whole(0, 10**9), 0)
    tx_pps: int = key(whole(0, 10**9), 0)
    packet: int = key(whole(1, 65_550), 1500)
    tcp_rto: int = key(duration(1 * MS, 120 * SECOND), 200 * MS)


@dataclass(frozen=True, slots=True)
class Workload(Record):
    """The guest's work; None = none of that kind."""

    TABLE: ClassVar[str] = "workload"

    dirty: Dirty | None = key(optional(record(Dirty)), None, quiet=True)
    traffic: Traffic | None = key(optional(record(Traffic)), None, quiet=True)
