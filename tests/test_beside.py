"""Recordings, scenarios and figures on the same axes; prices fitted to recordings."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import CHECKOUT

from vdpa_lab import traces
from vdpa_lab.beside import calibrate_runs, compare, fit_json, fit_text, leave_one_out
from vdpa_lab.beside.charges import Charge, charges
from vdpa_lab.beside.run_prices import _like, _prices
from vdpa_lab.cli import main
from vdpa_lab.library import read_calibration
from vdpa_lab.migration import simulate
from vdpa_lab.plot import lanes_figure, windows_figure, write_comparison
from vdpa_lab.units import PAGE_SIZE
from vdpa_lab.words import InputError

TRACES = CHECKOUT / "data" / "traces"
RUNS = ("v-128-1d-r1", "v-256-1d-2qp-r2", "v-256-1d-q10-r1", "v-256-1d-r2", "v-256-1d-svq-r1", "v-256-2d-r3")


@pytest.fixture(scope="module")
def runs():
    return {name: traces.run(TRACES / name) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_and_its_simulation_count_the_same_operations(runs, name):
    """All kinds equally often; only rebuilds differ, by a ring area whose two pages are neighbours."""
    rows = compare(runs[name]).count_rows()
    assert {"source_teardown", "destination_setup"} <= {row["window"] for row in rows}
    unlike = [row for row in rows if row["first"] != row["count"]]
    assert {row["operation"] for row in unlike} <= {"set_map"}
    assert all(row["count"] - row["first"] == 1 for row in unlike)
    assert any(row["operation"] == "set_map" and row["first"] > 4 for row in rows)


def test_parts_add_up_to_the_windows_and_the_largest_difference_is_first(runs):
    found = compare(runs["v-256-1d-r2"])
    windows = {(row["quantity"], row["kind"]): row["ns"] for row in found.window_rows()}
    for by in ("lane", "operation"):
        rows = found.part_rows(by)
        for window in found.quantities:
            its = [row for row in rows if row["window"] == window]
            assert sum(row["first_ns"] for row in its) == windows[window, "recorded"]
            assert sum(row["ns"] for row in its) == windows[window, "simulated"]
            gaps = [abs(row["difference_ns"]) for row in its]
            assert gaps == sorted(gaps, reverse=True)


def test_figures_recordings_and_scenarios_share_axes():
    found = compare("talk", "V14", "v-256-2d-r3")
    assert [each.kind for each in found.subjects] == ["simulated", "published", "published", "recorded"]
    rows = [row for row in found.window_rows() if row["quantity"] == "network_outage"]
    printed = next(row for row in rows if row["subject"] == "V14 After (published)")
    assert 150e6 < printed["low_ns"] <= printed["high_ns"] < 400e6
    assert rows[0]["ratio"] is None
    assert all(row["ratio"] > 0 for row in rows[1:])
    calls = compare("talk", "V9")
    assert calls.quantities == ["call:SUSPEND"]
    assert any("37 ms" in line for line in calls.text())


def test_the_same_scenario_twice_does_not_differ():
    found = compare("sim-256-1d", "sim-256-1d")
    assert [each.name for each in found.subjects] == ["sim-256-1d", "sim-256-1d #2"]
    assert {row["difference_ns"] for row in found.part_rows()} == {0}
    assert all(row["ratio"] == 1 for row in found.window_rows() if row["ratio"] is not None)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("talk",), "at least two"),
        (("talk", "M2"), "publishes no length of a window"),
        (("talk", "v-256-1d-r3"), "did you mean 'v-256"),
        (("talk", "no/such.log"), "no scenario, recorded run or figure"),
    ],
)
def test_what_cannot_be_compared_is_refused(names, words):
    with pytest.raises(InputError, match=words):
        compare(*names)


def test_pictures_and_tables_of_a_comparison(runs, tmp_path):
    found = compare(runs["v-256-1d-r2"])
    written = {path.name: path for path in write_comparison(found, tmp_path)}
    assert {"windows.csv", "operations.csv", "counts.csv", "windows.svg", "lanes-network_outage.svg"} <= set(written)
    for path in written.values():
        if path.suffix == ".svg":
            ElementTree.parse(path)
    text = written["windows.svg"].read_text()
    assert "v-256-1d-r2 (recorded)" in text
    assert "source kernel" in text
    assert "133 ms" in text
    again = tmp_path / "again"
    write_comparison(found, again)
    assert (again / "windows.svg").read_bytes() == written["windows.svg"].read_bytes()
    bars = [bar.get_width() for bar in windows_figure(found, ["svq_switch"]).axes[0].patches]
    assert sum(bars) * 1e6 == pytest.approx(sum(v.values["svq_switch"].ns for v in found.subjects))
    labels = [label.get_text() for label in lanes_figure(found, "svq_switch").axes[0].get_yticklabels()]
    assert "source kernel, recorded" in labels
    assert "source kernel, simulated" in labels


@pytest.mark.parametrize("name", RUNS)
def test_every_operation_of_a_run_is_matched_with_its_plan(runs, name):
    simulated = simulate(traces.scenario(runs[name])[0])
    found, notes = charges(runs[name], simulated)
    assert notes == []
    pages = simulated.scenario.guest.memory // PAGE_SIZE
    assert sum(each.amounts.get("unpin.4k", 0) for each in found) >= pages
    assert min(each.ns for each in found) >= 0


def test_with_qemus_log_alone_a_message_pays_for_its_rebuilds(runs):
    from dataclasses import replace

    whole = runs["v-256-1d-r2"]
    alone = traces.run(TRACES / "v-256-1d-r2" / "trace-src.log.gz", TRACES / "v-256-1d-r2" / "trace-dst.log.gz",
                       same_machine=True)  # fmt: skip
    assert alone.kernel is None
    found, _ = charges(replace(alone, config=whole.config), simulate(traces.scenario(whole)[0]))
    keys = {tuple(sorted(each.amounts)) for each in found if each.op == "IOTLB_INVALIDATE"}
    assert any("set_map.call" in key for key in keys)


def test_prices_are_found_again():
    """Least absolute deviations: exact where a model is exact, and deaf to a single outlier."""
    generator = np.random.default_rng(3)
    found = [
        Charge("a", "map", int(2_000 + 700 * pages), {"vhost.message": 1, "pin_warm.4k": int(pages)})
        for pages in generator.integers(1, 5_000, 40)
    ]
    found.append(Charge("a", "map", 10**9, {"vhost.message": 1, "pin_warm.4k": 10}))
    costs, warnings = _prices(found, "testbed2026", 20)
    price = {cost.key: cost for cost in costs}
    assert price["pin_warm.4k"].value == pytest.approx(700, rel=1e-6)
    assert price["vhost.message"].value == pytest.approx(2_000, rel=1e-4)
    assert price["pin_warm.4k"].low <= 700.001
    assert price["pin_warm.4k"].high >= 699.999
    assert warnings == []


def test_what_cannot_be_told_apart_is_said():
    amounts = np.array([[1, 2, 0], [2, 4, 1], [3, 6, 5]], dtype=float)
    assert _like(amounts, 0, ["a", "b", "c"]) == "b"
    assert _like(amounts, 2, ["a", "b", "c"]) == ""
    found = [Charge("a", "x", 300 * n, {"vhost.message": n, "vhost.ioctl": 2 * n}) for n in range(1, 9)]
    _, warnings = _prices(found, "testbed2026", 5)
    assert any("do not tell it from" in line for line in warnings)


def test_a_fit_of_all_runs_and_each_left_out(runs):
    """A run of another size is predicted from the others: 17 windows, of which the worst is two devices' teardown."""
    fit = calibrate_runs(list(runs.values()), samples=3)
    price = {cost.key: cost for cost in fit.costs}
    for key in ("pin_warm.4k", "unpin.4k", "set_map.entry"):
        assert price[key].value == pytest.approx(read_calibration("testbed2026")[key].value, rel=0.15), key
    assert all(cost.basis == "fitted" for cost in fit.costs if cost.value)
    assert "qemu.notifier" in fit.unknown
    assert any(line.startswith("pin_cold.4k") for line in fit.warnings)
    rows = leave_one_out([runs["v-128-1d-r1"], runs["v-256-1d-r2"], runs["v-256-1d-2qp-r2"]])
    assert len(rows) == 9
    assert all(0.75 < row["ratio"] < 1.5 for row in rows)
    text = "\n".join(fit_text(fit, rows))
    assert "each run predicted from the others alone" in text
    assert "qemu.notifier" in text
    assert json.loads(json.dumps(fit_json(fit, rows)))["operations"] == len(fit.charges) > 1000


def test_refusals_of_a_fit(runs):
    with pytest.raises(InputError, match="at least one"):
        calibrate_runs([])
    with pytest.raises(InputError, match="at least two"):
        leave_one_out([runs["v-128-1d-r1"]])


def test_the_commands(tmp_path, capsys):
    assert main(["compare", "v-128-1d-r1", "--out", str(tmp_path)]) == 0
    assert "v-128-1d-r1 (simulated) against v-128-1d-r1 (recorded)" in capsys.readouterr().out
    assert main(["compare", "talk", "V14", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["subjects"]) == 3
    prices = tmp_path / "mine.csv"
    assert main(["calibrate", "v-128-1d-r1", "--out", str(prices)]) == 0
    capsys.readouterr()
    assert main(["simulate", "sim-128-1d", "--testbed", str(prices), "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)["windows"]["source_teardown_ns"]
    recorded = traces.run(TRACES / "v-128-1d-r1").windows()["source_teardown"]
    assert ours == pytest.approx(recorded, rel=0.05), "with its own prices a run is itself again"
    assert main(["calibrate", "V6", "v-128-1d-r1"]) == 2
    assert "not both" in capsys.readouterr().err
