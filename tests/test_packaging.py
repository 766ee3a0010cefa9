"""What a stranger gets: the conda file, the recorded versions, the wheel, the citation."""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain

import pytest
import yaml
from conftest import IN_CI
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import vdpa_lab

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def project(checkout):
    return tomllib.loads((checkout / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def conda_file(checkout):
    return yaml.safe_load((checkout / "environment.yml").read_text())


@pytest.fixture(scope="module")
def conda_specs(conda_file):
    return [spec for spec in conda_file["dependencies"] if isinstance(spec, str)]


def test_conda_and_pip_ask_for_the_same_packages(project, conda_specs):
    from_pip = {(r.name, r.specifier) for r in map(Requirement, project["dependencies"])}
    from_conda = {(r.name, r.specifier) for r in map(Requirement, conda_specs[1:]) if r.name not in ("python", "pip")}
    assert from_pip
    assert from_conda == from_pip


def test_conda_file_pins_a_python_that_the_project_allows(project, conda_file, conda_specs):
    # One `=` and nothing wider: a range is read as "unspecified" by what builds from this file.
    python = re.fullmatch(r"python=(\d+\.\d+)", conda_specs[0])
    assert python, conda_specs[0]
    assert python[1] in SpecifierSet(project["requires-python"])
    assert conda_file["dependencies"][-1] == {"pip": ["-e ."]}


def test_conda_understands_every_line(conda_specs):
    import rattler

    assert len(conda_specs) > 5
    assert [str(rattler.MatchSpec(spec).name.normalized) for spec in conda_specs]
    with pytest.raises(Exception, match="version spec"):
        rattler.MatchSpec("numba >=>0.61")


def test_binder_builds_from_the_conda_file(checkout, tmp_path):
    for name in ("environment.yml", "pyproject.toml"):
        shutil.copy(checkout / name, tmp_path)
    said = run(sys.executable, "-m", "repo2docker", "--no-build", "--debug", tmp_path, cwd=tmp_path)
    assert "Building conda environment for python=3.12" in said
    assert '--file "environment.yml"' in said


@pytest.fixture(scope="module")
def unpacked_wheel(checkout, tmp_path_factory):
    """The wheel, installed by itself in a folder that has nothing else."""
    built, target = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("target")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built, cwd=checkout)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


def run_from(target, *words):
    return run(sys.executable, *words, cwd=target.parent, env=os.environ | {"PYTHONPATH": str(target)})


def test_wheel_finds_its_own_data_and_notebooks(unpacked_wheel):
    ask = """if True:
        import json
        from vdpa_lab import paths
        found = paths.data_dir(), paths.notebooks_dir()
        print(json.dumps([str(folder) for folder in found]))"""
    data, notebooks = map(type(unpacked_wheel), json.loads(run_from(unpacked_wheel, "-c", ask)))
    assert data.is_relative_to(unpacked_wheel)
    assert notebooks.is_relative_to(unpacked_wheel)
    assert (data / "scenarios" / "talk.toml").is_file()
    assert (notebooks / "00_start_here.ipynb").is_file()


def test_wheel_answers_from_its_own_data(unpacked_wheel):
    listed = run_from(unpacked_wheel, "-m", "vdpa_lab", "list", "scenarios")
    assert "talk" in listed


def test_wheel_carries_every_data_file_and_nothing_odd(checkout, unpacked_wheel):
    def files(folder):
        return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}

    tracked = {name for name in files(checkout / "data") if "__pycache__" not in name}
    assert tracked
    assert files(unpacked_wheel / "vdpa_lab" / "data") == tracked
    assert {path.name for path in unpacked_wheel.iterdir()} - {"bin"} == {
        "vdpa_lab",
        f"vdpa_lab-{vdpa_lab.__version__}.dist-info",
        "share",
    }
    template = "jupyter/voila/templates/vdpa_lab"
    assert files(unpacked_wheel / "share") == {f"{template}/{name}" for name in files(checkout / "vdpa_lab/ui/voila")}


@pytest.fixture(scope="module")
def recorded(checkout):
    """Package -> version, as constraints.txt has them."""
    lines = (checkout / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[\w.-]+==\d[\w.!]*", line)]
    assert odd == []
    versions = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(versions) == len(lines) > 50
    return versions


@pytest.fixture(scope="module")
def direct(project):
    """What the project asks for itself, all extras included."""
    asked = chain(project["dependencies"], *project["optional-dependencies"].values())
    return [requirement for requirement in map(Requirement, asked) if requirement.name != project["name"]]


def test_recorded_versions_are_those_of_all_that_the_suite_needs(recorded, direct):
    installed = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions()}
    others = {name for name in recorded.keys() & installed.keys() if recorded[name] != installed[name]}
    if others and not IN_CI:
        pytest.skip(f"{len(others)} packages are installed in other versions than the recorded ones")
    assert others == set()
    needed = closure(direct)
    assert recorded.keys() <= needed
    assert (needed & installed.keys()) - recorded.keys() <= {"pip", "setuptools"}, "run `make constraints`"


def test_recorded_versions_satisfy_every_direct_dependency_of_the_suite(recorded, direct, project):
    extras = project["optional-dependencies"]
    beside_the_suite = {Requirement(line).name for extra in ("live", "parquet") for line in extras[extra]}
    asked = [requirement for requirement in direct if requirement.name not in beside_the_suite]
    assert asked
    unmet = [str(r) for r in asked if not r.specifier.contains(recorded.get(canonicalize_name(r.name), "0"))]
    assert unmet == []


def closure(requirements):
    """The names of all packages that these need, directly or not, on any platform and Python."""
    seen, to_visit = set(), [pair for requirement in requirements for pair in wanted(requirement)]
    while to_visit:
        package, extra = pair = to_visit.pop()
        if pair in seen:
            continue
        seen.add(pair)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for requirement in map(Requirement, importlib.metadata.requires(package) or []):
                belongs_to_extra = "extra ==" in str(requirement.marker)
                if not belongs_to_extra or requirement.marker.evaluate({"extra": extra}):
                    to_visit += wanted(requirement)
    return {package for package, _ in seen}


def wanted(requirement):
    return [(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)]


def test_version_is_said_once_and_repeated_faithfully(checkout):
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text())
    latest = re.search(r"^## \[(.+?)\]", (checkout / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation["version"] == latest[1] == vdpa_lab.__version__


def test_readme_names_only_targets_that_make_knows(checkout):
    targets = set(re.findall(r"^(\w+):", (checkout / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make (\w+)", (checkout / "README.md").read_text(), re.MULTILINE))
    assert {"lab", "test"} <= named <= targets


def run(*command, **how):
    finished = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **how)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr
