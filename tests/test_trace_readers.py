"""Every form of file that the trace readers take, on real logs; what they refuse, and what they say then."""

import gzip
import json
from collections import Counter

import pytest
from conftest import CHECKOUT

from vdpa_lab import traces
from vdpa_lab.traces import lines as reading
from vdpa_lab.traces.config import Config, parse_command, properties, read_config
from vdpa_lab.traces.events import Log, printable
from vdpa_lab.traces.function_graph import FunctionGraph, read_function_graph
from vdpa_lab.traces.guestperf import GuestPerf, read_guestperf
from vdpa_lab.traces.kernel_vdt import IOCTLS, KernelLog
from vdpa_lab.traces.qemu_log import read_qemu_log
from vdpa_lab.traces.qmp import Statistics, read_qmp
from vdpa_lab.traces.tracepoints import tracepoints
from vdpa_lab.words import InputError

TRACES = CHECKOUT / "data" / "traces"
ISO = "2026-11-22T22:03:42.747686Z "
NS = 1795385022747686000
CHECKPOINT = "vmstate_downtime_checkpoint src-downtime-start"


def written(folder, text, name="trace-src.log"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def unpacked(path):
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize(
    ("line", "dialect", "thread"),
    [
        (f"252812@1795385022.747686:{CHECKPOINT}", "qemu-log thread@seconds", 252812),
        (f"{ISO}{CHECKPOINT}", "qemu-log ISO-8601", 0),
        (f"{ISO}qemu-system-x86_64: (1144713:main): {CHECKPOINT}", "qemu-log message-api", 1144713),
        (f"{ISO}my guest qemu-kvm: (7:mig/src/main): {CHECKPOINT}", "qemu-log message-api", 7),
    ],
)
def test_each_dialect_gives_the_same_event(tmp_path, line, dialect, thread):
    log = read_qemu_log(written(tmp_path, line + "\n"))
    assert log.dialect == dialect
    (event,) = log.events
    assert event == (NS, thread, "vmstate_downtime_checkpoint", {"checkpoint": "src-downtime-start"}, 1)
    assert log.skipped.count == 0


@pytest.mark.parametrize(
    ("line", "dialect"),
    [
        (CHECKPOINT, "qemu-log, no time"),
        (f"qemu-system-x86_64: (1144713:main): {CHECKPOINT}", "qemu-log message-api, no time"),
    ],
)
def test_lines_without_time_are_read_and_give_no_timeline(tmp_path, line, dialect):
    saved = "vmstate_downtime_save type=iterable idstr=ram instance_id=0 downtime=138005"
    text = f"{line}\n{line.replace(CHECKPOINT, saved)}\n"
    run = traces.run(written(tmp_path, text))
    assert run.dialect == dialect
    assert run.windows() == {}
    assert "-msg timestamp=on" in "\n".join(run.text())
    assert [(row["idstr"], row["us"]) for row in run.devices()] == [("ram", 138005)]
    with pytest.raises(InputError, match="lack src-downtime-start and src-downtime-end"):
        run.window("reported_downtime")
    assert json.loads(json.dumps(run.json()))["windows"] == {"network_outage_ns": []}


def test_a_whole_second_has_no_fraction(tmp_path):
    """GLib prints none: seen once in 150 000 lines of a real log."""
    log = read_qemu_log(written(tmp_path, f"{ISO}{CHECKPOINT}\n2026-11-22T22:03:43Z savevm_state_setup \n"))
    assert [event.t for event in log.events] == [NS, 1795385023000000000]
    assert log.skipped.count == 0


@pytest.mark.parametrize("run", ["v-256-1d-r2", "v-256-1d-q10-r1", "qtest/r3", "qtest/r6"])
def test_real_logs_are_read_whole(run):
    for path in sorted((TRACES / run).glob("trace*.gz")):
        text = unpacked(path).decode()
        log = traces.read(path)
        assert isinstance(log, Log)
        assert log.skipped.count == 0, log.skipped.shown
        assert log.lines == len(text.splitlines())
        assert len(log.events) + log.unlisted.total() == log.lines
        assert (
            log.dialect == "qemu-log thread@seconds" if run in ("v-256-1d-q10-r1", "qtest/r6") else "ISO" in log.dialect
        )
        assert all(a.t <= b.t for a, b in zip(log.events, log.events[1:], strict=False))


def test_crlf_gzip_and_plain_read_alike(tmp_path):
    packed = TRACES / "v-256-1d-r2" / "trace-src.log.gz"
    plain = written(tmp_path, unpacked(packed))
    dos = written(tmp_path, unpacked(packed).replace(b"\n", b"\r\n"), "dos.log")
    assert read_qemu_log(plain).events == read_qemu_log(dos).events == read_qemu_log(packed).events


def test_a_gzip_file_that_was_cut_off_gives_what_is_there(tmp_path):
    packed = (TRACES / "v-256-1d-r2" / "trace-src.log.gz").read_bytes()
    log = read_qemu_log(written(tmp_path, packed[: len(packed) // 2], "half.log.gz"))
    assert 50 < len(log.events) < 452


def test_broken_lines_are_counted_and_the_first_shown(tmp_path):
    good = f"{ISO}{CHECKPOINT}\n"
    bad = [
        f"{ISO}vhost_vdpa_dma_map vdpa_shared:0x55 fd: 12 msg_ty",
        f"{ISO}vhost_vdpa_suspend dev: 0x55{ISO}vhost_vdpa_suspend dev: 0x56",
        "qemu-system-x86_64: warning: something \x1b[31m<b>red</b>",
        "9999-99-99T00:00:00.000000Z savevm_state_setup ",
        "1026-11-22T22:03:42.747686Z savevm_state_setup ",
        f"{ISO}vhost_vdpa_suspend dev: 0x{'5' * 40}",
        f"{ISO}vmstate_downtime_save type=iterable idstr=ram instance_id=0 downtime={'9' * 300}",
    ]
    log = read_qemu_log(written(tmp_path, good + "\n".join(bad) + "\n\n" + good))
    assert len(log.events) == 2
    assert log.skipped.count == len(bad)
    assert [number for number, _, _ in log.skipped.shown] == [2, 3, 4, 5, 6]
    assert [why for _, why, _ in log.skipped.shown] == [
        "cut off, or of another version",
        "two writers on one line",
        "not a trace event",
        "no such time",
        "no such time",
    ]
    assert "\x1b" not in log.skipped.shown[2][2]


def test_long_lines_are_dropped_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 1000)
    monkeypatch.setattr(reading, "LONGEST_LINE", 300)
    path = written(tmp_path, b"a\n" + b"x" * 5000 + b"\nb\r\n" + b"y" * 301 + b"\n" + b"z" * 300)
    assert list(reading.lines(path)) == [b"a", None, b"b\r", None, b"z" * 300]
    assert list(reading.lines(written(tmp_path, b"a\n" + b"x" * 5000))) == [b"a", None]
    assert list(reading.lines(written(tmp_path, b""))) == []


def test_a_file_beyond_all_bounds_is_refused(tmp_path, monkeypatch):
    largest = reading.LARGEST
    monkeypatch.setattr(reading, "LARGEST", 100)
    bomb = written(tmp_path, gzip.compress(b"x" * 101), "bomb.gz")
    with pytest.raises(InputError, match=r"bomb\.gz' holds more than 100 B"):
        list(reading.lines(bomb))
    monkeypatch.setattr(reading, "LARGEST", largest)
    monkeypatch.setattr("vdpa_lab.traces.qemu_log.MOST_EVENTS", 2)
    with pytest.raises(InputError, match="more than 2 events of interest"):
        read_qemu_log(written(tmp_path, f"{ISO}{CHECKPOINT}\n" * 3))


def test_two_dialects_in_one_file_are_refused(tmp_path):
    mixed = f"{ISO}{CHECKPOINT}\n" * 3 + f"17@1795385022.747686:{CHECKPOINT}\n" * 3
    with pytest.raises(InputError, match=r"ambiguous: 3 lines read as .* and 3 as"):
        read_qemu_log(written(tmp_path, mixed))


def test_one_foreign_line_does_not_make_a_log_ambiguous(tmp_path):
    log = read_qemu_log(written(tmp_path, f"{ISO}{CHECKPOINT}\n" * 20 + f"17@1795385022.747686:{CHECKPOINT}\n"))
    assert (len(log.events), log.skipped.count) == (20, 1)


FOREIGN = {
    "simpletrace": (0xFFFFFFFFFFFFFFFF).to_bytes(8, "little") + (0xF2B177CB0AA429B4).to_bytes(8, "little"),
    "perf.data": b"PERFILE2" + b"\0" * 50,
    "trace-cmd": b"\x17\x08\x44tracing6\0",
    "bpftrace": b"Attaching 2 probes...\n@ns[123]: 5\n",
    "bpftrace -f json": b'{"type": "attached_probes", "data": {"probes": 2}}\n{"type": "map", "data": {}}\n',
    "another tracer": b"# tracer: nop\n#\n",
    "ftrace report": b"  qemu-system-x86-1234  [003] ..... 30.724002: tracing_mark_write: vhost_vdpa_suspend\n",
    "perf script": b"qemu-system-x86  1234/1240  [003]  30.724002:  1 probe:mlx5_vdpa_set_map: (ffffffff)\n",
    "simpletrace.py": b"vhost_vdpa_suspend 0.123 pid=7 dev=0x55\n",
    "info migrate": b"Status: \t\tcompleted\nTime (ms): total=1357, setup=66, down=134\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_forms_are_named_and_the_remedy_too(tmp_path, name):
    path = written(tmp_path, FOREIGN[name])
    with pytest.raises(InputError, match="not read yet; record with the log backend") as refused:
        traces.read(path)
    assert name.replace("another tracer", "another tracer than function_graph") in str(refused.value)
    assert "-msg timestamp=on" in str(refused.value)


@pytest.mark.parametrize("text", [b"hello\nworld\n", b"\x00\xff\xfe" * 100, b"2026-11-22 22:03 something\n"])
def test_an_unknown_file_is_refused_with_what_was_looked_for(tmp_path, text):
    with pytest.raises(InputError, match="Looked for lines of QEMU's log backend") as refused:
        traces.read(written(tmp_path, text))
    assert str(refused.value).isprintable()


def test_files_that_cannot_be_opened_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        traces.read(tmp_path / "absent")
    with pytest.raises(InputError, match="not a regular file"):
        traces.read(tmp_path)
    with pytest.raises(InputError, match="is empty"):
        traces.read(written(tmp_path, b"\n"))
    with pytest.raises(InputError, match="cannot be read"):
        traces.read(written(tmp_path, gzip.compress(b"hello")[:10] + b"\xff" * 50))
    with pytest.raises(InputError, match="cannot be read"):
        traces.read("a\0b")


def test_a_new_tracepoint_is_a_line_of_the_table(tmp_path, monkeypatch):
    table = (CHECKOUT / "data" / "tracepoints.toml").read_text()
    more = (
        'my_event = { shape = "took {us} of {who:w}", op = "mine {who}", at = "after", lane = "worker", '
        'mark = "my-mark" }\n'
    )
    written(tmp_path, table + more, "tracepoints.toml")
    monkeypatch.setenv("VDPA_LAB_DATA", str(tmp_path))
    tracepoints.cache_clear()
    try:
        text = f"{ISO}migrate_set_state new state setup\n{ISO.replace('42.', '43.')}my_event took 5 of x\n"
        run = traces.run(written(tmp_path, text + f"{ISO.replace('42.', '44.')}savevm_state_setup \n"))
        assert run.timeline.marks["my-mark"] == 10**9
        assert [(span.op, span.ns) for span in run.timeline.spans if span.lane.kind == "worker"] == [("mine x", 10**9)]
        written(tmp_path, table + more.replace("after", "sometime"), "tracepoints.toml")
        tracepoints.cache_clear()
        with pytest.raises(InputError, match=r"tracepoints.toml: my_event: at is one of"):
            tracepoints()
    finally:
        tracepoints.cache_clear()


def test_the_events_file_asks_for_every_event_that_is_read():
    asked = {line.strip() for line in (CHECKOUT / "data" / "trace-events").read_text().splitlines()}
    asked = {line for line in asked if line and not line.startswith("#")}
    assert asked == set(tracepoints())


def test_kernel_log(tmp_path):
    path = TRACES / "v-256-1d-r2" / "kernel-vdt.log.gz"
    log = traces.read(path)
    assert isinstance(log, KernelLog)
    text = unpacked(path).decode()
    assert len(log.ops) == len(text.splitlines())
    assert log.skipped.count == 0
    counts = Counter(op.op for op in log.ops)
    assert counts["set_map"] == text.count(" set_map ")
    assert counts["SUSPEND"] == text.count("nr=0x7d ")
    assert set(counts) <= {*IOCTLS.values(), "set_map", "IOTLB_UPDATE", "IOTLB_INVALIDATE", "IOTLB_BATCH_BEGIN",
                           "IOTLB_BATCH_END"}  # fmt: skip
    torn = traces.read(written(tmp_path, text[:5000] + "\ngarbage\n\n1 src0 set_map asid=0 entries=1 dur_ns=1\n"))
    assert torn.skipped.count == 3
    with pytest.raises(InputError, match="no line of it"):
        traces.kernel_vdt.read_kernel_vdt(written(tmp_path, "hello\n"))


def test_kernel_log_says_an_unknown_ioctl_by_its_number(tmp_path):
    line = "1795385007195662330 dst1 ioctl nr=0x99 arg=0x0 ret=-22 dur_ns=2048\n"
    (op,) = traces.read(written(tmp_path, line)).ops
    assert (op.op, op.side, op.device, op.end - op.start) == ("ioctl 0x99", "destination", 1, 2048)


@pytest.mark.parametrize("run", ["r3", "r6"])
def test_function_graph_gives_the_size_of_every_map_rebuild(run):
    """Against the counts of the same run, taken by hand: rings first, then the whole map; in the stop, falling."""
    graph = traces.read(TRACES / "qtest" / run / "ftrace.txt.gz")
    assert isinstance(graph, FunctionGraph)
    assert graph.skipped.count == 0
    counts = json.loads((TRACES / "qtest" / "counts.json").read_text())
    key = {"r3": "r3 memfd 10.2", "r6": "r6 memfd 10.0"}[run]
    sizes = counts["set_map_entry_counts"][key]
    assert graph.set_map_entries() == sizes["setup"] + sizes["switchover"] + sizes["dest"]
    assert graph.json()["set_map"][0]["entries"] == 3
    assert all(call.start is not None for call in graph.calls)


def test_function_graph_without_the_columns_of_time_and_task(tmp_path):
    graph = traces.read(TRACES / "tcg-256-1d-r1" / "ftrace-funcgraph.txt.gz")
    text = unpacked(TRACES / "tcg-256-1d-r1" / "ftrace-funcgraph.txt.gz").decode()
    assert graph.skipped.count == 0
    assert graph.counts["vhost_vdpa_unlocked_ioctl"] == text.count("vhost_vdpa_unlocked_ioctl")
    assert all(call.start is None for call in graph.calls)
    first = graph.calls[0]
    assert (first.name, first.ns) == ("vhost_vdpa_unlocked_ioctl", 1499983)
    assert [(call.name, call.ns) for call in first.calls] == [("vdpasim_get_device_features", 114109)]


def test_function_graph_survives_torn_traces(tmp_path):
    head = "# tracer: function_graph\n#\n"
    torn = " 3)   }\n 3)               |  a() {\n garbage\n 3)   1.0 us    |    ???\n 4)   2.0 us    |  b();\n"
    graph = traces.read(written(tmp_path, head + " 3) + 10.5 us   |  }\n" + torn))
    assert [(call.name, call.ns) for call in graph.calls] == [("a", None), ("b", 2000)]
    assert graph.skipped.count == 3
    with pytest.raises(InputError, match="no function call"):
        read_function_graph(written(tmp_path, head))


def test_query_migrate_in_every_wrapping(tmp_path):
    path = TRACES / "v-256-1d-r2" / "query-migrate-src-final.json"
    answer = json.loads(path.read_text())
    assert traces.read(path).final == answer
    assert answer["downtime"] == 134
    forms = {
        "list": json.dumps([answer, answer]),
        "returned": json.dumps({"return": answer}),
        "lines": json.dumps({"t": 1795385022.5, "r": answer}) + "\n" + json.dumps(answer) + "\n",
    }
    for name, text in forms.items():
        found = traces.read(written(tmp_path, text, f"{name}.json"))
        assert isinstance(found, Statistics)
        assert found.final == answer
        assert len(found.answers) == (1 if name == "returned" else 2)
    assert found.answers[0][0] == 1795385022500000000
    assert found.answers[1][0] is None


def test_qmp_events_and_polls():
    events = traces.read(TRACES / "v-256-1d-r2" / "qmp-events-src.jsonl")
    assert [name for _, name, _ in events.events] == ["MIGRATION", "MIGRATION", "MIGRATION_PASS", "STOP", "MIGRATION",
                                                      "MIGRATION"]  # fmt: skip
    assert events.events[0] == (1795385021523062000, "MIGRATION", {"status": "setup"})
    polls = traces.read(TRACES / "p-bw64-r8000-seq" / "qmp-src.jsonl.gz")
    remaining = polls.counters()["remaining bytes"]
    assert remaining[-1][1] == 0
    assert remaining == sorted(remaining)
    assert len(remaining) > 50


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2]", "[" * 5000, '{"status": 5}', '{"event": "X"}'])
def test_json_of_something_else_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="neither an answer to query-migrate nor a QMP event"):
        read_qmp(written(tmp_path, text))


def guestperf_report():
    """As QEMU's tests/migration-stress/guestperf/report.py writes it."""
    sample = {"status": "active", "now": 1795385022.5, "duration": 55, "downtime": 0, "downtime_expected": 300,
              "setup_time": 1, "throttle_pcent": 0,
              "ram": {"transferred_bytes": 10, "remaining_bytes": 537403392, "total_bytes": 537403392,
                      "duplicate_pages": 0, "skipped_pages": 0, "normal_pages": 0, "normal_bytes": 0,
                      "dirty_rate_pps": 7, "transfer_rate_mbs": 0.5, "iterations": 1}}  # fmt: skip
    last = {**sample, "status": "completed", "now": 1795385023.5, "downtime": 134,
            "ram": {**sample["ram"], "remaining_bytes": 0, "iterations": 4}}  # fmt: skip
    return {"hardware": {"cpus": 1, "mem": 1}, "scenario": {"name": "auto-converge-iters-5"},
            "progress_history": [sample, last], "guest_timings": {"records": []}, "qemu_timings": {"records": []},
            "vcpu_timings": {"records": []}, "binary": "qemu-system-x86_64", "dst_host": "localhost", "kernel": "k",
            "initrd": "i", "transport": "unix", "sleep": 0}  # fmt: skip


def test_guestperf_report(tmp_path):
    report = guestperf_report()
    found = traces.read(written(tmp_path, json.dumps(report)))
    assert isinstance(found, GuestPerf)
    assert [each.remaining_bytes for each in found.progress] == [537403392, 0]
    assert found.json()["downtime"] == {"reported_ns": 134_000_000}
    assert found.progress[0].downtime_expected_ns == 300_000_000
    assert found.counters()["remaining bytes"] == [(1795385022500000000, 537403392), (1795385023500000000, 0)]
    assert found.scenario == {"name": "auto-converge-iters-5"}


@pytest.mark.parametrize(
    ("change", "why"),
    [({"progress_history": 5}, "must be a list"), ({"progress_history": [5]}, r"progress_history\[0\] must be")],
)
def test_a_broken_guestperf_report_is_refused(tmp_path, change, why):
    with pytest.raises(InputError, match=why):
        read_guestperf(written(tmp_path, json.dumps(guestperf_report() | change)))
    with pytest.raises(InputError, match="no guestperf report"):
        read_guestperf(written(tmp_path, "{}"))
    odd = guestperf_report() | {"progress_history": [{"ram": 5, "now": True, "downtime": "x"}], "hardware": 7}
    (only,) = read_guestperf(written(tmp_path, json.dumps(odd))).progress
    assert (only.t, only.remaining_bytes, only.downtime_ns) == (None, None, None)


def test_config_and_command_lines(tmp_path):
    config = traces.read(TRACES / "v-256-1d-q10-r1" / "config.json")
    assert isinstance(config, Config)
    assert (config.qemu, config.linux) == ("10.0.13", "7.3.4")
    assert config.source.last("-m") == "256"
    assert "unix: is on one machine" in config.one_machine
    command = parse_command("# as root\nexec /usr/bin/qemu-system-x86_64 -m 4G \\\n  -name 'a b' -nodefaults", "x")
    assert list(command.options()) == [("-m", "4G"), ("-name", "a b"), ("-nodefaults", "")]
    assert properties("vhost-vdpa,id=a,,b,x-svq") == {"": "vhost-vdpa", "id": "a,b", "x-svq": "on"}
    listed = read_config(written(tmp_path, json.dumps(["qemu-kvm", "-m", "1"])))
    assert listed.source.last("-m") == "1"
    one = read_config(written(tmp_path, json.dumps({"src": "qemu-kvm -m 2"})))
    assert (one.source.last("-m"), one.one_machine, one.linux) == ("2", "", "")
    for text, why in {"rm -rf x": "no QEMU command line", "qemu-kvm 'x": "not a shell command", '{"a": 1}': "no config",
                      "q" * 70_000: "longer than a command line"}.items():  # fmt: skip
        with pytest.raises(InputError, match=why):
            read_config(written(tmp_path, text))


def test_printable_takes_the_sting_out():
    assert printable("a\x1b[31m\n\u202eb\x00") == "a?[31m??b?"
    assert printable(b"\xff<script>") == "?<script>" or printable(b"\xff<script>").endswith("<script>")
    assert len(printable("x" * 500)) == 120
