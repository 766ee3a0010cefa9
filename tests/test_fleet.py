"""Fleets: a table of VMs before and after an upgrade."""

import json
import re
from threading import Event

import pytest

from vdpa_lab.migration import simulate
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.paths import data_dir
from vdpa_lab.sweep import Versions, fleet, read_fleet
from vdpa_lab.sweep.design import with_values
from vdpa_lab.sweep.texts import fleet_text
from vdpa_lab.units import GIB, MS, SECOND, format_duration
from vdpa_lab.words import InputError

OLD, NEW = Versions("8.2", "6.7"), Versions("11.1.3", "7.3.4")


def test_a_fleet_is_each_vm_simulated_before_and_after():
    vms = read_fleet(data_dir() / "fleets" / "example.csv")[:4]
    found = fleet(vms, OLD, NEW, 1 * SECOND)
    for vm, row in zip(vms, found.table.to_dict("records"), strict=True):
        for versions, ns in ((OLD, row["before_ns"]), (NEW, row["after_ns"])):
            host = {f"{side}.{part}": value for side in ("source", "destination")
                    for part, value in versions._asdict().items()}  # fmt: skip
            ran = simulate(with_values(vm, host))
            assert ran.windows["network_outage"] == ns
        parts = {}
        for part in ran.breakdown("network_outage"):
            parts[f"{part.op} ({part.key})"] = parts.get(f"{part.op} ({part.key})", 0) + part.ns
        assert row["meets_after"] == (ns <= SECOND)
        assert (row["why"], row["why_ns"]) == (
            ("", 0) if ns <= SECOND else max(parts.items(), key=lambda part: part[1])
        )
    assert json.loads(json.dumps(found.json()))["rows"] == found.table.to_dict("records")
    late = found.misses()
    assert set(late["name"]) == {vm["name"] for vm in found.table.to_dict("records") if vm["after_ns"] > SECOND}
    assert list(late["after_ns"]) == sorted(late["after_ns"], reverse=True)
    assert found.quantiles([1.0])["before_ns"][1.0] == found.table["before_ns"].max()


def test_a_fleet_reports_and_can_be_cancelled():
    vms, cancel, seen = read_fleet(data_dir() / "fleets" / "example.csv"), Event(), []

    def progress(done, total):
        seen.append((done, total))
        cancel.set()

    assert len(fleet(vms, OLD, NEW, SECOND, progress=progress, cancel=cancel).table) == 1
    assert seen == [(1, len(vms))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "fleet.csv:1: the field 'name' is missing"),
        ("name,memry\n", "fleet.csv:1: no field 'memry'; did you mean 'memory'"),
        ("name,name,memory\n", "fleet.csv:1: a field is named twice"),
        ("name,memory\n", "names no VM"),
        ("name,memory\na,1GiB\nb\n", "fleet.csv:3: 1 cells, but 2 fields"),
        ("name,memory\na,\n", "fleet.csv:2: memory is empty"),
        ("name,memory\na,big\n", "fleet.csv:2: memory = 'big'; must be a size"),
        ("name,memory\na,1GiB\na,2GiB\n", "two VMs are named 'a'"),
        ("name,memory\n../etc,1GiB\n", "fleet.csv:2: name = '../etc'; must be a name"),
        ("name,memory,driver\na,1GiB,mlx6\n", "fleet.csv:2: driver = 'mlx6'; must be mlx5 | vdpa_sim"),
        ("name,memory,devices\n\na,1GiB,1.5\n", "fleet.csv:3: devices = '1.5'; must be a whole number"),
        ("name,memory,dirty_rate,working_set\na,1GiB,5,2GiB\n", "fleet.csv:2: working_set: must be at most"),
        ("name,memory,working_set\na,1GiB,1GiB\n", "fleet.csv:2: dirty_rate: is missing"),
        ("name,memory,testbed\na,1GiB,lui2023\n", "fleet.csv:2: testbed: no testbed 'lui2023'; did you mean"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, text, message):
    path = tmp_path / "fleet.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_fleet(path)


