"""Recorded migrations: what the readers find is what the recording's own script had found, and what QEMU reported."""

import gzip
import json
from collections import Counter
from contextlib import suppress
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab import traces
from vdpa_lab.cli import main
from vdpa_lab.paths import data_dir
from vdpa_lab.words import InputError

TRACES = data_dir() / "traces"
# measured/vdpa/summary.csv, made by the script that recorded the runs; ms. blackout: stop to vCPUs running again.
SUMMARY = {
    "v-128-1d-r1": {"switch": 83.148, "stop": 34.466, "start": 59.531, "blackout": 261.595, "reported": 126},
    "v-256-1d-2qp-r2": {"switch": 138.361, "stop": 72.947, "start": 91.446, "blackout": 414.801, "reported": 154},
    "v-256-1d-q10-r1": {"switch": 123.369, "stop": 64.239, "start": 691.458, "blackout": 944.042, "reported": 150},
    "v-256-1d-r2": {"switch": 134.146, "stop": 62.601, "start": 76.830, "blackout": 300.671, "reported": 134},
    "v-256-1d-svq-r1": {"switch": None, "stop": 64.707, "start": 66.020, "blackout": 428.781, "reported": 190},
    "v-256-2d-r3": {"switch": 236.169, "stop": 77.026, "start": 139.348, "blackout": 444.263, "reported": 205},
}
COLUMNS = {"switch": "svq_switch_sum", "stop": "source_teardown", "start": "destination_setup"}
SLACK = 6.0  # ms: the script's edges are not the windows' (SUSPEND or the vhost_dev_stop before it; see the windows)


@pytest.fixture(scope="module", params=SUMMARY)
def recorded(request):
    return request.param, traces.run(TRACES / request.param)


def test_windows_are_those_of_the_recording(recorded):
    name, run = recorded
    for column, window in COLUMNS.items():
        expected, found = SUMMARY[name][column], run.windows().get(window)
        assert (found is None) == (expected is None), window
        if expected is not None:
            assert found / 1e6 == pytest.approx(expected, abs=SLACK), window
    assert round(run.windows()["reported_downtime"] / 1e6) == SUMMARY[name]["reported"]


def test_two_dead_intervals_and_the_first_ends_before_pages_are_logged(recorded):
    """Trap 1; with x-svq=on there is no switch, and one interval."""
    name, run = recorded
    outages = run.outages()
    devices = 2 if "2d" in name else 1
    first = [each for each in outages if each["blackout"] == 1]
    assert len([each for each in outages if each["blackout"] == 2]) == devices
    assert len(first) == (0 if "svq" in name else devices)
    for each in first:
        assert each["start_ns"] + each["ns"] <= run.timeline.marks["src-downtime-start"]


def test_reported_downtime_is_not_the_outage(recorded):
    """Trap 17: the clock stops when the source has sent; the guest runs again much later, most of all when cold."""
    name, run = recorded
    reported, paused = (run.windows()[window] for window in ("reported_downtime", "vm_paused"))
    assert paused > 1.9 * reported
    assert paused / 1e6 == pytest.approx(SUMMARY[name]["blackout"], abs=25)
    assert "QEMU's clock stopped when the source had sent" in run.why_they_differ()


def test_the_destination_maps_memory_inside_the_downtime(recorded):
    """Traps 15 and 16: with and without an early listener the map is redone there; cold memory is dear."""
    name, run = recorded
    marks, spans = run.timeline.marks, run.timeline.spans
    messages = [span for span in spans if span.lane.side == "destination" and span.op.startswith("IOTLB_UPDATE")]
    late = [span for span in messages if span.start > marks["src-downtime-start"]]
    assert late
    longest = max(span.ns for span in late) / 1e6
    assert longest > 300 if "q10" in name else longest < 80


def test_devices_are_served_one_after_the_other():
    """Trap 31."""
    run = traces.run(TRACES / "v-256-2d-r3")
    ends = {(each["blackout"], each["device"]): each["start_ns"] + each["ns"] for each in run.outages()}
    marks = run.timeline.marks
    assert marks["stop-end:1"] <= marks["stop-begin:0"]
    assert marks["start-end:0"] <= marks["start-begin:1"]
    assert ends[1, 1] <= ends[1, 0]


def test_cvq_maps_carry_asid_0_while_the_device_is_shadowed():
    """Trap 14: in the switch every dma_map has asid 0; on the destination those of the CVQ have 1."""
    asids = {"src": set(), "dst": set()}
    for side, found in asids.items():
        with gzip.open(TRACES / "v-256-1d-r2" / f"trace-{side}.log.gz", "rt") as file:
            lines = [line for line in file if "vhost_vdpa_dma_map" in line]
        found |= {line.split(" asid: ")[1].split()[0] for line in lines[-12:]}
    assert asids == {"src": {"0"}, "dst": {"0", "1"}}


def test_the_document_has_the_keys_of_the_contract(recorded):
    _, run = recorded
    document = json.loads(json.dumps(run.json()))
    assert set(document) >= {
        "dialect", "qemu", "marks", "windows", "counts", "breakdown", "checkpoints", "devices", "clock",
        "skipped_lines",
    }  # fmt: skip
    assert set(document["clock"]) >= {"method", "offset_ns", "bound_ns"}
    assert all(set(row) == {"from", "to", "us"} for row in document["checkpoints"])
    for window, ns in document["windows"].items():
        if window != "network_outage_ns":
            assert sum(part["ns"] for part in document["breakdown"] if f"{part['window']}_ns" == window) == ns, window


