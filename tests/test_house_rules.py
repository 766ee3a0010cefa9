"""The rules of the house, as programs: clean notebooks, short files, imports that go down."""

import ast
import gzip
import json
import os
import re
import subprocess
import sys
import tomllib
from types import ModuleType

import pytest
from conftest import CHECKOUT, IN_CI

import vdpa_lab

PACKAGE = CHECKOUT / "vdpa_lab"
LONGEST_MODULE, LONGEST_OPTIMIZATION, LONGEST_CELL = 250, 60, 15
# These come with ipywidgets and are part of its interface.
WITH_IPYWIDGETS = {"IPython", "traitlets"}
HEAVY = ["IPython", "ipywidgets", "jupyterlab", "matplotlib", "numba", "numpy", "pandas", "scipy"]
# Put together here, so that this file does not break its own rule.
UNWANTED = ["/" + "work/", "/" + "root/", "python" + "hosted", "pypi" + ".org/simple", "registry." + "npmjs"]


def modules():
    found = sorted(PACKAGE.rglob("*.py"))
    assert found
    return found


def shipped_files():
    """What git holds or would take in."""
    if not (CHECKOUT / ".git").exists():
        assert not IN_CI, "CI checks a clone"
        pytest.skip("not a git checkout")
    command = ["git", "-C", CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    found = [CHECKOUT / name for name in listed if name and (CHECKOUT / name).is_file()]
    assert CHECKOUT / "pyproject.toml" in found
    return found


def notebooks():
    found = [path for path in shipped_files() if path.suffix == ".ipynb"]
    assert found
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in found}


def code_cells():
    cells = [
        (f"{path.name}, cell {number}", cell)
        for path, notebook in notebooks().items()
        for number, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code"
    ]
    assert cells
    return cells


def test_notebooks_hold_no_outputs_counts_or_widget_state():
    dirty = [where for where, cell in code_cells() if cell["outputs"] or cell["execution_count"] is not None]
    dirty += [path.name for path, notebook in notebooks().items() if "widgets" in notebook["metadata"]]
    assert dirty == [], "run `make strip`"


def test_notebooks_name_the_kernel_that_every_install_has():
    assert {notebook["metadata"]["kernelspec"]["name"] for notebook in notebooks().values()} == {"python3"}


def test_notebook_cells_are_short_and_define_no_class():
    for where, cell in code_cells():
        lines = "".join(cell["source"]).splitlines()
        assert len(lines) <= LONGEST_CELL, f"{where} has {len(lines)} lines: move them into the package"
        classes = [line for line in lines if re.match(r"\s*class\b", line)]
        assert not classes, f"{where} defines a class: move it into the package"


def test_modules_are_short():
    too_long = {path.name: n for path in modules() if (n := count_lines(path)) > LONGEST_MODULE}
    assert too_long == {}


def test_optimizations_are_shorter():
    files = sorted((PACKAGE / "migration" / "optimizations").glob("*.py"))
    assert files
    too_long = {path.name: n for path in files if (n := count_lines(path)) > LONGEST_OPTIMIZATION}
    assert too_long == {}


def count_lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_imports_go_down_the_floors_only():
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    checked = subprocess.run([sys.executable, "-c", command], cwd=CHECKOUT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.search(r"\d kept, 0 broken", checked.stdout)


def third_party_imports(path):
    """(package, whether it is imported with the module) for every foreign import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    postponed = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        else:
            continue
        for name in names:
            package = name.partition(".")[0]
            if package not in sys.stdlib_module_names and package != "vdpa_lab":
                yield package, node not in postponed


def test_package_imports_only_what_it_declares():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    always = {bare_name(r) for r in project["dependencies"]} | WITH_IPYWIDGETS
    at_will = {bare_name(r) for extra, asked in extras.items() if extra != "test" for r in asked}
    imports = {(path.name, *found) for path in modules() for found in third_party_imports(path)}
    assert imports
    undeclared = {found for found in imports if found[1] not in always | at_will}
    assert undeclared == set()
    unguarded = {(where, package) for where, package, at_once in imports if at_once and package in at_will}
    assert unguarded == set(), "an optional package is imported where it is used, inside a function or a try"


def bare_name(requirement):
    return re.match(r"[\w-]+", requirement)[0].replace("-", "_")


def test_importing_the_package_imports_nothing_heavy():
    command = f"import sys, vdpa_lab; dir(vdpa_lab); print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", command], text=True).strip() == "[]"


@pytest.mark.parametrize("name", vdpa_lab.__all__)
def test_every_public_name_can_be_had(name):
    assert name in dir(vdpa_lab)
    assert not isinstance(getattr(vdpa_lab, name), ModuleType), f"{name} is a module of the same name"


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_thing"):
        vdpa_lab.no_such_thing  # noqa: B018


def test_no_file_names_a_registry_or_a_place_on_one_machine():
    looked_at, found = 0, []
    for path in shipped_files():
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            with opener(path, "rt", encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError:
            continue
        looked_at += 1
        found += [f"{path.relative_to(CHECKOUT)}: {word}" for word in UNWANTED if word in text]
    assert looked_at > 20
    assert found == []


def test_no_lock_file_is_shipped():
    # It would list download addresses; constraints.txt records the versions instead.
    names = {path.name for path in shipped_files()}
    assert "constraints.txt" in names
    assert names.isdisjoint({"uv.lock", "poetry.lock", "Pipfile.lock", "requirements.txt"})


def test_the_readme_lists_the_catalogue():
    """`REGENERATE_GOLDEN=1 pytest tests/test_house_rules.py` writes the table again."""
    from vdpa_lab.migration import catalogue

    rows = ["| name | layer | effect | status |", "|---|---|---|---|"]
    for layer in ("kernel", "qemu", "device", "what-if"):
        those = [one for one in catalogue().values() if one.layer == layer]
        rows += [f"| `{one.name}` | {one.layer} | {one.effect} | {one.status} |" for one in sorted(those, key=_name)]
    path = CHECKOUT / "README.md"
    head, begin, rest = path.read_text(encoding="utf-8").partition("<!-- catalogue -->\n")
    table, end, tail = rest.partition("<!-- end of the catalogue -->\n")
    assert begin
    assert end
    wanted = "\n".join(rows) + "\n"
    if os.environ.get("REGENERATE_GOLDEN"):
        path.write_text(head + begin + wanted + end + tail, encoding="utf-8")
        table = wanted
    assert table == wanted


def _name(one):
    return one.name
