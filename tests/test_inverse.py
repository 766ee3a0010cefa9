"""Questions from the other end: fewest optimisations, largest guest and fastest writer that meet a target."""

from itertools import combinations

import naive_sweep as naive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.migration import default_toggles, refusals, simulate
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.model import find_scenario
from vdpa_lab.sweep import convergence_frontier, largest_guest, smallest_set
from vdpa_lab.sweep.design import with_values
from vdpa_lab.sweep.limits import bisect_largest
from vdpa_lab.units import GIB, MIB, MS, SECOND
from vdpa_lab.words import InputError

EXAMPLES = settings(max_examples=25 if DISABLED else 80, deadline=None)
SIM = "sim-256-1d"


def by_hand(scenario, names, target):
    """The smallest sets that meet the target, by trying all."""
    for size in range(len(names) + 1):
        met = {}
        for chosen in combinations(names, size):
            if not refusals(chosen, scenario.device.driver):
                ns = simulate(scenario, chosen).windows["network_outage"]
                if ns <= target:
                    met[chosen] = ns
        if met:
            return met
    return {}


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1305, 0.11, 0.01])
def test_the_smallest_set_is_the_smallest(share):
    scenario = find_scenario(SIM)
    names = default_toggles(scenario)
    target = int(simulate(scenario, ()).windows["network_outage"] * share)
    found = smallest_set(scenario, target, among=names)
    want = by_hand(scenario, names, target)
    assert found.exhaustive
    if want:
        assert {frozenset(each) for each in (found.names, *found.also)} == {frozenset(each) for each in want}
        assert found.ns == min(want.values()) == want[found.names]
    else:
        assert (found.names, found.also) == (None, ())
        assert found.ns > target


def test_a_search_that_is_cut_short_says_so_and_still_meets_the_target():
    scenario = find_scenario(SIM)
    names = default_toggles(scenario)
    target = int(simulate(scenario, ()).windows["network_outage"] * 0.12)
    found = smallest_set(scenario, target, among=names, most_sets=3)
    assert (found.exhaustive, found.also) == (False, None)
    assert len(found.names) == len(smallest_set(scenario, target, among=names).names) == 2
    assert simulate(scenario, found.names).windows["network_outage"] == found.ns <= target
    for name in found.names:  # nothing in it can be left out
        less = [other for other in found.names if other != name]
        assert refusals(less, "vdpa_sim") or simulate(scenario, less).windows["network_outage"] > target
    never = smallest_set(scenario, 1, among=names, most_sets=3)
    assert (never.names, never.exhaustive) == (None, False)
    assert never.ns > 1


def test_a_search_that_is_cut_short_behind_every_smaller_set_has_the_smallest():
    scenario = find_scenario(SIM)
    names = default_toggles(scenario)
    target = int(simulate(scenario, ()).windows["network_outage"] * 0.1305)
    found = smallest_set(scenario, target, among=names, most_sets=3)
    assert (len(found.names), found.exhaustive, found.also) == (1, True, None), "the empty set was tried"
    assert smallest_set(scenario, target, among=names).names == found.names


def test_a_search_that_is_cut_short_brings_what_a_toggle_needs():
    talk = find_scenario("talk")
    base = ("iotlb-batch", "early-listener-kept", "iotlb-persist")
    with_needs = ("suspend", "cvq-asid", "svq-desc-asid")
    target = simulate(talk, (*base, *with_needs)).windows["network_outage"]
    found = smallest_set(talk, target, among=("svq-desc-asid", "cvq-asid", "suspend"), base=base, most_sets=2)
    assert not found.exhaustive
    assert set(found.names) == set(with_needs)
    without = smallest_set(talk, target, among=("svq-desc-asid", "cvq-asid"), base=base, most_sets=2)
    assert without.names is None


def test_what_is_on_anyway_is_not_counted():
    scenario = find_scenario("talk")
    found = smallest_set(scenario, 10**18, base=("iotlb-batch",))
    assert (found.names, found.ns) == ((), simulate(scenario, ("iotlb-batch",)).windows["network_outage"])
    with pytest.raises(InputError, match="svq-desc-asid cannot be in the base: needs"):
        smallest_set(scenario, SECOND, base=("svq-desc-asid",))


