"""What a QEMU command line and a run's settings say about a scenario, each with the option that says it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from vdpa_lab.model.workload import Dirty, Traffic
from vdpa_lab.traces.config import CommandLine, Config, properties
from vdpa_lab.traces.events import printable
from vdpa_lab.traces.facts import Fact
from vdpa_lab.units import MIB, MS, UnitError, parse_bytes

_PATTERNS = {"seq": "sequential", "rand": "random", "hot": "hot"}
_HUGE = {"2": "2M", "1": "1G", "2m": "2M", "1g": "1G", "2048": "2M", "1048576": "1G"}


def command_facts(command: CommandLine) -> Iterator[Fact]:
    """Memory, machine, processors, backing, display and network devices of a command line."""
    where = os.path.basename(command.where)

    def fact(key: str, value: object, option: str) -> Fact:
        return Fact(key, value, f"{where}: {printable(option, 100)}")

    memory = properties(command.last("-m") or "")
    if size := _size(memory.get("size") or memory.get("", "")):
        yield fact("guest.memory", size, f"-m {command.last('-m')}")
    machine = command.last("-machine") or command.last("-M") or ""
    kind = properties(machine).get("type") or properties(machine).get("", "")
    if kind:
        known = "q35" in kind
        note = "" if known else ", which is not modelled; q35 is taken"
        yield fact("guest.machine", "q35", f"-machine {kind}{note}")
    smp = properties(command.last("-smp") or "")
    if re.fullmatch(r"[0-9]{1,4}", count := smp.get("cpus") or smp.get("", "")):
        yield fact("guest.vcpus", int(count), f"-smp {count}")
    yield from _backing(command, fact)
    yield fact("guest.vga", *_display(command))
    if "qtest" in (command.last("-accel") or "") or "-qtest" in dict(command.options()):
        yield fact("guest.firmware", "none", "-qtest: no firmware runs")
    netdevs = [value for value in command.all("-netdev") if properties(value).get("type") == "vhost-vdpa"
               or properties(value).get("") == "vhost-vdpa"]  # fmt: skip
    if netdevs:
        yield fact("device.count", len(netdevs), f"-netdev {netdevs[0]}")
        first = properties(netdevs[0])
        if first.get("x-svq") == "on":
            yield fact("device.svq", "on", f"-netdev {netdevs[0]}")
        if re.fullmatch(r"[0-9]{1,3}", queues := first.get("queues", "")):
            yield fact("device.queue_pairs", int(queues), f"-netdev {netdevs[0]}")
    else:
        yield fact("device.driver", "mlx5", "no -netdev vhost-vdpa; the lab's default device is taken")
    if netdevs:
        nic = next((v for v in command.all("-device") if v.startswith("virtio-net")), "")
        if re.fullmatch(r"[0-9]{1,5}", size := properties(nic).get("rx_queue_size", "")):
            yield fact("device.queue_size", int(size), f"-device {nic}: asked for, not negotiated")


def _size(text: str) -> int | None:
    """QEMU's -m: MiB without a unit."""
    try:
        return int(text) * MIB if re.fullmatch(r"[0-9]{1,12}", text) else parse_bytes(text.upper().removesuffix("B"))
    except UnitError:
        return None


def _backing(command: CommandLine, fact) -> Iterator[Fact]:
    for value in command.all("-object"):
        found = properties(value)
        kind = found.get("qom-type") or found.get("", "")
        if not kind.startswith("memory-backend"):
            continue
        size = re.match(r"[0-9]+[mMgGkK]?", found.get("hugetlbsize", ""))
        path = found.get("mem-path", "")
        if found.get("hugetlb") == "on" or "huge" in path.lower():
            named = size[0].lower() if size else "1g" if re.search(r"1048576|1[gG]", path) else "2m"
            yield fact("guest.backing", _HUGE.get(named, "2M"), f"-object {value}")
        elif kind == "memory-backend-ram":
            yield fact("guest.backing", "thp", f"-object {value}: anonymous, MADV_HUGEPAGE; taken to have huge pages")
        else:
            yield fact("guest.backing", "4k", f"-object {value}: shared memory has small pages")
        return
    if path := command.last("-mem-path"):
        yield fact("guest.backing", "1G" if "1G" in path or "1048576" in path else "2M", f"-mem-path {path}")
    else:
        yield fact("guest.backing", "thp", "no memory-backend: anonymous, MADV_HUGEPAGE; taken to have huge pages")


def _display(command: CommandLine) -> tuple[bool, str]:
    names = dict(command.options())
    if "-vga" in names:
        return names["-vga"] != "none", f"-vga {names['-vga']}"
    for device in command.all("-device"):
        if re.match(r"(VGA|bochs-display|qxl|virtio-vga|cirrus-vga|secondary-vga)", device):
            return True, f"-device {device}"
    if "-nodefaults" in names or "-qtest" in names:
        return False, "-nodefaults and no display device"
    return True, "no -nodefaults: QEMU adds a VGA"


def settings_facts(config: Config) -> Iterator[Fact]:
    """Migration settings and the guest's work, from the settings of the tool that made the run."""
    args = config.args

    def fact(key: str, value: object, name: str) -> Fact:
        return Fact(key, value, f"config.json: args.{name} = {printable(str(args.get(name)), 40)}")

    if (limit := _number(args, "dl")) is not None:
        yield fact("migration.downtime_limit", limit * MS, "dl")
    if bandwidth := _number(args, "bw"):
        yield fact("migration.max_bandwidth", bandwidth, "bw")
    if "caps" in args:
        yield fact("migration.return_path", config.return_path, "caps")
    working_set, rate = _number(args, "dmb"), _number(args, "drate")
    if working_set and rate is not None and (pattern := _PATTERNS.get(str(args.get("dmode")))):
        yield fact("workload.dirty", Dirty(pattern, rate, working_set * MIB), "dmb, drate, dmode")
    if packets := _number(args, "pkt"):
        yield fact("workload.traffic", Traffic(packets, packets), "pkt")


def _number(args: dict[str, Any], name: str) -> int | None:
    value = args.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 50:
        return None
    return int(value)
