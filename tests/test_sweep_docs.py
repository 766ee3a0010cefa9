"""docs/sweep.md: what it shows is what the package takes."""

import re
import shlex

import pytest
from conftest import CHECKOUT

from vdpa_lab.cli.parser import parser
from vdpa_lab.sweep import read_fleet, read_spec
from vdpa_lab.sweep import sweep as run_sweep
from vdpa_lab.sweep.fleet_file import FIELDS
from vdpa_lab.sweep.spec import KEYS

TEXT = (CHECKOUT / "docs" / "sweep.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def test_its_specifications_are_read(tmp_path):
    shown = [text for kind, text in BLOCKS if kind == "toml"]
    assert len(shown) == 2
    for text in shown:
        (tmp_path / "shown.toml").write_text(text)
        assert read_spec(tmp_path / "shown.toml").runs > 1


def test_it_names_every_key_and_no_other():
    keys = TEXT[TEXT.index("## Keys") : TEXT.index("## Axes")]
    assert re.findall(r"^\| `(\w+)` \|", keys, re.MULTILINE) == list(KEYS)


def test_its_fleet_has_every_field(tmp_path):
    (text,) = [text for kind, text in BLOCKS if kind == "csv"]
    (tmp_path / "fleet.csv").write_text(text)
    (vm,) = read_fleet(tmp_path / "fleet.csv")
    assert vm.workload.dirty.pattern == "random"
    assert text.splitlines()[0].split(",") == list(FIELDS)


@pytest.mark.parametrize("line", sorted({*re.findall(r"vdpa-lab [^`\n]+", TEXT)}))
def test_its_commands_are_commands(line):
    parser().parse_args(shlex.split(line)[1:])


def test_it_names_the_columns_of_a_table():
    spec = {"scenario": "sim-256-1d", "axes": {"guest.vcpus": [1]}, "draws": 1, "windows": ["vm_paused"]}
    columns = run_sweep(spec, show=lambda text: None, workers=0).table.columns
    named = TEXT[TEXT.index("## The table") : TEXT.index("In a folder")]
    assert [each for each in columns if f"`{each}`" not in named] == ["guest.vcpus", "vm_paused_ns"]
