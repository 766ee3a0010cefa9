"""Torn, doubled, shuffled, hostile logs: a clear refusal or a result that holds together, never a crash.

VDPA_LAB_FUZZ sets how many inputs each test tries (default: some hundred).
"""

import gzip
import json
import os
import random

import pytest
from conftest import CHECKOUT

from vdpa_lab import traces
from vdpa_lab.beside import compare
from vdpa_lab.migration import plan
from vdpa_lab.traces.read import read
from vdpa_lab.words import InputError

TRACES = CHECKOUT / "data" / "traces"
INPUTS = int(os.environ.get("VDPA_LAB_FUZZ", 100 if os.environ.get("NUMBA_DISABLE_JIT") else 300))
HOSTILE = (
    b"\x00\x1b[2J\x1b]0;x\x07",
    b"<script>alert(1)</script>",
    "\u202e\u2066\ufeff".encode(),
    b"\xff\xfe\x80",
    b"%s%n{0}{x}",
    b"9" * 400,
    b"-1",
    b"0x",
    b"0x" + b"f" * 40,
    b"1e999",
    b"nan",
    b'{"a":' * 30,
    b"[" * 200,
    b"\r",
    b"\x85",
    b"A" * 70_000,
)
UNSAFE = set("\x00\x1b\x07\r\u202e\u2066")


def lines_of(name, side):
    return gzip.decompress((TRACES / name / f"trace-{side}.log.gz").read_bytes()).splitlines(keepends=True)


def torn(lines, chance):
    """The lines after some accidents, as writers, disks and enemies cause them."""
    lines = list(lines)
    for _ in range(chance.choice((1, 3, 30))):
        at = chance.randrange(len(lines))
        how = chance.randrange(9)
        line = lines[at]
        cut = chance.randrange(len(line) + 1)
        if how == 0:
            del lines[at : at + chance.choice((1, 20, 400))]
        elif how == 1:
            lines.insert(chance.randrange(len(lines)), line)
        elif how == 2:
            lines[at] = line[:cut]
        elif how == 3:
            other = chance.choice(lines)
            lines[at] = line[:cut] + other + line[cut:]
        elif how == 4:
            lines[at] = line[:cut] + chance.choice(HOSTILE) + line[cut:]
        elif how == 5:
            words = line.split(b" ")
            words[chance.randrange(len(words))] = chance.choice(HOSTILE)
            lines[at] = b" ".join(words)
        elif how == 6:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif how == 7:
            lines[at] = bytes(byte ^ (chance.random() < 0.02) << chance.randrange(8) for byte in line)
        else:
            lines[at] = line.replace(b"\n", b"\r\n")
        if not lines:
            break
    return lines


def in_words(refused):
    """Every refusal says something, and nothing that a terminal would obey."""
    assert all(text.strip() for text in refused)
    assert not set().union(*refused) & UNSAFE


def holds_together(run):
    """What is true of every run that is read at all."""
    document = json.loads(json.dumps(run.json()))
    assert document["skipped_lines"] == run.skipped >= 0
    for name, ns in run.windows().items():
        assert ns >= 0
        assert sum(part.ns for part in run.breakdown(name)) == ns
        assert all(part.ns > 0 for part in run.breakdown(name))
    for row in run.outages():
        assert row["ns"] >= 0
    text = "\n".join(run.text())
    assert not set(text) & UNSAFE
    json.dumps(traces.chrome_trace(run.timeline, run.assembled.counters))


@pytest.fixture(scope="module")
def recorded():
    return {side: lines_of("v-128-1d-r1", side) for side in ("src", "dst")}


def test_torn_logs_of_both_hosts(recorded, tmp_path):
    """One clock or two, whole or in part."""
    chance, refused = random.Random(1), []
    source, destination = tmp_path / "trace-src.log", tmp_path / "trace-dst.log"
    for _ in range(INPUTS):
        source.write_bytes(b"".join(torn(recorded["src"], chance)))
        destination.write_bytes(b"".join(torn(recorded["dst"], chance)))
        try:
            run = traces.run(source, destination, same_machine=chance.random() < 0.5)
        except InputError as error:
            refused.append(str(error))
        else:
            holds_together(run)
    in_words(refused)
    assert len(refused) < 0.9 * INPUTS


def test_scenarios_of_torn_runs(recorded, tmp_path):
    """A scenario with a plan that can be compared, or a refusal that names what is missing."""
    chance, refused = random.Random(2), []
    for name in ("config.json", "kernel-vdt.log.gz"):
        (tmp_path / name).write_bytes((TRACES / "v-128-1d-r1" / name).read_bytes())
    kernel = gzip.decompress((tmp_path / "kernel-vdt.log.gz").read_bytes()).splitlines(keepends=True)
    for _ in range(INPUTS // 3):
        (tmp_path / "trace-src.log").write_bytes(b"".join(torn(recorded["src"], chance)))
        (tmp_path / "trace-dst.log").write_bytes(b"".join(torn(recorded["dst"], chance)))
        (tmp_path / "kernel-vdt.log.gz").write_bytes(gzip.compress(b"".join(torn(kernel, chance)), 1))
        try:
            run = traces.run(tmp_path)
            scenario, _ = traces.scenario(run)
            plan(scenario)
            found = compare(run, scenario)
        except InputError as error:
            refused.append(str(error))
        else:
            assert json.dumps(found.json())
            assert not set("\n".join(found.text())) & UNSAFE - {"\n"}
    in_words(refused)
    assert len(refused) < 0.9 * (INPUTS // 3)


@pytest.mark.parametrize(
    "name",
    ["v-256-1d-r2/qmp-src.jsonl", "v-256-1d-r2/query-migrate-src-final.json", "v-256-1d-r2/config.json",
     "v-256-1d-r2/kernel-vdt.log.gz", "tcg-256-1d-r1/ftrace-funcgraph.txt.gz", "v-256-1d-r2/trace-src.log.gz"],
)  # fmt: skip
def test_short_pieces_of_every_form(name, tmp_path):
    """A few lines of each form, torn: read as what they are, or refused."""
    data = (TRACES / name).read_bytes()
    lines = (gzip.decompress(data) if name.endswith(".gz") else data).splitlines(keepends=True)
    chance, path, refused = random.Random(name), tmp_path / "file", []
    if len(lines) == 1:
        lines = [line + b"," for line in lines[0].split(b",")]
    for _ in range(INPUTS):
        start = chance.randrange(len(lines))
        piece = torn(lines[start : start + chance.choice((1, 8, 60))], chance)
        path.write_bytes(b"".join(piece))
        try:
            assert read(path) is not None
        except InputError as error:
            refused.append(str(error))
    in_words(refused)
