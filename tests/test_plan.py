"""A plan's verbs, and what the plans of stock and shipped migrations have in them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.machine.iotlb import Map
from vdpa_lab.migration import Plan, PlanError, Step, catalogue, default_toggles, plan, simulate, vhost
from vdpa_lab.migration.account import account
from vdpa_lab.migration.baseline import stock
from vdpa_lab.migration.compare import quantity_parts
from vdpa_lab.migration.laws import Ancestry, work_totals
from vdpa_lab.migration.outline import outline
from vdpa_lab.migration.step import PATHS, where
from vdpa_lab.model import Guest, Scenario, find_scenario, scenario_names
from vdpa_lab.timeline import Lane
from vdpa_lab.units import MIB, PAGE_SIZE
from vdpa_lab.words import InputError

LANE = Lane("source", "bql")
SMALL = Scenario(name="small", guest=Guest(memory=64 * MIB))


def step(name, *after, **more):
    return Step(name, more.pop("op", name), more.pop("lane", LANE), more.pop("device", -1), "stop", "", after, **more)


def a_plan(*steps):
    return Plan(SMALL, steps)


def waits(one):
    return {each.name: each.after for each in one}


DIAMOND = a_plan(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"), step("e", "d"))


def test_select_takes_values_sets_and_sides():
    wire = Lane("wire", "link")
    mixed = a_plan(step("a", op="x"), step("b", "a", op="y", device=1), step("c", "b", op="x", lane=wire))
    assert [each.name for each in mixed.select(op="x")] == ["a", "c"]
    assert [each.name for each in mixed.select(op={"x", "y"}, side="source")] == ["a", "b"]
    assert [each.name for each in mixed.select(device=1)] == ["b"]
    assert mixed.select(op=set()) == []
    assert where(side="wire")(mixed.steps[2])
    assert list(mixed) == list(mixed.steps)


def test_devices_are_told_in_the_order_in_which_they_are_served():
    two = a_plan(step("a", device=1), step("b", device=0), step("c", device=1), step("d"))
    assert two.devices("source", "stop") == [1, 0]
    assert two.devices("destination", "stop") == two.devices("source", "start") == []


def test_drop_hands_the_waits_on():
    assert waits(DIAMOND.drop([step("b")])) == {"a": (), "c": ("a",), "d": ("a", "c"), "e": ("d",)}
    assert waits(DIAMOND.drop([step("b"), step("c")]))["d"] == ("a",)
    assert waits(DIAMOND.drop([step("b"), step("c"), step("d")]))["e"] == ("a",)
    assert waits(DIAMOND.drop([step("a")]))["b"] == ()
    assert DIAMOND.drop([]) is DIAMOND


def test_insert_puts_a_chain_before_or_after():
    new = [step("x", "nobody"), step("y")]
    before, after = DIAMOND.insert(new, before=step("d")), DIAMOND.insert(new, after=step("a"))
    assert waits(before)["x"] == ("b", "c")
    assert waits(before)["y"] == ("x",)
    assert waits(before)["d"] == ("y",)
    assert waits(after) == {
        "a": (),
        "x": ("a",),
        "y": ("x",),
        "b": ("y",),
        "c": ("y",),
        "d": ("b", "c"),
        "e": ("d",),
    }
    assert [each.name for each in after] == ["a", "x", "y", "b", "c", "d", "e"]
    assert waits(DIAMOND.insert([], after=step("a"))) == waits(DIAMOND)


def test_several_insertions_are_one_after_the_other():
    at_once = DIAMOND.insert_all({"d": [step("x")]}, {"a": [step("y")], "d": [step("z")]})
    in_turn = DIAMOND.insert([step("x")], before=step("d")).insert([step("y")], after=step("a"))
    assert at_once == in_turn.insert([step("z")], after=step("d"))


def test_move_puts_steps_in_series_elsewhere():
    moved = DIAMOND.move([step("b")], after=step("d"))
    assert waits(moved) == {"a": (), "c": ("a",), "d": ("a", "c"), "b": ("d",), "e": ("b",)}


def test_reschedule_runs_steps_beside_the_others():
    other = Lane("source", "worker", 0)
    moved = DIAMOND.reschedule([DIAMOND.steps[1], DIAMOND.steps[2]], after=step("a"), before=step("e"), lane=other)
    assert waits(moved) == {"a": (), "b": ("a",), "c": ("b",), "d": ("a",), "e": ("d", "c")}
    assert [each.lane for each in moved if each.name in "bc"] == [other, other]
    apart = DIAMOND.reschedule([DIAMOND.steps[3]], after=step("a"))
    assert waits(apart)["d"] == ("a",)
    assert waits(apart)["e"] == ("b", "c")
    assert waits(DIAMOND.reschedule([], after=step("a"))) == waits(DIAMOND)


def test_alter_and_split_keep_names_and_places():
    wide = DIAMOND.split(DIAMOND.select(op={"b", "c"}), 16)
    assert [each.width for each in wide] == [1, 16, 16, 1, 1]
    assert wide.split(wide.select(op="b"), 4) == wide, "never narrower than it was"
    assert waits(DIAMOND.alter(DIAMOND.steps, lambda each: each._replace(device=3))) == waits(DIAMOND)


def test_a_mark_is_found_by_name():
    marked = a_plan(step("a", mark="here"))
    assert marked.mark("here").name == "a"
    with pytest.raises(KeyError, match="no mark 'there'"):
        marked.mark("there")


def drawn_steps(data):
    steps = []
    for number in range(data.draw(st.integers(2, 9))):
        after = data.draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        steps.append(step(f"s{number}", *(f"s{each}" for each in sorted(after))))
    return steps


class Graph:
    """The naive twin of `edit`: names in order and sets of waits, changed one step at a time."""

    def __init__(self, steps):
        self.names, self.waits = [each.name for each in steps], {each.name: set(each.after) for each in steps}

    def hand_on(self, name, to):
        for waiting in self.waits.values():
            if name in waiting:
                waiting.remove(name)
                waiting |= to

    def take_out(self, name):
        self.hand_on(name, self.waits[name])
        self.names.remove(name)
        del self.waits[name]

    def put_before(self, name, new):
        self.names.insert(self.names.index(name), new)
        self.waits[new], self.waits[name] = self.waits[name], {new}

    def put_after(self, name, new, shoved=True):
        if shoved:
            self.hand_on(name, {new})
        self.names.insert(self.names.index(name) + 1, new)
        self.waits[new] = {name}


@given(st.data())
@settings(max_examples=150)
def test_an_edit_does_at_once_what_steps_do_in_turn(data):
    steps = drawn_steps(data)
    some = st.sets(st.sampled_from([each.name for each in steps]))
    gone, before, after, beside = (data.draw(some) for _ in range(4))
    chains = [
        {name: [step(f"{name}{tag}{n}") for n in "12"] for name in at}
        for tag, at in zip("bac", (before, after, beside), strict=True)
    ]
    found = a_plan(*steps).edit([each for each in steps if each.name in gone], *chains)
    naive = Graph(steps)
    for tag, names in (("a", after), ("c", beside)):
        for name in names:
            naive.put_after(name, f"{name}{tag}1", shoved=tag == "a")
            naive.put_after(f"{name}{tag}1", f"{name}{tag}2")
    for name in before:
        naive.put_before(name, f"{name}b2")
        naive.put_before(f"{name}b2", f"{name}b1")
    for name in gone:
        naive.take_out(name)
    assert [each.name for each in found] == naive.names
    assert {each.name: set(each.after) for each in found} == naive.waits
    later = data.draw(st.lists(st.sampled_from(found.steps), unique=True)) if found.steps else []
    turned = found.alter(later, lambda one: one.behind(()))
    for edited in (found, turned):
        again = {each.name: [step(f"{each.name}d")] for each in data.draw(st.permutations(later))[:2]}
        assert edited.edit(later[1:], after=again) == a_plan(*edited).edit(later[1:], after=again)


@given(st.data())
@settings(max_examples=150)
def test_verbs_keep_every_other_wait(data):
    """What precedes what among untouched steps stays, whatever is dropped; and no verb makes a circle."""
    steps = drawn_steps(data)
    whole, count = a_plan(*steps), len(steps)
    gone = data.draw(st.sets(st.sampled_from(range(count)), max_size=count - 1))
    rest = whole.drop([steps[number] for number in gone])
    before, after = Ancestry(whole), Ancestry(rest)
    kept = [number for number in range(count) if number not in gone]
    for first in kept:
        for then in kept:
            a, b = f"s{first}", f"s{then}"
            assert before.precedes(first, then) == after.precedes(after.index[a], after.index[b])
    anchor = steps[data.draw(st.sampled_from(kept))]
    for how in ({"before": anchor}, {"after": anchor}):
        Ancestry(rest.insert([step("x"), step("y")], **how))
    others = [steps[number] for number in kept if steps[number] != anchor]
    moved = data.draw(st.lists(st.sampled_from(others), unique=True)) if others else []
    safe = [each for each in moved if not before.precedes(before.index[each.name], before.index[anchor.name])]
    Ancestry(rest.move(safe, after=anchor))
    Ancestry(rest.reschedule(safe, after=anchor))


def test_a_plan_with_a_circle_is_told_by_both_names():
    with pytest.raises(PlanError, match="'a' waits for 'b', which comes no earlier"):
        Ancestry(a_plan(step("a", "b"), step("b", "a")))


# --- Plans of migrations.


@pytest.mark.parametrize("name", scenario_names())
def test_every_step_has_a_known_path_and_a_lane_of_its_side(name):
    for each in plan(find_scenario(name)):
        assert each.path in PATHS
        assert each.lane.side in ("source", "destination", "wire")
        assert each.lane.device in (-1, each.device)


def test_work_totals_are_sums_over_all_steps():
    one = plan(find_scenario("sim-256-1d"))
    totals = work_totals(one)
    assert list(totals) == sorted(totals)
    for key, amount in totals.items():
        assert amount == sum(pair[1] for work, _ in account(one) for pair in work if pair[0] == key) > 0


def test_the_early_listener_as_shipped_still_maps_inside_the_downtime():
    """Trap: a batch of maps is still there, of warm pages: the map at QEMU's start took the cold ones."""
    off = plan(find_scenario("sim-256-1d"), ("suspend", "iotlb-batch", "cvq-asid"))
    shipped = plan(find_scenario("sim-256-1d"), ("suspend", "iotlb-batch", "cvq-asid", "early-listener"))
    ops = [each.op for each in shipped.select(path="start", caller="vhost_vdpa_listener_region_add")]
    assert ops == ["IOTLB_BATCH_BEGIN", *["IOTLB_UPDATE"] * 6, "IOTLB_BATCH_END", "set_map"]
    assert len(shipped.select(path="init", op="IOTLB_INVALIDATE")) == 6

    def cold(one, path):
        steps = zip(one, account(one), strict=True)
        found = [dict(work).get("pin_cold.4k", 0) for each, (work, _) in steps if each.path == path]
        return sum(found)

    pages = sum(
        run.pages for each in shipped.select(path="init") if isinstance(each.effect, Map) for run in each.effect.runs
    )
    assert cold(shipped, "start") == 0
    assert 0 < cold(off, "start") < pages
    assert 0.9 * pages < cold(shipped, "init") <= pages


