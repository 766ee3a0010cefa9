"""Commands about many runs, as their users call them: the library's numbers, in words and as one document."""

import io
import sys

import pytest
from commands import document, refused, run

from vdpa_lab.cli.many import counted
from vdpa_lab.migration import default_toggles
from vdpa_lab.model import find_scenario
from vdpa_lab.paths import data_dir
from vdpa_lab.sweep import (
    convergence_frontier,
    global_sensitivity,
    largest_guest,
    monte_carlo,
    smallest_set,
    tornado,
)
from vdpa_lab.units import MIB, MS, format_duration

SIM = "sim-256-1d"


@pytest.fixture
def axes(tmp_path):
    path = tmp_path / "axes.toml"
    path.write_text('[axes]\ndevice.count = [1, 2]\nguest.memory = ["256MiB", "512MiB"]\n')
    return str(path)


def test_target_has_the_library_s_answers(capsys):
    found = document(capsys, "target", SIM, "150ms", "--step", "256MiB", "--among", "iotlb-batch,early-listener")
    fewest = smallest_set(SIM, 150 * MS, among=("iotlb-batch", "early-listener"))
    largest = largest_guest(SIM, 150 * MS, step=256 * MIB)
    assert found["smallest_set"]["names"] == list(fewest.names)
    assert (found["smallest_set"]["ns"], found["smallest_set"]["exhaustive"]) == (fewest.ns, True)
    assert found["largest_guest"]["value"] == largest.value
    assert found["optimizations"] == list(default_toggles(find_scenario(SIM)))
    assert found["target_ns"] == 150 * MS


def test_target_in_words(capsys):
    _, out, _ = run(capsys, "target", SIM, "150ms", "--step", "256MiB", "--among", "iotlb-batch,early-listener")
    first, *rest = out.splitlines()
    assert first.startswith("Network outage (blackout 2) of at most 150 ms: early-listener (")
    assert "no smaller set does" in first
    assert "guests up to" in rest[-1]
    _, out, _ = run(capsys, "target", SIM, "1us", "--among", "iotlb-batch", "--step", "256MiB")
    first, last = out.splitlines()
    assert "no set meets it; the shortest is " in first
    assert "no guest meets it; one of 256 MiB has " in last
    _, out, _ = run(capsys, "target", SIM, "1000s", "--among", "iotlb-batch", "--base", "cvq-asid")
    first, last = out.splitlines()
    assert ": nothing at all (" in first
    assert "guests up to " in last


def test_target_of_what_never_ends(capsys, tmp_path):
    path = tmp_path / "hot.toml"
    path.write_text(
        'name = "hot"\n[guest]\nmemory = "1GiB"\n[migration]\nmax_bandwidth = "16MiB/s"\n'
        '[workload]\ndirty = { pattern = "random", rate = 1000000, working_set = "512MiB" }\n'
    )
    _, out, _ = run(capsys, "target", str(path), "1000s", "--among", "iotlb-batch,suspend")
    assert [line.partition(": ")[2] for line in out.splitlines()] == [
        "no set meets it; precopy does not converge (4 sets simulated)",
        "no guest meets it; one of 1 GiB never ends: precopy does not converge",
    ]


def test_sensitivity_is_a_tornado_of_prices_and_axes(capsys, axes):
    found = document(capsys, "sensitivity", SIM, "--axes", axes)
    nominal, swings = tornado(SIM, axes={"device.count": [1, 2], "guest.memory": ["256MiB", "512MiB"]})
    assert found["nominal_ns"] == nominal
    assert [swing["key"] for swing in found["swings"]] == [swing.key for swing in swings]
    _, out, _ = run(capsys, "sensitivity", SIM, "--axes", axes)
    first, *lines = out.splitlines()
    assert first == f"Network outage (blackout 2): {format_duration(nominal)}; each alone from its low to its high:"
    assert [line.split()[0] for line in lines] == [swing.key for swing in swings[:20]]
    assert {line.split()[-1] for line in lines if line.startswith(("device", "guest"))} == {"scenario"}


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_sensitivity_over_axes_alone(capsys, axes, method):
    options = ("--axes", axes, "--no-prices", "--method", method, "--samples", "8", "--seed", "3")
    both = {"device.count": [1, 2], "guest.memory": ["256MiB", "512MiB"]}
    rows = global_sensitivity(SIM, axes=both, prices=False, method=method, samples=8, seed=3)
    assert document(capsys, "sensitivity", SIM, *options)["indices"] == rows
    _, out, _ = run(capsys, "sensitivity", SIM, *options)
    assert [line.split()[0] for line in out.splitlines()[1:]] == [row["key"] for row in rows]


