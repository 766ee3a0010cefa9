"""Compiling is said, once, where a program reads no results; with a warm cache nothing is said."""

import json
import os
import subprocess
import sys


def simulated(cache):
    """stdout and stderr of a simulation in a process of its own, with the compiler on and this cache."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "vdpa_lab", "simulate", "sim-256-1d", "--json"],
        env={**environment, "NUMBA_CACHE_DIR": str(cache)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout), done.stderr


def test_a_cold_cache_is_said_once_and_a_warm_one_never(tmp_path):
    cold, said = simulated(tmp_path)
    warm, quiet = simulated(tmp_path)
    assert said.count("compiling kernels") == 1
    assert len(said.splitlines()) == 1
    assert quiet == ""
    assert cold == warm


def test_a_cache_that_cannot_be_written_breaks_nothing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a folder cannot be made here")
    found, said = simulated(blocked)
    assert found["scenario"] == "sim-256-1d"
    assert "Traceback" not in said
