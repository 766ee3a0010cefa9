"""What each optimisation is worth: exact against every order spelled out."""

import json
from fractions import Fraction
from itertools import combinations, permutations

import naive_sweep as naive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vdpa_lab
from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.migration import default_toggles, refusals, simulate
from vdpa_lab.model import ScenarioError, find_scenario
from vdpa_lab.sweep import attribute, smallest_set
from vdpa_lab.sweep import attribution as module
from vdpa_lab.sweep.attribution import _exact, _sampled
from vdpa_lab.sweep.coalitions import Game
from vdpa_lab.sweep.design import with_values
from vdpa_lab.sweep.texts import attribution_text
from vdpa_lab.units import GIB, MIB, MS, SECOND, format_duration
from vdpa_lab.words import InputError

EXAMPLES = settings(max_examples=25 if DISABLED else 80, deadline=None)
SIM = "sim-256-1d"
# On the talk's VM; the second and third need the first, the last two the fourth.
NEEDY = ("suspend", "svq-desc-asid", "resumable-vqs", "early-listener-kept", "early-device-state")


class Table(Game):
    """A game with made-up lengths: `lengths` by set, `needs` by toggle, sets in `barred` cannot be."""

    def __init__(self, count, lengths, needs):
        self.toggles = tuple(f"t{i}" for i in range(count))
        self.lengths, self.needs, self._ns = lengths, needs, {}

    def feasible(self, word):
        return all(word >> need & 1 for i in range(len(self.toggles)) if word >> i & 1 for need in self.needs[i])

    def ns(self, word):
        assert self.feasible(word), "no value is asked of a set that cannot be"
        return self.lengths[word]

    def as_sets(self):
        """The game as functions of frozensets of toggles."""

        def word(chosen):
            return sum(1 << self.toggles.index(each) for each in chosen)

        return lambda chosen: self.ns(word(chosen)), lambda chosen: self.feasible(word(chosen))


@st.composite
def games(draw, most=5):
    count = draw(st.integers(1, most))
    lengths = draw(st.lists(st.integers(0, 10**12), min_size=1 << count, max_size=1 << count))
    needs = [draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else set() for i in range(count)]
    return Table(count, lengths, needs)


@EXAMPLES
@given(games())
def test_shares_are_the_averages_over_every_order_that_can_be(game):
    shares, pairs, orders = _exact(game)
    value, feasible = game.as_sets()
    assert {share.toggle: share.ns for share in shares} == naive.shares(game.toggles, value, feasible)
    assert sum(share.ns for share in shares) == game.ns(0) - game.ns(game.full)
    prefixes = ([frozenset(order[:n]) for n in range(len(order) + 1)] for order in permutations(game.toggles))
    assert orders == sum(all(map(feasible, sets)) for sets in prefixes)
    for pair in pairs:
        want = naive.meeting(pair.first, pair.second, game.toggles, value, feasible)
        assert (pair.kind == "needs") == (want is None)
        assert pair.ns == (want or 0)


@EXAMPLES
@given(games(4), st.data())
def test_shares_do_not_depend_on_the_order_of_the_toggles(game, data):
    order = data.draw(st.permutations(range(len(game.toggles))))
    place = {old: new for new, old in enumerate(order)}

    def moved(word):
        return sum(1 << place[i] for i in range(len(order)) if word >> i & 1)

    lengths = [0] * len(game.lengths)
    for word, ns in enumerate(game.lengths):
        lengths[moved(word)] = ns
    other = Table(len(order), lengths, [{place[need] for need in game.needs[old]} for old in order])
    shares, again = _exact(game)[0], _exact(other)[0]
    assert [share.ns for share in shares] == [again[place[i]].ns for i in range(len(order))]


def test_two_that_gain_only_together_share_alike_and_are_said_to():
    game = Table(2, [10 * MS, 10 * MS, 10 * MS, 4 * MS], [set(), set()])
    shares, (pair,), orders = _exact(game)
    assert [share.ns for share in shares] == [3 * MS, 3 * MS]
    assert orders == 2
    assert pair.words() == "t0 and t1 together gain 6 ms what neither gains alone"
    assert [(share.first_ns, share.last_ns) for share in shares] == [(0, 6 * MS)] * 2


def test_pairs_are_told_in_words():
    overlap = _exact(Table(2, [10, 4, 4, 4], [set(), set()]))[1][0]
    assert overlap.words() == "t0 and t1 overlap: together 6 ns less than the sum of both"
    apart = _exact(Table(2, [10, 7, 6, 3], [set(), set()]))[1][0]
    assert (apart.kind, apart.words()) == ("independent", "t0 and t1: independent")
    more = _exact(Table(2, [10, 9, 9, 3], [set(), set()]))[1][0]
    assert more.words() == "t0 and t1 together gain 5 ns more than the sum of both"
    needs = _exact(Table(2, [10, 9, 0, 3], [set(), {0}]))[1][0]
    assert (needs.kind, needs.words()) == ("needs", "t0 and t1: one needs the other")