def test_sensitivity_by_chance(capsys):
    found = document(capsys, "sensitivity", SIM, "--method", "monte-carlo", "--samples", "64")
    want = monte_carlo(SIM, draws=64)
    assert found["quantiles_ns"] == {str(share): want.quantile(share) for share in (0.05, 0.5, 0.95)}
    _, out, _ = run(capsys, "sensitivity", SIM, "--method", "monte-carlo", "--samples", "64")
    assert "64 draws of all prices" in out


def test_frontier(capsys, tmp_path):
    options = ("--bandwidths", "1MiB/s,unlimited", "--downtime-limits", "300ms")
    found = document(capsys, "frontier", SIM, *options)
    rows = convergence_frontier(SIM, bandwidths=[MIB, None], downtime_limits=[300 * MS])
    assert found["rows"] == rows
    _, out, _ = run(capsys, "frontier", SIM, *options)
    head, first, last = out.splitlines()[1:]
    assert head.split() == ["bandwidth", "downtime", "limit", "dirty", "rate"]
    assert f"{rows[0]['dirty_rate']:,} pages/s" in first
    assert last.startswith("unlimited")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("target", SIM, "soon"), "'soon' is not a duration"),
        (("target", SIM, "1s", "--step", "1B"), "step = 1; "),
        (("target", SIM, "1s", "--window", "outage"), "no window 'outage'"),
        (("target", SIM, "1s", "--among", "suspnd"), "did you mean 'suspend'"),
        (("sensitivity", SIM, "--axes", "no.toml"), "no.toml: cannot be read"),
        (("sensitivity", SIM, "--method", "sobol", "--no-prices"), "nothing varies"),
        (("sensitivity", SIM, "--method", "monte-carlo", "--samples", "0"), "draws = 0"),
        (("frontier", SIM, "--bandwidths", "fast"), "'fast' is not a rate"),
        (("attribute", SIM, "--window", "outage"), "no window 'outage'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(capsys, arguments, said):
    assert said in refused(capsys, *arguments)


def test_axes_are_not_for_draws_of_prices(capsys, axes):
    assert "--axes is not for monte-carlo" in refused(
        capsys, "sensitivity", SIM, "--axes", axes, "--method", "monte-carlo"
    )


def test_a_file_without_axes_is_refused(capsys, tmp_path):
    path = tmp_path / "none.toml"
    path.write_text('name = "none"\n')
    assert "none.toml: has no table [axes]" in refused(capsys, "sensitivity", SIM, "--axes", str(path))


def test_a_fleet_s_window_can_be_another(capsys):
    vms = str(data_dir() / "fleets" / "example.csv")
    options = (vms, "--before", "8.2,6.8", "--after", "10.1,6.12", "--target", "2s")
    other = document(capsys, "fleet", *options, "--window", "source_teardown")
    assert other["window"] == "source_teardown"
    assert other["rows"] != document(capsys, "fleet", *options)["rows"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_how_far_it_is_stands_on_a_terminal_alone(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with counted("sets") as tell:
        tell(3)
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with counted("sets") as tell:
        tell(3)
    assert sys.stderr.getvalue().strip() == "3 sets"
    monkeypatch.setattr(sys, "stderr", Terminal())
    with counted("VMs") as tell:
        tell(8, 8)
    assert sys.stderr.getvalue().strip() == "8 of 8 VMs"
    assert sys.stderr.getvalue().endswith("\n"), "what follows begins a line of its own"


GRID = 'scenario = "sim-256-1d"\nwindows = ["vm_paused", "network_outage"]\n[axes]\nguest.vcpus = [1, 2]\n'


@pytest.mark.parametrize("more", ["", "device.count = [1, 2]\n", "device.count = [1, 2]\nguest.vga = [false, true]\n"])
def test_a_sweep_s_picture(capsys, tmp_path, more):
    (tmp_path / "grid.toml").write_text(GRID + more)
    for window, title in ((), "VM paused"), (("--window", "network_outage"), "Network outage"):
        status, _, _ = run(capsys, "sweep", str(tmp_path / "grid.toml"), "--plot", str(tmp_path / "out.svg"), *window)
        assert status == 0
        assert title in (tmp_path / "out.svg").read_text()


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (GRID, ("--window", "svq_switch"), "grid has no window 'svq_switch'"),
        (GRID.replace("[1, 2]", "[1]"), (), "grid: a picture is of a grid in which one to 3 axes vary"),
        ('method = "random"\nsamples = 2\n' + GRID, (), "a picture is of a grid"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_any_work(capsys, tmp_path, text, options, said):
    (tmp_path / "grid.toml").write_text(text)
    err = refused(capsys, "sweep", str(tmp_path / "grid.toml"), "--plot", str(tmp_path / "out.svg"), *options)
    assert said in err
    assert not (tmp_path / "out.svg").exists()
