"""How fast logs are read: bytes of QEMU's log, of whose lines all or one in ten are of interest, plain and gzipped."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vdpa_lab.bench.harness import OURS, Case
from vdpa_lab.paths import data_dir
from vdpa_lab.traces import read
from vdpa_lab.units import MIB

RUN = "v-256-2d-r3"
OTHER = (
    b"2026-11-22T22:03:27.309244Z memory_region_ops_write cpu 0 mr 0x55a0 addr 0xfee000b0 value 0x0 size 4 name 'x'\n"
)


def cases(library: object, quick: bool) -> Iterator[Case]:
    """A recorded log again and again; there is nothing to compare with."""
    lines = gzip.decompress((data_dir() / "traces" / RUN / "trace-src.log.gz").read_bytes()).splitlines(keepends=True)
    folder = tempfile.TemporaryDirectory()  # lives as long as the cases do
    for size in (MIB,) if quick else (4 * MIB, 32 * MIB):
        for kind, others in (("every line of interest", 0), ("one line in ten of interest", 9)):
            text = b"".join(line + OTHER * others for line in lines)
            data = text * (size // len(text) + 1)
            for form, packed in (("log", data), ("log.gz", gzip.compress(data, 1))):
                path = Path(folder.name) / f"{size}-{others}.{form}"
                path.write_bytes(packed)

                def events(path: Path = path, kept: object = folder) -> int:
                    return len(read(path).events)

                yield Case(f"read {form}, {kind}", f"{size // MIB} MiB", len(data), len(data), {OURS: events})