def test_what_a_toggle_brings_to_those_that_need_it_is_theirs():
    shares = _exact(Table(2, [10, 9, 0, 3], [set(), {0}]))[0]
    assert [share.ns for share in shares] == [1, 6]
    assert [(share.first_ns, share.last_ns) for share in shares] == [(1, None), (None, 6)]


def test_a_scenario_is_attributed_exactly():
    scenario = find_scenario(SIM)
    found = attribute(scenario)
    names = default_toggles(scenario)
    lengths = {}

    def value(chosen):
        if chosen not in lengths:
            lengths[chosen] = simulate(scenario, chosen).windows["network_outage"]
        return lengths[chosen]

    want = naive.shares(names, value, lambda chosen: not refusals(chosen, "vdpa_sim"))
    assert {share.toggle: share.ns for share in found.shares} == want
    assert all(isinstance(share.ns, Fraction) and share.error_ns == 0 for share in found.shares)
    assert found.exact
    assert found.sets == 2 ** len(names)
    assert sum(share.ns for share in found.shares) == found.saving_ns
    assert (found.stock_ns, found.all_ns) == (value(frozenset()), value(frozenset(names)))
    assert len(found.pairs) == len(list(combinations(names, 2)))


def test_some_toggles_are_attributed_while_others_stay_on():
    scenario = find_scenario("talk")
    found = attribute(scenario, NEEDY, window="vm_paused")
    base = set(default_toggles(scenario)) - set(NEEDY)
    assert set(found.base) == base
    assert found.stock_ns == simulate(scenario, base).windows["vm_paused"]
    assert sum(share.ns for share in found.shares) == found.saving_ns
    kinds = {frozenset((pair.first, pair.second)): pair.kind for pair in found.pairs}
    for need, by in (("suspend", "svq-desc-asid"), ("suspend", "resumable-vqs"),
                     ("early-listener-kept", "early-device-state")):  # fmt: skip
        assert kinds[frozenset((need, by))] == "needs"
    again = attribute(scenario, reversed(NEEDY), window="vm_paused")
    assert again == found


def test_the_document_of_an_attribution_adds_up():
    document = json.loads(json.dumps(attribute(find_scenario("talk"), NEEDY[:3]).json()))
    assert sum(Fraction(share["exact_ns"]) for share in document["shares"]) == document["stock_ns"] - document["all_ns"]
    assert document["pairs"][0]["words"] == "suspend and svq-desc-asid: one needs the other"


def test_an_attribution_is_told_in_words(monkeypatch):
    scenario = find_scenario("talk")
    found = attribute(scenario, NEEDY)
    lines = list(attribution_text(found))
    assert lines[0].startswith("talk, Network outage (blackout 2): ")
    assert lines[1] == f"on throughout: {', '.join(found.base)}"
    assert lines[2].endswith(f"(exact; {found.orders} orders, {found.sets} sets):")
    shares = sorted(found.shares, key=lambda share: -share.ns)
    assert [line.split()[0] for line in lines[4:9]] == [share.toggle for share in shares]
    assert all(format_duration(float(share.ns)) in line for share, line in zip(shares, lines[4:9], strict=True))
    assert sum("needs others" in line for line in lines) == 3
    assert set(lines[10:]) <= {pair.words() for pair in found.pairs}
    monkeypatch.setattr(module, "EXACT_UP_TO", 2)
    sampled = list(attribution_text(attribute(scenario, NEEDY, orders=10)))
    assert "sampled, ± one standard error; 10 orders" in sampled[2]
    assert all(" ± " in line for line in sampled[4:9])


def test_sampling_comes_near_the_exact_shares_and_adds_up(monkeypatch):
    scenario = find_scenario("talk")
    exact = attribute(scenario, NEEDY)
    monkeypatch.setattr(module, "EXACT_UP_TO", 2)
    found = attribute(scenario, NEEDY, orders=400)
    assert not found.exact
    assert sum(share.ns for share in found.shares) == found.saving_ns == exact.saving_ns
    for share, want in zip(found.shares, exact.shares, strict=True):
        assert abs(float(share.ns - want.ns)) <= 4 * share.error_ns
    pairs = {(pair.first, pair.second): pair for pair in exact.pairs}
    for pair in found.pairs:
        want = pairs[pair.first, pair.second]
        assert pair[4:7] == want[4:7]
        assert want.kind != "needs", "two of which one needs the other are never tried both ways"
        assert abs(float(pair.ns - want.ns)) <= 4 * pair.error_ns
        assert (pair.kind == "independent") == (want.kind == "independent")
        assert pair.error_ns == 0 or f" ± {format_duration(pair.error_ns)}" in pair.words()
    assert {(pair.first, pair.second) for pair in found.pairs} == {
        key for key, pair in pairs.items() if pair.kind != "needs"
    }
    assert attribute(scenario, NEEDY, orders=400) == found
    with pytest.raises(InputError, match="orders = 1"):
        attribute(scenario, NEEDY, orders=1)
    with pytest.raises(InputError, match="seed = -1"):
        attribute(scenario, NEEDY, seed=-1)


