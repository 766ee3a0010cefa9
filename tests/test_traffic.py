"""Packets through rings during a migration: against an event loop with queues, real runs and published rules."""

import json
import math
from dataclasses import replace

import naive_traffic as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.kernels import traffic as k
from vdpa_lab.kernels import traffic_svq as svq
from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.library import BASES, bibliography
from vdpa_lab.migration import simulate
from vdpa_lab.migration.announce import announces, guest_rounds, self_rounds, steps
from vdpa_lab.migration.traffic import CAUSES, PERIODS, quantiles, tcp_stall, traffic, traffic_prices
from vdpa_lab.migration.traffic_flows import Arrivals, Flow, flows_of
from vdpa_lab.migration.traffic_paths import Clock, DataPath, Phase, data_path
from vdpa_lab.migration.traffic_run import Engine, Prices
from vdpa_lab.model import Traffic as Load
from vdpa_lab.model import VdpaDevice, read_scenario, scenario_path
from vdpa_lab.units import MS, SECOND, US
from vdpa_lab.words import InputError

EXAMPLES = settings(max_examples=300 if DISABLED else 500, deadline=None)
END = 160  # ns, horizon of the small worlds
NAMES = {
    "accepted": None, "withheld": k.WITHHELD, "source": k.SOURCE_DEAD, "destination": k.DESTINATION_CLOSED,
    "mac": k.NOT_LEARNED, "vlan": k.NO_VLAN, "buffer": k.NO_BUFFER, "qdisc": k.QDISC_FULL, "delivered": k.DELIVERED,
    "late": k.LATE,
}  # fmt: skip
PRICES = Prices(service=100, guest=300, element=600, wake=5000)

instants = st.integers(0, END)


@st.composite
def paths(draw):
    """Devices whose path changes at will: more than any migration does."""
    count = draw(st.integers(1, 2))
    phases, bounds, switches, returns = [], [], [], []
    for d in range(count):
        found = [Phase(0, draw(st.integers(0, 1)))]
        for start in sorted(draw(st.sets(st.integers(1, END - 1), max_size=6))):
            mode = draw(st.integers(0, 2))
            cause = draw(st.integers(k.SOURCE_DEAD, k.NO_BUFFER)) if mode == naive.CLOSED else 0
            found.append(Phase(start, mode, cause, draw(st.booleans())))
        closings = [each.start for each in found if each.mode == naive.CLOSED] or [END]
        begin, length, more = draw(st.sampled_from(closings)), draw(st.integers(0, 40)), draw(st.integers(0, 20))
        switches.append((d, begin, begin + length, begin + length + more))
        returns += [
            (d, again, draw(st.integers(again, END))) for again in draw(st.sets(st.sampled_from(closings), max_size=1))
        ]
        phases.append(tuple(found))
        bounds.append(tuple(sorted(draw(st.lists(instants, min_size=4, max_size=4)))))
    paused, resumed = sorted(draw(st.tuples(instants, instants)))
    holds = sorted(tuple(sorted(each)) for each in draw(st.lists(st.tuples(instants, instants), max_size=3)))
    holds = [each for each in holds if each[0] < each[1]]
    known = tuple(draw(st.none() | instants) for _ in range(count))
    released = max(each[3] for each in switches)
    switches = [(d, begin, end, released) for d, begin, end, _ in switches]
    switches += [(*each, END) for each in returns if each[1] >= released]
    return DataPath(tuple(phases), tuple(bounds), paused, resumed, END, tuple(switches), tuple(holds), known)


@st.composite
def worlds(draw):
    path = draw(paths())
    flows = [
        Flow(device, pair, direction, kind="list", times=tuple(sorted(draw(st.lists(instants, max_size=40)))))
        for device in range(len(path.phases))
        for pair in range(draw(st.integers(1, 2)))
        for direction in ("rx", "tx")
    ]
    prices = Prices(*(draw(st.integers(1, most)) for most in (9, 15, 12, 20)))
    return path, flows, prices, draw(st.sampled_from((2, 4, 8, 32))), draw(st.integers(1, 2)), draw(st.integers(1, 6))


