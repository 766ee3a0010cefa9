"""Candidates side by side: they take turns round by round in one process, and a figure is the median of paired ratios.

Times of a shared machine swing; the ratio of two neighbours does not. C is built on the spot from tests/bench of a
checkout (`-O3 -march=native`); without a compiler or a checkout the other candidates run alone.
"""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vdpa_lab.paths import bench_sources

FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-fno-strict-aliasing")
OURS = "ours"


def nothing() -> None:
    """What most cases have to prepare."""


class Case(NamedTuple):
    """One piece of work done by several candidates.

    `size` is what grows (entries, pages), `each` the units that one call handles; ns are reported per unit. `calls`
    begins with "ours"; "twin" is the same algorithm in C, "peer" the straightforward way in C, "numpy" NumPy. Numbers
    that calls return must agree. `prepare` runs before each call, untimed.
    """

    work: str
    of: str
    size: int
    each: int
    calls: dict[str, Callable[[], int | None]]
    prepare: Callable[[], object] = nothing


@cache
def library(subject: str) -> ctypes.CDLL | None:
    """The subject's C functions, or None without a compiler or a checkout."""
    compiler, folder = shutil.which("gcc") or shutil.which("cc"), bench_sources()
    if compiler is None or folder is None or not (folder / f"{subject}.c").is_file():
        return None
    with tempfile.TemporaryDirectory() as build:
        made = Path(build) / f"{subject}.so"
        subprocess.run([compiler, *FLAGS, "-o", made, folder / f"{subject}.c", "-lm", "-lpthread"], check=True)
        return ctypes.CDLL(str(made))


def cases_of(subject: str, quick: bool) -> Iterator[Case]:
    """The cases of one subject, a module of this package."""
    yield from import_module(f"vdpa_lab.bench.{subject}").cases(library(subject), quick)


def in_c(function: Callable, *arguments: object) -> Callable[[], int]:
    """A call of no arguments: arrays are passed as pointers, numbers as size_t; the answer is uint64."""
    made = [
        ctypes.c_void_p(each.ctypes.data) if isinstance(each, np.ndarray) else ctypes.c_size_t(int(each))
        for each in arguments
    ]
    function.restype = ctypes.c_uint64

    def call(kept: tuple = arguments) -> int:  # the arrays live as long as the call does
        return function(*made)

    return call


def measure(case: Case, rounds: int) -> dict[str, list[int]]:
    """Times in ns of each candidate's calls, round by round; the first round only warms up.

    Raises AssertionError when candidates return different numbers.
    """
    names, times = list(case.calls), {name: [] for name in case.calls}
    random = np.random.default_rng(3)  # in a fixed order, whoever follows the slowest would always be slower
    answers = set()
    for turn in range(rounds + 1):
        for name in random.permutation(names).tolist():
            case.prepare()
            start = time.perf_counter_ns()
            answer = case.calls[name]()
            stop = time.perf_counter_ns()
            answers |= set() if answer is None else {int(answer)}
            if turn:
                times[name].append(stop - start)
    assert len(answers) < 2, f"{case.work}, {case.of}: candidates disagree: {answers}"
    return times


def row(case: Case, rounds: int) -> dict[str, object]:
    """Medians per unit in ns, and for every other candidate the median and quartiles of other / ours."""
    times = measure(case, rounds)
    found: dict[str, object] = {"work": case.work, "of": case.of, "size": case.size}
    found["ns"] = statistics.median(times[OURS]) / case.each
    for name, taken in times.items():
        if name == OURS:
            continue
        paired = [other / max(ours, 1) for other, ours in zip(taken, times[OURS], strict=True)]
        low, middle, high = statistics.quantiles(paired, n=4, method="inclusive") if len(paired) > 1 else paired * 3
        found[f"{name}_ns"] = statistics.median(taken) / case.each
        found[f"{name}_ratio"] = {"median": middle, "quartiles": [low, high]}
    return found
