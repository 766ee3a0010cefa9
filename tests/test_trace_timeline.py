"""Real logs put in time: both blackouts, what they were spent on, two clocks, reported against true downtime."""

import gzip
import json
import re
from collections import Counter
from itertools import pairwise

import pytest
from conftest import CHECKOUT
from test_kernel_ops import STARTS_LOGGING, windows

from vdpa_lab import traces
from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.timeline import WINDOWS, intervals, summed
from vdpa_lab.traces.counts import cvq_name, rebuilds
from vdpa_lab.traces.sides import DESTINATION, SOURCE, Side
from vdpa_lab.units import MS, SECOND, US
from vdpa_lab.words import InputError

TRACES = CHECKOUT / "data" / "traces"
VDPA = ["v-256-1d-r2", "v-256-1d-2qp-r2", "v-256-1d-q10-r1", "v-256-1d-svq-r1", "v-256-2d-r3"]
QTEST = {"qtest/r3": True, "qtest/r6": False}


def recorded(name):
    if name in QTEST:
        return traces.run(TRACES / name, same_machine=True, return_path=QTEST[name])
    return traces.run(TRACES / name)


@pytest.fixture(scope="module")
def runs():
    return {name: recorded(name) for name in [*VDPA, *QTEST, "p-bw64-r8000-seq"]}


def text_of(name, side):
    folder = TRACES / name
    (path,) = folder.glob(f"trace?{side}.log.gz")
    return gzip.decompress(path.read_bytes()).decode()


def written(folder, text, name):
    path = folder / name
    path.write_text(text)
    return path


