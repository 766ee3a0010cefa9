"""Scenarios from recorded runs: their plans are the kernel's own logs, and each value says where it is from."""

import gzip
import json
import re

import pytest
from conftest import CHECKOUT
from test_kernel_ops import RUNS, WINDOWS, real_run, same, windows

from vdpa_lab import traces
from vdpa_lab.migration import plan
from vdpa_lab.migration.kernel_ops import kernel_ops
from vdpa_lab.model import find_scenario
from vdpa_lab.model.scenario_file import parse_scenario
from vdpa_lab.traces.config import parse_command
from vdpa_lab.traces.facts import Fact
from vdpa_lab.traces.options import command_facts
from vdpa_lab.units import GIB, MIB, MS, SECOND
from vdpa_lab.words import InputError

TRACES = CHECKOUT / "data" / "traces"


def written(folder, text, name):
    path = folder / name
    path.write_text(text)
    return path


def text_of(name):
    return gzip.decompress((TRACES / name / "trace-src.log.gz").read_bytes()).decode()


@pytest.mark.parametrize("run", RUNS)
def test_the_derived_plan_is_the_kernels_log(run):
    made, _ = traces.scenario(traces.run(TRACES / run))
    ours, real = windows(kernel_ops(plan(made))), real_run(run)
    for window in WINDOWS:
        assert [(a, b) for a, b in zip(ours[window], real[window], strict=True) if not same(a, b)] == []


@pytest.mark.parametrize(("run", "preset"), RUNS.items())
def test_the_derived_scenario_is_the_preset_of_that_run(run, preset):
    made, facts = traces.scenario(traces.run(TRACES / run))
    wanted = find_scenario(preset)
    where = {fact.key: fact.where for fact in facts}
    for table, names in {"guest": "memory machine vcpus backing vga sections",
                         "device": "count driver queue_pairs queue_size cvq_size features cvq svq",
                         "migration": "max_bandwidth downtime_limit return_path"}.items():  # fmt: skip
        for name in names.split():
            value = getattr(getattr(made, table), name)
            assert value == getattr(getattr(wanted, table), name), f"{table}.{name}"
            assert f"{table}.{name}" in where or name == "max_bandwidth"
    assert (made.source, made.destination, made.testbed) == (wanted.source, wanted.destination, wanted.testbed)
    assert abs(made.guest.zero_pages - wanted.guest.zero_pages) < 0.011
    assert made.workload.traffic.rx_pps == wanted.workload.traffic.rx_pps


def test_every_value_of_the_log_names_its_line():
    run = traces.run(TRACES / "v-256-1d-q10-r1")
    lines = text_of("v-256-1d-q10-r1").splitlines()
    made, facts = traces.scenario(run)
    where = {fact.key: fact.where for fact in facts}
    numbered = 0
    for key, place in where.items():
        for number in re.findall(r"trace-src.log.gz:(\d+) (\w+)", place):
            assert number[1] in lines[int(number[0]) - 1], key
            numbered += 1
    assert numbered >= 6
    line = int(re.search(r":(\d+)", where["device.queue_size"])[1])
    assert lines[line - 1].endswith("index: 0 num: 1024")
    assert made.device.queue_size == 1024, "negotiated, whatever the command line asks for"
    assert where["guest.memory"].endswith("-m 256")
    text = "\n".join(traces.facts_text(facts))
    assert "guest.sections = 6 sections  <- trace-src.log.gz: vhost_vdpa_listener_region_add of lines" in text
    assert "device.features = 12893487104  <- trace-src.log.gz:" in text


@pytest.mark.parametrize("run", [*RUNS, "p-bw64-r8000-seq"])
def test_the_saved_file_carries_its_reasons_and_reads_back(run):
    made, facts = traces.scenario(traces.run(TRACES / run))
    text = traces.scenario_toml(made, facts)
    assert parse_scenario(text) == made
    assert "# config.json: src: -m " in text
    assert text.count("  # ") >= 8


def test_hostile_reasons_stay_comments():
    made, facts = traces.scenario(traces.run(TRACES / "v-256-1d-r2"))
    evil = Fact("guest.memory", made.guest.memory, 'x\nname = "y"\r\x1b[0m\u2028')
    text = traces.scenario_toml(made, (*facts, evil))
    assert parse_scenario(text) == made
    assert "\x1b" not in text


