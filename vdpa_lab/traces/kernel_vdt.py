"""kernel-vdt.log: every vhost-vdpa ioctl, IOTLB message and set_map, with its duration, as a patched kernel prints it.

A line: `NS DEVICE ioctl nr=0x.. arg=0x.. ret=.. dur_ns=..`, `NS DEVICE iotlb_msg type=2 asid=.. iova=0x.. size=0x..
uaddr=0x.. mtype=.. ret=.. pinned=.. dur_ns=..` or `NS DEVICE set_map asid=.. entries=.. dur_ns=..`. NS is the wall
clock at the start, DEVICE src0, src1 … dst0 …; a message's own set_map lies within it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from vdpa_lab.traces.events import EARLIEST, LATEST, Skipped
from vdpa_lab.traces.lines import lines
from vdpa_lab.traces.qemu_log import MOST_EVENTS
from vdpa_lab.units import SECOND
from vdpa_lab.words import InputError

#: Linux include/uapi/linux/vhost.h, ioctls of type 0xAF; a GET and its SET of one number are one name
IOCTLS = {
    0x00: "GET/SET_FEATURES", 0x01: "SET_OWNER", 0x10: "SET_VRING_NUM", 0x11: "SET_VRING_ADDR",
    0x12: "GET/SET_VRING_BASE", 0x20: "SET_VRING_KICK", 0x21: "SET_VRING_CALL", 0x25: "SET_BACKEND_FEATURES",
    0x26: "GET_BACKEND_FEATURES", 0x70: "GET_DEVICE_ID", 0x71: "GET_STATUS", 0x72: "SET_STATUS", 0x73: "GET_CONFIG",
    0x74: "SET_CONFIG", 0x75: "SET_VRING_ENABLE", 0x76: "GET_VRING_NUM", 0x77: "SET_CONFIG_CALL",
    0x78: "GET_IOVA_RANGE", 0x79: "GET_CONFIG_SIZE", 0x7A: "GET_AS_NUM", 0x7B: "GET_VRING_GROUP",
    0x7C: "SET_GROUP_ASID", 0x7D: "SUSPEND", 0x7E: "RESUME", 0x7F: "GET_VRING_DESC_GROUP", 0x80: "GET_VQS_COUNT",
    0x81: "GET_GROUP_NUM", 0x82: "GET_VRING_SIZE",
}  # fmt: skip
#: Linux include/uapi/linux/vhost_types.h
MESSAGES = {2: "IOTLB_UPDATE", 3: "IOTLB_INVALIDATE", 5: "IOTLB_BATCH_BEGIN", 6: "IOTLB_BATCH_END"}

_NUMBER = r"(?:0x[0-9a-f]{1,16}|-?[0-9]{1,20})"
_LINE = re.compile(
    rf"(?P<t>[0-9]{{1,20}}) (?P<side>src|dst)(?P<device>[0-9]{{1,3}}) (?P<what>ioctl|iotlb_msg|set_map)"
    rf"(?P<fields>(?: [a-z_]+={_NUMBER})+)"
)
_FIELD = re.compile(rf"([a-z_]+)=({_NUMBER})")
_NEEDS = {"ioctl": {"nr", "arg", "dur_ns"}, "iotlb_msg": {"asid", "size", "mtype", "dur_ns"},
          "set_map": {"asid", "entries", "dur_ns"}}  # fmt: skip


class KernelOp(NamedTuple):
    """One operation: start and end in ns since 1970, side source | destination, and its arguments."""

    start: int
    end: int
    side: str
    device: int
    op: str
    fields: dict[str, int]


@dataclass(frozen=True)
class KernelLog:
    """A kernel-vdt.log, in order of time."""

    path: str
    ops: tuple[KernelOp, ...]
    skipped: Skipped

    def of(self, side: str) -> tuple[KernelOp, ...]:
        """The operations on one host's devices."""
        return tuple(op for op in self.ops if op.side == side)


def is_kernel_line(line: bytes) -> bool:
    """Does the line have this form?"""
    return _parsed(line) is not None


def _parsed(line: bytes) -> KernelOp | None:
    match = _LINE.fullmatch(line.decode("ascii", "replace").rstrip())
    if match is None:
        return None
    fields = {name: int(text, 0) if "x" in text else int(text) for name, text in _FIELD.findall(match["fields"])}
    start = int(match["t"])
    in_time = EARLIEST * SECOND <= start < LATEST * SECOND
    if not in_time or not _NEEDS[match["what"]] <= fields.keys() or not 0 <= fields["dur_ns"] < 1 << 50:
        return None
    op = match["what"]
    if op == "ioctl":
        op = IOCTLS.get(fields["nr"], f"ioctl {fields['nr']:#x}")
    elif op == "iotlb_msg":
        op = MESSAGES.get(fields["mtype"], f"message {fields['mtype']}")
    side = "source" if match["side"] == "src" else "destination"
    return KernelOp(start, start + fields["dur_ns"], side, int(match["device"]), op, fields)


def read_kernel_vdt(path: str | os.PathLike[str]) -> KernelLog:
    """The log at `path`, gzip or not. Raises InputError."""
    ops, skipped = [], Skipped()
    for number, line in enumerate(lines(path), 1):
        found = _parsed(line) if line is not None else None
        if found is not None:
            ops.append(found)
        elif line is None or line.strip():
            skipped.add(number, "not a line of this log, or cut off", line)
        if len(ops) > MOST_EVENTS:
            raise InputError(f"{os.fspath(path)!r}: more than {MOST_EVENTS} operations; cut it to one migration")
    if not ops:
        raise InputError(f"{os.fspath(path)!r}: no line of it is an operation of vhost-vdpa")
    return KernelLog(os.fspath(path), tuple(sorted(ops, key=lambda op: (op.start, -op.end))), skipped)