def test_the_early_listener_makes_the_map_in_the_downtime_cheaper():
    """Trap: it is not useless either."""
    scenario = find_scenario("sim-256-1d")
    off, on = (simulate(scenario, {"suspend", "iotlb-batch", "cvq-asid", *more}) for more in ((), ("early-listener",)))
    assert on.windows["destination_setup"] < 0.8 * off.windows["destination_setup"]
    kept = simulate(scenario, {"suspend", "iotlb-batch", "cvq-asid", "early-listener-kept"})
    assert kept.windows["destination_setup"] < 0.2 * on.windows["destination_setup"]


def test_devices_in_series_take_in_proportion():
    """Trap: four devices stop and start one after the other, so the outage grows with them.

    Without zero pages, which only the first device to map has to fault in.
    """
    four = find_scenario("tatulea2024")
    four = replace(four, guest=replace(four.guest, zero_pages=0.0))
    one = replace(four, device=replace(four.device, count=1))
    many, single = simulate(four).windows, simulate(one).windows
    for window in ("svq_switch_sum", "source_teardown", "destination_setup"):
        assert many[window] == 4 * single[window], window
    assert many["svq_switch"] == single["svq_switch"]
    assert many["network_outage"] > 3 * single["network_outage"]


def test_unpinning_is_by_small_pages_whatever_backs_them():
    """Trap: cost is linear in 4 KiB pages also of huge ones."""
    for backing in ("4k", "thp", "2M", "1G"):
        scenario = find_scenario("sim-256-1d")
        scenario = replace(scenario, guest=replace(scenario.guest, backing=backing))
        totals = work_totals(plan(scenario))
        assert totals[f"unpin.{backing}"] >= 2 * (0xFF00_000 // PAGE_SIZE)


def test_precreated_virtqueues_need_256_entries():
    """Trap 33: with any other ring size DRIVER_OK creates them all the same."""
    scenario = find_scenario("tatulea2024precreate")
    ran = {}
    for size in (256, 1024):
        fitting = replace(scenario, device=replace(scenario.device, queue_size=size))
        ran[size] = [each.op for each in plan(fitting).select(path="start", lane=Lane("destination", "firmware", 0))]
    assert "CREATE_VQ" not in ran[256]
    assert "CREATE_VQ" in ran[1024]


def test_control_commands_are_flushed_half_a_ring_at_a_time():
    """Trap: 100 VLANs are 100 commands more, and a flush for each 32."""
    scenario = find_scenario("sim-256-1d")
    features = scenario.device.negotiated_features | 1 << 19  # VIRTIO_NET_F_CTRL_VLAN
    vlans = replace(scenario, device=replace(scenario.device, vlans=100, features=features))
    plain, some = work_totals(plan(scenario)), work_totals(plan(vlans))
    assert some["cvq.command"] - plain["cvq.command"] == 2 * 100
    assert (plain["cvq.poll"], some["cvq.poll"]) == (2, 2 * 4)
    serial = plan(vlans, set(default_toggles(vlans)) - {"parallel-cvq-load"})
    assert work_totals(serial)["cvq.poll"] == some["cvq.command"]


def test_an_unknown_toggle_or_knob_is_refused_with_the_nearest():
    scenario = find_scenario("talk")
    with pytest.raises(InputError, match=r"no optimisation 'supend'.*suspend"):
        plan(scenario, ["supend"])
    with pytest.raises(InputError, match=r"no knob 'in_fligth'.*in_flight"):
        plan(scenario, ["parallel-mkey"], {"parallel-mkey": {"in_fligth": 3}})


def test_a_knob_turns_the_width():
    scenario = find_scenario("talk")
    for in_flight in (1, 4, 31):
        one = plan(scenario, ["parallel-mkey"], {"parallel-mkey": {"in_flight": in_flight}})
        assert {each.width for each in one.select(op={"CREATE_MKEY", "DESTROY_MKEY"})} == {in_flight}
    assert catalogue()["parallel-mkey"].in_flight == 31


def test_loading_state_under_a_live_map_costs_rebuilds():
    """Trap 41: an early map that stays is committed again by PAM state, and by the BAR of a graphics card."""
    scenario = find_scenario("sim-256-1d")
    for vga, rebuilds in ((False, 1), (True, 2)):
        guest = replace(scenario.guest, vga=vga, sections=None)
        one = plan(replace(scenario, guest=guest), ("suspend", "iotlb-batch", "cvq-asid", "early-listener-kept"))
        commits = one.select(path="load", op="set_map", caller="memory_region_transaction_commit")
        assert len(commits) == rebuilds
        whole = max(work["set_map.entry"] for _, work in _rebuilds(one, path="init"))
        assert all(work["set_map.entry"] == whole for _, work in _rebuilds(one, path="load"))
    lost = plan(scenario, ("suspend", "iotlb-batch", "cvq-asid", "early-listener"))
    assert lost.select(path="load", op="set_map") == [], "what the reset took away is not committed"


def _rebuilds(one, **wanted):
    matches = where(op="set_map", **wanted)
    return [(each, dict(work)) for each, (work, _) in zip(one, account(one), strict=True) if matches(each)]


def test_without_suspend_the_device_is_reset_first_and_ring_unmaps_are_cheap():
    """Trap 43: the reset takes the map down before the rings; with suspension rings leave while all RAM is mapped."""
    scenario = find_scenario("sim-256-1d")
    for names, first, asked in ((("suspend",), "SUSPEND", 2), ((), "SET_STATUS", 0)):
        one = plan(scenario, ("iotlb-batch", "cvq-asid", *names))
        ops = [each.op for each in one.select(side="source", path="stop") if each.lane.kind == "kernel"]
        assert ops[0] == first
        rings = [
            work.get("set_map.entry", 0) for _, work in _rebuilds(one, path="stop", caller="vhost_vdpa_svq_unmap_rings")
        ]
        assert len(rings) == 4
        assert min(rings) > 100 if names else max(rings) < 16
        bases = one.select(path="switch", op="GET/SET_VRING_BASE", caller="vhost_vdpa_get_vring_base")
        assert len(bases) == asked, "without it the base is the guest's used index, which no ioctl asks for"


def test_commands_in_flight_gain_up_to_the_slots_and_no_further():
    """Trap 34: 16 of 31 slots are for general objects, so 64 virtqueues take four times as long as 16."""
    base = find_scenario("tatulea2024vq")
    shipped = {"suspend", "iotlb-batch", "cvq-asid", "keep-notifiers", "async-vq"}

    def took(pairs):
        one = replace(base, device=replace(base.device, queue_pairs=pairs))
        return sum(part.ns for part in quantity_parts(simulate(one, shipped), "call:SUSPEND"))

    assert took(4) == took(8), "8 or 16 virtqueues: one round of each command"
    assert took(32) == pytest.approx(4 * took(8), rel=0.01)
    with pytest.raises(InputError, match="in_flight"):
        simulate(base, shipped, knobs={"async-vq": {"in_flight": 31}})


PHRASES = ("_stop_device", "_stop_rings", "_end_stop", "_start_rings", "_start_device")


@pytest.mark.parametrize("name", scenario_names())
def test_a_phrase_repeated_is_the_phrase_written(name, monkeypatch):
    of = outline(find_scenario(name))
    repeated = stock.__wrapped__(of)
    for phrase in PHRASES:
        monkeypatch.setattr(vhost, phrase, getattr(vhost, phrase).__wrapped__)
    assert stock.__wrapped__(of) == repeated
