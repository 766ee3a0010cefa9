"""Precopy against nine real runs, a naive twin, and itself in amounts; when it ends, what it leaves for the stop."""

import gzip
import os
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_precopy import NaiveRam

from vdpa_lab.kernels.bitmap_sync import HEADER_BYTES as PAGE_HEADER
from vdpa_lab.library import precopy_runs
from vdpa_lab.migration import precopy_exact, simulate
from vdpa_lab.migration.precopy import MAX_WAIT, SECTION, WINDOW, precopy
from vdpa_lab.migration.precopy_aggregate import AggregateRam
from vdpa_lab.migration.precopy_exact import ExactRam
from vdpa_lab.migration.precopy_intervals import IntervalRam
from vdpa_lab.migration.precopy_layout import Layout, Stream, Writer, layout, page_costs, page_ns, stream, wire_ns
from vdpa_lab.model import Change, Dirty, Guest, Host, Link, Migration, Scenario, Traffic, Workload, find_scenario
from vdpa_lab.plot import precopy_figure, whole_figure
from vdpa_lab.units import GIB, MIB, MS, PAGE_SIZE, SECOND, TIB

PLAIN = bool(os.environ.get("NUMBA_DISABLE_JIT"))
RUNS = {each.name: each for each in precopy_runs()}


def scenario(bandwidth=64 * MIB, rate=0, pattern="sequential", limit=300 * MS, zero=0.45, memory=512 * MIB,
             working_set=256 * MIB, link=None, **more):  # fmt: skip
    dirty = Dirty(pattern=pattern, rate=rate, working_set=working_set)
    return Scenario(
        name="precopy",
        guest=Guest(memory=memory, zero_pages=zero),
        link=link or Link(),
        migration=Migration(max_bandwidth=bandwidth, downtime_limit=limit, **more),
        workload=Workload(dirty=dirty),
    )


# ---------------------------------------------------------------------------------------------------- the real runs