@given(worlds(), st.integers(1, 60), st.integers(1, 7))
@EXAMPLES
def test_every_packet_fares_as_in_an_event_loop_with_queues(world, deadline, block):
    path, flows, prices, ring, vcpus, qdisc = world
    twin = naive.World(path, flows, prices, ring, vcpus, qdisc).run()
    engine = Engine(path, flows, prices, ring, deadline, vcpus, qdisc=qdisc, block=block).run()
    for i, queue in enumerate(twin.queues):
        expected = np.zeros((k.EPOCHS, k.KINDS), int)
        for (epoch, name), number in twin.counts(queue, deadline).items():
            if NAMES[name] is not None:
                expected[epoch, NAMES[name]] += number
            if name not in ("withheld", "delivered", "late"):
                expected[epoch, k.OFFERED] += number
        assert engine.counts[i].tolist() == expected.tolist()
        accepted = [time for time, fate in queue.fates if fate == "accepted"]
        frees = [free for _, _, free in queue.delivered]
        slots = engine.slots.shape[1]
        for number, value in list(enumerate(frees + accepted[len(frees) :]))[-slots:]:
            assert engine.slots[i, number % slots] == value
        assert engine.gaps[i, :, 0].tolist() == [twin.gap(queue, blackout) for blackout in range(3)]
        latencies = np.zeros((k.EPOCHS, k.BUCKETS), int)
        for arrival, reached, _ in queue.delivered:
            latencies[twin.epoch(queue, arrival), naive_bucket(reached - arrival)] += 1
        assert engine.hist[i].tolist() == latencies.tolist()
        assert engine.queued[i].sum() == len(queue.waiting)
        # Nothing is made and nothing lost: offered = delivered + dropped + queued, in every period.
        drops = engine.counts[i, :, k.SOURCE_DEAD :].sum(axis=1)
        assert (engine.counts[i, :, k.OFFERED] == engine.counts[i, :, k.DELIVERED] + drops + engine.queued[i]).all()
    learned = [None if at == k.LATEST else at for at in engine.learned]
    assert learned == twin.known


def naive_bucket(value):
    return next(number for number in range(k.BUCKETS) if k.bucket_edges(number)[1] >= value)


# The histogram


@given(st.integers(0, 1 << 50))
@EXAMPLES
def test_a_latency_falls_into_a_bucket_no_wider_than_a_32nd_of_it(value):
    bucket = int(k.bucket_of(np.uint64(value)))
    low, high = k.bucket_edges(bucket)
    counted = min(value, (1 << k.OCTAVES) - 1)
    assert low <= counted <= high
    assert 32 * (high - low) <= max(low, 1)


def test_buckets_meet_without_gaps_up_to_the_last():
    edges = [k.bucket_edges(bucket) for bucket in range(k.BUCKETS)]
    assert edges[0][0] == 0
    assert [low for low, _ in edges[1:]] == [high + 1 for _, high in edges[:-1]]
    assert edges[-1][1] == (1 << k.OCTAVES) - 1


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60))
@EXAMPLES
def test_quantiles_are_those_of_the_sorted_list_within_a_32nd(values):
    histogram = np.zeros(k.BUCKETS, np.uint64)
    for value in values:
        histogram[int(k.bucket_of(np.uint64(value)))] += 1
    found = quantiles(histogram)
    for name, share in {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}.items():
        exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
        assert exact <= found[name] <= exact * 33 / 32


# Arrivals


def all_of(flow, horizon, block=50, seed=1):
    stream, out, found = Arrivals(flow, seed, block, horizon), np.zeros(block + 1, np.uint64), []
    while True:
        size = stream.next(out, k.LATEST)
        found += out[:size].tolist()
        if found[-1] == k.LATEST:
            return found[:-1]