def test_a_log_alone_gives_what_it_knows():
    """No command line: memory follows from what is mapped; the form of the log gives the version."""
    made, facts = traces.scenario(traces.run(TRACES / "qtest" / "r6", same_machine=True))
    counts = json.loads((TRACES / "qtest" / "counts.json").read_text())["config"]
    assert made.guest.memory == counts["guest_ram_MiB"] * MIB
    assert [[hex(s.gpa), hex(s.size), s.perm] for s in made.guest.sections] == counts["sections"]
    assert (made.device.queue_pairs, made.device.queue_size) == (counts["queue_pairs"], counts["ring_size"])
    assert made.source.qemu == "10.0"
    where = {fact.key: fact.where for fact in facts}
    assert "QEMU by the form of its log: 10.0 or older" in where["source"]
    newer, _ = traces.scenario(traces.run(TRACES / "qtest" / "r3", same_machine=True))
    assert newer.source.qemu == "10.2"


def test_trap_42_regions_of_the_start_up_are_gone_when_the_driver_starts():
    """The reset deletes 0..0xfffffff (its last byte) of what was added as 0..0x10000000 (the byte behind)."""
    text = text_of("v-256-1d-r2")
    assert "region_add vdpa: 0x550001ee9a30 iova 0x0 llend 0x10000000" in text
    assert "region_del vdpa: 0x550001ee9a30 iova 0x0 llend 0xfffffff" in text
    made, _ = traces.scenario(traces.run(TRACES / "v-256-1d-r2"))
    assert [(s.gpa, s.end) for s in made.guest.sections] == [
        (0, 0xC3000), (0xC3000, 0xE4000), (0xE4000, 0xF0000), (0xF0000, 0x100000), (0x100000, 0x10000000),
        (0xFFFC0000, 1 << 32),
    ]  # fmt: skip


def test_precopy_settings_and_the_guests_work():
    made, _ = traces.scenario(traces.run(TRACES / "p-bw64-r8000-seq"))
    assert made.migration.max_bandwidth == 64 * MIB
    assert made.migration.downtime_limit == 300 * MS
    assert made.migration.changes == ()
    dirty = made.workload.dirty
    assert (dirty.pattern, dirty.rate, dirty.working_set) == ("sequential", 8000, 256 * MIB)
    assert 0.4 < made.guest.zero_pages < 0.5


def test_limits_lifted_for_want_of_convergence_are_changes(tmp_path):
    config = json.loads((TRACES / "p-bw64-r8000-seq" / "config.json").read_text())
    answer = {"status": "completed", "total-time": 15128, "downtime": 12}
    written(tmp_path, json.dumps(config), "config.json")
    written(tmp_path, json.dumps(answer), "query-migrate-src-final.json")
    written(
        tmp_path, gzip.decompress((TRACES / "p-bw64-r8000-seq" / "trace-src.log.gz").read_bytes()).decode(), "t.log"
    )
    made, _ = traces.scenario(traces.run(tmp_path))
    (change,) = made.migration.changes
    assert (change.after, change.downtime_limit, change.max_bandwidth) == (15 * SECOND, 60 * SECOND, None)


def test_what_the_guest_set_through_its_control_virtqueue(tmp_path):
    """Active pairs by the last VQ_PAIRS_SET, VLAN filters by the VLAN_ADD of the switch; CTRL_VLAN is negotiated."""
    made, facts = traces.scenario(traces.run(TRACES / "v-256-1d-2qp-r2"))
    assert (made.device.queue_pairs, made.device.active_pairs) == (2, 1)
    assert next(fact.where for fact in facts if fact.key == "device.active_pairs").endswith("vhost_vdpa_net_load_mq")
    text = text_of("v-256-1d-r2").replace("features: 0x300830000", "features: 0x3008b0000")
    load = re.findall(r"(?m)^.*net_load_cmd.*\n", text)[-1]
    vlan = load.replace("class: 1 cmd: 1 sg_num: 1 size: 6", "class: 2 cmd: 0 sg_num: 1 size: 2")
    config = TRACES / "v-256-1d-r2" / "config.json"
    found, _ = traces.scenario(traces.run(written(tmp_path, text.replace(load, load + vlan * 3), "src.log"), config))
    assert found.device.vlans == 3