@pytest.mark.parametrize("exact", [False] if PLAIN else [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_real_migrations_took_as_long_and_sent_as_much(name, exact):
    """Trap 20: syncs are passes and two more, not one a second. One calibration, no knob a run.

    One host was slower than its own rate limit.
    """
    real = RUNS[name]
    run = precopy(real.scenario, exact)
    assert run.converged
    assert run.total_ns == pytest.approx(real.total_ns, rel=0.17 if name == "p-bw64-r4000-seq" else 0.09)
    assert run.transferred_bytes == pytest.approx(real.transferred_bytes, rel=0.05)
    assert abs(run.syncs - real.syncs) <= 1
    assert run.syncs == len(run.iterations), "a sync ends each pass but the last, and one more when the VM has stopped"


@pytest.mark.parametrize("name", RUNS)
def test_a_forced_run_would_not_have_ended(name):
    """Without the change that the tool made after 15 s the one run is found not to converge in that time."""
    real = RUNS[name]
    waiting = replace(real.scenario, migration=replace(real.scenario.migration, changes=()))
    within = precopy(waiting).total_ns < 15 * SECOND and precopy(waiting).converged
    assert within == (not real.scenario.migration.changes)


@pytest.mark.parametrize("name", RUNS)
def test_reported_downtime_is_that_of_the_last_pages(name):
    """Between a third and twice what QEMU reported, on a plan whose device is left out of the count.

    The runs had no vDPA device, so the model's share for stopping one is taken off.
    """
    real = RUNS[name]
    run = simulate(replace(real.scenario, device=find_scenario("sim-256-1d").device))
    ours = run.windows["reported_downtime"] - run.windows["source_teardown"]
    assert 1 / 3 < ours / real.downtime_ns < 2 or name == "p-bw32-r4000-seq", ours / 1e6
    if name == "p-bw32-r4000-seq":  # its last pass came at chance: 0 to 3,400 pages a window, 1,088 in the run
        assert ours < 2 * real.downtime_ns


def test_remaining_memory_over_time_follows_the_runs():
    """Half of all samples within 2 % of RAM, nine in ten within 6.5 %.

    One host was slower than its own rate limit: its first pass took 5.0 s, where others sent as much in 4.5.
    """
    for real in RUNS.values():
        run = precopy(real.scenario)
        at, left = np.array([(each.ns, each.remaining_bytes) for each in run.points]).T
        its_at, its_left = np.array([point[:2] for point in real.points[:-1]]).T
        gaps = np.abs(np.interp(its_at, at, left) - its_left) / real.scenario.guest.memory
        middle, most = np.quantile(gaps, [0.5, 0.9])
        low, high = (0.06, 0.2) if real.name == "p-bw64-r4000-seq" else (0.02, 0.065)
        assert middle < low, real.name
        assert most < high, real.name


# -------------------------------------------------------------------------------------------------- the naive twin


PACKETS = [None, (7, 100, True, 250), (7, 100, False, 250)]


@settings(max_examples=20 if PLAIN else 300)
@given(
    st.sampled_from([1, 1, 4, 64]), st.sampled_from(PACKETS),
    st.integers(1, 300), st.floats(0, 1), st.integers(0, 2**32), st.sampled_from(["sequential", "random", "hot"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400_000), st.integers(0, 3_000_000)), max_size=12),
)  # fmt: skip
def test_page_by_page_as_the_naive_twin(host_pages, packet, pages, zero_share, seed, pattern, steps):
    """Traps 21, 22 and 23: newly set bits alone are counted; the first sync finds none; chunks are cleared when sent.

    Every page is sent at least once, and its last version last.
    """
    zeros = int(pages * zero_share)
    first = (pages - zeros) // 2
    where = Layout(pages, first, first + zeros, 0, pages)
    dirty = Dirty(pattern, SECOND // 1000, pages * PAGE_SIZE)
    how = Stream(host_pages=host_pages)
    if packet:
        how = Stream(PAGE_SIZE, 0 if packet[2] else 9, *packet, host_pages)
    ours = ExactRam(where, dirty, 3000, 200, how, seed=seed, clear_shift=6)
    naive = NaiveRam(pages, range(first, first + zeros), 64, 3000, 200, host_pages, packet)
    assert ours.sync() == naive.sync() == 0
    writer = ExactRam(where, dirty, 0, 0, seed=seed)
    for kind, room, ns in steps:
        if kind == 0:
            assert ours.sync() == naive.sync()
        elif kind == 1:
            naive.write(writer.writes(ns))
            ours.write(ns)
        else:
            limit, waited, within = None if kind == 2 else room, None, True
            while within:
                wire = naive.wire
                sent, (*found, within) = ours.send(limit, ns, waited=waited), naive.send(limit, ns, waited=waited)
                assert [sent.normal, sent.zero, sent.ns, sent.exceeded, sent.within] == [*found, within]
                assert sent.wire == naive.wire - wire
                waited = 1000
        assert ours.dirty_pages == len(naive.to_send)
        assert ours.clear_calls == naive.clears
    assert ours.sync() == naive.sync()
    last = ours.send(None, 1 << 62, last_stage=True)
    assert (last.normal, last.zero, last.ns, False, False) == naive.send(None, 1 << 62, last_stage=True)
    assert ours.dirty_pages == 0
    assert set(naive.times_sent) == set(range(pages))
    assert naive.sent_version == {page: naive.version[page] for page in range(pages)}


def test_equal_seeds_give_equal_runs():
    one = scenario(rate=8000, pattern="random", memory=32 * MIB, working_set=16 * MIB, bandwidth=16 * MIB)
    first, again = precopy(one, exact=True), precopy.__wrapped__(one, exact=True)
    assert first == again


# ------------------------------------------------------------------------------------------- amounts and page by page


@settings(max_examples=4 if PLAIN else 60, derandomize=True)
@given(
    st.sampled_from(["sequential", "random", "hot"]),
    st.sampled_from([0.0, 0.3, 0.7]),
    st.sampled_from([32, 64, 128]),
    st.floats(0.0, 0.6),
    st.sampled_from([100, 300, 1000]),
    st.sampled_from([2, 4]),
)
def test_in_amounts_within_5_percent_of_page_by_page(pattern, zero, mib, load, limit, share):
    """Away from the edge of convergence: there a window more or less decides."""
    rate = int(load * mib * MIB / PAGE_SIZE)
    small = 128 * MIB if PLAIN else 512 * MIB
    one = scenario(mib * MIB, rate, pattern, limit * MS, zero, memory=small, working_set=small // share)
    amounts, exact = precopy(one), precopy(one, exact=True)
    slack = 2 * WINDOW  # a decision falls into one window or the next
    assert amounts.total_ns == pytest.approx(exact.total_ns, rel=0.05, abs=slack)
    assert amounts.transferred_bytes == pytest.approx(
        exact.transferred_bytes, rel=0.05, abs=slack * mib * MIB // SECOND
    )
    assert amounts.converged == exact.converged is True


@pytest.mark.parametrize(("mib", "load", "limit"), [(128, 0.837, 50), (32, 0.166, 100)])
def test_zeros_of_the_working_set_that_are_written_go_out_whole(mib, load, limit):
    """Seven tenths of RAM are zeros and half of it is written: the first pass sends more than the rest of RAM."""
    one = scenario(mib * MIB, int(load * mib * MIB / PAGE_SIZE), "random", limit * MS, 0.7)
    amounts, exact = precopy(one), precopy(one, exact=True)
    assert amounts.iterations[0].sent_bytes == pytest.approx(exact.iterations[0].sent_bytes, rel=0.03)
    assert exact.iterations[0].sent_bytes > 1.04 * 0.3 * one.guest.memory
    assert amounts.total_ns == pytest.approx(exact.total_ns, rel=0.03, abs=WINDOW)


@settings(max_examples=3 if PLAIN else 40, derandomize=True)
@given(
    st.sampled_from(["sequential", "random", "hot"]),
    st.sampled_from(["4k", "2M"] if PLAIN else ["2M", "1G"]),
    st.sampled_from([0, 4]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([64, 128, 512]),
    st.floats(0.0, 0.6),
)
def test_amounts_in_huge_host_pages_and_packets_are_within_5_percent(pattern, backing, channels, zero, mib, load):
    """Away from the edge of convergence, as above."""
    small = (128 if PLAIN else 2048) * MIB
    rate = int(load * mib * MIB / PAGE_SIZE)
    one = scenario(mib * MIB, rate, pattern, 300 * MS, zero, small, small // 4, multifd_channels=channels)
    one = replace(one, guest=replace(one.guest, backing=backing))
    amounts, exact = precopy(one), precopy(one, exact=True)
    slack = 2 * WINDOW
    assert amounts.total_ns == pytest.approx(exact.total_ns, rel=0.05, abs=slack)
    assert amounts.transferred_bytes == pytest.approx(
        exact.transferred_bytes, rel=0.05, abs=slack * mib * MIB // SECOND
    )
    assert amounts.converged == exact.converged is True


@pytest.mark.slow
def test_a_terabyte_page_by_page():
    one = scenario(
        2 * GIB, 100_000, "random", zero=0.3, memory=TIB, working_set=64 * GIB, link=Link(bandwidth=10 * GIB)
    )
    exact, amounts = precopy(one, exact=True), precopy(one)
    assert exact.total_ns == pytest.approx(amounts.total_ns, rel=0.01)
    assert exact.clear_calls >= 1024, "Trap 23: a KVM clear for each GiB, when its first page is sent"


def test_writes_before_a_chunk_is_cleared_are_sent_anyway():
    """Trap 23: what the guest writes before KVM clears its chunk goes out with the first version, uncounted."""
    where = Layout(4 * 64, 256, 256, 0, 256)
    ram = ExactRam(where, Dirty("sequential", 1000, 256 * PAGE_SIZE), 0, 0, clear_shift=6)
    ram.sync()
    ram.write(SECOND // 4)  # 250 of 256 pages, before anything was sent
    ram.send(None, 1 << 62)
    assert ram.sync() == 0
    assert ram.clear_calls == 4
    ram.write(SECOND // 4)
    assert ram.sync() == 250


def test_a_dirty_ring_counts_what_was_written_before_its_page_was_sent():
    """Beside the test above: a ring is protected anew at each sync, and no chunk is cleared when it is sent."""
    where = Layout(4 * 64, 256, 256, 0, 256, 1024)
    dirty = Dirty("sequential", 1000, 256 * PAGE_SIZE)
    amounts = IntervalRam(where, dirty, 0, 0)
    for ram in (ExactRam(where, dirty, 0, 0, clear_shift=6), amounts):
        assert ram.sync() == 0
        ram.write(SECOND // 4)
        ram.send(None, 1 << 62)
        assert ram.sync() == 250
        ram.send(None, 1 << 62)
        ram.write(SECOND // 4)
        assert (ram.sync(), ram.clear_calls) == (250, 0)


def test_a_full_ring_stops_its_vcpu_and_the_reaper_comes_each_second():
    """Soft limit: 4096 entries less 64 and the 512 of PML. 10,000 pages at once fill it twice; in slices, never."""
    dirty = Dirty("sequential", 10_000, 12_800 * PAGE_SIZE)
    ram = ExactRam(Layout(12_800, 0, 0, 0, 12_800, 4096), dirty, 0, 0)
    ram.sync()
    ram.write(SECOND)
    assert ram.ring_exits == (10_000 - 1) // (4096 - 64 - 512) == 2
    slow = ExactRam(Layout(12_800, 0, 0, 0, 12_800, 4096), replace(dirty, rate=3000), 0, 0)
    slow.sync()
    for _ in range(40):
        slow.write(SECOND // 10)
    assert slow.ring_exits == 0
    slow.send(None, 1 << 62)
    assert slow.sync() == 12_000, "four seconds of 3,000 pages; what the reaper fetched is not lost"
    one = scenario(rate=20_000, working_set=64 * MIB, memory=128 * MIB, bandwidth=160 * MIB)
    ring = replace(one, guest=replace(one.guest, dirty_ring_size=1024))
    assert precopy(ring, exact=True).ring_exits > 0
    assert precopy(ring, exact=True).clear_calls == precopy(one, exact=True).ring_exits == 0


@settings(max_examples=4 if PLAIN else 40, derandomize=True)
@given(
    st.sampled_from(["sequential", "random", "hot"]),
    st.sampled_from([1024, 65_536]),
    st.sampled_from([32, 64, 128]),
    st.floats(0.0, 0.6),
)
def test_amounts_with_a_dirty_ring_are_within_5_percent(pattern, ring, mib, load):
    rate = int(load * mib * MIB / PAGE_SIZE)
    small = (128 if PLAIN else 512) * MIB
    one = scenario(mib * MIB, rate, pattern, 300 * MS, 0.3, memory=small, working_set=small // 4)
    one = replace(one, guest=replace(one.guest, dirty_ring_size=ring))
    amounts, exact = precopy(one), precopy(one, exact=True)
    slack = 2 * WINDOW
    assert amounts.total_ns == pytest.approx(exact.total_ns, rel=0.05, abs=slack)
    assert amounts.transferred_bytes == pytest.approx(
        exact.transferred_bytes, rel=0.05, abs=slack * mib * MIB // SECOND
    )
    log = precopy(replace(one, guest=replace(one.guest, dirty_ring_size=0)), exact=True)
    assert exact.iterations[0].dirty_pages >= log.iterations[0].dirty_pages


# ------------------------------------------------------------------------------------------------------ windows, limits


def test_a_window_ends_at_the_flush_after_the_limit():
    """As traces have it: 64 MiB/s is 6,710,886 bytes a window, and 1,664 pages go out: 52 flushes of 32 pages."""
    points = precopy(scenario(zero=0.0, memory=64 * MIB, working_set=MIB), exact=True).points[1:7]
    assert {after.sent_bytes - before.sent_bytes for before, after in pairwise(points)} == {6_829_074}
    assert {after.ns - before.ns for before, after in pairwise(points)} == {WINDOW}
    assert {each.threshold_bytes for each in points} == {20_487_222}


def test_zero_pages_shrink_the_threshold():
    """Trap 19: the bandwidth is what went over the wire, and a page of zeros is 9 bytes there, 4,096 of pending."""
    real = RUNS["p-bw128-r8000-seq"]
    thresholds = [each.threshold_bytes for each in precopy(real.scenario, not PLAIN).points]
    assert max(thresholds) > 30e6
    assert min(thresholds[1:]) < 5e6
    fast = replace(real.scenario, testbed="liu2023")  # where zeros are looked through in no time
    assert min(each.threshold_bytes for each in precopy(fast).points[1:]) > 30e6


def test_an_idle_guest_takes_one_pass():
    one = scenario()
    run = precopy(one)
    pages = 131_072
    zero = int(pages * 0.45)
    assert len(run.iterations) == run.syncs == 2
    assert sum(each.sent_bytes for each in run.iterations) == pytest.approx(
        (pages - zero) * (PAGE_SIZE + PAGE_HEADER) + zero * 9, rel=1e-4
    )
    assert run.iterations[0].remaining_bytes == 512 * MIB
    assert run.left_bytes == run.iterations[-1].sent_bytes


def test_passes_conserve_bytes():
    for name, real in RUNS.items():
        run = precopy(real.scenario)
        assert sum(each.sent_bytes for each in run.iterations) == run.transferred_bytes, name
        for before, after in pairwise(run.iterations):
            assert after.start_ns >= before.start_ns
        assert run.iterations[-1].remaining_bytes == run.left_pages * PAGE_SIZE
        assert run.left_bytes == run.iterations[-1].sent_bytes


def test_what_does_not_get_less_does_not_converge():
    run = precopy(scenario(32 * MIB, 20_000))
    assert not run.converged
    assert run.left_pages > 60_000, "nearly the whole working set, dirtied again in each pass"


def test_auto_converge_slows_the_guest_until_it_ends():
    """20 %, then 10 more at a time, whenever half of what was sent is dirtied again, twice."""
    stuck = scenario(64 * MIB, 30_000, "random")
    throttled = precopy(replace(stuck, migration=replace(stuck.migration, auto_converge=True)))
    assert not precopy(stuck).converged
    assert throttled.converged
    assert round(throttled.throttle * 100) in range(20, 100, 10)
    idle = scenario(rate=100, auto_converge=True)
    assert precopy(idle).throttle == 0


def test_settings_changed_on_the_way_let_it_end():
    """As in a real run: 32 MiB/s do not suffice; after 15 s the limit is a minute and the bandwidth free."""
    changes = (Change(after=15 * SECOND, downtime_limit=60 * SECOND, max_bandwidth=None),)
    freed = precopy(scenario(32 * MIB, 20_000, changes=changes))
    assert freed.converged
    assert 15 * SECOND <= freed.total_ns < 16 * SECOND


def test_a_stated_bandwidth_for_the_switchover_replaces_the_measured_one():
    known = precopy(scenario(64 * MIB, 12_000, avail_switchover_bandwidth=GIB))
    assert known.converged
    assert known.total_ns < precopy(scenario(64 * MIB, 12_000)).total_ns
    assert known.left_pages * PAGE_SIZE > 64 * MIB * 300 // 1000


def test_a_looser_limit_or_a_faster_link_does_not_take_longer():
    times = [precopy(scenario(rate=8000, limit=limit * MS)).total_ns for limit in (100, 300, 1000, 3000)]
    assert times == sorted(times, reverse=True)
    times = [precopy(scenario(mib * MIB, rate=4000)).total_ns for mib in (32, 64, 128, 1024)]
    assert times == sorted(times, reverse=True)


def test_the_slower_of_limit_link_and_thread_counts():
    thin = scenario(None, link=Link(bandwidth=64 * MIB))
    assert precopy(thin).total_ns == pytest.approx(precopy(scenario(64 * MIB)).total_ns, rel=0.05)
    unlimited = precopy(scenario(None, link=Link(bandwidth=None)))
    assert unlimited.total_ns == pytest.approx(72_090 * 1000 + 58_982 * 200, rel=0.1), "the thread's work alone"
    assert wire_ns(10**9, None) == 0
    assert page_ns(2, 4104) == 2 * SECOND
    assert precopy(scenario(9)).total_ns < SECOND, "under ten bytes a second the limit of a window is 0, which is none"


@pytest.mark.parametrize("exact", [False, True])
def test_a_huge_host_page_goes_out_whole_before_the_estimate_is_looked_at(exact):
    """ram_save_host_page waits for windows itself: with one host page, every pass leaves nothing to its sync."""
    memory = (32 if PLAIN else 1024) * MIB
    one = scenario(memory // 8, memory // PAGE_SIZE // 40, "random", zero=0, memory=memory, working_set=memory)
    huge = replace(one, guest=replace(one.guest, backing="1G"))
    small, whole = precopy(one, exact), precopy(huge, exact)
    for before, after in pairwise(whole.iterations[:-1]):
        assert after.remaining_bytes == before.dirty_pages * PAGE_SIZE
    assert small.iterations[1].remaining_bytes > small.iterations[0].dirty_pages * PAGE_SIZE
    # The limit still holds: as many bytes in as many windows, a flush more each.
    windows = whole.iterations[1].start_ns // WINDOW
    each = memory // 8 * WINDOW // SECOND
    assert windows * each < whole.iterations[0].sent_bytes <= (windows + 1) * (each + 32 * 4104)


def test_a_host_page_is_that_of_the_memory_backend():
    """A transparent huge page is none to QEMU: qemu_ram_pagesize is that of hugetlbfs."""
    pages = {backing: stream(scenario_of(backing)).host_pages for backing in ("4k", "thp", "mixed", "2M", "1G")}
    assert pages == {"4k": 1, "thp": 1, "mixed": 1, "2M": 512, "1G": 262_144}


def scenario_of(backing):
    one = scenario()
    return replace(one, guest=replace(one.guest, backing=backing))


@pytest.mark.parametrize("exact", [False, True])
def test_multifd_sends_packets(exact):
    """128 pages a packet of 320 + 128 * 8 bytes; at the end of each round an empty one a channel and a flag of 8."""
    one = scenario(None, zero=0.5, memory=64 * MIB, working_set=MIB, link=Link(bandwidth=None))
    four = replace(one, migration=replace(one.migration, multifd_channels=4))
    plain, packets = precopy(one, exact), precopy(four, exact)
    normal = zeros = 8192
    slices = SECTION * 2
    assert plain.transferred_bytes == pytest.approx(normal * 4104 + zeros * 9, abs=slices)
    rounds = 3  # the pass, and the last stage with nothing to send, which looks for more once
    found = packets.transferred_bytes - normal * 4096 - (normal + zeros) // 128 * 1344
    assert found in [n * (4 * 1344 + 8) + m * SECTION for n in range(rounds + 1) for m in range(3)]
    assert packets.total_ns == pytest.approx(plain.total_ns / 4, rel=0.01), "nothing but threads' work"
    bound = replace(four, link=Link(bandwidth=64 * MIB))
    ratio = precopy(bound, exact).total_ns / precopy(replace(one, link=bound.link), exact).total_ns
    assert ratio == pytest.approx((4096 + 10.5) / 4104, rel=2e-3), "the link is the slower: packets cost a little more"


def test_who_looks_for_zeros_depends_on_the_version():
    """From QEMU 9.0 on the channels do, and list them in packets; before, the migration thread, and sends 9 bytes."""
    new = scenario(multifd_channels=4)
    old = replace(new, source=Host(qemu="8.2"))
    assert stream(new)[:6] == (4096, 0, 128, 1344, True, 4 * 1344 + 8)
    assert stream(old)[:6] == (4096, 9, 128, 1344, False, 4 * 1344 + 8)
    assert page_costs(old).zero_ns == 4 * page_costs(new).zero_ns == page_costs(scenario()).zero_ns
    assert page_costs(old).page_ns == page_costs(new).page_ns


def test_the_optimisation_multifd_is_the_setting():
    one = replace(scenario(None, rate=1000, link=Link(bandwidth=None)), optimizations=None)
    chosen = simulate(one, ["suspend", "multifd"], knobs={"multifd": {"channels": 8}})
    asked = simulate(replace(one, migration=replace(one.migration, multifd_channels=8)), ["suspend"])
    assert chosen.scenario == asked.scenario
    assert chosen.windows == asked.windows
    assert chosen.json()["precopy"]["total_ns"] < simulate(one, ["suspend"]).json()["precopy"]["total_ns"] / 7


def test_the_downtime_limit_does_not_bound_the_outage():
    """Trap 18: it budgets bytes of RAM only; stopping and starting devices comes on top."""
    tight = find_scenario("tatulea2024precreate")
    tight = replace(tight, migration=replace(tight.migration, downtime_limit=100 * MS))
    assert precopy(tight).converged
    assert simulate(tight).windows["network_outage"] > 100 * MS


def test_real_slices_end_after_51_ms_at_a_multiple_of_64_pages(checkout):
    """MAX_WAIT is 50 ms, but whole milliseconds have to be more: no slice of the recorded runs ended sooner."""
    said = re.compile(r"big wait: (\d+) milliseconds, (\d+) iterations")
    found = np.array(
        [
            match.groups()
            for log in sorted((checkout / "data" / "traces").glob("*/trace-src.log.gz"))
            for match in said.finditer(gzip.decompress(log.read_bytes()).decode())
        ],
        int,
    )
    assert len(found) > 100
    assert found[:, 0].min() == 51 == (MAX_WAIT + 1) // MS
    assert not (found[:, 1] % 64).any()


@pytest.mark.parametrize(("page", "zero"), [(False, False), (True, False), (False, True)])
def test_a_slice_counts_to_64_across_kinds_of_pages(page, zero):
    """From page to page the clock is looked at after every 64th of a call, whatever they are."""
    where = Layout(10_000, 100, 300, 0, 0)
    costs = 100_000 + 50_000 * page, 70_000 + 900_000 * zero
    exact, amounts = ExactRam(where, None, *costs), IntervalRam(where, None, *costs)
    for ram in (exact, amounts):
        ram.sync()
    for _ in range(4):
        assert exact.send(None, MAX_WAIT) == amounts.send(None, MAX_WAIT)


@given(
    st.integers(0, 10**6), st.lists(st.integers(0, SECOND), min_size=1, max_size=9), st.sampled_from([1.0, 0.8, 0.01])
)
def test_writes_come_to_the_same_however_time_is_cut_up(rate, cuts, share):
    whole, pieces = Writer(rate), Writer(rate)
    found = [pieces.run(ns, share) for ns in cuts]
    assert whole.run(sum(cuts), share) == (0, sum(count for _, count in found))
    assert [before for before, _ in found] == [sum(count for _, count in found[:n]) for n in range(len(found))]
    assert found[-1][0] + found[-1][1] == rate * sum(cuts) * round(share * 100) // (100 * SECOND)


@given(
    memory=st.integers(256, 3072).map(lambda each: 2 * each),
    bandwidth=st.none() | st.integers(8, 4000),
    rate=st.sampled_from([0, 500, 3000, 40_000]),
    zero=st.sampled_from([0.0, 0.3, 0.9]),
    working_set=st.integers(1, 400),
    more=st.sampled_from(
        [
            {},
            {"auto_converge": True},
            {"cancel_after": 3 * SECOND},
            {"avail_switchover_bandwidth": 500 * MIB},
            {"multifd_channels": 4},
        ]
    ),
    guest=st.sampled_from([{}, {"backing": "2M"}, {"dirty_ring_size": 4096}]),
)
@settings(max_examples=20 if PLAIN else 80)
def test_windows_that_are_skipped_are_like_those_that_are_played(
    memory, bandwidth, rate, zero, working_set, more, guest
):
    one = scenario(bandwidth and bandwidth * MIB, rate, zero=zero, memory=memory * MIB,
                   working_set=working_set * MIB, **more)  # fmt: skip
    one = replace(one, guest=replace(one.guest, **guest))
    skipped = precopy(one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntervalRam, "alike", lambda *args: 0)
        played = precopy.__wrapped__(one)
    if one.guest.backing == "4k" and not one.migration.multifd_channels:
        assert played._replace(points=()) == skipped._replace(points=())
    else:  # not to the byte: headers of sections and packets, and what is left of a packet
        assert played.transferred_bytes == pytest.approx(skipped.transferred_bytes, rel=0.01)
        assert played.total_ns == pytest.approx(skipped.total_ns, rel=0.01, abs=WINDOW)


def test_slices_of_fifty_milliseconds():
    """ram_save_iterate comes back after MAX_WAIT, looking at the clock every 64 pages."""
    ram = ExactRam(Layout(10_000, 0, 0, 0, 0), None, 100_000, 0)
    ram.sync()
    sent = ram.send(None, MAX_WAIT)
    assert sent.normal == 513
    amounts = AggregateRam(Layout(10_000, 0, 0, 0, 0), None, 100_000, 0)
    amounts.sync()
    assert amounts.send(None, MAX_WAIT).normal == 513


def test_where_zeros_and_the_working_set_lie():
    where = layout(scenario(rate=1))
    assert where.zero_stop - where.zero_first == int(131_072 * 0.45)
    assert where.written_first + where.written == where.zero_first
    full = layout(scenario(rate=1, zero=1.0))
    assert (full.zero_first, full.zero_stop) == (0, full.pages)
    assert layout(replace(scenario(), guest=Guest(memory=GIB, dimms=(GIB,)))).pages == 2 * GIB // PAGE_SIZE
    assert precopy_exact.HOT_WRITES == 0.9


# -------------------------------------------------------------------------------------------------------------- views


def test_the_picture_of_the_runs_shows_both_and_their_times():
    figure = precopy_figure(list(RUNS.values())[:2], columns=2)
    first = figure.axes[0]
    assert "2.73 s recorded, 2.70 s simulated" in first.get_title() or "2.7" in first.get_title()
    recorded = next(line for line in first.lines if line.get_label() == "recorded")
    assert len(recorded.get_xdata()) == len(RUNS["p-bw128-r8000-seq"].points)
    assert first.get_ylabel() == "remaining, MiB"
    assert figure.axes[1].get_xlabel() == "s"


def test_the_picture_of_a_whole_migration_has_one_time_axis():
    one = find_scenario("sim-256-2d")
    one = replace(one, workload=Workload(Dirty("random", 2000, 64 * MIB), Traffic(rx_pps=1000, tx_pps=500)))
    run = simulate(one)
    figure = whole_figure(run)
    assert [ax.get_ylabel() for ax in figure.axes[:3]] == ["remaining, MiB", "delivered, 1000/s", "latency, µs"]
    (limits,) = {ax.get_xlim() for ax in figure.axes}
    assert limits == pytest.approx((0, max(run.timeline.marks.values()) / SECOND))
    before = [line for line in figure.axes[1].lines if line.get_label() == "RX"]
    assert before, "the legend names each direction once"
    assert max(line.get_ydata()[0] for line in figure.axes[1].lines) == pytest.approx(2.0), (
        "two devices of 1,000 a second"
    )
    zoomed = whole_figure(run, blackout=1).axes[0].get_xlim()
    first = [each for each in run.outages() if each["blackout"] == 1]
    assert zoomed[0] < min(each["start_ns"] for each in first) / SECOND
    assert zoomed[1] > max(each["start_ns"] + each["ns"] for each in first) / SECOND
    assert len(whole_figure(replace_workload(run)).axes) == 2


def replace_workload(run):
    return simulate(replace(run.scenario, workload=Workload()))