def test_constant_packets_keep_their_rate_for_ever():
    times = all_of(Flow(0, 0, "rx", 3, offset=7), 100 * SECOND)
    assert times == [7 + number * SECOND // 3 for number in range(300)]


@pytest.mark.parametrize("kind", ["poisson", "onoff"])
def test_random_packets_come_in_order_at_their_mean_rate_and_again_from_the_same_seed(kind):
    flow = Flow(0, 0, "rx", 1_000_000, kind, peak=20_000_000, burst=10)
    times = all_of(flow, 50 * MS, 1000)
    assert times == sorted(times)
    assert len(times) == pytest.approx(50_000, rel=0.05)
    assert times == all_of(flow, 50 * MS, 1000)
    assert times != all_of(flow, 50 * MS, 1000, seed=2)
    gaps = np.diff(np.array(times))
    if kind == "poisson":
        assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # an exponential law has its mean as deviation
    else:
        assert (gaps <= 51).mean() == pytest.approx(0.9, abs=0.01)  # 9 of 10 gaps of a burst of 10 are 1 / peak


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda: Flow(0, 0, "up"), "rx or tx"),
        (lambda: Flow(0, 0, "rx", kind="steady"), "steady"),
        (lambda: Flow(0, 0, "rx", -1), "pps"),
        (lambda: Flow(0, 0, "rx", 9, "onoff", peak=9), "peak is above"),
        (lambda: Flow(0, 0, "rx", kind="list", times=(2, 1)), "in order"),
        (lambda: flows_of(Load(1, 1), 64, VdpaDevice(count=64, queue_pairs=64)), "at most 1024"),
    ],
)
def test_a_flow_that_cannot_be_is_refused_in_words(made, what):
    with pytest.raises(InputError, match=what):
        made()


def test_a_workload_is_spread_over_the_pairs_in_use_without_loss():
    found = flows_of(Load(10, 7), 2, VdpaDevice(count=2, queue_pairs=4, active_pairs=3))
    assert [each.pps for each in found if each.direction == "rx"] == [4, 3, 3] * 2
    assert [each.pps for each in found if each.direction == "tx"] == [3, 2, 2] * 2
    assert len({(each.pps, each.offset) for each in found}) == len(found), "in step with no other of its rate"


# One device, one pair, by hand


def one_path(*phases, horizon=SECOND, bounds=(0, 0, 0, 0), paused=0, resumed=0, **more):
    return DataPath((phases,), (bounds,), paused, resumed, horizon, **more)


def run_one(path, *flows, ring=256, vcpus=1, **more):
    return Engine(path, flows, PRICES, ring, 10 * MS, vcpus, **more).run()


def each_us(direction, number, pair=0, device=0):
    return Flow(device, pair, direction, kind="list", times=tuple(range(0, number * US, US)))


def test_a_dead_device_fills_ring_and_qdisc_and_then_the_qdisc_drops_but_the_ring_loses_nothing():
    path = one_path(Phase(0, k.CLOSED, k.SOURCE_DEAD), Phase(5 * MS, k.DIRECT))
    engine = run_one(path, each_us("tx", 2000))
    assert engine.counts[0, :, k.DELIVERED].sum() == 238 + 1000
    assert engine.counts[0, :, k.QDISC_FULL].sum() == 2000 - 1238
    assert engine.slots[0, 0] == 5 * MS + PRICES.service, "re-offered as soon as the device runs"
    assert engine.queued.sum() == 0


