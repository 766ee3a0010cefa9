"""Sweeps: what a specification may say, that the table follows from it alone, that nothing done is lost."""

import gc
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
from threading import Event

import naive_sweep as naive
import numpy as np
import pytest
from conftest import CHECKOUT
from distributed import LocalCluster

from vdpa_lab.bench.harness import measure
from vdpa_lab.bench.sweep import cases as bench_cases
from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario, write_scenario
from vdpa_lab.paths import data_dir
from vdpa_lab.sweep import estimate, read_spec, sweep
from vdpa_lab.sweep import evaluate as evaluate_module
from vdpa_lab.sweep.axes import Axis, Range
from vdpa_lab.sweep.dask_pool import distributed
from vdpa_lab.sweep.design import factors, setting, values, with_values
from vdpa_lab.sweep.evaluate import columns, evaluate, evaluate_as, identity, scaled
from vdpa_lab.sweep.store import ABOUT, ROWS, Store, frame
from vdpa_lab.sweep.texts import results_text
from vdpa_lab.units import GIB, MIB, format_duration
from vdpa_lab.words import InputError

BASE = "sim-128-1d"
SMALL = {
    "name": "small",
    "scenario": BASE,
    "windows": ["network_outage", "svq_switch"],
    "axes": {
        "guest.memory": ["128MiB", "256MiB"],
        "optimizations": {"suspend": [True, False]},
        "prices.vhost.ioctl": [1, 2],
    },
}


def quiet(source, **options):
    return sweep(source, show=lambda text: None, **{"workers": 0, **options})


# --- specification ----------------------------------------------------------------------------------------------


def spec_with(**changes):
    return {**SMALL, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": 3}, "no key 'sample'; did you mean 'samples'"),
        ({"axes": {"guest.memry": [1]}}, "axis 'guest.memry': no such key; did you mean 'guest.memory'"),
        ({"axes": {"optimizations.suspnd": [True]}}, "did you mean 'optimizations.suspend'"),
        ({"axes": {"knobs.parallel-mkey.inflight": [1]}}, "did you mean 'knobs.parallel-mkey.in_flight'"),
        ({"axes": {"knobs.parallel-mkey.in_flight": [1]}}, "parallel-mkey is never on in this sweep"),
        ({"axes": {"prices.vhost.ioctls": [1]}}, "did you mean 'prices.vhost.ioctl'"),
        ({"axes": {"guest.memory": ["12 apples"]}}, "axis 'guest.memory': '12 apples' is not a size"),
        ({"axes": {"guest.memory": ["5kB"]}}, "not allowed; must be a size"),
        ({"axes": {"guest.memory": "1GiB"}}, "give a list of 1 to"),
        ({"axes": {"guest.memory": []}}, "give a list of 1 to"),
        ({"axes": {"guest.memory": ["1GiB", "1024MiB"]}}, "a value is given twice"),
        ({"axes": {"guest.memory": {"low": "1GiB"}}}, "a range has low and high"),
        ({"axes": {"guest.memory": {"low": "1GiB", "top": 1}}}, "no key 'top' of a range"),
        ({"axes": {"guest.memory": {"low": "2GiB", "high": "1GiB", "step": "1MiB"}}}, "low has to be below high"),
        ({"axes": {"guest.memory": {"low": "1GiB", "high": "2GiB"}}}, "in steps of 1 from low not every value"),
        ({"axes": {"guest.memory": {"low": "1GiB", "high": "2GiB", "step": "1MiB"}}}, "a range in a grid needs count"),
        ({"axes": {"device.queue_size": {"low": 2, "high": 8, "count": 2}}}, "give another step"),
        ({"axes": {"guest.vga": {"low": False, "high": True, "count": 2}}}, "a range is of numbers"),
        ({"axes": {"prices.vhost.ioctl": {"low": 0, "high": 1, "count": 2, "scale": "log"}}}, "where low is above 0"),
        ({"axes": {"prices.vhost.ioctl": {"low": 0, "high": 1, "count": -2}}}, "count = -2"),
        ({"axes": {"prices.vhost.ioctl": ["cheap"]}}, "'cheap' is not allowed; must be a number from 0"),
        ({"axes": {"optimizations": [["suspend"]], "optimizations.suspend": [True]}}, "either whole sets"),
        ({"axes": ["guest.memory"]}, "axes has to be a table"),
        ({"axes": {"testbed": ["lui2023"]}}, "did you mean 'liu2023'"),
        ({"method": "girds"}, "method = 'girds'; one of grid, random"),
        ({"method": "random"}, "random needs samples"),
        ({"samples": 3}, "samples is for the other methods"),
        ({"draws": -1}, "draws = -1"),
        ({"seed": "1"}, "seed = '1'"),
        ({"draws": 10**9}, "8000000000 runs; at most"),
        ({"windows": ["outage"]}, "no window 'outage'; did you mean"),
        ({"optimizations": ["suspned"]}, "did you mean 'suspend'"),
        ({"scenario": 3}, "scenario is missing"),
        ({"scenario": "tolk"}, "tolk"),
    ],
)  # fmt: skip
def test_a_wrong_specification_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_spec(spec_with(**changes))


