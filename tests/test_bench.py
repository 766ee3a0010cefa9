"""The benchmarks run, their candidates agree, and their rows can be drawn; times are never judged."""

import ctypes
import json

import numpy as np
import pytest

from vdpa_lab.bench import SUBJECTS, benchmarks, harness
from vdpa_lab.bench.harness import OURS, Case
from vdpa_lab.words import InputError


@pytest.mark.slow  # the sizes are for compiled kernels
@pytest.mark.parametrize("subject", SUBJECTS)
def test_candidates_agree(subject, benchmark):
    """Each case once with every candidate, then ours under pytest-benchmark."""
    cases = list(harness.cases_of(subject, quick=True))
    assert cases
    for case in cases:
        harness.measure(case, 1)

    def ours():
        for case in cases:
            case.prepare()
            case.calls[OURS]()

    benchmark.group = "kernels"
    benchmark.pedantic(ours, rounds=3)


def test_a_row_is_a_median_per_unit_and_paired_ratios():
    case = Case("count", "to 100", 100, 10, {OURS: lambda: sum(range(100)), "peer": lambda: sum(range(100))})
    row = harness.row(case, rounds=5)
    assert row["size"] == 100
    assert 0 < row["ns"] < 1e9
    low, high = row["peer_ratio"]["quartiles"]
    assert low <= row["peer_ratio"]["median"] <= high
    assert row["peer_ns"] > 0


def test_candidates_that_disagree_are_told():
    with pytest.raises(AssertionError, match="count, to 2: candidates disagree"):
        harness.measure(Case("count", "to 2", 2, 1, {OURS: lambda: 1, "peer": lambda: 2}), 1)


def test_prepare_runs_before_every_call():
    seen = []
    case = Case("x", "y", 1, 1, {OURS: lambda: seen.append("call")}, lambda: seen.append("prepare"))
    harness.measure(case, 2)
    assert seen == ["prepare", "call"] * 3


def test_c_sees_arrays_and_numbers():
    c = ctypes.CDLL(None)
    array = np.array([65, 66, 0], np.uint8)
    assert harness.in_c(c.strlen, array)() == 2
    assert harness.in_c(c.strnlen, array, 1)() == 1


def test_without_a_compiler_ours_runs_alone(monkeypatch):
    harness.library.cache_clear()
    monkeypatch.setattr(harness.shutil, "which", lambda name: None)
    try:
        assert harness.library("bitmap") is None
    finally:
        harness.library.cache_clear()


def test_an_unknown_subject_is_named():
    with pytest.raises(InputError, match="no benchmark is named 'modle'; did you mean 'model'"):
        list(benchmarks(["modle"]))


def test_growth_is_drawn_and_rows_are_kept(tmp_path):
    from vdpa_lab.plot import write_growth

    rows = [
        {"subject": "s", "work": "sync", "of": str(size), "size": size, "ns": 2.0, "twin_ns": 1.0} for size in (10, 100)
    ]
    rows.append({"subject": "s", "work": "once", "of": "1", "size": 1, "ns": 5.0})
    written = write_growth(rows, tmp_path / "new")
    assert [path.name for path in written] == ["bench.json", "growth.svg"]
    assert json.loads(written[0].read_text()) == rows
    picture = written[1].read_text()
    assert "sync" in picture
    assert "once" not in picture
    assert "ns a unit" in picture
    assert "measured here" in picture
    assert write_growth(rows[2:], tmp_path / "one") == [tmp_path / "one" / "bench.json"]