def test_a_receive_queue_of_a_paused_guest_takes_one_ring_of_frames():
    path = one_path(Phase(0, k.DIRECT), paused=0, resumed=SECOND // 2)
    engine = run_one(path, each_us("rx", 2000))
    assert engine.counts[0, :, k.NO_BUFFER].sum() == 2000 - 256
    assert engine.gaps[0, 0, 0] == PRICES.guest, "all are handed over when it resumes"


def test_svq_throughput_saturates_with_the_packets_of_all_queues():
    """Trap 30: one thread for all; a thread a queue would give each further queue the same again."""
    served = {}
    for pairs in (1, 2, 4):
        flows = [Flow(0, pair, way, 2_000_000) for pair in range(pairs) for way in ("rx", "tx")]
        path = one_path(Phase(0, k.SHADOW), horizon=4 * MS if DISABLED else 20 * MS)
        engine = run_one(path, *flows)
        served[pairs] = int(engine.counts[:, :, k.DELIVERED].sum()) * SECOND / path.horizon
    limit = SECOND / PRICES.element
    assert all(0.9 * limit < rate <= limit * 1.001 for rate in served.values()), served


def test_svq_throughput_drops_during_a_bitmap_sync():
    """Trap 30: the sync holds the BQL; what comes meanwhile waits, or finds no buffer."""
    path = one_path(Phase(0, k.SHADOW), horizon=6 * MS)
    held = replace(path, holds=((2 * MS, 4 * MS),))
    flow = Flow(0, 0, "rx", 500_000)
    free, stalled = (run_one(each, flow) for each in (path, held))
    assert free.counts[0, :, k.DELIVERED].sum() == 3000
    assert int(stalled.gaps[0, 0, 0]) == pytest.approx(2 * MS, rel=0.02)
    lost = int(stalled.counts[0, :, k.NO_BUFFER].sum())
    assert lost == pytest.approx(1000 - 256, abs=10)
    assert stalled.thread[svq.BUSY] < free.thread[svq.BUSY]


@pytest.mark.parametrize(("begin", "served"), [(9, 50), (10, 50), (11, 10), (50, 10)])
def test_no_visit_begins_while_another_thread_holds_the_bql(begin, served):
    path = one_path(Phase(0, k.SHADOW), holds=((begin, 50),) if begin < 50 else ())
    engine = run_one(path, Flow(0, 0, "tx", kind="list", times=(10,)))
    assert engine.slots[0, 0] == served + PRICES.wake + PRICES.element + PRICES.service


def test_a_vcpu_that_kicks_during_the_switch_stands_still_until_all_devices_are_switched():
    """Trap 44: the doorbell becomes an exit that waits for the BQL; another vCPU that does not kick goes on."""
    switch = (0, 100 * US, 200 * US, 300 * US)
    switched = (Phase(0, k.DIRECT), Phase(100 * US, k.CLOSED, k.SOURCE_DEAD), Phase(300 * US, k.SHADOW))
    bounds = ((100 * US, 200 * US, SECOND, SECOND), (0, 0, SECOND, SECOND))
    path = DataPath((switched, (Phase(0, k.DIRECT),)), bounds, SECOND, SECOND, SECOND, (switch,))
    kicks, others = each_us("tx", 400), each_us("tx", 400, device=1)
    same = Engine(path, (kicks, others), PRICES, 256, MS).run()
    assert same.counts[0, :, k.WITHHELD].sum() == same.counts[1, :, k.WITHHELD].sum() == 199  # 101 to 299 us
    assert same.counts[0, :, k.OFFERED].sum() == 201
    other = Engine(path, (kicks, replace(others, pair=1)), PRICES, 256, MS, vcpus=2).run()
    assert other.counts[0, :, k.WITHHELD].sum() == 199
    assert other.counts[1, :, k.WITHHELD].sum() == 0
    idle = Engine(path, (replace(kicks, times=(0, 250 * US)), others), PRICES, 256, MS).run()
    assert idle.counts[:, :, k.WITHHELD].sum() == 0, "no kick before its own queue's notifiers are back: no stall"


def test_the_fabric_learns_from_the_first_frame_that_leaves_the_new_place():
    """Trap 36: nothing reaches the destination before a frame of the guest has left there."""
    path = one_path(Phase(0, k.CLOSED, k.SOURCE_DEAD), Phase(100 * US, k.DIRECT, 0, True), known=(400 * US,))
    frames = each_us("rx", 1000)
    quiet = run_one(path, frames)
    assert quiet.counts[0, :, k.NOT_LEARNED].sum() == 300
    sender = run_one(path, frames, Flow(0, 0, "tx", kind="list", times=(250 * US,)))
    assert sender.counts[0, :, k.NOT_LEARNED].sum() == 151  # 100 to 250 us, until it has left
    waiting = run_one(path, frames, Flow(0, 0, "tx", kind="list", times=(50 * US,)))
    assert waiting.counts[0, :, k.NOT_LEARNED].sum() == 1, "what the ring re-offers teaches at once"
    silent = run_one(replace(path, known=(None,)), frames)
    assert silent.counts[0, :, k.NOT_LEARNED].sum() == 900
    assert silent.counts[0, :, k.DELIVERED].sum() == 0


# Announcements


def test_qemus_own_rounds_come_at_0_50_200_450_and_800_ms():
    assert self_rounds(7) == tuple(7 + ms * MS for ms in (0, 50, 200, 450, 800))


# virtio_net_announce_timer and virtio_net_handle_announce, ms from src-downtime-start, in the destination's trace logs.
REAL_ROUNDS = {
    "v-128-1d-r1": ((269.6, 702.3, 1034.6, 1294.5, 1698.3), (650.5, 884.1, 1042.6, 1344.2, 1722.7)),
    "v-256-1d-2qp-r2": ((451.2, 906.3, 1143.4, 1574.9, 2031.3), (843.9, 991.3, 1313.5, 1675.6, 2115.3)),
    "v-256-1d-r2": ((305.7, 696.2, 916.4, 1203.2, 1567.9), (638.2, 763.4, 953.3, 1217.0, 1623.4)),
    "v-256-1d-svq-r1": ((432.5, 853.1, 1112.2, 1395.6, 1767.0), (737.1, 956.2, 1142.4, 1415.3, 1799.7)),
    "v-256-1d-q10-r1": ((1054.6, 1435.4, 1674.8, 2020.1, 2417.2), (1378.5, 1524.4, 1770.5, 2063.5, 2598.5)),
}


@pytest.mark.parametrize("run", REAL_ROUNDS)
def test_the_guests_rounds_follow_its_acknowledgements_as_in_a_real_run(run):
    """Trap 37: a free-running timer would have come 300 to 440 ms too early already in the second round."""
    timers, acks = ([round(ms * MS) for ms in times] for times in REAL_ROUNDS[run])
    late = [ack - timer for timer, ack in zip(timers, acks, strict=True)]
    assert late[0] > 300 * MS
    real_steps = [timer - ack for ack, timer in zip(acks, timers[1:], strict=False)]
    for real, step in zip(real_steps, steps(), strict=True):
        assert -2 * MS <= real - step <= 70 * MS  # never early; an emulated machine wakes up late
    made = guest_rounds(timers[0], [0] * 5, late)
    drift = sum(real - step for real, step in zip(real_steps, steps(), strict=True))
    assert abs(made[-1].notified + drift - timers[-1]) <= 1
    assert made[0].acknowledged == acks[0]


def test_a_delayed_acknowledgement_delays_every_later_round():
    """Trap 37."""
    plain, slow = guest_rounds(0, 0, 0), guest_rounds(0, 0, [0, 70, 0, 0, 0])
    assert [b.notified - a.notified for a, b in zip(plain, slow, strict=True)] == [0, 0, 70, 70, 70]


def test_a_device_without_control_virtqueue_cannot_announce():
    assert announces(VdpaDevice())
    assert not announces(VdpaDevice(cvq=False))


# TCP


@pytest.mark.parametrize(
    ("outage_ms", "stall_ms"),
    [(0, 0), (1, 200), (200, 200), (201, 600), (210, 600), (600, 600), (601, 1400), (3033, 6200)],
)
def test_tcp_waits_for_its_next_retry(outage_ms, stall_ms):
    assert tcp_stall(outage_ms * MS, 200 * MS) == stall_ms * MS


def test_tcp_retries_at_least_every_120_seconds():
    assert tcp_stall(1000 * SECOND, 100 * SECOND) == 1060 * SECOND  # 100, then 120 each


# Real runs: the guest sends 20 frames a second, the device returns them, and the guest reports its longest pause by its
# own clock. Until where ms from src-downtime-start: (VM stopped, data device suspended, ticks on again in vm_start,
# network up, guest's first answer, an ANNOUNCE_ACK); then the longest pause in ms before the migration and with it.
PROBES = {
    "v-128-1d-r1": ((2.8, 3.3, 199.4, 260.9, 650.5), 232.8, 578.4),
    "v-256-1d-2qp-r2": ((0.3, 1.1, 315.0, 411.5, 843.9), 166.8, 636.5),
    "v-256-1d-q10-r1": ((0.2, 0.4, 238.2, 931.1, 1378.5), 218.4, 1071.2),
    "v-256-1d-r2": ((6.2, 7.5, 202.5, 298.8, 638.2), 51.9, 470.7),
    "v-256-1d-svq-r1": ((9.0, 10.1, 358.2, 425.9, 737.1), 151.4, 515.9),
    "v-256-2d-r3 eth0": ((19.5, 58.2, 296.4, 383.9, 675.3), 178.2, 406.2),
    "v-256-2d-r3 eth1": ((19.5, 19.7, 296.4, 437.7, 714.3), 92.0, 419.0),
}


@pytest.mark.parametrize("run", PROBES)
def test_a_probe_sees_the_pause_that_the_guest_itself_counted(run):
    """The guest's clock stands still between stop and vm_start (cpu_disable_ticks), so its count leaves that time out.

    By the wall clock both devices of v-256-2d-r3 would have received before the VM ran again. An emulated guest answers
    about 0.3 s after it resumes, which its first ACK shows. So the pause is known to one period, and to what that guest
    was late by even before the migration.
    """
    (stopped, suspended, ticks, up, answers), jitter, real = PROBES[run]
    lead, period = SECOND, 50 * MS
    ns = [lead + round(ms * MS) for ms in (stopped, suspended, ticks, up, answers)]
    path = one_path(
        Phase(0, k.DIRECT), Phase(ns[1], k.CLOSED, k.SOURCE_DEAD), Phase(ns[3], k.DIRECT), horizon=4 * SECOND,
        bounds=(0, 0, ns[1], ns[3]), paused=ns[0], resumed=ns[4],
    )  # fmt: skip
    gaps = [
        int(run_one(path, Flow(0, 0, "tx", 20, offset=phase * MS)).gaps[0, 2, 0]) - (ns[2] - ns[0])
        for phase in range(0, 50, 7)
    ]
    assert max(gaps) - min(gaps) <= period
    slack = max(0, round(jitter * MS) - period)
    assert min(gaps) - period - slack <= round(real * MS) <= max(gaps) + period + slack
    assert round(real * MS) >= ns[3] - ns[2], "never shorter than what was dead while its clock ran"


# Whole migrations


def run_of(name, **changes):
    scenario = read_scenario(scenario_path(name))
    return simulate(replace(scenario, device=replace(scenario.device, **changes)))


def dropped(result):
    found = {}
    for period in result.periods:
        for cause, number in period.dropped.items():
            found[period.name, cause] = number
    return found


def balanced(found):
    return all(
        period.offered == period.delivered + sum(period.dropped.values()) + period.queued
        for flow in found.flows
        for period in flow.periods
    )


def test_a_scenario_without_traffic_gives_an_empty_result():
    run = run_of("liu2023")
    assert run.scenario.workload.traffic is None
    assert traffic(run, run.scenario.workload.traffic).json() == {}


@pytest.mark.parametrize("kind", ["constant", "poisson", "onoff"])
def test_packets_are_conserved_through_a_migration_of_two_devices(kind):
    run = run_of("sim-256-2d", queue_pairs=2, active_pairs=2, features=None)
    found = traffic(run, Load(3000, 2000), kind=kind, seed=5)
    assert len(found.flows) == 8
    assert balanced(found)
    assert all(flow.total("offered") > 1000 for flow in found.flows)
    assert traffic(run, Load(3000, 2000), kind=kind, seed=5) == found, "the same seed gives the same packets"


def test_frames_to_a_migrating_device_are_lost_for_the_reason_of_the_moment():
    run = run_of("sim-256-2d")
    found = traffic(run, Load(10_000, 0))
    marks = run.timeline.marks
    for flow in (each for each in found.flows if each.direction == "rx"):
        d, lost = flow.device, dropped(flow)
        switch = marks[f"svq-switch-end:{d}"] - marks[f"svq-switch-begin:{d}"]
        outage = marks[f"network-up:{d}"] - marks[f"stop-begin:{d}"]
        assert lost["blackout-1", "source-dead"] == pytest.approx(switch * 10_000 / SECOND, abs=2)
        assert lost["blackout-2", "source-dead"] == pytest.approx(outage * 10_000 / SECOND, abs=2)
        learns = found.rounds[0].sent - marks[f"network-up:{d}"]
        assert lost["after", "mac-not-learned"] == pytest.approx(learns * 10_000 / SECOND, abs=2)
        # The device that is switched first has no buffers until the main loop is free again.
        # The one that is stopped last is still shadowed, but nobody forwards, and one ring of frames finds room.
        waits = marks["svq-switch-end:0"] - marks[f"svq-switch-end:{d}"]
        stands = marks[f"stop-begin:{d}"] - marks["vcpus-paused"]
        expected = waits * 10_000 / SECOND + max(0, stands * 10_000 / SECOND - 256)
        assert lost["precopy", "no-buffer"] == pytest.approx(expected, abs=20)
    assert found.learned_ns == (found.rounds[0].sent,) * 2
    assert marks["vcpus-resumed"] < found.rounds[0].sent
    assert found.self_announce_ns[0] < marks["network-up:0"], "QEMU's own frames leave before, and teach nothing"


def test_without_an_announcement_the_guests_first_frame_teaches_the_fabric():
    """Trap 36."""
    run = run_of("sim-256-1d")
    silent = traffic(run, Load(1000, 0), guest_announce=False)
    assert silent.learned_ns == (None,)
    assert silent.flows[0].periods[4].delivered == 0
    assert [each.blackout for each in silent.flows[0].gaps] == [0, 1], "a pause without end is none"
    sends = traffic(run, Load(1000, 1000), guest_announce=False)
    resumed = run.timeline.marks["vcpus-resumed"]
    assert resumed <= sends.learned_ns[0] <= resumed + SECOND // 1000 + US


def test_a_fabric_that_sends_to_both_ports_loses_frames_at_the_destination():
    run = run_of("liu2023", vlans=100, count=1)
    both = traffic(run, Load(20_000, 0), fabric="both")
    lost = dropped(both.flows[0])
    assert {cause for _, cause in lost} == {"source-dead", "destination-not-enabled", "vlan-not-replayed", "no-buffer"}
    assert ("after", "mac-not-learned") not in lost
    ops = ("VLAN_ADD", "ADD_VLAN_RULES")
    spans = [each for each in run.timeline.spans if each.op in ops and each.lane.side == "destination"]
    replayed = max(each.end for each in spans) - min(each.start for each in spans)
    assert lost["blackout-2", "vlan-not-replayed"] == pytest.approx(replayed * 10_000 / SECOND, abs=2)


def test_devices_that_are_always_shadowed_have_no_first_blackout():
    run = run_of("sim-256-1d-svq")
    found = traffic(run, Load(20_000, 20_000))
    assert balanced(found)
    for flow in found.flows:
        assert [each.name for each in flow.periods] == [name.format(last=2) for name in PERIODS]
        assert flow.periods[0].offered == flow.periods[1].offered == 0
        assert [each.blackout for each in flow.gaps] == [0, 2]
        assert flow.periods[2].latency_ns["p50"] >= 5000, "a wake-up of the main loop"
    assert found.svq_busy_ns > 0


def test_a_migration_without_shadow_virtqueues_is_in_passthrough_up_to_the_stop():
    scenario = read_scenario(scenario_path("sim-256-1d"))
    scenario = replace(scenario, device=replace(scenario.device, svq="off"))
    found = traffic(simulate(scenario, ["suspend", "suspend-only"]), Load(20_000, 20_000, packet=64))
    assert found.svq_busy_ns == 0
    assert found.flows[0].periods[2].latency_ns["max"] == 50


def test_a_tcp_stream_stands_still_until_the_retry_after_the_outage():
    run = run_of("sim-256-1d")
    gap = traffic(run, Load(1000, 1000, tcp_rto=200 * MS)).flows[0].gaps[-1]
    assert gap.blackout == 2
    assert gap.ns >= gap.outage_ns > run.windows["network_outage"]
    assert gap.tcp_stall_ns in (200 * MS, 600 * MS)
    assert gap.tcp_stall_ns - 400 * MS < gap.outage_ns <= gap.tcp_stall_ns


def test_a_long_precopy_is_cut_and_says_so():
    run = run_of("liu2023")
    found = traffic(run, Load(1000, 1000))
    marks = run.timeline.marks
    precopy = marks["vcpus-paused"] - marks["svq-switch-end:0"]
    assert found.skipped_ns == precopy - 2 * SECOND
    alone = marks["stop-begin:0"] - marks["vcpus-paused"]  # the other device stops first
    assert found.flows[0].periods[2].offered == pytest.approx(500 * (2 * SECOND + alone) / SECOND, abs=5)
    gap = found.flows[0].gaps[-1]
    assert marks["vcpus-paused"] - 2 * MS <= gap.start_ns <= marks["vcpus-paused"], "in the timeline's time"


@given(st.integers(0, 50), st.integers(0, 100), st.integers(0, 100))
@EXAMPLES
def test_the_clock_skips_one_stretch_and_comes_back(zero, cut, skipped):
    clock, times = Clock(zero - 25, cut, skipped), range(zero, zero + 300)
    inside = [clock.inside(ns) for ns in times]
    assert inside == sorted(inside)
    for ns, at in zip(times, inside, strict=True):
        if at != cut:
            assert clock.outside(at) == ns


def test_a_request_times_out_when_dropped_late_or_waiting():
    path = one_path(Phase(0, k.DIRECT), Phase(MS, k.CLOSED, k.SOURCE_DEAD), horizon=100 * MS)
    engine = run_one(path, Flow(0, 0, "tx", kind="list", times=(0, 2 * MS, 95 * MS)))
    assert engine.queued.sum() == 2
    assert engine.overdue(10 * MS).sum() == 1
    run = run_of("sim-256-1d")
    strict = traffic(run, Load(1000, 1000), deadline=1).flows
    assert all(flow.total("timed_out") == flow.total("offered") - flow.total("queued") for flow in strict)
    patient = traffic(run, Load(1000, 1000), deadline=100 * SECOND).flows
    assert all(flow.total("timed_out") == sum(flow.total(cause) for cause in CAUSES) for flow in patient)


def test_the_document_is_plain_json_and_holds_whole_numbers():
    run = run_of("sim-256-1d")
    text = json.dumps(traffic(run, run.scenario.workload.traffic).json(), allow_nan=False)
    document = json.loads(text)
    assert document["flows"][0]["periods"][1]["dropped"] == {
        "source-dead": document["flows"][0]["periods"][1]["offered"]
    }
    assert document["rounds"][0]["notified"] == run.timeline.marks["vcpus-resumed"]
    assert "." not in text.replace("latency_ns", "")


def test_an_unknown_fabric_is_refused_in_words():
    with pytest.raises(InputError, match="fabric"):
        traffic(run_of("sim-256-1d"), Load(1, 1), fabric="hub")


def test_every_price_has_a_grade_and_a_source_in_the_bibliography():
    prices = traffic_prices()
    assert {cost.basis for cost in prices.values()} <= set(BASES)
    assert {cost.source for cost in prices.values()} <= set(bibliography())
    assert Prices.of(prices, 1500) == Prices(122, 300, 607, 5000)
    assert Prices.of(prices, 64).service == 50, "a short frame is held up by the port, not the wire"
    assert Prices.of(prices, 64, descriptors=3).element == 607 + 2 * 41


def test_data_paths_of_a_run_begin_open_and_end_open():
    run = run_of("sim-256-2d")
    path = data_path(run, 1000, 0, 0, "learning", None, SECOND, SECOND, SECOND)
    for d, phases in enumerate(path.phases):
        assert [each.mode for each in phases][:2] == [k.DIRECT, k.CLOSED]
        assert [each.mode for each in phases][-3:] == [k.SHADOW, k.CLOSED, k.DIRECT]
        assert [each.start for each in phases] == sorted({each.start for each in phases})
        assert list(path.bounds[d]) == sorted(path.bounds[d])
    assert all(begin < end for begin, end in path.holds)
