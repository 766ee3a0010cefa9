"""Sensitivity over scenario and prices: each row of shares is one scenario simulated under one price list."""

import sys
from itertools import product

import numpy as np
import pytest

from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.library import read_calibration
from vdpa_lab.migration import default_toggles, plan
from vdpa_lab.migration.simulate import SCENARIO_TIME, run_plan, simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.sweep import global_sensitivity, tornado
from vdpa_lab.sweep.design import with_values
from vdpa_lab.sweep.factors import Factors
from vdpa_lab.units import MIB
from vdpa_lab.words import InputError

SIM = "sim-256-1d"
AXES = {
    "guest.memory": {"low": "256MiB", "high": "1GiB", "step": "64MiB"},
    "device.count": [1, 2],
    "optimizations.iotlb-persist": [False, True],
    "prices.vhost.ioctl": {"low": 0.5, "high": 2.0, "scale": "log"},
}
TALK_AXES = {key: AXES[key] for key in ("device.count", "optimizations.iotlb-persist", "prices.vhost.ioctl")}
KNOB = "knobs.async-vq.in_flight"


def by_hand(name, axes, factors, row, window="network_outage"):
    """The window of a row of shares, from the scenario, the toggles and the price list that it stands for."""
    scenario, on, times = find_scenario(name), set(default_toggles(find_scenario(name))), {}
    of = dict(zip(factors.keys, row.tolist(), strict=True))
    for axis in factors.axes:
        value, share = axes[axis.key], of.pop(axis.key)
        if isinstance(value, list):
            chosen = value[int(share * len(value))]
        elif axis.key == "guest.memory":
            chosen = (256 + 64 * round(share * 768 / 64)) * MIB
        else:
            chosen = 0.5 * 4**share
        if axis.key.startswith("optimizations."):
            on = on | {axis.key.partition(".")[2]} if chosen else on - {axis.key.partition(".")[2]}
        elif axis.key.startswith("prices."):
            times[axis.key.partition(".")[2]] = chosen
        else:
            scenario = with_values(scenario, {axis.key: chosen})
    costs = read_calibration(scenario.testbed).with_costs([SCENARIO_TIME])
    changed = []
    for key, share in of.items():
        cost = costs[key]
        changed.append(type(cost)(key, cost.low * (cost.high / cost.low) ** share, 0, 1, "ns", "guess", "test"))
    for key, factor in times.items():
        cost = costs[key]
        changed.append(type(cost)(key, cost.value * factor, 0, 1, "ns", "guess", "test"))
    return run_plan(plan(scenario, on), costs.with_costs(changed)).windows[window]


@pytest.mark.parametrize("name", [SIM, "talk"])
def test_a_row_of_shares_is_that_scenario_under_that_price_list(name):
    axes = TALK_AXES if name == "talk" else AXES
    factors = Factors(name, None, axes, "network_outage", None)
    random = np.random.default_rng(5)
    rows = random.random((6, len(factors.keys)))
    rows[3:, : len(axes)] = rows[0, : len(axes)]  # some differ in prices alone, and are priced at once
    assert factors.ns(rows).tolist() == [by_hand(name, axes, factors, row) for row in rows]
    assert factors.nominal_ns == simulate(name).windows["network_outage"]


def test_knobs_are_turned():
    names = [*default_toggles(find_scenario("liu2023")), "async-vq"]
    factors = Factors("liu2023", names, {KNOB: {"low": 1, "high": 4}}, "source_teardown", None, prices=False)
    runs = [simulate("liu2023", names, knobs={"async-vq": {"in_flight": each}}) for each in (1, 4)]
    ends = [run.windows["source_teardown"] for run in runs]
    assert factors.ns(np.array([[0.0], [1.0]])).tolist() == ends
    assert factors.ends(factors.axes[0]) == tuple(ends)
    assert ends[0] > ends[1]


def test_prices_that_only_one_end_of_an_axis_uses_vary_too():
    axes = {"guest.backing": ["4k", "2M"]}
    keys = set(Factors("talk", None, axes, "network_outage", None).keys)
    assert {"guest.backing", "unpin.4k", "unpin.2M"} <= keys
    assert "unpin.2M" not in Factors("talk", None, None, "network_outage", None).keys