COMMANDS = {
    "-m 4G -object memory-backend-memfd,id=m,size=4G,share=on": {"guest.memory": 4 * GIB, "guest.backing": "4k"},
    "-m size=8192,maxmem=16G -object memory-backend-file,id=m,size=8G,mem-path=/dev/hugepages":
        {"guest.memory": 8 * GIB, "guest.backing": "2M"},
    "-m 1 -object memory-backend-memfd,id=m,hugetlb=on,hugetlbsize=1G": {"guest.backing": "1G"},
    "-m 1 -object '{\"qom-type\":\"x\"}' -mem-path /dev/hugepages-1048576kB": {"guest.backing": "1G"},
    "-m 1 -object memory-backend-ram,id=m,size=1M": {"guest.backing": "thp"},
    "-m 512M -smp cpus=4,sockets=1 -M pc-q35-9.0,accel=kvm":
        {"guest.vcpus": 4, "guest.machine": "q35", "guest.vga": True},
    "-m 1 -machine pc": {"guest.machine": "q35"},
    "-m 1 -vga none": {"guest.vga": False},
    "-m 1 -nodefaults -device VGA,id=v": {"guest.vga": True},
    "-m 1 -nodefaults -accel qtest": {"guest.vga": False, "guest.firmware": "none"},
    "-m 1 -netdev vhost-vdpa,id=a,x-svq=on,queues=4 -netdev vhost-vdpa,id=b": {
        "device.count": 2, "device.svq": "on", "device.queue_pairs": 4},
    "-m lots": {},
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines(command):
    facts = {fact.key: fact for fact in command_facts(parse_command(f"qemu-kvm {command}", "cmd"))}
    for key, value in COMMANDS[command].items():
        assert facts[key].value == value, key
        assert facts[key].where.startswith("cmd: ")
    if "machine pc" in command:
        assert "not modelled" in facts["guest.machine"].where
    if "lots" in command:
        assert "guest.memory" not in facts


def test_a_command_line_alone_is_a_scenario(tmp_path):
    command = (
        "qemu-system-x86_64 -machine q35 -m 4G -smp 2 -nodefaults -netdev vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0 "
        "-device virtio-net-pci,netdev=n,rx_queue_size=1024"
    )
    made, facts = traces.scenario(traces.read(written(tmp_path, f"{command}\n", "my vm.sh")))
    assert (made.name, made.guest.memory, made.guest.vcpus, made.device.queue_size) == ("my-vm.sh", 4 * GIB, 2, 1024)
    assert made.guest.sections is None
    where = {fact.key: fact.where for fact in facts}
    assert "qemu is not said" in where["source"]
    assert "asked for, not negotiated" in where["device.queue_size"]


def test_what_makes_no_scenario_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing says how much memory"):
        traces.scenario(traces.read(written(tmp_path, "qemu-kvm -nodefaults", "a.sh")))
    with pytest.raises(InputError, match=r"the run makes no scenario: guest.memory = .*from b.sh: -m 1k"):
        traces.scenario(traces.read(written(tmp_path, "qemu-kvm -m 1k", "b.sh")))
    packed = text_of("v-256-1d-r2").replace("set_features dev: 0x550001eea0b0 features: 0x300830000",
                                            "set_features dev: 0x550001eea0b0 features: 0x700830000")  # fmt: skip
    with pytest.raises(InputError, match=r"device.features = .* blocks migration.*set_features"):
        traces.scenario(traces.run(written(tmp_path, packed, "src.log")))


@pytest.mark.parametrize("side", ["src", "dst"])
def test_the_end_of_a_removed_section_is_its_last_byte(side):
    """Trap 42: region_add prints the first byte behind a section, region_del its last: read so, every removal fits."""
    mapped, removed = set(), 0
    with gzip.open(TRACES / "v-256-1d-r2" / f"trace-{side}.log.gz", "rt") as file:
        for line in file:
            match = re.search(r"listener_region_(add|del) vdpa: \S+ iova (\S+) llend (\S+)", line)
            if match and match[1] == "add":
                mapped.add((int(match[2], 16), int(match[3], 16)))
            elif match:
                mapped.remove((int(match[2], 16), int(match[3], 16) + 1))
                removed += 1
    assert removed >= 9
    run = traces.run(TRACES / "v-256-1d-r2")
    made, _ = traces.scenario(run)
    assert sum(each.size for each in made.guest.sections) == made.guest.memory + 256 * 1024, "RAM and the firmware"


def test_a_section_that_cannot_be_names_its_line(tmp_path):
    lines = text_of("v-256-1d-r2").splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if "iova 0x100000 llend" in line)
    lines[at] = lines[at].replace("llend 0x10000000", "llend 0x10000fff")
    run = traces.run(written(tmp_path, "".join(lines), "trace-src.log"), side="source")
    with pytest.raises(InputError, match=rf"line {at + 1} maps what can be no section"):
        traces.scenario(run)
