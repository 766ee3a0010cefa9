"""The dashboard's widgets, without a browser."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import ipywidgets as widgets
import pytest

import vdpa_lab
from vdpa_lab.library import bibliography
from vdpa_lab.migration import catalogue
from vdpa_lab.model import find_scenario
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.ui import dashboard as dashboards
from vdpa_lab.ui import state as states
from vdpa_lab.ui import texts
from vdpa_lab.ui.dashboard import Dashboard
from vdpa_lab.ui.state import LabState
from vdpa_lab.units import MS, SECOND

DAY = 86_400 * SECOND
HOSTILE = "<img src=x onerror=\"alert('vdpa')\">&"


class Words(HTMLParser):
    """The text of some HTML, and its tags."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


@pytest.fixture
def lab():
    shown = Dashboard(LabState(find_scenario("talk")))
    yield shown
    assert shown.failures == []


@pytest.fixture
def failing_lab():
    return Dashboard(LabState(find_scenario("talk")))


def row(lab, name):
    return lab.controls.rows[name]


def status(lab):
    return Words(lab.results.status.value).text


def every_widget(root):
    yield root
    for child in getattr(root, "children", ()):
        yield from every_widget(child)


# --- what is there ------------------------------------------------------------------------------------------


def test_every_optimisation_has_a_row_with_effect_status_and_source(lab):
    assert set(lab.controls.rows) == set(catalogue())
    for name, each in catalogue().items():
        assert row(lab, name).checkbox.description == each.title
        about = Words(row(lab, name).about.value).text
        for said in (each.effect, each.status, name):
            assert said in about
        for ref in each.refs:
            assert bibliography()[ref].title in about
            assert bibliography()[ref].author in about


def test_knobs_have_bounds_and_units(lab):
    slider = row(lab, "async-vq").knobs["in_flight"]
    assert (slider.min, slider.max, slider.description) == (1, 16, "in flight, commands")
    assert slider.disabled, "the toggle is off"
    row(lab, "async-vq").checkbox.value = True
    assert not slider.disabled
    slider.value = 2
    assert lab.state.knobs == {"async-vq": {"in_flight": 2}}


def test_every_row_is_in_the_tree_and_checkboxes_show_the_state(lab):
    boxes = [each for each in every_widget(lab) if isinstance(each, widgets.Checkbox)]
    assert len(boxes) == len(catalogue())
    assert {each.description for each in boxes if each.value} == {catalogue()[name].title for name in lab.state.on}


def test_rows_begin_with_the_scenarios_ladder(lab):
    titles = [each.description for each in every_widget(lab) if isinstance(each, widgets.Checkbox)]
    first = next(catalogue()[n] for n in lab.state.base.optimizations if catalogue()[n].layer == "kernel")
    assert titles[0] == first.title


def test_totals_name_every_window_and_what_it_rests_on(lab):
    said = Words(lab.results.totals.value).text
    for window in texts.TOTALS[:-1]:
        assert WINDOWS[window].title in said
    assert said.count("rests ") == len(texts.TOTALS[:-1])
    assert re.search(r"rests (\d+% on (measured|published|derived|fitted|guess)(, )?)+", said)


def test_the_picture_is_told_in_words(lab):
    said = Words(lab.results.alternative.value).text
    assert "Network outage (blackout 2): as shipped " in said
    assert bytes(lab.results.image.value[:4]) == b"\x89PNG"
    assert lab.results.image.layout.width


def test_the_legend_is_text(lab):
    assert "unexplained constant" in Words(lab.results.legend.value).text


def test_the_page_is_armed_from_inside_the_tree(lab):
    (output,) = [each for each in every_widget(lab) if isinstance(each, widgets.Output)]
    assert "stopPropagation" in output.outputs[0]["data"]["application/javascript"]
    assert "vdpa-root" in lab._dom_classes


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        (None, 5, "–"),
        (5, 5, "no change"),
        (5 * MS, 0, "+5.000 ms"),
        (1_500_000, 1_000_000, "+0.500 ms (+50%)"),
        (95 * MS, 100 * MS, "−5.000 ms (−5.0%)"),
        (2 * SECOND, 20 * SECOND, "−18 s (−90%)"),
        (9 * MS, SECOND, "−991.0 ms (−99.1%)"),
        (3 * SECOND, 290 * DAY, "−290 days (≈ −100%)"),
        (290 * DAY, 3 * SECOND, "+290 days (× 8,352,000)"),
        (0, SECOND, "−1,000 ms (−100%)"),
    ],
)
def test_differences_in_ms_and_percent(now, then, said):
    assert texts.difference(now, then) == said


