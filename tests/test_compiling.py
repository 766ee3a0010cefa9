"""Compiling is said, once, where a program reads no results; with a warm cache nothing is said."""

import json
import os
import shutil
import subprocess
import sys

from conftest import CHECKOUT


def compiler_on(**more):
    """An environment with the compiler on."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "COV_"))} | more


def simulated(cache):
    """stdout and stderr of a simulation in a process of its own, with the compiler on and this cache."""
    done = subprocess.run(
        [sys.executable, "-m", "vdpa_lab", "simulate", "sim-256-1d", "--json"],
        env=compiler_on(NUMBA_CACHE_DIR=str(cache)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout), done.stderr


def test_a_cold_cache_is_said_once_and_a_warm_one_never(tmp_path):
    cold, said = simulated(tmp_path)
    warm, quiet = simulated(tmp_path)
    assert said.count("compiling kernels") == 1
    assert len(said.splitlines()) == 1
    assert quiet == ""
    assert cold == warm


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path):
    """Of itself numba looks at the file of the outer one only, and goes on with what it compiled before."""
    folder = tmp_path / "vdpa_lab" / "kernels"
    shutil.copytree(CHECKOUT / "vdpa_lab" / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder.parent / "__init__.py").touch()
    call = "from vdpa_lab.kernels._jit import kernel\n{}\n@kernel{}\ndef {}():\n    return {}\n"
    (folder / "outer.py").write_text(call.format("from vdpa_lab.kernels.inner import inner", "", "outer", "inner()"))
    # Python itself would not see a change of one letter within a second.
    environment = compiler_on(NUMBA_CACHE_DIR=str(tmp_path / "cache"), PYTHONDONTWRITEBYTECODE="1")
    found = []
    for value in (1, 2, 2):
        (folder / "inner.py").write_text(call.format("", "(inline=True)", "inner", value))
        done = subprocess.run(
            [sys.executable, "-c", "from vdpa_lab.kernels.outer import outer; print(outer(), *outer.stats.cache_hits)"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(done.stdout.split())
    assert found == [["1"], ["2"], ["2", "()"]], "and taken from the cache when nothing has"


def test_simulations_compile_each_kernel_for_one_kind_of_arguments():
    program = """
import sys
import vdpa_lab
for name in ("sim-256-1d", "talk", "liu2023"):
    vdpa_lab.simulate(name)
modules = [module for name, module in sys.modules.items() if name.startswith("vdpa_lab.kernels.")]
found = {id(each): each for module in modules for each in vars(module).values() if hasattr(each, "signatures")}
used = [each for each in found.values() if each.signatures]
print(len(used) > 0, [each.__name__ for each in used if len(each.signatures) > 1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=compiler_on(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split(maxsplit=1) == ["True", "[]\n"]


def test_scipy_is_imported_only_by_who_compiles_linear_algebra():
    program = """
import sys, numba, numpy
import vdpa_lab
vdpa_lab.simulate("sim-256-1d")
before = "scipy.linalg" in sys.modules
found = numba.njit(lambda one: one @ one)(2 * numpy.eye(3)).sum()
print(before, found, "scipy.linalg" in sys.modules)
from numba.np import arraymath, linalg
assert arraymath.ensure_blas is linalg.ensure_blas
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=compiler_on(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "12.0", "True"]


def test_a_cache_that_cannot_be_written_breaks_nothing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a folder cannot be made here")
    found, said = simulated(blocked)
    assert found["scenario"] == "sim-256-1d"
    assert "Traceback" not in said
