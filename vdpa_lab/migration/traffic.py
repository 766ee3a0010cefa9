"""What packets see of a migration: who lost how many, why, how late the rest came, how long TCP stood still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from vdpa_lab.kernels import traffic as k
from vdpa_lab.kernels import traffic_svq as svq
from vdpa_lab.library import Cost, parse_costs
from vdpa_lab.migration.announce import Round, self_rounds
from vdpa_lab.migration.simulate import Run
from vdpa_lab.migration.traffic_flows import RX, Flow, flows_of
from vdpa_lab.migration.traffic_paths import FABRICS, data_path
from vdpa_lab.migration.traffic_run import Engine, Prices
from vdpa_lab.model import Traffic as Load
from vdpa_lab.paths import data_dir
from vdpa_lab.units import SECOND
from vdpa_lab.words import InputError, nearest

PERIODS = ("before", "blackout-1", "precopy", "blackout-{last}", "after")  # last: 2, or 3 of a cancelled migration
CAUSES = {
    "source-dead": k.SOURCE_DEAD,
    "destination-not-enabled": k.DESTINATION_CLOSED,
    "mac-not-learned": k.NOT_LEARNED,
    "vlan-not-replayed": k.NO_VLAN,
    "no-buffer": k.NO_BUFFER,
    "qdisc-full": k.QDISC_FULL,
}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
MOST_PACKETS = 500_000_000  # of one run; stock QEMU's outage can last days
TCP_RTO_MAX = 120 * SECOND  # Linux include/net/tcp.h


@dataclass(frozen=True)
class Period:
    """Packets of one flow that arrived in one period. offered = delivered + dropped + queued; withheld ones are none.

    withheld: those that the guest would have sent, had its vCPU run. timed_out: dropped, later than the deadline, or
    still queued beyond it. latency_ns: quantiles of the delivered ones, at most 1/32 too high (log histogram).
    """

    name: str
    offered: int
    delivered: int
    dropped: dict[str, int]
    queued: int
    withheld: int
    timed_out: int
    latency_ns: dict[str, int]


@dataclass(frozen=True)
class Gap:
    """The longest pause between two deliveries that overlaps a blackout (0: of all), and its cause in TCP's terms.

    outage_ns: from the last delivery until the path is open again; tcp_stall_ns: until TCP's next retry after that.
    """

    blackout: int
    start_ns: int
    ns: int
    outage_ns: int | None
    tcp_stall_ns: int | None


@dataclass(frozen=True)
class FlowResult:
    """One flow: its periods and pauses."""

    device: int
    pair: int
    direction: str
    periods: tuple[Period, ...]
    gaps: tuple[Gap, ...]

    def total(self, name: str) -> int:
        """A count over all periods, for a cause of CAUSES or a field of Period."""
        if name in CAUSES:
            return sum(each.dropped.get(name, 0) for each in self.periods)
        return sum(getattr(each, name) for each in self.periods)


@dataclass(frozen=True)
class Traffic:
    """All flows; empty without traffic, and where `too_many` packets come to go through them one by one.

    learned_ns: per device when the fabric knows its new place (None: never). self_announce_ns: QEMU's RARP rounds,
    which never reach the fabric; rounds: the guest's. A cancelled migration has none, and no new place. svq_busy_ns:
    of the forwarding thread. skipped_ns: of a long precopy, not simulated: the same as what surrounds it. Times are
    those of the timeline.
    """

    flows: tuple[FlowResult, ...] = ()
    learned_ns: tuple[int | None, ...] = ()
    self_announce_ns: tuple[int, ...] = ()
    rounds: tuple[Round, ...] = ()
    svq_busy_ns: int = 0
    skipped_ns: int = 0
    deadline_ns: int = 0
    fabric: str = ""
    too_many: int = 0

    def json(self) -> dict:
        """The part "traffic" of `vdpa-lab simulate --json`; {} without traffic."""
        if not self.flows:
            return {"too_many": self.too_many} if self.too_many else {}
        rounds = [each._asdict() for each in self.rounds]
        found = {**asdict(self), "flows": [asdict(each) for each in self.flows], "rounds": rounds}
        del found["too_many"]
        return found


def tcp_stall(outage: int, rto: int) -> int:
    """When TCP gets through again, in ns after its last good segment, for an outage of so many ns.

    It retries at RTO, 3 RTO, 7 RTO …, each wait doubled up to TCP_RTO_MAX. Linux tcp_retransmit_timer, RFC 6298 5.5.
    """
    if outage <= 0:
        return 0
    at, wait = rto, rto
    while at < outage:
        wait = min(2 * wait, TCP_RTO_MAX)
        at += wait
    return at


@lru_cache(maxsize=1)
def traffic_prices() -> Mapping[str, Cost]:
    """Prices of the data path, most of them guesses and graded so: no testbed's, so not among the calibrations."""
    path = data_dir() / "traffic.csv"
    return {cost.key: cost for cost in parse_costs(path.read_text(encoding="utf-8"), str(path))}


