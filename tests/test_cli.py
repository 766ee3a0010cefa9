"""The command line as its users call it: text, JSON, exit status."""

import json
import os
import subprocess
import sys
from fractions import Fraction

import pytest
from commands import document, run

from vdpa_lab.cli import VERBS, main
from vdpa_lab.migration import catalogue, simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.paths import data_dir


@pytest.mark.parametrize("what", ["optimizations", "scenarios", "testbeds", "figures", "traces"])
def test_list(capsys, what):
    rows = document(capsys, "list", what)
    status, out, _ = run(capsys, "list", what)
    assert status == 0
    assert rows
    assert all(row["name"] in out for row in rows)


def test_simulate_has_the_contract_s_keys_and_the_library_s_numbers(capsys):
    found = document(capsys, "simulate", "sim-256-2d")
    assert {
        "scenario", "optimizations", "testbed", "windows", "breakdown", "precopy", "traffic", "counts", "sources",
        "share_by_basis",
    } <= found.keys()  # fmt: skip
    windows = simulate(find_scenario("sim-256-2d")).windows
    for name in (
        "svq_switch",
        "svq_switch_sum",
        "source_teardown",
        "destination_setup",
        "vm_paused",
        "reported_downtime",
    ):
        assert found["windows"][f"{name}_ns"] == windows[name]
        assert sum(row["ns"] for row in found["breakdown"] if row["window"] == name) == windows[name]
    assert len(found["windows"]["network_outage_ns"]) == 4  # two devices, two blackouts
    assert max(found["windows"]["network_outage_ns"]) == windows["network_outage"]
    assert sum(found["share_by_basis"].values()) == pytest.approx(1)
    assert found["precopy"]["converged"]
    assert all(row["basis"] and row["source"] for row in found["sources"])


def test_toggles(capsys):
    stock = document(capsys, "simulate", "sim-256-1d", "--only", "")
    assert stock["optimizations"] == []
    some = document(
        capsys, "simulate", "liu2023", "--only", "iotlb-batch,suspend", "--on", "cvq-asid", "--off", "suspend"
    )
    assert set(some["optimizations"]) == {"iotlb-batch", "cvq-asid"}


def test_the_text_names_windows_intervals_and_grades(capsys):
    status, out, _ = run(capsys, "simulate", "talk")
    assert status == 0
    assert "Downtime #1" in out
    assert "rests on" in out
    assert "guess" in out


def test_a_migration_without_a_switch_says_so(capsys):
    status, out, _ = run(capsys, "simulate", "sim-256-1d-svq")
    assert status == 0
    assert "has none" in out


@pytest.mark.parametrize("more", [(), ("--diff",), ("--kernel-ops",)])
def test_plan(capsys, more):
    found = document(capsys, "plan", "talk", *more)
    status, out, _ = run(capsys, "plan", "talk", *more)
    assert status == 0
    assert found["plan"] == out.splitlines()
    assert len(found["plan"]) > 20


def test_figures_in_json_and_as_files(capsys, tmp_path):
    rows = document(capsys, "figures")
    assert len(rows) >= 30
    assert {
        "figure", "row", "quantity", "unit", "published", "simulated", "ratio", "use", "reading", "assumes",
        "residual_constant", "source",
    } <= rows[0].keys()  # fmt: skip
    status, out, _ = run(capsys, "figures", "V1", "V9", "--out", str(tmp_path))
    assert status == 0
    assert "within a factor 1.5" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "V1.csv", "V1.svg", "V9.csv", "V9.svg", "V1-rows-1-2-transposed.csv", "V1-rows-1-2-transposed.svg",
    }  # fmt: skip
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run(capsys, "figures", "V1", "V9", "--out", str(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_calibrate_writes_a_testbed_that_simulate_reads(capsys, tmp_path):
    out = tmp_path / "mine.csv"
    fit = document(capsys, "calibrate", "V6", "V7", "--out", str(out))
    assert fit["values"] == 6
    assert fit["null_directions"]
    status, text, _ = run(capsys, "calibrate", "V6", "V7")
    assert status == 0
    assert "not determined" in text
    assert document(capsys, "simulate", "tatulea2024", "--testbed", str(out))["testbed"] == "mine"


def test_bench(capsys, tmp_path):
    rows = document(capsys, "bench", "model", "--rounds", "1", "--quick", "--out", str(tmp_path))
    assert {row["work"] for row in rows} == {"simulate, warm", "plan, nothing kept"}
    assert all(row["ns"] > 0 for row in rows)
    assert json.loads((tmp_path / "bench.json").read_text()) == rows
    assert " steps" in run(capsys, "bench", "model", "--rounds", "1", "--quick")[1]
    assert run(capsys, "bench", "--rounds", "0")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "tolk"), "talk"),
        (("simulate", "talk", "--on", "parallel-mkeys"), "parallel-mkey"),
        (("simulate", "talk", "--testbed", "liu"), "liu2023"),
        (("simulate", "talk", "--only", "svq-map-batch"), "needs iotlb-batch"),
        (("figures", "V99"), "V9"),
    ],
)
def test_bad_input_exits_2_with_one_clear_message(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_lab_opens_the_start_notebook(monkeypatch):
    called = []
    monkeypatch.setattr(os, "execv", lambda program, words: called.append(words))
    assert main(["lab"]) == 0
    assert called[0][1:3] == ["-m", "jupyterlab"]
    assert called[0][-1].endswith("00_start_here.ipynb")


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "vdpa_lab", "list", "testbeds"], capture_output=True, text=True, check=True
    )
    assert "liu2023" in done.stdout