def test_files_that_are_no_fleet_are_refused(tmp_path):
    path = tmp_path / "fleet.csv"
    for content, message in ((b"\xff\xfe", "is not CSV in UTF-8"), (b'name,memory\n"a\0', "fleet.csv")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_fleet(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_fleet(tmp_path / "other.csv")
    with open(path, "wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(InputError, match="larger than"):
        read_fleet(path)
    with pytest.raises(InputError, match="qemu"):
        fleet(data_dir() / "fleets" / "example.csv", ("eight", "6.7"), NEW, SECOND)


def test_cells_are_read_in_their_units(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text(
        "name,memory,zero_pages,max_bandwidth,downtime_limit,dirty_rate,dirty_pattern\nvm,1GiB,0.5,unlimited,50ms,7,hot\n"
    )
    (vm,) = read_fleet(path)
    assert (vm.guest.memory, vm.guest.zero_pages) == (GIB, 0.5)
    assert (vm.migration.max_bandwidth, vm.migration.downtime_limit) == (None, 50 * MS)
    assert (vm.workload.dirty.rate, vm.workload.dirty.pattern, vm.workload.dirty.working_set) == (7, "hot", GIB)


def test_a_fleet_is_told_in_words():
    found = fleet(read_fleet(data_dir() / "fleets" / "example.csv")[3:5], OLD, NEW, 2 * SECOND)
    head, before, after, *late = fleet_text(found)
    assert head == "2 VMs, Network outage (blackout 2); target 2 s"
    assert before.startswith("before (QEMU 8.2, Linux 6.7): ")
    assert before.endswith("; 2 miss the target")
    assert after.endswith("; 1 miss the target")
    row = found.misses().iloc[0]
    assert late == [f"cache-02: {format_duration(row.after_ns)}, of which {format_duration(row.why_ns)} {row.why}"]


def test_a_vm_whose_precopy_does_not_converge_misses_every_target(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text("name,memory,dirty_rate,working_set\ncold,1GiB,,\nhot,1GiB,500000,900MiB\n")
    found = fleet(path, OLD, NEW, 1000 * SECOND)
    cold, hot = found.table.to_dict("records")
    assert precopy(found.vms[0]).converged
    assert not precopy(found.vms[1]).converged
    assert hot["after_ns"] < 1000 * SECOND
    assert [hot[key] for key in ("converges_before", "converges_after", "meets_before", "meets_after")] == [False] * 4
    assert [cold[key] for key in ("converges_before", "converges_after", "meets_before", "meets_after")] == [True] * 4
    assert (hot["why"], hot["why_ns"], cold["why"]) == ("precopy does not converge", 0, "")
    _, before, after, *late = fleet_text(found)
    for line in (before, after):
        assert line.endswith("; 1 miss the target, 1 of them because precopy does not converge")
    assert late == ["hot: precopy does not converge"]


def test_those_that_never_end_are_named_before_the_longest(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_text("name,memory,dirty_rate,working_set\nlarge,64GiB,,\nsmall,1GiB,,\nhot,1GiB,500000,900MiB\n")
    assert list(fleet(path, OLD, NEW, 1).misses()["name"]) == ["hot", "large", "small"]


def test_a_spreadsheet_s_byte_order_mark_is_no_part_of_a_field(tmp_path):
    path = tmp_path / "fleet.csv"
    path.write_bytes(b"\xef\xbb\xbfname,memory\nvm,1GiB\n")
    assert [vm.name for vm in read_fleet(path)] == ["vm"]


def test_a_fleet_of_none_so_far_is_told_too():
    cancel = Event()
    cancel.set()
    found = fleet(data_dir() / "fleets" / "example.csv", OLD, NEW, SECOND, cancel=cancel)
    assert [*fleet_text(found)] == ["0 VMs, Network outage (blackout 2); target 1 s"]
    assert (found.json()["rows"], len(found.misses())) == ([], 0)


@pytest.mark.parametrize("target", [float("nan"), "1s", -1])
def test_a_target_is_a_whole_number_of_ns(target):
    with pytest.raises(InputError, match="target_ns = "):
        fleet(data_dir() / "fleets" / "example.csv", OLD, NEW, target)