def test_a_posted_sample_gives_its_downtime(tmp_path):
    """qemu-devel, 26 Jul 2024: checkpoints of 74244, 154493, 4746, 224981, 36, 7859, 15995, 236 us for 483 ms."""
    names = ("src-downtime-start", "src-vm-stopped", "src-iterable-saved", "src-non-iterable-saved",
             "dst-precopy-loadvm-completed", "dst-precopy-bh-enter", "dst-precopy-bh-announced",
             "dst-precopy-bh-vm-started", "src-downtime-end")  # fmt: skip
    steps, at, lines = (
        (74244, 154493, 4746, 224981, 36, 7859, 15995, 236),
        1_721_976_657_000_000,
        {"src": [], "dst": []},
    )
    for name, step in zip(names, (*steps, 0), strict=True):
        seconds, us = divmod(at, 1_000_000)
        lines[name[:3]].append(f"252812@{seconds}.{us:06d}:vmstate_downtime_checkpoint {name}\n")
        at += step
    logs = []
    for side, text in lines.items():
        logs.append(tmp_path / f"trace-{side}.log")
        logs[-1].write_text("".join(text))
    run = traces.run(*logs, same_machine=True, return_path=True)
    assert [row["us"] for row in run.checkpoints()] == list(steps)
    assert run.windows()["reported_downtime"] == 482_590_000
    assert "482,590 us (483 ms)" in "\n".join(run.text())


def test_perfetto_shows_every_lane(tmp_path, capsys):
    out = tmp_path / "trace.json"
    assert main(["trace", "v-256-2d-r3", "--perfetto", str(out)]) == 0
    document = json.loads(out.read_text())
    slices = [event for event in document["traceEvents"] if event["ph"] == "X"]
    run = traces.run(TRACES / "v-256-2d-r3")
    spans = Counter(span.op for span in run.timeline.spans if span.ns)
    found = Counter(event["name"] for event in slices)
    assert not spans - found, "each operation is a slice"
    assert sum((found - spans).values()) < 20  # windows, for the eye
    assert {event["args"]["name"] for event in document["traceEvents"] if event.get("name") == "process_name"} >= {
        "source", "destination",
    }  # fmt: skip
    assert "SVQ switch" in capsys.readouterr().out


def test_on_the_command_line(capsys):
    assert main(["trace", "v-256-1d-r2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["windows"]["reported_downtime_ns"] == 133_661_000
    assert main(["trace", "no-such-run"]) == 2
    assert "no-such-run" in capsys.readouterr().err


def test_two_clocks_are_never_subtracted_raw(tmp_path):
    """Without a return path or a known offset nothing bounds the clocks of two hosts."""
    logs = []
    for side in ("src", "dst"):
        logs.append(tmp_path / f"trace-{side}.log")
        logs[-1].write_bytes(gzip.decompress((TRACES / "v-256-1d-r2" / f"trace-{side}.log.gz").read_bytes()))
    with pytest.raises(InputError, match="nothing bounds the offset"):
        traces.run(*logs)
    assert traces.run(*logs, offset_ns=0).windows()["reported_downtime"] == 133_661_000


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_give_a_result_or_words(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(data)
    with suppress(InputError):
        assert json.dumps(traces.run(path).json())


@given(st.data())
@settings(max_examples=60)
def test_a_damaged_log_gives_a_result_or_words(tmp_path_factory, data):
    """Lines cut, doubled, mixed with hostile text; never a crash, and what was skipped is counted."""
    lines = gzip.decompress((TRACES / "v-128-1d-r1" / "trace-src.log.gz").read_bytes()).splitlines(keepends=True)
    path = tmp_path_factory.getbasetemp() / "trace-src.log"
    start = data.draw(st.integers(0, len(lines) - 40))
    chosen = lines[start : start + data.draw(st.integers(1, 400))]
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(chosen) - 1))
        junk = data.draw(
            st.sampled_from([b"\x00\xff\xfe\n", b"<script>x</script>\r\n", b"9" * 300 + b"\n", b"", b"\x1b[2J\n"])
        )
        chosen[place] = data.draw(
            st.sampled_from([junk, chosen[place][: data.draw(st.integers(0, 60))], junk + chosen[place]])
        )
    path.write_bytes(b"".join(chosen))
    with suppress(InputError):
        run = traces.run(path, side="source")
        assert "\x1b" not in "\n".join(run.text())
        assert json.dumps(run.json())


def test_no_markup_of_a_log_reaches_a_picture():
    from vdpa_lab.plot import timeline_svg

    run = traces.run(TRACES / "v-256-1d-r2")
    end = max(span.end for span in run.timeline.spans)
    assert ElementTree.fromstring(timeline_svg(run.timeline, 0, end, lambda span: span.op, title="<b>"))


def test_a_scenario_like_a_run_says_where_each_value_is_from(tmp_path, capsys):
    out = tmp_path / "like.toml"
    assert main(["scenario", "v-256-2d-r3", "--out", str(out)]) == 0
    assert "config.json" in capsys.readouterr().out
    assert main(["simulate", str(out)]) == 0
    capsys.readouterr()
    assert main(["scenario", "v-256-2d-r3", "--json"]) == 0
    facts = {fact["key"]: fact["where"] for fact in json.loads(capsys.readouterr().out)["facts"]}
    assert facts["guest.memory"].startswith("config.json")
    assert facts["device.features"].startswith("trace-src.log")