def test_a_new_optimisation_is_one_file(tmp_path, monkeypatch):
    package = tmp_path / "dropped_in"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = (
        '"""No announcement."""\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n'
        "from vdpa_lab.migration.optimization import Optimization, knob\n\n\n"
        "@dataclass(frozen=True, slots=True)\nclass Quiet(Optimization):\n"
        '    """Announce nothing."""\n    name: ClassVar = "quiet"\n    title: ClassVar = "Quiet"\n'
        '    layer: ClassVar = "qemu"\n    effect: ClassVar = "no announcement"\n    status: ClassVar = "proposed"\n'
        '    refs: ClassVar = ("qemu",)\n    removes: ClassVar = ("qemu.announce",)\n'
        '    rounds: int = knob(0, low=0, high=5, unit="rounds")\n\n'
        '    def rewrite(self, plan):\n        return plan.drop(plan.select(op="announce"))\n'
    )
    (package / "quiet.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = catalogue("dropped_in")
    assert list(found) == ["quiet"]
    from vdpa_lab.migration.baseline import baseline
    from vdpa_lab.migration.laws import check
    from vdpa_lab.migration.optimization import knobs_of, rewrite

    assert knobs_of(found["quiet"])["rounds"]["high"] == 5
    stock = baseline(find_scenario("sim-256-1d"))
    changed = rewrite(stock, found.values())
    check(changed)
    assert changed.applied == ("quiet",)
    assert len(changed.steps) == len(stock.steps) - 1
    assert rewrite(changed, found.values()).steps == changed.steps


def test_attribute_sums_to_the_saving(capsys):
    found = document(capsys, "attribute", "sim-256-1d", "--window", "vm_paused")
    assert sum(Fraction(share["exact_ns"]) for share in found["shares"]) == found["stock_ns"] - found["all_ns"]
    status, text, _ = run(capsys, "attribute", "sim-256-1d")
    assert status == 0
    assert "shares of the" in text
    assert run(capsys, "attribute", "sim-256-1d", "--window", "nap")[0] == 2


def test_sweep_runs_a_specification_and_goes_on_with_it(capsys, tmp_path):
    spec = tmp_path / "small.toml"
    spec.write_text('scenario = "sim-256-1d"\nmethod = "grid"\n[axes]\ndevice.count = [1, 2]\n')
    assert main(["sweep", str(spec), "--workers", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"]
    assert found["runs"] == len(found["rows"]) == 2
    assert run(capsys, "sweep", str(spec), "--workers", "0", "--out", str(tmp_path / "out"))[0] == 0
    status, text, _ = run(capsys, "sweep", str(spec), "--workers", "0", "--out", str(tmp_path / "out"), "--resume")
    assert status == 0
    assert "all runs" in text
    status, _, said = run(capsys, "sweep", str(spec), "--resume")
    assert status == 2
    assert "--out" in said
    assert run(capsys, "sweep", "memroy-by-devices")[0] == 2


def test_fleet_compares_versions(capsys):
    vms = str(data_dir() / "fleets" / "example.csv")
    status, text, _ = run(capsys, "fleet", vms, "--before", "8.2,6.8", "--after", "10.1,6.12", "--target", "2s")
    assert status == 0
    assert "after (QEMU 10.1, Linux 6.12)" in text
    assert document(capsys, "fleet", vms, "--before", "8.2,6.8", "--after", "10.1,6.12")
    status, _, said = run(capsys, "fleet", vms, "--before", "8.2", "--after", "10.1,6.12")
    assert status == 2
    assert "give QEMU and Linux" in said


def test_an_interrupt_ends_with_its_own_status(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setitem(VERBS, "list", interrupted)
    status, _, said = run(capsys, "list")
    assert status == 130
    assert said == "vdpa-lab: interrupted\n", "nothing was written"
