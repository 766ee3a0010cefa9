"""Many prices of one plan in compiled loops: the same as one at a time, to the nanosecond; and what rests on it."""

import random
from dataclasses import replace

import naive_sweep as naive
import numpy as np
import pytest
from test_schedule import random_jobs
from witness import run as witness

from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.kernels.schedule import DONE, ODD, STUCK, scratch, windows_of_runs
from vdpa_lab.library import Calibration, Cost, read_calibration
from vdpa_lab.migration import Plan, Step, plan, simulate
from vdpa_lab.migration.schedule import capacity
from vdpa_lab.migration.simulate import SCENARIO_TIME, run_plan
from vdpa_lab.model import find_scenario, scenario_names
from vdpa_lab.sweep import global_sensitivity, monte_carlo, tornado
from vdpa_lab.sweep.draws import BLOCK, drawn
from vdpa_lab.sweep.network import as_it_is, joined
from vdpa_lab.sweep.vectorised import ABSENT, PricedPlan, rounds_of
from vdpa_lab.timeline import WINDOWS, Lane
from vdpa_lab.words import InputError

SEEDS = range(40 if DISABLED else 200)
PRICINGS = 3 if DISABLED else 8
TALK_SETS = (
    (),
    ("iotlb-batch", "suspend"),
    ("parallel-devices", "iotlb-batch", "suspend", "early-listener"),
    ("deferred-mkey-delete", "parallel-mkey", "iotlb-batch", "async-vq"),
    ("iterative-virtio-net", "multifd", "iotlb-batch", "early-listener-kept", "early-device-state"),
    ("svq-always", "iotlb-batch"),
)


def priced_at(costs, prices):
    """The calibration with these values."""
    changed = [replace(costs[key], value=value, low=0.0, high=np.inf) for key, value in prices.items()]
    return Calibration("test", costs.values()).with_costs(changed)


def one_by_one(priced, costs, prices):
    """Windows of each row of prices by the general path."""
    rows = []
    for row in prices.tolist():
        ran = run_plan(priced.plan, priced_at(costs, dict(zip(priced.keys, row, strict=True))))
        rows.append([ABSENT if ran.windows[name] is None else ran.windows[name] for name in priced.names])
    return rows


def random_prices(priced, values, seed, count):
    """Prices around the given ones; some nothing, some such that a product lies just between two integers."""
    rng = np.random.default_rng(seed)
    prices = values * np.exp(rng.normal(0, 1, (count, len(values))))
    prices[rng.random(prices.shape) < 0.05] = 0.0
    halves = rng.random(prices.shape) < 0.2
    prices[halves] = np.floor(prices[halves]) + 0.5
    prices[0] = values
    return prices


@pytest.mark.parametrize("name", [n for n in scenario_names() if not (DISABLED and n.startswith("tatulea"))])
def test_presets_equal_the_general_path_to_the_nanosecond(name):
    ran = simulate(find_scenario(name))
    priced = PricedPlan(ran.plan)
    costs = ran.calibration
    prices = random_prices(priced, priced.values(costs), 1, PRICINGS)
    assert priced.windows(prices).tolist() == one_by_one(priced, costs, prices)


@pytest.mark.parametrize("names", TALK_SETS, ids="+".join)
def test_toggles_equal_the_general_path_where_lanes_are_fought_over(names):
    scenario = find_scenario("talk")
    priced, costs = PricedPlan(plan(scenario, names)), read_calibration("liu2023").with_costs([SCENARIO_TIME])
    prices = random_prices(priced, priced.values(costs), 2, PRICINGS)
    assert priced.windows(prices).tolist() == one_by_one(priced, costs, prices)


def as_plan(jobs, seed):
    """Jobs as steps that pay one round of a price of their own; the marks of windows lie on some of them."""
    rng = random.Random(seed)
    marks = [f"{mark}".format(d=0) for window in WINDOWS.values() for mark in (window.begin, window.end)]
    at = dict(zip(rng.sample(range(len(jobs)), min(len(jobs), 6)), rng.sample(marks, 6), strict=False))
    steps = tuple(
        Step(f"step {n}", "op", job.lane, -1, "precopy", "", tuple(f"step {i}" for i in job.after),
             ((f"key {n}", 1),) if job.ns or rng.random() < 0.5 else (), job.width, mark=at.get(n, ""))
        for n, job in enumerate(jobs)
    )  # fmt: skip
    return Plan(find_scenario("sim-256-1d"), steps)


