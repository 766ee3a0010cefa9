"""The state behind the dashboard, without browser or widgets."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import CHECKOUT

from vdpa_lab.library.features import version
from vdpa_lab.migration import catalogue, default_toggles, simulate
from vdpa_lab.migration.optimization import knobs_of
from vdpa_lab.model import find_scenario
from vdpa_lab.ui import state as states
from vdpa_lab.ui.fields import FIELDS
from vdpa_lab.ui.presets import presets, settle, why_not
from vdpa_lab.ui.state import COMPARISONS, LabState, session
from vdpa_lab.units import GIB
from vdpa_lab.words import InputError


@pytest.fixture
def state():
    return LabState(find_scenario("talk"))


def with_knobs():
    return next((name, knob) for name, each in catalogue().items() for knob in knobs_of(each))


def test_the_state_imports_no_widget_and_no_picture():
    code = (
        "import sys, vdpa_lab.ui.state; "
        "sys.exit(', '.join(n for n in ('ipywidgets', 'matplotlib', 'IPython') if n in sys.modules) or None)"
    )
    checked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_it_opens_on_the_scenario_as_it_was_read(state):
    talk = find_scenario("talk")
    assert state.scenario == state.base == talk
    assert state.on == default_toggles(talk)
    assert state.run.windows == simulate(talk).windows
    assert state.previous is None
    assert state.reference.plan.applied == presets(talk)["shipped"].names
    assert (state.error, state.notice, state.revision) == ("", "", 0)


# --- toggles ------------------------------------------------------------------------------------------------


def test_switching_a_toggle_off_and_on_again_comes_back_to_the_same_run(state):
    before = state.run
    state.set_toggle("iotlb-persist", False)
    assert "iotlb-persist" not in state.on
    assert state.previous is before
    assert state.run.windows["source_teardown"] > before.windows["source_teardown"]
    state.set_toggle("iotlb-persist", True)
    assert state.run.windows == before.windows
    assert state.revision == 2


def test_switching_off_what_others_need_says_which_drop_out(state):
    assert {"svq-desc-asid", "resumable-vqs"} <= set(state.on)
    state.set_toggle("suspend", False)
    assert not {"suspend", "svq-desc-asid", "resumable-vqs"} & set(state.on)
    assert state.notice.startswith("Device suspend is off. Dropped out with it: ")
    assert catalogue()["svq-desc-asid"].title in state.notice
    assert "Resumable virtqueues (needs suspend)" in state.notice
    assert state.error == ""


def test_the_notice_goes_with_the_next_change(state):
    state.set_toggle("suspend", False)
    state.set_toggle("iotlb-persist", False)
    assert state.notice == ""


def test_a_chain_of_needs_drops_out_whole():
    on, dropped = settle(("suspend", "svq-desc-asid", "resumable-vqs"), "mlx5")
    assert on == ("suspend", "resumable-vqs")
    assert list(dropped) == ["svq-desc-asid"]
    assert "cvq-asid" in dropped["svq-desc-asid"]


def test_of_two_that_conflict_one_stays():
    on, dropped = settle(("map-at-load-setup", "early-listener"), "mlx5")
    assert len(on) == len(dropped) == 1


def test_what_cannot_apply_is_refused_in_words_and_the_run_stays(state):
    before = state.run, state.on, state.previous
    state.set_toggle("map-at-load-setup", True)
    assert state.error.startswith("Iterative map at the destination cannot apply: conflicts with early-listener-kept")
    assert (state.run, state.on, state.previous) == before


def test_reasons_are_given_for_what_is_off_and_cannot_apply(state):
    state.set_toggle("suspend", False)
    reasons = state.reasons()
    assert set(reasons) == set(catalogue())
    assert reasons["resumable-vqs"] == "needs suspend"
    assert "conflicts with early-listener-kept" in reasons["map-at-load-setup"]
    assert reasons["suspend"] == ""
    assert not any(reasons[name] for name in state.on)


def test_reasons_name_the_driver():
    talk = find_scenario("talk")
    sim = LabState(replace(talk, device=replace(talk.device, driver="vdpa_sim")))
    assert "resumable-vqs" not in sim.on
    assert sim.reasons()["resumable-vqs"] == "only for mlx5 devices, not vdpa_sim"


def test_an_unknown_toggle_is_refused_by_name(state):
    with pytest.raises(InputError, match="did you mean 'suspend'"):
        state.set_toggle("suspnd", True)


def test_setting_what_is_set_keeps_the_previous_run(state):
    state.set_toggle("iotlb-persist", False)
    before = state.run, state.previous
    state.set_toggle("iotlb-persist", False)
    assert (state.run, state.previous) == before


# --- knobs --------------------------------------------------------------------------------------------------


def test_a_knob_counts_while_its_toggle_is_on(state):
    name, knob = "async-vq", "in_flight"
    state.set_toggle(name, True)
    wide = state.run.windows["svq_switch"]
    state.set_knob(name, knob, 1)
    assert state.run.windows["svq_switch"] > wide
    state.set_toggle(name, False)
    assert state.knobs == {name: {knob: 1}}


def test_a_knob_out_of_bounds_is_refused(state):
    name, knob = with_knobs()
    state.set_toggle(name, True)
    before = state.run
    state.set_knob(name, knob, 10**6)
    assert "is not allowed" in state.error
    assert state.knobs == {}
    assert state.run is before


# --- the scenario -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "read"),
    [
        ("memory", "64GiB", lambda s: s.guest.memory == 64 * GIB),
        ("backing", "2M", lambda s: s.guest.backing == "2M"),
        ("devices", " 4 ", lambda s: s.device.count == 4),
        ("queue_pairs", "8", lambda s: s.device.queue_pairs == 8),
        ("queue_size", "512", lambda s: s.device.queue_size == 512),
        ("qemu", "10.1", lambda s: s.source.qemu == s.destination.qemu == "10.1"),
        ("linux", "6.12", lambda s: s.source.linux == s.destination.linux == "6.12"),
    ],
)
def test_a_field_can_be_edited(state, field, text, read):
    state.edit(field, text)
    assert state.error == ""
    assert read(state.scenario)
    assert state.run.scenario == state.scenario
    assert FIELDS[field].text(state.scenario) == text.strip()


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("memory", "12x", "is not a size"),
        ("memory", "1KiB", "4MiB"),
        ("backing", "3M", "4k | thp | 2M | 1G"),
        ("devices", "two", "'two' is not a whole number"),
        ("devices", "0", "from 1 to 64"),
        ("queue_size", "300", "power of two"),
        ("qemu", "latest", "8.2"),
        ("memory", "128MiB", "working_set"),
    ],
)
def test_a_bad_value_leaves_the_last_good_run(state, field, text, said):
    before = state.run, state.scenario, state.previous
    state.edit(field, text)
    assert state.error.startswith(f"{FIELDS[field].title}: ")
    assert said in state.error
    assert (state.run, state.scenario, state.previous) == before
    state.edit("devices", "3")
    assert state.error == ""


def test_the_same_value_again_changes_nothing(state):
    state.edit("devices", "zero")
    before = state.run, state.previous
    state.edit("devices", "2")
    assert (state.run, state.previous, state.error) == (*before, "")


def test_an_unknown_field_is_refused_by_name(state):
    with pytest.raises(InputError, match="did you mean 'memory'"):
        state.edit("memry", "1GiB")


def test_other_versions_ship_other_toggles(state):
    before = state.presets()["shipped"].names
    state.edit("linux", "6.12")
    state.edit("qemu", "10.1")
    assert set(before) < set(state.presets()["shipped"].names)
    assert "QEMU 10.1, Linux 6.12" in state.presets()["shipped"].title
    assert state.reference.plan.applied == state.presets()["shipped"].names


def test_other_versions_say_what_they_ship_besides(state):
    """Two hosts of Linux 6.12 ship parallel suspend; what is on stays as it was chosen."""
    on = state.on
    state.edit("linux", "6.12")
    assert catalogue()["async-vq"].title in state.notice
    assert "this comes with it:" in state.notice
    assert state.on == on
    state.edit("linux", "6.0")
    assert "this is not in it:" in state.notice
    state.edit("devices", "4")
    assert state.notice == ""


@pytest.mark.parametrize("part", ["qemu", "linux"])
def test_versions_to_choose_from_are_those_with_which_something_changes(state, part):
    """Read from the file as text, from the first release that can suspend a device on."""
    told = (CHECKOUT / "data" / "features.toml").read_text(encoding="utf-8")
    found = set(re.findall(rf'^{part}(?:_from|_until)? = "([\d.]+)"', told, re.MULTILINE))
    first = {"qemu": "8.0", "linux": "6.0"}[part]
    assert set(FIELDS[part].options) == {each for each in found if version(each) >= version(first)}
    assert sorted(FIELDS[part].options, key=version) == list(FIELDS[part].options)


# --- presets and ladder -------------------------------------------------------------------------------------


def test_presets_can_apply_as_they_are(state):
    for preset in state.presets().values():
        assert settle(preset.names, "mlx5") == (preset.names, {})


def test_presets_are_recognised(state):
    assert state.preset() == "own"
    for key in ("nothing", "shipped", "ladder-1", "own"):
        state.use_preset(key)
        assert state.preset() == key
    state.set_toggle("iotlb-persist", False)
    assert state.preset() == ""
    with pytest.raises(InputError, match="no preset"):
        state.use_preset("everything")


def test_other_ways_stand_on_what_ships(state):
    found = state.presets()
    ships = set(found["shipped"].names)
    assert set(found["other-vmm"].names) == ships | {"suspend", "suspend-only"}
    assert set(found["always"].names) == ships | {"svq-always"}
    for key in ("other-vmm", "always"):
        state.use_preset(key)
        assert state.preset() == key
    state.use_preset("other-vmm")
    assert state.run.windows["svq_switch"] is None
    state.use_preset("always")
    assert state.run.windows["network_outage"] is not None


def test_all_that_go_together_leaves_out_only_what_conflicts(state):
    state.use_preset("all")
    assert state.preset() == "all"
    left = set(catalogue()) - set(state.on)
    driver = state.scenario.device.driver
    assert left
    assert all(why_not(name, state.on, driver) for name in left)


def test_the_ladder_is_the_scenarios_own_list_step_by_step(state):
    own = state.base.optimizations
    state.use_preset("nothing")
    assert (state.on, state.ladder_step()) == ((), 0)
    for step, name in enumerate(own, start=1):
        state.climb(1)
        assert set(state.on) == set(own[:step])
        assert state.ladder_step() == step
        assert catalogue()[name].title in state.presets()[f"ladder-{step}"].title
        assert state.notice == f"{state.presets()[f'ladder-{step}'].title}."
    state.climb(1)
    assert state.preset() == "own"
    assert state.notice == ""
    state.climb(-1)
    assert set(state.on) == set(own[:-1])


def test_below_the_ladder_nothing_is_on(state):
    state.use_preset("ladder-1")
    state.climb(-1)
    assert state.on == ()
    state.climb(-1)
    assert state.on == ()


def test_reset_goes_back_to_the_file(state):
    state.edit("devices", "4")
    state.use_preset("nothing")
    state.reset()
    assert state.scenario == state.base
    assert state.preset() == "own"


# --- comparison ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [key for key in COMPARISONS if key != "kept"])
def test_it_compares_with_a_preset(state, key):
    state.compare(key)
    assert state.reference.plan.applied == state.presets()[key].names
    assert state.comparison() == COMPARISONS[key]


def test_a_kept_run_stays_whatever_changes(state):
    state.compare("kept")
    assert "no run was kept" in state.error
    kept = state.run
    state.keep()
    state.edit("devices", "4")
    assert state.reference is kept
    with pytest.raises(InputError, match="no comparison"):
        state.compare("keep")


# --- sessions -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_sessions(monkeypatch):
    monkeypatch.setattr(states, "_SESSIONS", {})


@pytest.mark.usefixtures("no_sessions")
def test_a_session_is_kept_by_name():
    first = session("talk")
    first.set_toggle("suspend", False)
    assert session("talk") is first
    assert session("liu2023") is not first


@pytest.mark.usefixtures("no_sessions")
def test_a_scenario_that_reads_otherwise_begins_anew():
    first = session("talk")
    other = replace(first.base, description="edited on disk")
    assert session(other) is not first
    assert session(other).base == other