def test_a_price_that_is_an_axis_is_no_second_factor():
    factors = Factors("talk", None, {"prices.mlx5.mtt": {"low": 0.5, "high": 2.0}}, "network_outage", None)
    assert "prices.mlx5.mtt" in factors.keys
    assert "mlx5.mtt" not in factors.keys


def exact_indices(axes):
    """First-order and total indices of a window over a full grid of lists, each value equally likely."""
    factors = Factors(SIM, None, axes, "network_outage", None, prices=False)
    counts = [axis.count for axis in factors.axes]
    points = np.array([*product(*[(np.arange(count) + 0.5) / count for count in counts])])
    ns = factors.ns(points).astype(float).reshape(counts)
    whole, found = ns.var(), {}
    for i, key in enumerate(factors.keys):
        others = tuple(j for j in range(len(counts)) if j != i)
        found[key] = ns.mean(axis=others).var() / whole, ns.var(axis=i).mean() / whole
    return found


def test_sobol_indices_over_a_scenario_are_those_of_its_full_grid():
    axes = {
        "guest.memory": ["256MiB", "512MiB", "768MiB", "1GiB"],
        "device.count": [1, 2, 3, 4],
        "optimizations.iotlb-persist": [False, True],
    }
    wanted = exact_indices(axes)
    rows = global_sensitivity(SIM, axes=axes, prices=False, samples=64 if DISABLED else 1024)
    assert {row["key"] for row in rows} == set(axes)
    for row in rows:
        first, total = wanted[row["key"]]
        assert row["S1"] == pytest.approx(first, abs=0.15 if DISABLED else 0.05)
        assert row["ST"] == pytest.approx(total, abs=0.15 if DISABLED else 0.05)


def test_morris_orders_scenario_and_prices_together():
    axes = {"guest.memory": AXES["guest.memory"], "device.count": [1, 2]}
    rows = global_sensitivity(SIM, axes=axes, method="morris", samples=8)
    assert [row["mu_star"] for row in rows] == sorted((row["mu_star"] for row in rows), reverse=True)
    assert {"guest.memory", "device.count"} <= {row["key"] for row in rows}
    assert rows == global_sensitivity(SIM, axes=axes, method="morris", samples=8)


def test_a_tornado_turns_an_axis_alone_from_its_first_value_to_its_last():
    nominal, swings = tornado(SIM, axes={"guest.memory": AXES["guest.memory"], "device.count": [1, 2]})
    found = {swing.key: swing for swing in swings}
    for key, low, high in (("guest.memory", 256 * MIB, 1024 * MIB), ("device.count", 1, 2)):
        ends = [simulate(with_values(find_scenario(SIM), {key: at})).windows["network_outage"] for at in (low, high)]
        assert ([found[key].low_ns, found[key].high_ns], found[key].basis) == (ends, "scenario")
    assert [swing.ns for swing in swings] == sorted((swing.ns for swing in swings), reverse=True)
    assert (nominal, {*found} - {"guest.memory", "device.count"}) == (
        tornado(SIM)[0],
        {swing.key for swing in tornado(SIM)[1]},
    )


def test_progress_is_told_and_ends_the_work():
    seen = []
    global_sensitivity(SIM, axes={"device.count": [1, 2]}, prices=False, samples=4, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 4 * 3

    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        global_sensitivity(SIM, axes={"device.count": [1, 2]}, samples=4, progress=stop)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"axes": {"guest.memry": [1]}}, "no such key; did you mean 'guest.memory'"),
        ({"axes": {"guest.memory": {"low": "1GiB", "high": "512MiB"}}}, "low has to be below high"),
        (
            {"axes": {"optimizations.early-device-state": [False, True]}},
            "early-device-state cannot apply: .*every value",
        ),
        ({"prices": False}, "nothing varies"),
        ({"window": "third_blackout"}, "has no third_blackout"),
        ({"window": "outage"}, "no window 'outage'"),
        ({"samples": 0}, "samples = 0"),
        ({"samples": "x"}, "samples = 'x'"),
        ({"samples": 10**8}, "more than 100000000 numbers"),
        ({"seed": -1}, "seed = -1"),
        ({"method": "fast"}, "method 'fast'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(more, said):
    with pytest.raises(InputError, match=said):
        global_sensitivity(SIM, **more)


def test_without_salib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "SALib", None)
    monkeypatch.setitem(sys.modules, "SALib.analyze", None)
    with pytest.raises(InputError, match="pip install 'vdpa-lab"):
        global_sensitivity(SIM)