def test_a_migration_without_outage_says_so():
    none = SimpleNamespace(windows={"network_outage": None})
    assert "no network outage" in texts.summary(none, none, "stock")


# --- what happens -------------------------------------------------------------------------------------------


def test_a_checkbox_changes_picture_and_totals(lab):
    before = lab.results.image.value, lab.results.totals.value
    row(lab, "iotlb-persist").checkbox.value = False
    assert "iotlb-persist" not in lab.state.on
    assert lab.results.image.value != before[0]
    assert lab.results.totals.value != before[1]
    change = re.search(r"data-window='source_teardown'.*?</tr>", lab.results.totals.value)[0]
    assert re.search(r"\+[\d,.]+ ms \(\+[\d,.]+%\)", change)
    row(lab, "iotlb-persist").checkbox.value = True
    assert re.search(r"−[\d,.]+ ms \(−[\d,.]+%\)", lab.results.totals.value)


def test_what_cannot_apply_is_greyed_with_the_reason(lab):
    row(lab, "suspend").checkbox.value = False
    dropped = row(lab, "resumable-vqs")
    assert not dropped.checkbox.value
    assert dropped.checkbox.disabled
    assert "Cannot apply: needs suspend." in Words(dropped.about.value).text
    assert "vdpa-off" in dropped.box._dom_classes
    assert "Dropped out with it: " in status(lab)
    row(lab, "suspend").checkbox.value = True
    assert not dropped.checkbox.disabled
    assert "vdpa-off" not in dropped.box._dom_classes


def test_a_field_changes_the_run(lab):
    lab.controls.fields["memory"].value = "64GiB"
    assert lab.run.scenario.guest.memory == 64 << 30
    assert "64 GiB" in Words(lab.head.value).text


def test_a_bad_value_is_an_alert_and_the_control_goes_back(lab):
    before = lab.results.image.value
    lab.controls.fields["devices"].value = "many"
    assert "role='alert'" in lab.results.status.value
    assert "'many' is not a whole number" in status(lab)
    assert lab.controls.fields["devices"].value == "2"
    assert lab.results.image.value == before
    lab.controls.fields["devices"].value = "1"
    assert "role='status'" in lab.results.status.value


def test_presets_ladder_and_buttons(lab):
    choices = lab.controls.choices
    choices.preset.value = "nothing"
    assert lab.state.on == ()
    choices.buttons["Next step ›"].click()
    assert lab.state.preset() == choices.preset.value == "ladder-1"
    choices.buttons["‹ Step back"].click()
    assert lab.state.on == ()
    row(lab, "suspend").checkbox.value = True
    assert choices.preset.value == ""
    choices.buttons["Reset all"].click()
    assert choices.preset.value == "own"


def test_comparison_and_kept_run(lab):
    choices = lab.controls.choices
    choices.compare.value = "nothing"
    assert "vs. stock" in Words(lab.results.totals.value).text
    choices.buttons["Keep this run"].click()
    assert choices.compare.value == "kept"
    assert "no change" in status(lab)


def test_a_change_from_the_notebook_shows_in_the_controls(lab):
    lab.state.set_toggle("iotlb-persist", False)
    lab.state.edit("qemu", "10.1")
    assert not row(lab, "iotlb-persist").checkbox.value
    assert lab.controls.fields["qemu"].value == "10.1"


def test_no_children_are_rebuilt(lab):
    before = [each.model_id for each in every_widget(lab)]
    row(lab, "suspend").checkbox.value = False
    lab.state.edit("devices", "3")
    assert [each.model_id for each in every_widget(lab)] == before