def traffic(
    run: Run, load: Load | None, *, flows: tuple[Flow, ...] | None = None, kind: str = "constant", seed: int = 0,
    prices: Mapping[str, Cost] | None = None, fabric: str = "learning", guest_announce: bool | None = None,
    deadline: int | None = None, lead: int = SECOND, steady: int = SECOND, tail: int = 2 * SECOND,
) -> Traffic:  # fmt: skip
    """Send the workload's packets through a simulated migration; empty when there is no workload.

    kind: how packets come (`Flow`), flows: other ones in place of the workload's, on the simulation's clock. deadline:
    ns, the workload's RTO unless given. Further: `traffic_paths.data_path`. Raises InputError.
    """
    if load is None:
        return Traffic()
    if fabric not in FABRICS:
        raise InputError(f"fabric {fabric!r}; {nearest(fabric, FABRICS)}")
    scenario, costs = run.scenario, prices or traffic_prices()
    device, one = scenario.device, Prices.of(costs, load.packet)
    frames, ack = (round(costs[key].value) for key in ("guest.announce", "cvq.announce_ack"))
    prime = device.queue_size * one.element
    path = data_path(run, prime, frames, ack, fabric, guest_announce, lead, steady, tail)
    flows = flows_of(load, device.count, device, kind) if flows is None else flows
    packets = sum(each.pps * path.horizon // SECOND for each in flows)
    if packets > MOST_PACKETS:
        return Traffic(too_many=packets)
    limit = load.tcp_rto if deadline is None else deadline
    engine = Engine(path, flows, one, device.queue_size, limit, scenario.guest.vcpus, seed).run()
    clock, announced = path.clock, run.timeline.marks.get("dst-precopy-bh-announced")
    return Traffic(
        tuple(_results(engine, limit, load.tcp_rto)),
        tuple(None if at == k.LATEST else clock.outside(int(at)) for at in engine.learned),
        self_rounds(announced) if announced is not None else (),
        tuple(Round(*map(clock.outside, each)) for each in path.rounds),
        int(engine.thread[svq.BUSY]), clock.skipped, limit, fabric,
    )  # fmt: skip


def _results(engine: Engine, deadline: int, rto: int) -> list[FlowResult]:
    queued, overdue = engine.queued, engine.overdue(deadline)
    return [
        FlowResult(
            flow.device, flow.pair, flow.direction,
            tuple(_period(engine, i, n, int(queued[i, n]), int(overdue[i, n])) for n in range(k.EPOCHS)),
            tuple(_gap(engine, i, n, rto) for n in range(3) if engine.gaps[i, n, 0]),
        )
        for i, flow in enumerate(engine.flows)
    ]  # fmt: skip


def _period(engine: Engine, i: int, n: int, queued: int, overdue: int) -> Period:
    counts = [int(each) for each in engine.counts[i, n]]
    dropped = {name: counts[kind] for name, kind in CAUSES.items() if counts[kind]}
    timed_out = counts[k.LATE] + sum(dropped.values()) + overdue
    name = PERIODS[n].format(last=engine.path.last)
    return Period(
        name, counts[k.OFFERED], counts[k.DELIVERED], dropped, queued, counts[k.WITHHELD], timed_out,
        quantiles(engine.hist[i, n]),
    )  # fmt: skip


def quantiles(histogram: np.ndarray) -> dict[str, int]:
    """Upper edges of the buckets that hold the QUANTILES; {} for an empty histogram."""
    total = np.cumsum(histogram)
    if not total[-1]:
        return {}
    ranks = [max(1, int(np.ceil(share * float(total[-1])))) for share in QUANTILES.values()]
    return {
        name: k.bucket_edges(int(np.searchsorted(total, rank)))[1] for name, rank in zip(QUANTILES, ranks, strict=True)
    }


def _gap(engine: Engine, i: int, n: int, rto: int) -> Gap:
    flow, clock = engine.flows[i], engine.path.clock
    ns, start = (int(each) for each in engine.gaps[i, n])
    outage = None
    if n and flow.direction == RX:
        end = engine.path.bounds[flow.device][2 * n - 1]
        phases = engine.path.phases[flow.device]
        opened = [each.start for each in phases if each.mode != k.CLOSED and each.start >= end]
        if n == 2:
            opened = [max(int(engine.learned[flow.device]), at) for at in opened] if phases[-1].learns else opened
        outage = max(0, opened[0] - start) if opened and opened[0] < engine.path.horizon else None
    stall = None if outage is None else tcp_stall(outage, rto)
    return Gap(engine.path.last if n == 2 else n, clock.outside(start), ns, outage, stall)