def iso_ns(line):
    second, _, part = line[11:27].partition(".")
    hours, minutes, seconds = map(int, second.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * SECOND + int(part.rstrip("Z")) * US


def moved(text, ns):
    """The log of a host whose clock is `ns` ahead; within one day."""

    def later(match):
        at = iso_ns(match[0]) + ns
        second, part = divmod(at // US, 10**6)
        return f"{match[0][:11]}{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{part:06}Z"

    return re.sub(r"(?m)^\S+Z", later, text)


def naive_windows(source, destination):
    """The slow twin: one device, by searching the text for the lines that begin and end each window."""

    def at(text, pattern, after=0, before=10**20):
        found = [iso_ns(line) for line in text.splitlines() if re.search(pattern, line)]
        return [t for t in found if after <= t <= before]

    setup = at(source, "new state setup")[0]
    start = at(source, "src-downtime-start")[0]
    enter = at(destination, "bh-enter")[0]
    enabled = "set_vring_enable_one .* idx: [01], enable: 1"
    switch = at(source, "vdpa_suspend", setup, start)
    dead = at(source, "vdpa_suspend", start)[0]
    up = at(destination, enabled, enter)[-1]
    ran = at(destination, "bh-vm-started")[0]
    found = {
        "destination_setup": up - at(destination, "vdpa_set_(vring_call|features)", enter)[0],
        "network_outage": up - dead,
        "reported_downtime": at(source, "src-downtime-end")[0] - start,
        "vm_paused": ran - at(source, "vm_state_notify running 0", start)[0],
    }
    stopped = at(source, "src-vm-stopped")[0]
    lines = [line for line in source.splitlines() if dead <= iso_ns(line) <= stopped]
    last = max(i for i, line in enumerate(lines) if "dma_unmap" in line)
    found["source_teardown"] = iso_ns(lines[last + 1]) - dead
    if switch:
        found["svq_switch"] = found["svq_switch_sum"] = at(source, enabled, setup, start)[-1] - switch[0]
    return found


@pytest.mark.parametrize("name", ["v-256-1d-r2", "v-256-1d-svq-r1", "qtest/r3"])
def test_windows_are_those_of_a_search_by_hand(runs, name):
    assert runs[name].windows() == naive_windows(text_of(name, "src"), text_of(name, "dst"))


@pytest.mark.parametrize("name", [name for name in VDPA if "svq" not in name] + list(QTEST))
def test_trap_1_there_are_two_blackouts_and_the_first_ends_before_dirty_logging_starts(runs, name):
    run, marks = runs[name], runs[name].timeline.marks
    for device in range(run.side(SOURCE).devices.count):
        dead = [each for each in run.outages() if each["device"] == device]
        assert [each["blackout"] for each in dead] == [1, 2]
        assert all(each["ns"] > 0 for each in dead)
        assert dead[0]["start_ns"] + dead[0]["ns"] == marks[f"svq-switch-end:{device}"]
        assert marks[f"svq-switch-end:{device}"] < marks["dirty-log-setup"] < marks["src-downtime-start"]
        assert marks["src-downtime-start"] < dead[1]["start_ns"]
    assert len(run.json()["windows"]["network_outage_ns"]) == 2 * run.side(SOURCE).devices.count


def test_always_on_shadow_virtqueues_have_no_first_blackout(runs):
    run = runs["v-256-1d-svq-r1"]
    assert [each["blackout"] for each in run.outages()] == [2]
    with pytest.raises(InputError, match=r"cannot answer 'svq_switch': they lack svq-switch-begin:\{d\} and svq-"):
        run.window("svq_switch")


def test_both_blackouts_of_qtest_are_as_they_were_measured_by_hand(runs):
    measured = json.loads((TRACES / "qtest" / "counts.json").read_text())["same_clock_intervals_ms"]
    for name, key in {"qtest/r3": "r3 10.2 rp", "qtest/r6": "r6 10.0 no-rp"}.items():
        found = runs[name].windows()
        assert round(found["svq_switch"] / MS, 1) == measured[key]["setup_blackout"]
        assert round(found["network_outage"] / MS, 1) == measured[key]["net_outage"]


@pytest.mark.parametrize(
    ("name", "reported", "away"),
    [
        ("qtest/r6", 85.1, 3406.0),
        ("qtest/r3", 167.2, 159.2),
        ("v-256-1d-r2", 133.7, 300.7),
        ("v-256-1d-q10-r1", 150.0, 944.0),
        ("v-256-1d-svq-r1", 190.4, 428.8),
        ("v-256-2d-r3", 205.2, 444.3),
    ],
)
def test_trap_17_reported_downtime_is_not_the_outage(runs, name, reported, away):
    """Pairs as measured: without a return path too short, with one too long."""
    run = runs[name]
    found = run.downtime()
    assert round(found["reported_ns"] / MS, 1) == reported
    assert round(found["vm_away_ns"] / MS, 1) == away
    words = run.why_they_differ()
    assert ("no return path" in words) == (reported < away)
    assert f"they differ because {words}" in list(run.text())
    if name in VDPA:
        answer = json.loads((TRACES / name / "query-migrate-src-final.json").read_text())
        assert found["query_migrate_ms"] == answer["downtime"] == int(reported + 0.5) or name == "v-256-1d-svq-r1"
        assert abs(found["query_migrate_ms"] - reported) <= 1


@pytest.mark.parametrize("name", VDPA)
@pytest.mark.parametrize("window", ["setup-src", "blackout-src", "blackout-dst"])
def test_counts_are_those_of_the_kernels_own_log(runs, name, window):
    key = {"setup-src": "svq_switch", "blackout-src": "source_teardown", "blackout-dst": "destination_setup"}[window]
    lines = windows((TRACES / name / "kernel-ops.txt").read_text())[window]
    if [line.split()[1] for line in lines[-3:]] == STARTS_LOGGING:
        del lines[-3:]
    wanted = Counter(line.split()[1] for line in lines)
    found = Counter(runs[name].counts.get(key, {}))
    for other in ("set_map", "GET_CONFIG", "MAC_ADDR_SET", "MQ_VQ_PAIRS_SET"):
        del found[other]
    assert found == wanted


@pytest.mark.parametrize("name", VDPA)
def test_qemus_log_alone_tells_the_messages_that_the_kernel_got(runs, name):
    folder = TRACES / name
    alone = traces.run(folder / "trace-src.log.gz", folder / "trace-dst.log.gz", same_machine=True)
    assert alone.windows() == runs[name].windows()
    told = ("IOTLB_UPDATE", "IOTLB_INVALIDATE", "IOTLB_BATCH_BEGIN", "IOTLB_BATCH_END", "SUSPEND", "SET_VRING_ENABLE",
            "SET_VRING_NUM", "SET_VRING_ADDR", "SET_VRING_KICK", "MAC_ADDR_SET", "SET_GROUP_ASID")  # fmt: skip
    for window, counts in runs[name].counts.items():
        assert {op: alone.counts[window].get(op) for op in told} == {op: counts.get(op) for op in told}


def test_map_rebuilds_are_told_from_batches(runs):
    """qtest/counts.json: 14 in the switch, 9 in the stop, 5 in the start, one ring area each or one batch."""
    for name in QTEST:
        counts = runs[name].counts
        assert [counts[w]["set_map"] for w in ("svq_switch", "source_teardown", "destination_setup")] == [14, 9, 5]
    side = runs["qtest/r3"].side(SOURCE)
    stop = [each for each in rebuilds(side.events) if each.t >= side.marks["src-downtime-start"]]
    assert [each.kind for each in stop] == ["ring"] * 6 + ["unpin"] + ["ring"] * 2
    assert (stop[6].messages, stop[6].size) == (5, 0x10040000 - 0xC0000 + 0xC0000 + 0x0)
    assert not any(each.kind == "pin" for each in stop)


def between(side, begin, end):
    return [each for each in rebuilds(side.events) if side.marks[begin] <= each.t <= side.marks[end]]


def test_trap_14_the_cvq_is_in_asid_0_while_data_queues_are_shadowed(runs):
    """ASID 1 is the CVQ's in passthrough only: unmapped there at the switch, mapped there on the destination."""
    run = runs["v-256-1d-r2"]
    side = run.side(SOURCE)
    marks = side.marks
    switch = [
        each for each in rebuilds(side.events) if marks["svq-switch-begin:0"] <= each.t <= marks["svq-switch-end:0"]
    ]
    stop = [each for each in rebuilds(side.events) if each.t >= marks["stop-begin:0"]]
    mapped = [e for e, _ in side.events if e.name == "vhost_vdpa_dma_map" and e.t < marks["svq-switch-end:0"]]
    assert Counter(each.asid for each in switch if each.kind == "ring") == {1: 4, 0: 8}
    assert {event.fields["asid"] for event in mapped} == {0}
    assert {each.asid for each in stop} == {0}
    there = run.side(DESTINATION)
    start = [
        each for each in rebuilds(there.events) if there.marks["start-begin:0"] <= each.t <= there.marks["start-end:0"]
    ]
    assert [(each.kind, each.asid) for each in start] == [("ring", 1)] * 4 + [("pin", 0)]


@pytest.mark.parametrize("name", [name for name in VDPA if "q10" not in name] + ["qtest/r3"])
def test_trap_15_an_early_map_is_undone_and_the_blackout_maps_again(runs, name):
    """QEMU 10.2 and 11.1 map at start and unmap at reset; the batch comes once more after src-downtime-start."""
    side = runs[name].side(DESTINATION)
    log = list(zip(side.log.events, side.devices.of(side.log.events), strict=True))
    batches = [each for each in rebuilds(log) if each.kind in ("pin", "unpin") and each.device == 0]
    late = [each for each in batches if side.marks["start-begin:0"] <= each.t <= side.marks["start-end:0"]]
    early = [each for each in batches if each.t < side.marks["start-begin:0"]]
    assert [each.kind for each in late] == ["pin"]
    assert late[0].messages == (5 if "qtest" in name else 6)
    assert sum(each.size if each.kind == "pin" else -each.size for each in early) == 0
    assert late[0].size == max(each.size for each in early)


def test_trap_16_cold_memory_costs_orders_of_magnitude(runs):
    """RAM load onto cold pages (10.0) against populated ones (10.2), and the first pin against a later one."""
    lag = {}
    for name in QTEST:
        marks = runs[name].timeline.marks
        lag[name] = marks["dst-precopy-loadvm-completed"] - marks["src-non-iterable-saved"]
    assert lag["qtest/r6"] > 100 * lag["qtest/r3"]
    pinned = {}
    for name in ("v-256-1d-q10-r1", "v-256-1d-r2"):
        parts = runs[name].breakdown("destination_setup")
        pinned[name] = sum(part.ns for part in parts if part.key == "IOTLB_UPDATE")
    assert 10 < pinned["v-256-1d-q10-r1"] / pinned["v-256-1d-r2"] < 14
    assert 611 < pinned["v-256-1d-q10-r1"] / MS < 613


def test_trap_31_devices_are_switched_stopped_and_started_one_after_the_other(runs):
    timeline = runs["v-256-2d-r3"].timeline
    for name, order in {"svq_switch": [1, 0], "source_teardown": [1, 0], "destination_setup": [0, 1]}.items():
        found = sorted(intervals(timeline, WINDOWS[name]), key=lambda each: each.start_ns)
        assert [each.device for each in found] == order
        assert found[0].start_ns + found[0].ns <= found[1].start_ns
        assert all(each.ns > 30 * MS for each in found)
    both = runs["v-256-2d-r3"].windows()
    assert both["svq_switch_sum"] == sum(each.ns for each in intervals(timeline, WINDOWS["svq_switch"]))
    assert both["network_outage"] > both["source_teardown"] / 2 + both["destination_setup"]


def test_trap_42_a_deleted_regions_end_is_its_last_byte():
    """Every deletion of a real log undoes an addition whose end is one byte further, and the unmap has its size."""
    events = Side(SOURCE, traces.read(TRACES / "v-256-1d-r2" / "trace-src.log.gz")).log.events
    added, deleted = set(), 0
    for event, after in pairwise([e for e in events if "listener_region" in e.name or "dma_" in e.name]):
        fields = event.fields
        if event.name == "vhost_vdpa_listener_region_add":
            added.add((fields["gpa"], fields["llend"]))
        elif event.name == "vhost_vdpa_listener_region_del":
            added.remove((fields["gpa"], fields["llend"] + 1))
            deleted += 1
            assert after.fields["size"] == fields["llend"] + 1 - fields["gpa"]
    assert deleted == 15
    assert added == set()


def test_trap_43_a_device_that_cannot_be_suspended_is_dead_from_its_reset(tmp_path):
    """QEMU resets in place of SUSPEND; the data path is dead from the stop, which is traced just before."""
    text = text_of("v-256-1d-r2", "src").replace("vhost_vdpa_suspend dev", "vhost_vdpa_reset_device dev")
    run = traces.run(written(tmp_path, text, "src.log"))
    stops = [iso_ns(line) for line in text.splitlines() if re.search("vdpa_dev_start .*started: 0", line)]
    begin = run.timeline.marks["svq-switch-begin:0"]
    setup = next(iso_ns(line) for line in text.splitlines() if "new state setup" in line)
    assert setup + begin == stops[0]
    assert setup + run.timeline.marks["stop-begin:0"] == stops[2]
    assert any("cannot be suspended" in note for note in run.notes)
    assert run.counts["source_teardown"].get("SUSPEND") is None


@pytest.mark.parametrize("name", [*VDPA, *QTEST, "p-bw64-r8000-seq"])
def test_a_breakdown_sums_to_its_window_and_no_cause_follows_its_effect(runs, name):
    run = runs[name]
    for window, ns in run.windows().items():
        parts = run.breakdown(window)
        assert sum(part.ns for part in parts) == ns
        assert all(part.ns > 0 for part in parts)
        waiting = sum(part.ns for part in parts if part.key == "(waiting)")
        assert waiting <= 0.2 * ns, window
    spans, waited = run.timeline.spans, run.timeline.waited_for
    assert len(spans) == len(waited)
    assert all(spans[cause].end <= spans[i].start for i, cause in enumerate(waited) if cause >= 0)
    assert all(sum(term.ns for term in span.terms) in (0, span.ns) for span in spans)


@pytest.mark.parametrize("name", VDPA)
def test_the_kernels_share_of_a_blackout_is_what_its_log_says(runs, name):
    run = runs[name]
    marks, epoch = run.timeline.marks, run.assembled.epoch
    for window, side, begin, end in (("source_teardown", SOURCE, "stop-begin:{}", "stop-end:{}"),
                                     ("destination_setup", DESTINATION, "start-begin:{}", "start-end:{}")):  # fmt: skip
        total = 0
        for device in range(run.side(side).devices.count):
            low, high = marks[begin.format(device)] + epoch, marks[end.format(device)] + epoch
            total += sum(op.end - op.start for op in run.kernel.of(side)
                         if low <= op.start < high and op.op != "set_map" and op.device == device)  # fmt: skip
        parts = run.breakdown(window)
        assert sum(part.ns for part in parts if part.lane and part.lane.kind == "kernel") == total
        longest = summed(parts)[0]
        assert longest.key == ("IOTLB_INVALIDATE" if side == SOURCE else "IOTLB_UPDATE")


def test_the_chain_goes_through_the_host_that_held_the_other_up(runs):
    """Warm destination (r3): it waited for the source's unpinning. Cold one (r6): the source had long finished."""
    for name, load in {"qtest/r3": 1, "qtest/r6": 3219}.items():
        totals = Counter()
        for part in runs[name].breakdown("network_outage"):
            totals[part.key, part.lane.side if part.lane else ""] += part.ns
        assert round(totals["load RAM", DESTINATION] / MS) == load
        assert totals["IOTLB_INVALIDATE", SOURCE] > 30 * MS
        assert totals["IOTLB_UPDATE", DESTINATION] > 40 * MS


def test_with_a_return_path_the_source_waits_for_the_destination(runs):
    parts = runs["qtest/r3"].breakdown("reported_downtime")
    assert {part.lane.side for part in parts if part.lane} == {SOURCE, DESTINATION}
    assert runs["qtest/r6"].json()["clock"] == {
        "method": "same machine", "offset_ns": 0, "bound_ns": 0, "why": "both logs are of one machine, as you say"
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ two clocks


@pytest.mark.parametrize("ahead", [-3700 * SECOND, 0, 12_345_678_000, 3600 * SECOND])
def test_two_clocks_are_aligned_by_cause_and_effect(tmp_path, runs, ahead):
    source = TRACES / "qtest" / "r3" / "trace.src.log.gz"
    destination = written(tmp_path, moved(text_of("qtest/r3", "dst"), ahead), "dst.log")
    run = traces.run(source, destination, return_path=True)
    clock, true = run.clock, runs["qtest/r3"].windows()
    assert clock.method == "causal pairs"
    assert abs(clock.offset_ns - ahead) <= clock.bound_ns < 10 * MS
    assert abs(run.window("network_outage") - true["network_outage"]) <= clock.bound_ns
    assert run.window("destination_setup") == true["destination_setup"]
    assert f"± {clock.bound_ns / MS:.2f} ms" in next(line for line in run.text() if line.startswith("clocks"))
    stated = traces.run(source, destination, offset_ns=ahead)
    assert stated.windows() == true
    assert stated.clock[:3] == ("stated", ahead, 0)


def test_what_nothing_bounds_is_refused(tmp_path):
    source = TRACES / "qtest" / "r3" / "trace.src.log.gz"
    destination = written(tmp_path, moved(text_of("qtest/r3", "dst"), SECOND), "dst.log")
    with pytest.raises(
        InputError, match=r"nothing bounds the offset .* without a return path the source hears nothing"
    ):
        traces.run(source, destination)
    strangers = re.sub("idstr=", "idstr=other-", text_of("qtest/r3", "dst")).replace("loadvm-completed", "x")
    with pytest.raises(InputError, match="no state is both saved and loaded"):
        traces.run(source, written(tmp_path, strangers, "strange.log"), return_path=True)


def test_stated_offsets_that_put_effects_before_causes_are_refused(tmp_path):
    source = TRACES / "qtest" / "r3" / "trace.src.log.gz"
    behind = written(tmp_path, moved(text_of("qtest/r3", "dst"), -SECOND), "dst.log")
    for stated in ({"same_machine": True}, {"offset_ns": 0}):
        with pytest.raises(InputError, match=r"an effect precedes its cause .* by \d+ ms"):
            traces.run(source, behind, **stated)
    # The destination goes on for a second longer than the source waits: no offset fits both ends.
    late = text_of("qtest/r3", "dst").splitlines(keepends=True)
    start = next(i for i, line in enumerate(late) if "bh-enter" in line)
    text = "".join(late[:start]) + moved("".join(late[start:]), SECOND)
    with pytest.raises(InputError, match="no offset puts both"):
        traces.run(source, written(tmp_path, text, "late.log"), return_path=True)


# ------------------------------------------------------------------------------------- checkpoints, devices, reports


SAMPLE = [74244, 154493, 4746, 224981, 36, 7859, 15995, 236]
NAMES = ["src-downtime-start", "src-vm-stopped", "src-iterable-saved", "src-non-iterable-saved",
         "dst-precopy-loadvm-completed", "dst-precopy-bh-enter", "dst-precopy-bh-announced",
         "dst-precopy-bh-vm-started", "src-downtime-end"]  # fmt: skip


def posted_sample(folder):
    """The sample posted to qemu-devel on 26 July 2024: checkpoints of a migration with `downtime: 483 ms`."""
    at, lines = 1721976657_700972, {"src": [], "dst": []}
    for name, us in zip(NAMES, [*SAMPLE, 0], strict=True):
        lines[name[:3]].append(f"252812@{at // 10**6}.{at % 10**6:06}:vmstate_downtime_checkpoint {name}\n")
        at += us
    lines["src"].append("252812@1721976658.100000:vmstate_downtime_save type=iterable idstr=ram instance_id=0 "
                        "downtime=138005\n")  # fmt: skip
    lines["dst"].append("252812@1721976658.200000:vmstate_downtime_load type=iterable idstr=ram instance_id=0 "
                        "downtime=2\n")  # fmt: skip
    return [written(folder, "".join(lines[side]), f"{side}.log") for side in lines]


def test_the_posted_sample_is_reprinted_exactly(tmp_path):
    run = traces.run(*posted_sample(tmp_path), same_machine=True, return_path=True)
    assert [row["us"] for row in run.checkpoints()] == SAMPLE
    text = list(run.text())
    for (a, b), us in zip(pairwise(NAMES), SAMPLE, strict=True):
        assert f"{a} -> {b}: {us} (us)" in text
    assert "reported downtime: 482,590 us (483 ms)" in text
    assert run.window("reported_downtime") == 482_590_000


def test_devices_come_largest_first_and_the_rest_is_counted(runs):
    run = runs["v-256-1d-r2"]
    rows = run.devices()
    assert rows[0] == {"idstr": "ram", "type": "iterable", "us": 25332, "side": "source", "instance": 0}
    assert [row["us"] for row in rows] == sorted((row["us"] for row in rows), reverse=True)
    assert len(rows) == sum(text_of("v-256-1d-r2", side).count("vmstate_downtime_" + verb)
                            for side, verb in (("src", "save"), ("dst", "load")))  # fmt: skip
    assert list(run.text())[-1] == f"({len(rows) - 8} omitted)"


def test_json_has_what_others_rely_on(runs):
    for run in runs.values():
        found = json.loads(json.dumps(run.json()))
        assert {"dialect", "qemu", "marks", "windows", "counts", "breakdown", "checkpoints", "devices", "clock",
                "skipped_lines"} <= found.keys()  # fmt: skip
        assert found["clock"].keys() >= {"method", "offset_ns", "bound_ns"}
        assert found["skipped_lines"] == 0
        for name, ns in run.windows().items():
            rows = [row for row in found["breakdown"] if row["window"] == name]
            assert sum(row["ns"] for row in rows) == ns
            assert name == "network_outage" or found["windows"][f"{name}_ns"] == ns
            assert all(row["basis"] == "measured" for row in rows)
    assert found["qemu"] == "11.1.3"
    assert runs["qtest/r6"].json()["function_graph"]["counts"]["calls"]["vdpasim_set_map"] == 28


def test_a_run_without_vdpa_has_the_windows_of_any_migration(runs):
    run = runs["p-bw64-r8000-seq"]
    assert set(run.windows()) == {"vm_paused", "reported_downtime"}
    assert abs(run.window("reported_downtime") / MS - run.downtime()["query_migrate_ms"]) < 1
    dirty = run.assembled.counters["dirty pages"]
    text = text_of("p-bw64-r8000-seq", "src")
    assert [pages for _, pages in dirty] == [int(n) for n in re.findall(r"sync_end dirty_pages (\d+)", text)]
    assert dirty[0][1] == 0
    spans = [span for span in run.timeline.spans if span.op == "bitmap sync" and "bitmap sync" in span.name]
    assert len(spans) == len(dirty)


def test_one_log_answers_what_is_in_it(runs):
    run = traces.run(TRACES / "v-256-1d-r2" / "trace-src.log.gz")
    assert set(run.windows()) == {"svq_switch", "svq_switch_sum", "source_teardown", "reported_downtime"}
    assert run.missing("network_outage") == ("network-up:{d}",)
    with pytest.raises(InputError, match=r"cannot answer 'vm_paused': they lack vcpus-resumed"):
        run.window("vm_paused")
    with pytest.raises(InputError, match="did you mean 'network_outage'"):
        run.window("network_outages")
    there = traces.run(TRACES / "v-256-1d-r2" / "trace-dst.log.gz")
    assert there.windows() == {"destination_setup": runs["v-256-1d-r2"].window("destination_setup")}
    assert there.clock.method == run.clock.method == "one log"


# ---------------------------------------------------------------------------------------------- logs of many shapes


def test_a_window_that_ends_before_it_begins_is_no_window(tmp_path, runs):
    lines = text_of("v-256-1d-r2", "src").splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if "src-downtime-start" in line)
    late = moved(lines[start], SECOND)
    run = traces.run(written(tmp_path, "".join([*lines[:start], *lines[start + 1 :], late]), "src.log"))
    assert "reported_downtime" not in run.windows()
    with pytest.raises(InputError, match="'reported_downtime' ends before it begins"):
        run.window("reported_downtime")
    assert any("it ends before it begins" in line for line in run.text())


def test_the_message_api_prefix_changes_nothing(tmp_path, runs):
    paths = []
    for side, tid in (("src", 11), ("dst", 22)):
        text = re.sub(r"(?m)^(\S+Z) ", rf"\1 guest qemu-system-x86_64: ({tid}:main): ", text_of("v-256-1d-r2", side))
        paths.append(written(tmp_path, text, f"{side}.log"))
    run = traces.run(*paths, same_machine=True)
    assert run.dialect == "qemu-log message-api"
    assert run.windows() == runs["v-256-1d-r2"].windows()


def test_of_several_migrations_the_last_one_counts(tmp_path, runs):
    text = text_of("v-256-1d-r2", "src")
    run = traces.run(written(tmp_path, text + moved(text, 100 * SECOND), "src.log"))
    alone = traces.run(TRACES / "v-256-1d-r2" / "trace-src.log.gz")
    assert run.windows() == alone.windows()
    assert run.counts["source_teardown"] == alone.counts["source_teardown"]
    assert "source: 2 migrations in the log; this is the last that came to the end" in run.notes


def test_a_cancelled_migration_has_a_blackout_of_its_own(tmp_path):
    """Trap 38: cancelling switches back to passthrough, with the VM running."""
    lines = text_of("v-256-1d-r2", "src").splitlines(keepends=True)
    stop = next(i for i, line in enumerate(lines) if "src-downtime-start" in line)
    setup = next(i for i, line in enumerate(lines) if "new state setup" in line)
    back = "".join(lines[setup:stop]).replace("new state setup", "new state cancelling")
    text = "".join(lines[:stop]) + moved(back.replace("new state active", "new state cancelled"), 10 * SECOND)
    run = traces.run(written(tmp_path, text, "src.log"))
    marks = run.timeline.marks
    assert marks["svq-switch-back-begin:0"] - marks["svq-switch-begin:0"] == 10 * SECOND
    assert marks["svq-switch-back-end:0"] - marks["svq-switch-end:0"] == 10 * SECOND
    assert set(run.windows()) == {"svq_switch", "svq_switch_sum"}


def test_devices_are_told_without_vhost_vdpa_init(tmp_path, runs):
    text = re.sub(r"(?m)^.* vhost_vdpa_init .*\n", "", text_of("v-256-2d-r3", "src"))
    run = traces.run(written(tmp_path, text, "src.log"))
    whole = runs["v-256-2d-r3"].windows()
    assert run.windows() == {key: whole[key] for key in run.windows()}
    assert run.side(SOURCE).devices.count == 2
    assert any("no vhost_vdpa_init" in note for note in run.notes)


def test_logs_in_the_wrong_order_are_told_by_their_events(tmp_path, runs):
    source = written(tmp_path, text_of("v-256-1d-r2", "src"), "a.log")
    destination = written(tmp_path, text_of("v-256-1d-r2", "dst"), "b.log")
    run = traces.run(destination, source, same_machine=True)
    assert run.windows() == runs["v-256-1d-r2"].windows()
    assert "the destination's log was given first; told by their events" in run.notes


def test_logs_that_make_no_run_are_refused(tmp_path):
    source = TRACES / "v-256-1d-r2" / "trace-src.log.gz"
    with pytest.raises(InputError, match="are not a source's and a destination's log"):
        traces.run(source, source)
    with pytest.raises(InputError, match="3 logs of QEMU"):
        traces.run(source, source, source)
    with pytest.raises(InputError, match="name a folder"):
        traces.run()
    with pytest.raises(InputError, match="side must be source or destination, not 'both'"):
        traces.run(source, side="both")
    both = written(tmp_path, text_of("qtest/r3", "src") + text_of("qtest/r3", "dst"), "both.log")
    with pytest.raises(InputError, match="holds events of both hosts: say whether"):
        traces.run(both)
    assert "svq_switch" in traces.run(both, side="source").windows()
    idle = written(tmp_path, "2026-11-22T22:03:42.747686Z vhost_vdpa_suspend dev: 0x55\n", "idle.log")
    with pytest.raises(InputError, match="no event that tells the host"):
        traces.run(idle)
    with pytest.raises(InputError, match="no event of a migration; trace the events of data/trace-events"):
        traces.run(idle, side="destination")
    with pytest.raises(InputError, match=r"no log of QEMU's trace events .*counts.json: not read"):
        traces.run(TRACES / "qtest")
    for number in range(201):
        written(tmp_path, "x", f"{number}.txt")
    with pytest.raises(InputError, match="a run has at most 200"):
        traces.run(tmp_path)


def test_a_kernel_log_of_another_time_is_left_out(tmp_path, runs):
    folder = TRACES / "v-256-1d-r2"
    other = TRACES / "v-256-1d-q10-r1" / "kernel-vdt.log.gz"
    run = traces.run(folder / "trace-src.log.gz", folder / "trace-dst.log.gz", other, same_machine=True)
    assert run.kernel is None
    assert any("of another time" in note for note in run.notes)
    assert run.windows() == runs["v-256-1d-r2"].windows()


def test_hostile_text_reaches_no_report(tmp_path):
    evil = "\x1b[2J<script>alert(1)</script>"
    text = text_of("qtest/r3", "src").replace("idstr=timer", f"idstr={evil}").replace("start timer,", f"start {evil},")
    text += f"2026-11-22T22:22:04.000000Z vmstate_downtime_checkpoint {evil}\n\x07bell\n"
    run = traces.run(written(tmp_path, text, "src.log"))
    assert all(line.isprintable() for line in run.text())
    assert "\x1b" not in json.dumps(run.json(), ensure_ascii=False)
    assert evil not in run.timeline.marks
    assert run.skipped == 1


def test_control_commands_have_their_names():
    assert cvq_name({"class": 1, "cmd": 1}) == "MAC_ADDR_SET"
    assert cvq_name({"class": 4, "cmd": 0}) == "MQ_VQ_PAIRS_SET"
    assert cvq_name({"class": 0, "cmd": 3}) == "RX_MODE"
    assert cvq_name({"class": 9, "cmd": 9}) == "CVQ class 9 command 9"


# --------------------------------------------------------------------------------------------------------- Perfetto


def opened(document):
    """Spans of each Perfetto track, checked to nest or follow as the format requires."""
    tracks = {}
    for event in document["traceEvents"]:
        if event["ph"] == "X":
            tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    for spans in tracks.values():
        open_ends = []
        for span in sorted(spans, key=lambda e: (e["ts"], -e["dur"])):
            end = span["ts"] + span["dur"]
            while open_ends and open_ends[-1] <= span["ts"] + 1e-6:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1e-6
            open_ends.append(end)
    return tracks


def test_perfetto_document_of_a_real_run(tmp_path, runs):
    run = runs["v-256-1d-r2"]
    document = traces.chrome_trace(run.timeline, run.assembled.counters, {"run": run.name})
    tracks = opened(document)
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    assert set(tracks) <= set(names)
    assert {"kernel 0", "QEMU thread holding the BQL", "migration thread"} <= set(names.values())
    marks = {e["name"]: e["ts"] for e in document["traceEvents"] if e["ph"] == "i"}
    zero = document["otherData"]["zero_us"]
    assert {name: t - zero for name, t in marks.items()} == pytest.approx(
        {name: t / US for name, t in run.timeline.marks.items()}
    )
    assert min(event["ts"] for event in document["traceEvents"] if "ts" in event) == 0 < zero, "QEMU started before"
    counters = {e["name"] for e in document["traceEvents"] if e["ph"] == "C"}
    assert {"dirty pages", "remaining bytes"} <= counters
    assert document["otherData"]["run"] == "v-256-1d-r2"
    path = tmp_path / "out.json"
    traces.save_chrome_trace(path, document)
    assert json.loads(path.read_text()) == document


def test_perfetto_document_of_a_simulated_run():
    run = simulate(find_scenario("sim-256-2d"))
    document = traces.chrome_trace(run.timeline, {"dirty pages": [(0, 5)]})
    tracks = opened(document)
    spans = [span for row in tracks.values() for span in row if span["cat"] != "window"]
    assert len(spans) == len(run.timeline.spans)
    assert sum(span["dur"] for span in spans) == pytest.approx(sum(span.ns for span in run.timeline.spans) / US)
