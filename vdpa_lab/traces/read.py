"""The front door: a file read as what its first lines say that it is."""

from __future__ import annotations

import os
import re

from vdpa_lab.traces.config import LONGEST_COMMAND, Config, is_config, read_config
from vdpa_lab.traces.dialects import DIALECTS, RECORD, foreign
from vdpa_lab.traces.events import Log
from vdpa_lab.traces.function_graph import FunctionGraph, read_function_graph
from vdpa_lab.traces.guestperf import GuestPerf, read_guestperf
from vdpa_lab.traces.kernel_vdt import KernelLog, is_kernel_line, read_kernel_vdt
from vdpa_lab.traces.lines import head
from vdpa_lab.traces.qemu_log import read_qemu_log
from vdpa_lab.traces.qmp import Statistics, _json, read_qmp
from vdpa_lab.words import InputError

Readable = Log | KernelLog | FunctionGraph | Statistics | GuestPerf | Config

_COMMAND = re.compile(rb"(^|[\s/'\"])qemu(-system-\w+|-kvm)['\"]?\s+-", re.M)


def read(path: str | os.PathLike[str]) -> Readable:
    """One file as what its first lines say that it is; see the classes. Raises InputError for any other."""
    where = os.fspath(path)
    data = head(where)
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise InputError(f"{where!r} is empty")
    if b"# tracer: function_graph" in data[:4096]:
        return read_function_graph(where)
    if start[:1] in (b"{", b"["):
        return _read_json(where, data)
    if any(is_kernel_line(line) for line in start[:4096].splitlines()[:5]):
        return read_kernel_vdt(where)
    try:
        log = read_qemu_log(where)
    except InputError:
        if len(data) <= LONGEST_COMMAND and _COMMAND.search(data):
            return read_config(where)
        log = None
        if not (found := foreign(data)):
            raise
    else:
        # Without a time a line has little that is its own.
        found = "" if DIALECTS[log.dialect].timed else foreign(data)
    if found or log is None:
        raise InputError(f"{where!r} looks like {found}, which is not read yet; {RECORD}")
    return log


def _read_json(where: str, data: bytes) -> Readable:
    if found := foreign(data):
        raise InputError(f"{where!r} looks like {found}, which is not read yet; {RECORD}")
    if b'"progress_history"' in data:
        return read_guestperf(where)
    if b'"src"' in data and is_config(_json(data)):
        return read_config(where)
    return read_qmp(where)