def test_a_specification_in_a_file_is_named_by_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('scenario = "base.toml"\n[axes]\nguest.vcpus = [1, 2]\n')
    (tmp_path / "base.toml").write_text(write_scenario(find_scenario("talk")))
    spec = read_spec(path)
    assert (spec.name, spec.scenario, spec.runs) == ("mine", find_scenario("talk"), 2)
    assert read_spec(spec) is spec
    for text, message in (
        ("scenario = [", "is not TOML"),
        ("x = 1", "mine.toml: no key 'x'"),
        ("a" * (1 << 21), "larger"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_spec(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(tmp_path / "other.toml")


@pytest.mark.parametrize("path", sorted((data_dir() / "sweeps").glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_can_be_swept(path):
    spec = read_spec(path)
    rows = evaluate(spec, range(min(2, spec.runs)))
    assert [row[0] for row in rows] == [0, 1]
    assert [row[-1] for row in rows] == ["", ""]


def test_the_digest_follows_everything_that_counts():
    digests = {read_spec(SMALL).digest}
    for changes in ({"seed": 2}, {"draws": 1}, {"windows": ["vm_paused"]}, {"scenario": "talk"}, {"axes": {}},
                    {"optimizations": []}, {"method": "random", "samples": 8}):  # fmt: skip
        digests.add(read_spec(spec_with(**changes)).digest)
    assert len(digests) == 8
    assert read_spec(dict(reversed(SMALL.items()))).digest in digests


# --- designs ----------------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_once_and_prices_go_round_fastest():
    axes = {"prices.vhost.ioctl": [1, 2, 3], "guest.vcpus": [1, 2], "optimizations.suspend": [True, False]}
    spec = read_spec(spec_with(axes=axes))
    found = [values(spec, point) for point in range(spec.points)]
    want = naive.grid({key: axes[key] for key in ("guest.vcpus", "optimizations.suspend", "prices.vhost.ioctl")})
    assert found == want
    assert (spec.runs, spec.plans) == (12, 4)


def test_a_range_ends_where_it_says_and_keeps_its_steps():
    linear = Range(GIB, 4 * GIB, 4, step=MIB)
    assert [linear.at(i / 3) // GIB for i in range(4)] == [1, 2, 3, 4]
    assert all((linear.at(share) - GIB) % MIB == 0 for share in np.linspace(0, 1, 50))
    log = Range(1.0, 100.0, 3, "log")
    assert [log.at(share) for share in (0, 0.5, 1)] == pytest.approx([1, 10, 100])
    assert Range(1, 10, step=4).at(0.999) == 9
    spec = read_spec(spec_with(axes={"device.vlans": {"low": 0, "high": 3, "count": 4}}))
    assert [values(spec, n)["device.vlans"] for n in range(4)] == [0, 1, 2, 3]
    mixed = read_spec(spec_with(axes={"guest.zero_pages": {"low": 0, "high": 0.5, "count": 2}}))
    assert [values(mixed, n)["guest.zero_pages"] for n in range(2)] == [0.0, 0.5]


@pytest.mark.parametrize("method", ["random", "latin-hypercube", "sobol"])
def test_sampled_points_follow_from_seed_and_number(method):
    axes = {"guest.zero_pages": {"low": 0.0, "high": 1.0}, "guest.vcpus": [1, 2, 4, 8]}
    spec = read_spec(spec_with(axes=axes, method=method, samples=16, seed=3))
    points = [values(spec, n) for n in range(16)]
    assert [values(spec, n) for n in reversed(range(16))] == points[::-1]
    again = read_spec(spec_with(axes=axes, method=method, samples=16, seed=4))
    assert [values(again, n) for n in range(16)] != points
    if method != "random":  # one point in each sixteenth, and each listed value equally often
        assert sorted(int(point["guest.zero_pages"] * 16) for point in points) == list(range(16))
        assert sorted(point["guest.vcpus"] for point in points) == sorted([1, 2, 4, 8] * 4)


def test_without_scipy_a_design_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    spec = read_spec(spec_with(axes={"guest.vcpus": [1, 2]}, method="sobol", samples=5, seed=77))
    with pytest.raises(InputError, match="pip install 'vdpa-lab"):
        values(spec, 0)


def test_set_keys_make_the_scenario_that_a_file_would():
    base = find_scenario("sim-128-1d")
    changed = with_values(base, {"source.qemu": "9.0", "guest.memory": GIB, "device.queue_pairs": 2})
    assert changed.destination == changed.source
    assert changed.destination.qemu == "9.0"
    assert changed.guest.sections is None, "logged for 128 MiB"
    apart = with_values(base, {"source.qemu": "9.0", "destination.qemu": "9.2"})
    assert (apart.source.qemu, apart.destination.qemu) == ("9.0", "9.2")
    assert apart.guest.sections == base.guest.sections
    writing = with_values(base, {"workload.dirty.rate": 5, "guest.memory": 2 * GIB}).workload.dirty
    assert (writing.rate, writing.working_set, writing.pattern) == (5, 2 * GIB, "sequential")
    assert with_values(base, {}) is base


def test_toggles_sets_and_knobs_reach_the_plan():
    spec = read_spec(
        {"scenario": "talk", "optimizations": ["iotlb-batch"], "axes": {
            "optimizations.parallel-mkey": [False, True], "knobs.parallel-mkey.in_flight": [1, 31]}}
    )  # fmt: skip
    found = [setting(spec, values(spec, n)) for n in range(4)]
    assert [one.names for one in found] == [("iotlb-batch",)] * 2 + [("iotlb-batch", "parallel-mkey")] * 2
    assert found[1].knobs == {"parallel-mkey": {"in_flight": 31}}
    sets = read_spec({"scenario": "talk", "axes": {"optimizations": [[], ["suspend", "iotlb-batch"]]}})
    assert [setting(sets, values(sets, n)).names for n in range(2)] == [(), ("iotlb-batch", "suspend")]
    table = quiet(sets).table
    assert list(table["optimizations"]) == ["", "iotlb-batch+suspend"]
    assert list(table["toggles"]) == ["", "iotlb-batch+suspend"]


# --- the table --------------------------------------------------------------------------------------------------


def test_rows_are_single_simulations():
    spec = read_spec(SMALL)
    table = quiet(spec).table
    assert list(table.columns) == list(columns(spec))
    assert len(table) == spec.runs == 8
    for row in table.to_dict("records"):
        chosen = {axis.key: row[axis.key] for axis in spec.axes}
        one = setting(spec, chosen)
        costs = scaled(simulate(one.scenario, one.names).calibration, factors(chosen))
        ran = simulate(one.scenario, one.names, costs)
        assert row["network_outage_ns"] == ran.windows["network_outage"]
        assert row["precopy_ns"] == ran.json()["precopy"]["total_ns"]
        assert row["converged"] == ran.json()["precopy"]["converged"]
        assert row["refused"] == ""


def test_a_setting_that_cannot_be_gives_a_row_that_says_why():
    axes = {"optimizations.svq-desc-asid": [True], "optimizations.suspend": [True, False], "prices.vhost.ioctl": [1, 2]}
    table = quiet(spec_with(axes=axes, scenario="talk")).table
    assert list(table["network_outage_ns"].isna()) == [False, False, True, True]
    assert table["refused"][2].startswith("svq-desc-asid cannot apply: needs suspend")
    pairs = quiet(spec_with(axes={"device.queue_pairs": [1, 2], "device.active_pairs": [1, 2]}, scenario="talk")).table
    assert list(pairs["refused"] == "") == [True, False, True, True]
    assert "active_pairs" in pairs["refused"][1]


def test_a_window_that_a_migration_lacks_is_missing():
    table = quiet(spec_with(scenario="sim-256-1d-svq", draws=2)).table
    assert table["svq_switch_ns"].isna().all()
    assert table["network_outage_ns"].notna().all()


def test_unlimited_and_draws_stand_in_the_table():
    table = quiet(spec_with(axes={"migration.max_bandwidth": ["1MiB/s", "unlimited"]}, draws=3)).table
    assert list(table["migration.max_bandwidth"]) == [MIB] * 3 + [np.inf] * 3
    assert list(table["draw"]) == [0, 1, 2] * 2


def test_the_document_is_json_and_says_the_same():
    axes = {"migration.max_bandwidth": ["1MiB/s", "unlimited"], "optimizations.map-at-load-setup": [True, False]}
    found = quiet(spec_with(axes=axes))
    document = json.loads(json.dumps(found.json(), allow_nan=False))
    assert (document["name"], document["complete"], document["runs"]) == ("small", True, 4)
    first, *_, last = document["rows"]
    assert "cannot apply: conflicts with" in first["refused"]
    assert first["network_outage_ns"] is None
    assert last["migration.max_bandwidth"] == "unlimited"
    assert last["network_outage_ns"] == found.table["network_outage_ns"][3]


def test_draws_are_common_to_all_plans():
    """The same draw has the same prices whatever varies, so differences are of the plans."""
    axes = {"workload.traffic.packet": [100, 1500], "prices.vhost.ioctl": [1, 1.5]}
    table = quiet(spec_with(axes=axes, draws=20)).table
    one, other = (table[table["workload.traffic.packet"] == n].reset_index(drop=True) for n in (100, 1500))
    assert one["network_outage_ns"].equals(other["network_outage_ns"])
    assert one["network_outage_ns"].nunique() > 20


def test_the_table_does_not_depend_on_order_batches_or_folder(tmp_path):
    spec = read_spec(spec_with(draws=3))
    whole = quiet(spec).table
    numbers = np.random.default_rng(1).permutation(spec.runs).tolist()
    pieces = [row for number in numbers for row in evaluate(spec, [number])]
    assert frame(pieces, columns(spec)).equals(whole)
    stored = quiet(spec, out=tmp_path / "out").table
    assert stored.equals(whole)
    assert stored.dtypes.equals(whole.dtypes)
    assert not quiet(spec_with(draws=3, seed=2)).table.equals(whole)


def test_an_empty_table_has_its_columns():
    assert list(frame([], {"run": int, "x": float}).columns) == ["run", "x"]
    assert Axis("guest.memory", (1, 2)).column is int
    assert Axis("guest.zero_pages", (0, 0.5)).column is float


def test_a_sweep_is_estimated_first_and_reports_as_it_goes():
    told, seen = [], []
    result = sweep(SMALL, workers=0, show=told.append, progress=seen.append)
    assert told == [f"small: {told[0].partition(': ')[2]}"]
    assert re.match(r"small: 8 runs of at most 4 plans: about .* on one core, .* of CSV", told[0])
    assert seen[-1].done == seen[-1].total == 8
    assert seen[-1].eta == 0
    assert [each.done for each in seen] == sorted({each.done for each in seen})
    assert result.complete
    expected = estimate(spec_with(draws=500))
    assert (expected.runs, expected.plans) == (4000, 4)
    assert expected.seconds > 0


def test_the_estimate_goes_to_standard_error(capsys):
    sweep(spec_with(axes={"guest.vcpus": [1]}), workers=0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("small: 1 runs")


@pytest.mark.parametrize("options", [{"workers": -1}, {"workers": 1.5}, {"resume": True}])
def test_wrong_options_are_refused(options):
    with pytest.raises(InputError, match=r"workers|resume"):
        quiet(SMALL, **options)


# --- resuming ---------------------------------------------------------------------------------------------------


@pytest.fixture
def one_run_a_batch(monkeypatch):
    monkeypatch.setattr("vdpa_lab.sweep.engine.MOST_IN_BATCH", 1)


class Stopped(Exception):
    """What a test throws into a sweep."""


def stop_after(count, how=Stopped):
    def progress(seen):
        if seen.done >= count:
            raise how()

    return progress


@pytest.mark.parametrize("how", [Stopped, KeyboardInterrupt])
def test_what_was_done_before_a_stop_is_kept_and_not_done_again(tmp_path, one_run_a_batch, monkeypatch, how):
    whole = quiet(SMALL).table
    with pytest.raises(how):
        quiet(SMALL, out=tmp_path, progress=stop_after(3, how))
    assert len((tmp_path / ROWS).read_text().splitlines()) == 1 + 3
    done = []
    real = evaluate_module.evaluate
    monkeypatch.setattr(
        "vdpa_lab.sweep.pools.evaluate", lambda spec, numbers: done.extend(numbers) or real(spec, numbers)
    )
    assert quiet(SMALL, out=tmp_path, resume=True).table.equals(whole)
    assert done == [3, 4, 5, 6, 7]
    assert quiet(SMALL, out=tmp_path, resume=True).complete
    assert len(done) == 5


def test_cancelling_returns_what_is_done(tmp_path, one_run_a_batch):
    cancel = Event()
    result = quiet(SMALL, out=tmp_path, cancel=cancel, progress=lambda seen: cancel.set() if seen.done == 2 else None)
    assert (result.done, result.complete, len(result.table)) == (2, False, 2)
    assert quiet(SMALL, out=tmp_path, resume=True).complete


def test_a_folder_is_not_mixed_up(tmp_path):
    quiet(SMALL, out=tmp_path)
    with pytest.raises(InputError, match="holds a sweep already"):
        quiet(SMALL, out=tmp_path)
    with pytest.raises(InputError, match="results of another specification"):
        quiet(spec_with(seed=2), out=tmp_path, resume=True)
    about = json.loads((tmp_path / ABOUT).read_text())
    assert about["name"] == "small"
    about["identity"]["data"] = about["identity"]["version"] = "old"
    (tmp_path / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match="another version and data"):
        quiet(SMALL, out=tmp_path, resume=True)
    (tmp_path / ABOUT).write_text("[]")
    with pytest.raises(InputError, match="does not describe a sweep"):
        quiet(SMALL, out=tmp_path, resume=True)
    (tmp_path / ABOUT).unlink()
    with pytest.raises(InputError, match="is there without"):
        quiet(SMALL, out=tmp_path, resume=True)


@pytest.mark.parametrize("cut", [1, 5, 40, 100])
def test_a_line_that_was_not_finished_is_done_again(tmp_path, cut):
    whole = quiet(SMALL, out=tmp_path).table
    path = tmp_path / ROWS
    path.write_bytes(path.read_bytes()[:-cut])
    assert quiet(SMALL, out=tmp_path, resume=True).table.equals(whole)


def test_a_file_cut_within_its_head_begins_anew(tmp_path):
    whole = quiet(SMALL, out=tmp_path).table
    (tmp_path / ROWS).write_bytes(b"run,gue")
    assert quiet(SMALL, out=tmp_path, resume=True).table.equals(whole)


@pytest.mark.parametrize(("line", "number"), [("1,2\n", 2), ("x" + ",0" * 8 + "\n", 2), ("99" + ",0" * 8 + "\n", 2)])
def test_a_foreign_row_is_named_by_file_and_line(tmp_path, line, number):
    quiet(SMALL, out=tmp_path)
    path = tmp_path / ROWS
    head, *_ = path.read_text().splitlines(keepends=True)
    path.write_text(head + line)
    with pytest.raises(InputError, match=rf"results.csv:{number}: not a row of this sweep"):
        quiet(SMALL, out=tmp_path, resume=True)
    path.write_text("other,columns\n")
    with pytest.raises(InputError, match=r"results.csv:1: these are not the columns"):
        quiet(SMALL, out=tmp_path, resume=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        quiet(SMALL, out=tmp_path / "file" / "folder")


def test_a_full_disk_keeps_what_is_there(tmp_path, one_run_a_batch):
    """The limit on a file's size fails a write in its middle, as a full disk does."""
    whole = quiet(SMALL).table
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill_up(seen):
        if seen.done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / ROWS).stat().st_size + 10, hard))

    try:
        with pytest.raises(InputError, match=r"results.csv: .*; 3 runs are kept: free some space and resume"):
            quiet(SMALL, out=tmp_path, progress=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert len((tmp_path / ROWS).read_text().splitlines()) == 1 + 3
    assert quiet(SMALL, out=tmp_path, resume=True).table.equals(whole)


# --- workers ----------------------------------------------------------------------------------------------------


def test_processes_give_the_same_table_and_a_killed_one_loses_little(tmp_path, one_run_a_batch):
    whole = quiet(SMALL).table

    def kill(seen):
        if seen.done == 2:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(InputError, match="a worker process ended before its work was done"):
        quiet(SMALL, out=tmp_path, workers=1, progress=kill)
    kept = len((tmp_path / ROWS).read_text().splitlines()) - 1
    assert 2 <= kept < 8
    assert quiet(SMALL, out=tmp_path, workers=2, resume=True).table.equals(whole)


SCRIPT = """
import sys
from vdpa_lab.sweep import sweep
import vdpa_lab.sweep.engine as engine
engine.MOST_IN_BATCH = 1

def progress(seen):
    print(seen.done, flush=True)
    sys.stdin.readline()

if __name__ == "__main__":
    sweep(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]), progress=progress)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_keeps_what_is_done(tmp_path, workers):
    script, spec, out = tmp_path / "script.py", tmp_path / "spec.toml", tmp_path / "out"
    script.write_text(SCRIPT)
    spec.write_text(f'scenario = "{BASE}"\n[axes]\nguest.vcpus = [{", ".join(map(str, range(1, 41)))}]\n')
    command = [sys.executable, str(script), str(spec), str(out), str(workers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=CHECKOUT, start_new_session=True) as process:  # fmt: skip
        assert process.stdout.readline() == "1\n"
        os.killpg(process.pid, signal.SIGINT)  # the whole group, as a terminal does
        _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    assert len((out / ROWS).read_text().splitlines()) == 1 + 1
    assert quiet(spec, out=out, resume=True).table.equals(quiet(spec).table)


def test_a_worker_that_differs_is_refused():
    spec = read_spec(SMALL)
    here = identity(spec)
    assert evaluate_as(here, spec, [0]) == evaluate(spec, [0])
    for what in here:
        with pytest.raises(InputError, match=f"a worker has another {what}"):
            evaluate_as({**here, what: "other"}, spec, [0])


@pytest.fixture(scope="module")
def cluster():
    """A scheduler with two workers, threads of this process."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as running:
        yield running


def test_a_sweep_on_dask_can_be_cancelled_and_resumed(cluster, tmp_path, one_run_a_batch):
    cancel = Event()
    options = {"scheduler": cluster.scheduler_address, "out": tmp_path}
    found = quiet(SMALL, cancel=cancel, progress=lambda seen: cancel.set() if seen.done == 2 else None, **options)
    assert found.done == 2
    assert quiet(SMALL, resume=True, **options).table.equals(quiet(SMALL).table)


def test_a_worker_on_dask_that_differs_stops_the_sweep(cluster, monkeypatch):
    monkeypatch.setattr("vdpa_lab.sweep.dask_pool.identity", lambda spec: {**identity(spec), "version": "0.0.1"})
    with pytest.raises(InputError, match="a worker has another version"):
        quiet(SMALL, scheduler=cluster.scheduler_address)


def test_a_scheduler_without_workers_or_none_at_all_is_told(monkeypatch):
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as running,
        pytest.raises(InputError, match="has no workers"),
    ):
        quiet(SMALL, scheduler=running.scheduler_address)
    monkeypatch.setattr("vdpa_lab.sweep.dask_pool.PATIENCE", "1s")
    with pytest.raises(InputError, match=r"scheduler tcp://127\.0\.0\.1:1: cannot be reached"):
        quiet(SMALL, scheduler="tcp://127.0.0.1:1")


def test_without_dask_a_scheduler_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="pip install 'vdpa-lab"):
        quiet(SMALL, scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(InputError, match="pip install"):
        next(distributed(read_spec(SMALL), iter(()), Event(), "tcp://127.0.0.1:8786"))


def test_a_store_takes_a_run_once(tmp_path):
    store = Store(tmp_path, {"version": "1"}, {"run": int, "x": str}, 3, False, {})
    store.append([(1, "a")])
    store.append([(1, "a"), (0, "b")])
    store.close()
    store.close()
    assert list(store.table()["x"]) == ["b", "a"]
    assert store.done.tolist() == [True, True, False]


# --- in words ---------------------------------------------------------------------------------------------------


def test_results_are_told_in_words(tmp_path):
    axes = {"optimizations.svq-desc-asid": [True], "optimizations.suspend": [True, False]}
    found = quiet(spec_with(axes=axes, scenario="talk", windows=["network_outage"]), out=tmp_path)
    ns = format_duration(int(found.table["network_outage_ns"][0]))
    assert list(results_text(found)) == [
        f"small: all runs in {tmp_path}",
        f"{'Network outage (blackout 2)':32} {ns:>10} – {ns}, median {ns}",
        f"1 refused: {found.table['refused'][1]}",
    ]
    cancel = Event()
    cancel.set()
    assert list(results_text(quiet(SMALL, cancel=cancel))) == ["small: 0 of 8 runs"]


def test_the_benchmark_s_candidates_agree():
    kinds = [case.work for case in bench_cases(None, True) if measure(case, 1)]
    assert kinds == ["a pricing, many at once", "a pricing, a few beside others", "a guest of a fresh size, priced"]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_pauses_while_plans_are_made_and_is_left_as_it_was(enabled, monkeypatch):
    seen, real = [], evaluate_module.plan
    monkeypatch.setattr(evaluate_module, "plan", lambda *one: seen.append(gc.isenabled()) or real(*one))
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        evaluate(read_spec(SMALL), [0])
        assert (seen, gc.isenabled()) == ([False], enabled)
    finally:
        gc.enable() if before else gc.disable()