@EXAMPLES
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(-1, 10), st.integers(1, 7))
def test_bisection_finds_the_largest_and_sees_what_it_probed(steps, target, step):
    values, total = [], 0
    for each in steps:
        total += each
        values.append(total)
    found = bisect_largest(lambda at: values[(at - 5) // step], target, 5, 5 + step * (len(values) - 1), step)
    meeting = [5 + step * i for i, value in enumerate(values) if value <= target]
    assert found.value == (meeting[-1] if meeting else None)
    assert found.monotone
    assert found.at_limit == (len(meeting) == len(values))


@EXAMPLES
@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_bisection_to_a_share_comes_as_near_as_that(edge, fine):
    probes = []
    found = bisect_largest(lambda at: probes.append(at) or int(at > edge), 0, 0, 10**6, 1, fine)
    assert found.value <= edge <= found.value + max(1, found.value // fine)
    assert len(probes) == len(found.measured) <= len(bisect_largest(lambda at: int(at > edge), 0, 0, 10**6, 1).measured)


def test_bisection_tells_what_is_not_monotone():
    found = bisect_largest(lambda at: -at, 0, 0, 8, 1)
    assert not found.monotone


def test_the_largest_guest_meets_the_target_and_the_next_does_not():
    scenario, step = find_scenario(SIM), 64 * MIB

    def outage(memory):
        return simulate(with_values(scenario, {"guest.memory": memory})).windows["network_outage"]

    target = outage(640 * MIB)
    found = largest_guest(scenario, target, most=GIB, step=step)
    assert outage(found.value) <= target < outage(found.value + step)
    assert found.monotone
    assert dict(found.measured)[found.value] == outage(found.value)
    assert largest_guest(scenario, 1, most=GIB, step=step).value is None
    everything = largest_guest(scenario, 10**18, ("iotlb-batch",), most=GIB, step=step)
    assert (everything.value, everything.at_limit) == (GIB, True)


def test_the_frontier_is_where_precopy_stops_to_converge():
    base = find_scenario("talk")
    small = with_values(base, {"guest.memory": 16 * MIB, "workload.dirty.working_set": 16 * MIB})
    (row,) = convergence_frontier(small, bandwidths=[MIB], downtime_limits=[300 * MS])

    def converges(rate):
        chosen = {"migration.max_bandwidth": MIB, "migration.downtime_limit": 300 * MS, "workload.dirty.rate": rate}
        return precopy(with_values(small, chosen)).converged

    exact = naive.fastest_writer(converges, 400)
    assert converges(row["dirty_rate"])
    assert row["dirty_rate"] <= exact <= row["dirty_rate"] + max(1, row["dirty_rate"] // 100)
    assert row["monotone"]
    assert not row["at_limit"]


def test_the_frontier_covers_every_pair_and_unlimited_links():
    scenario = with_values(find_scenario(SIM), {"link.bandwidth": None})
    seen = []
    rows = convergence_frontier(
        scenario,
        bandwidths=[MIB, None],
        downtime_limits=[0, 300 * MS],
        names=(),
        progress=lambda *far: seen.append(far),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(row["max_bandwidth"], row["downtime_limit_ns"]) for row in rows] == [
        (MIB, 0), (MIB, 300 * MS), (None, 0), (None, 300 * MS)
    ]  # fmt: skip
    assert [row["at_limit"] for row in rows] == [False, False, False, True], (
        "without a link the thread's own pace counts"
    )


# Pages are dirtied faster than they are sent, whatever is on.
ENDLESS = {
    "workload.dirty.pattern": "random",
    "workload.dirty.rate": 10**6,
    "workload.dirty.working_set": 128 * MIB,
    "migration.max_bandwidth": 16 * MIB,
}


@pytest.mark.parametrize("most_sets", [4000, 3])
def test_a_migration_that_does_not_end_meets_no_target(most_sets):
    endless = with_values(find_scenario(SIM), ENDLESS)
    names = default_toggles(endless)
    ran = simulate(endless, ())
    assert not precopy(ran.scenario).converged
    found = smallest_set(endless, 10 * ran.windows["network_outage"], among=names, most_sets=most_sets)
    assert (found.names, found.converges) == (None, False)
    guests = largest_guest(endless, 10**18, names, most=GIB, step=128 * MIB)
    assert (guests.value, guests.measured) == (None, ((128 * MIB, None),))


def test_of_what_does_not_end_nothing_counts_before_what_does():
    """The same writer in a working set whose pages fit into the downtime limit."""
    fits = {**ENDLESS, "workload.dirty.working_set": 4 * MIB, "migration.downtime_limit": SECOND}
    tuned = with_values(find_scenario(SIM), fits)
    found = smallest_set(tuned, 10**18, among=default_toggles(tuned))
    assert (found.names, found.converges, found.exhaustive) == ((), True, True)
    assert smallest_set(tuned, 1, among=default_toggles(tuned), most_sets=3).converges


BAD = [
    ({"target_ns": float("nan")}, "target_ns = nan; a whole number of ns"),
    ({"target_ns": "5s"}, "target_ns = '5s'"),
    ({"target_ns": -1}, "target_ns = -1"),
    ({"window": "third_blackout"}, "sim-256-1d has no third_blackout; choose another window"),
]


@pytest.mark.parametrize(("more", "said"), BAD)
def test_a_question_that_has_no_answer_is_refused_in_words(more, said):
    asked = {"target_ns": SECOND, **more}
    with pytest.raises(InputError, match=said):
        smallest_set(SIM, **asked)
    with pytest.raises(InputError, match=said):
        largest_guest(SIM, **asked)


@pytest.mark.parametrize(
    ("more", "said"),
    [({"step": 0}, "step = 0"), ({"step": 5000}, "step = 5000; a multiple of 4096"), ({"most": 1}, "most = 1; ")],
)
def test_steps_and_ends_of_a_search_are_checked(more, said):
    with pytest.raises(InputError, match=said):
        largest_guest(SIM, SECOND, **more)


def test_bisection_takes_what_has_no_result_for_a_miss():
    found = bisect_largest(lambda at: at if at < 5 else None, 100, 0, 8, 1)
    assert (found.value, found.monotone) == (4, True)
    hole = bisect_largest(lambda at: None if at == 4 else at, 6, 0, 8, 1)
    assert (hole.value, hole.monotone) == (3, False)