def ends_of_nodes(priced, graph, prices, careful, foreseen=None):
    """End of each node's last step by the kernel, and the state of the run."""
    net = priced.network(graph, priced.without_time(prices[0] if foreseen is None else foreseen))
    work, states = scratch(net), np.zeros(1, np.uint64)
    windows = np.full((1, len(WINDOWS)), ABSENT, np.int64)
    windows_of_runs(net, work, prices, careful, windows, states)
    return dict(zip((node[-1] for node in graph.nodes), work.ends.tolist(), strict=True)), int(states[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_kernel_tells_the_witness_times_joined_or_not(seed):
    """Ties, zero durations and wide steps on a random graph: SimPy, the scheduler and both graphs agree."""
    jobs = random_jobs(seed)
    made = as_plan(jobs, seed)
    want = [end for _, end in witness(jobs, capacity)]
    priced = PricedPlan(made)
    prices = np.array([[jobs[int(key.split()[1])].ns for key in priced.keys]], np.float64).reshape(1, -1)
    some = np.random.default_rng(seed).integers(0, 2, len(priced.keys)).astype(np.float64)
    for graph, careful, foreseen in (
        (as_it_is(made.steps), 0, None), (as_it_is(made.steps), 0, some), (as_it_is(made.steps), 0, 1 - some),
        (joined(made.steps), 1, None),
    ):  # fmt: skip
        ends, state = ends_of_nodes(priced, graph, prices, careful, foreseen)
        assert state == DONE
        assert ends == {i: want[i] for i in ends}


def test_joining_leaves_few_nodes_and_every_mark_at_an_end():
    ran = simulate(find_scenario("talk"))
    graph = joined(ran.plan.steps)
    assert sorted(i for node in graph.nodes for i in node) == list(range(len(ran.plan.steps)))
    assert len(graph.nodes) < len(ran.plan.steps) / 8
    lasts = {node[-1] for node in graph.nodes}
    assert all(i in lasts for i, step in enumerate(ran.plan.steps) if step.mark)
    assert all(graph.free[n] or len(node) == 1 for n, node in enumerate(graph.nodes))


def test_a_lane_with_room_for_all_is_nobodys_to_wait_for():
    wide, narrow = Lane("source", "firmware", 0), Lane("source", "bql")
    steps = [
        Step(f"s{i}", "op", lane, 0, "stop", "", (), (), 15) for i, lane in enumerate((wide, wide, narrow, narrow))
    ]
    assert joined(steps).free == (True, True, False, False)


@pytest.mark.parametrize("price", [0.5, 1.5, 2.5, 0.1, 1e-9, 333.3333333333333, 2.0**25 + 0.5, 7.0])
def test_products_are_rounded_as_python_rounds_them(price):
    """Half goes to the even neighbour, after the product was rounded to a double."""
    lane, count = Lane("source", "bql"), [1, 2, 3, 5, 7, 10, 12345, 3**20]
    steps = tuple(Step(f"s{i}", "op", lane, -1, "stop", "", (), (("key", n),)) for i, n in enumerate(count))
    steps = (Step("begin", "mark", lane, -1, "stop", "", (), mark="vcpus-paused"), *steps)
    steps = (
        *steps,
        Step("end", "mark", lane, -1, "stop", "", ("begin", *(s.name for s in steps[1:])), mark="vcpus-resumed"),
    )
    priced = PricedPlan(Plan(find_scenario("talk"), steps))
    found = priced.windows(np.array([[price]]))[0, priced.names.index("vm_paused")]
    assert found == sum(naive.duration(each, {"key": price}) for each in priced.rounds)
    assert found == sum(round(n * price) for n in count)


def test_rounds_are_those_of_the_general_path():
    ran = simulate(find_scenario("talk"), ("parallel-mkey", "iotlb-batch", "suspend"))
    prices = {key: ran.cost(key).value for each in rounds_of(ran.plan) for key, _ in each}
    assert [naive.duration(each, prices) for each in rounds_of(ran.plan)] == [span.ns for span in ran.timeline.spans]


def test_a_run_in_which_other_steps_take_no_time_is_done_step_by_step():
    ran = simulate(find_scenario("talk"))
    priced = PricedPlan(ran.plan)
    values = priced.values(ran.calibration)
    free = values.copy()
    free[priced.keys.index("vhost.ioctl")] = 0.0
    graph = joined(ran.plan.steps)
    net, states = priced.network(graph, priced.without_time(values)), np.zeros(2, np.uint64)
    windows_of_runs(net, scratch(net), np.array([values, free]), 1, np.zeros((2, len(WINDOWS)), np.int64), states)
    assert states.tolist() == [DONE, ODD]
    prices = np.array([values, free])
    assert priced.windows(prices).tolist() == one_by_one(priced, ran.calibration, prices)
    assert priced.windows(prices[::-1]).tolist() == priced.windows(prices)[::-1].tolist()


def test_rows_do_not_depend_on_each_other():
    ran = simulate(find_scenario("sim-256-2d"))
    priced = PricedPlan(ran.plan)
    prices = random_prices(priced, priced.values(ran.calibration), 3, 30)
    whole = priced.windows(prices)
    order = np.random.default_rng(4).permutation(30)
    assert np.array_equal(priced.windows(prices[order]), whole[order])
    assert np.array_equal(np.concatenate([priced.windows(row[None]) for row in prices]), whole)
    assert priced.windows(prices[:0]).shape == (0, len(WINDOWS))


def test_whole_calibrations_are_priced_too():
    ran = simulate(find_scenario("talk"))
    priced = PricedPlan(ran.plan)
    others = [read_calibration(name) for name in ("liu2023", "tatulea2024")]
    absent = {name: ABSENT for name, ns in ran.windows.items() if ns is None}
    want = [[absent.get(name, run_plan(ran.plan, each).windows[name]) for name in priced.names] for each in others]
    assert priced.under(others).tolist() == want


def test_a_window_that_a_migration_does_not_have_is_absent():
    ran = simulate(find_scenario("sim-256-1d-svq"))
    priced = PricedPlan(ran.plan)
    found = dict(zip(priced.names, priced.under([ran.calibration])[0].tolist(), strict=True))
    assert found["svq_switch"] == ABSENT
    assert found["network_outage"] == ran.windows["network_outage"]


def test_prices_that_cannot_be_are_refused():
    ran = simulate(find_scenario("sim-256-1d"))
    priced = PricedPlan(ran.plan)
    values = priced.values(ran.calibration)
    for bad in (-1.0, np.nan, np.inf):
        row = values.copy()
        row[0] = bad
        with pytest.raises(InputError, match="not negative"):
            priced.windows(row[None])
    with pytest.raises(InputError, match="more than"):
        priced.windows((values * 1e15)[None])
    with pytest.raises(InputError, match="has no price for"):
        priced.values(Calibration("empty", []))


def test_steps_that_never_start_are_told():
    lane = Lane("source", "bql")
    steps = tuple(Step(f"s{i}", "op", lane, -1, "stop", "", (f"s{1 - i}",), (("key", 1),)) for i in range(2))
    priced = PricedPlan(Plan(find_scenario("talk"), steps))
    assert ends_of_nodes(priced, as_it_is(steps), np.array([[1.0]]), 0)[1] == STUCK
    priced._joined, priced._none = priced.network(as_it_is(steps), (False,)), (False,)
    with pytest.raises(ValueError, match="in a circle"):
        priced.windows(np.array([[1.0]]))


# --- drawn prices ---------------------------------------------------------------------------------------------


def costs_of(**bounds):
    return {key: Cost(key, value, low, high, "ns", "guess", "test") for key, (value, low, high) in bounds.items()}


def test_draws_are_the_same_in_any_pieces_and_for_any_other_prices():
    costs = costs_of(a=(10.0, 5.0, 20.0), b=(3.0, 1.0, 4.0), fixed=(7.0, 7.0, 7.0))
    whole = drawn(costs, ("a", "b", "fixed"), 5, 0, 2 * BLOCK + 10)
    pieces = [drawn(costs, ("a", "b", "fixed"), 5, i, j) for i, j in ((0, 1), (1, BLOCK), (BLOCK, 2 * BLOCK + 10))]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert np.array_equal(drawn(costs, ("b",), 5, 0, len(whole))[:, 0], whole[:, 1])
    assert set(whole[:, 2]) == {7.0}
    assert not np.array_equal(drawn(costs, ("a",), 6, 0, 10)[:, 0], whole[:10, 0])
    assert drawn(costs, ("a",), 5, 3, 3).shape == (0, 1)


def test_nine_draws_of_ten_lie_in_a_prices_interval():
    costs = costs_of(a=(10.0, 5.0, 20.0))
    found = drawn(costs, ("a",), 1, 0, 20_000)[:, 0]
    assert np.mean(found < 5.0) == pytest.approx(0.05, abs=0.005)
    assert np.mean(found > 20.0) == pytest.approx(0.05, abs=0.005)


def test_monte_carlo_is_each_draw_simulated():
    scenario = find_scenario("sim-256-1d")
    found = monte_carlo(scenario, draws=4, seed=9)
    priced = PricedPlan(plan(scenario))
    costs = read_calibration(scenario.testbed).with_costs([SCENARIO_TIME])
    prices = drawn(costs, priced.keys, 9, 0, 4)
    want = one_by_one(priced, costs, prices)
    assert found.ns.tolist() == [row[priced.names.index("network_outage")] for row in want]
    assert found.nominal_ns == simulate(scenario).windows["network_outage"]
    assert np.array_equal(monte_carlo(scenario, draws=4, seed=9).ns, found.ns)


def test_the_interval_covers_the_nominal_length():
    found = monte_carlo(find_scenario("talk"), draws=200 if DISABLED else BLOCK + 100)
    low, high = found.interval
    assert low < found.nominal_ns < high
    assert found.quantile(0.5) == pytest.approx(np.median(found.ns))


def test_a_tornado_is_each_price_turned_alone():
    scenario = find_scenario("talk")
    nominal, swings = tornado(scenario)
    ran = simulate(scenario)
    assert nominal == ran.windows["network_outage"]
    assert [swing.ns for swing in swings] == sorted((swing.ns for swing in swings), reverse=True)
    for swing in swings[:3]:
        for end, ns in (("low", swing.low_ns), ("high", swing.high_ns)):
            cost = ran.cost(swing.key)
            one = run_plan(ran.plan, priced_at(ran.calibration, {swing.key: getattr(cost, end)}))
            assert one.windows["network_outage"] == ns
    assert {swing.key for swing in swings} <= {cost.key for cost in ran.sources()}


def test_questions_about_prices_name_what_is_wrong():
    with pytest.raises(InputError, match="no window 'outage'"):
        tornado(find_scenario("talk"), window="outage")
    with pytest.raises(InputError, match="sim-256-1d-svq has no svq_switch"):
        monte_carlo(find_scenario("sim-256-1d-svq"), window="svq_switch")
    with pytest.raises(InputError, match="draws = 0"):
        monte_carlo(find_scenario("talk"), draws=0)


def test_morris_sees_the_swings_that_a_tornado_sees():
    """The outage is nearly linear in each price, so the mean effect over an interval is the swing between its ends."""
    scenario = find_scenario("talk")
    swings = {swing.key: swing.ns for swing in tornado(scenario)[1]}
    rows = global_sensitivity(scenario, method="morris", samples=4 if DISABLED else 64)
    assert {row["key"] for row in rows} == set(swings)
    for row in rows[:4]:
        assert row["mu_star"] == pytest.approx(swings[row["key"]], rel=0.2)
    assert [row["mu_star"] for row in rows] == sorted((row["mu_star"] for row in rows), reverse=True)


def test_sobol_indices_share_the_variance_as_independent_draws_do():
    """First-order indices of a nearly additive window: near the variance of each price's own draws over the whole."""
    scenario = find_scenario("talk")
    rows = global_sensitivity(scenario, samples=16 if DISABLED else 256, seed=3)
    assert rows == global_sensitivity(scenario, samples=16 if DISABLED else 256, seed=3)
    top, second = rows[:2]
    assert {top["key"], second["key"]} == {swing.key for swing in tornado(scenario)[1][:2]}
    assert sum(row["ST"] for row in rows) == pytest.approx(1, abs=0.5 if DISABLED else 0.1)
    assert all(abs(row["S1"] - row["ST"]) <= 0.05 + row["S1_conf"] + row["ST_conf"] for row in rows)