def test_sampled_orders_are_those_that_can_be(monkeypatch):
    game = Table(4, list(range(16, 0, -1)), [set(), {0}, {1}, set()])
    assert sum(share.ns for share in _sampled(game, 50, 1)[0]) == game.ns(0) - game.ns(15)
    monkeypatch.setattr(module, "TRIES", 20)
    with pytest.raises(InputError, match="none of 20 orders"):
        _sampled(Table(2, [4, 3, 2, 1], [{1}, {0}]), 2, 1)


def test_a_circle_of_needs_has_no_order():
    with pytest.raises(InputError, match="in a circle"):
        _exact(Table(2, [4, 3, 2, 1], [{1}, {0}]))


def test_a_pair_that_gains_only_together_is_seen_in_a_sample():
    """Three toggles, of which the first two gain 6 together and nothing alone, and the third 1 whatever is on."""
    game = Table(3, [10, 10, 10, 4, 9, 9, 9, 3], [set(), set(), set()])
    pairs = {(pair.first, pair.second): pair for pair in _sampled(game, 30, 1)[1]}
    assert (pairs["t0", "t1"].ns, pairs["t0", "t1"].kind, pairs["t0", "t1"].error_ns) == (6, "gain together", 0)
    assert pairs["t0", "t1"].words() == "t0 and t1 together gain 6 ns what neither gains alone"
    assert {pairs["t0", "t2"].kind, pairs["t1", "t2"].kind} == {"independent"}


def test_an_attribution_says_when_precopy_does_not_end():
    busy = {"workload.dirty.pattern": "random", "workload.dirty.rate": 10**6, "migration.max_bandwidth": 16 * MIB}
    found = attribute(with_values(find_scenario(SIM), busy), ["suspend", "cvq-asid"])
    assert not found.converges
    assert not found.json()["converges"]
    assert list(attribution_text(found))[1].startswith("precopy does not converge: ")
    assert attribute(SIM, ["suspend", "cvq-asid"]).json()["converges"]


def test_attribution_refuses_sets_that_cannot_be():
    talk = find_scenario("talk")
    with pytest.raises(InputError, match=r"with all of them off: svq-desc-asid needs suspend"):
        attribute(talk, ["suspend"])
    with pytest.raises(InputError, match=r"with all on: .*conflicts with"):
        attribute(talk, ["early-listener", "early-listener-kept"])
    with pytest.raises(InputError, match="no optimisation 'suspnd'; did you mean 'suspend'"):
        attribute(talk, ["suspnd"])
    with pytest.raises(InputError, match="no window 'outage'"):
        attribute(talk, window="outage")


def test_attribution_tells_how_far_it_is_and_can_be_stopped():
    seen = []
    found = attribute(find_scenario(SIM), progress=seen.append)
    assert seen == list(range(1, found.sets + 1))

    def stop(count):
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attribute(find_scenario(SIM), progress=stop)
    with pytest.raises(KeyboardInterrupt):
        smallest_set(find_scenario(SIM), 1, progress=stop)


def test_a_scenario_may_be_given_by_name():
    name = "sim-256-1d"
    one, prices = find_scenario(name), {"draws": 20, "seed": 3}
    assert vdpa_lab.simulate(name).windows == vdpa_lab.simulate(one).windows
    assert vdpa_lab.plan(name, ["suspend"]) == vdpa_lab.plan(one, ["suspend"])
    assert vdpa_lab.attribute(name, ["suspend", "cvq-asid"]) == vdpa_lab.attribute(one, ["suspend", "cvq-asid"])
    assert vdpa_lab.tornado(name) == vdpa_lab.tornado(one)
    assert (vdpa_lab.monte_carlo(name, **prices).ns == vdpa_lab.monte_carlo(one, **prices).ns).all()
    few = {"among": ["suspend"], "target_ns": SECOND}
    assert vdpa_lab.smallest_set(name, **few) == vdpa_lab.smallest_set(one, **few)
    guests = {"target_ns": SECOND, "most": 4 * GIB}
    assert vdpa_lab.largest_guest(name, **guests) == vdpa_lab.largest_guest(one, **guests)
    with pytest.raises(ScenarioError, match=r"^sim-265: no such scenario .* the nearest is sim-"):
        vdpa_lab.simulate("sim-265")