def test_a_window_that_the_migration_lacks(lab):
    always = replace(lab.state.base, device=replace(lab.state.base.device, svq="on"), optimizations=("iotlb-batch",))
    other = Dashboard(LabState(always))
    assert other.failures == []
    cells = re.search(r"data-window='svq_switch'.*?</tr>", other.results.totals.value)[0]
    assert "<td>–</td>" in cells


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_an_exception_in_a_handler_is_shown_and_recorded(failing_lab, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(failing_lab.results.picture, "png", breaks)
    row(failing_lab, "iotlb-persist").checkbox.value = False
    assert [type(error) for error in failing_lab.failures] == [ZeroDivisionError]
    assert "ZeroDivisionError: no such luck" in status(failing_lab)
    assert "role='alert'" in failing_lab.results.status.value


def test_a_button_cannot_swallow_an_exception(failing_lab, monkeypatch):
    monkeypatch.setattr(LabState, "climb", lambda *_: 1 / 0)
    failing_lab.controls.choices.buttons["Next step ›"].click()
    assert len(failing_lab.failures) == 1
    assert "ZeroDivisionError" in status(failing_lab)


# --- text from outside --------------------------------------------------------------------------------------


def test_hostile_text_stays_text(lab):
    lab.controls.fields["memory"].value = HOSTILE
    assert "<img src=x onerror=" in status(lab)
    assert "img" not in Words(lab.results.status.value).tags


def test_hostile_optimisations_and_sources_stay_text(monkeypatch):
    source = SimpleNamespace(author=HOSTILE, title=HOSTILE, date=HOSTILE, url="https://x/'" + HOSTILE)
    monkeypatch.setattr(texts, "bibliography", lambda: {"x": source})
    each = SimpleNamespace(name=HOSTILE, effect=HOSTILE, status=HOSTILE, refs=("x",))
    read = Words(texts.optimization_text(each, HOSTILE))
    assert read.text.count(HOSTILE) == 7
    assert "img" not in read.tags


def test_only_https_becomes_a_link(monkeypatch):
    source = SimpleNamespace(author="a", title="t", date="2024", url="javascript:alert(1)")
    monkeypatch.setattr(texts, "bibliography", lambda: {"x": source})
    assert Words(texts.source("x")).tags == []


def test_hostile_scenarios_stay_text():
    scenario = find_scenario("talk")
    named = SimpleNamespace(name=HOSTILE, testbed=HOSTILE, guest=scenario.guest, device=scenario.device)
    read = Words(texts.heading(named))
    assert read.text.count(HOSTILE) == 2
    assert "img" not in read.tags


# --- sessions -----------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_open(monkeypatch):
    monkeypatch.setattr(dashboards, "_OPEN", {})
    monkeypatch.setattr(states, "_SESSIONS", {})


@pytest.mark.usefixtures("nothing_open")
def test_nothing_is_lost_when_the_cell_runs_again():
    first = vdpa_lab.explore("talk")
    first.controls.rows["iotlb-persist"].checkbox.value = False
    again = vdpa_lab.explore("talk")
    assert again is first
    assert "iotlb-persist" not in again.state.on


@pytest.mark.usefixtures("nothing_open")
def test_a_closed_dashboard_opens_again_with_its_state():
    first = vdpa_lab.explore("talk")
    first.controls.rows["iotlb-persist"].checkbox.value = False
    first.close()
    again = vdpa_lab.explore("talk")
    assert again is not first
    assert not again.controls.rows["iotlb-persist"].checkbox.value


@pytest.mark.usefixtures("nothing_open")
def test_scenarios_are_explored_side_by_side():
    assert vdpa_lab.explore("talk") is not vdpa_lab.explore("liu2023")
    assert vdpa_lab.explore(find_scenario("talk")) is vdpa_lab.explore("talk")


def test_totals_say_between_which_lengths_they_lie(lab):
    text = Words(lab.results.totals.value).text
    found = re.findall(r"90 %: ([\d.]+) (ms|s) to ([\d.]+) (ms|s)", text)
    assert len(found) >= 4
    assert "90 %" in texts.interval(lab.run, "network_outage")
    low, high = map(float, re.findall(r"([\d.]+) s\b", texts.interval(lab.run, "network_outage")))
    assert low < lab.run.windows["network_outage"] / SECOND < high
    without = states.LabState(find_scenario("sim-256-1d-svq"))
    assert texts.interval(without.run, "svq_switch") == ""
