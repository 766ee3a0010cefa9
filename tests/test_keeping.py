"""Nothing that was worked out is lost: undo, sessions, tokens, exports; and nothing from outside is trusted."""

import base64
import csv
import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdpa_lab.cli import main
from vdpa_lab.export import FORMATS, TEXTS, export
from vdpa_lab.migration import simulate
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.model import Workload, find_scenario, read_scenario
from vdpa_lab.ui import dashboard as dashboards
from vdpa_lab.ui import session_file
from vdpa_lab.ui import state as states
from vdpa_lab.ui.dashboard import Dashboard
from vdpa_lab.ui.history import MOST, History, Moment
from vdpa_lab.ui.keeping import Keeping
from vdpa_lab.ui.session_file import read_session, read_token, save_session, token_of
from vdpa_lab.ui.state import LabState
from vdpa_lab.words import InputError


@pytest.fixture
def state():
    return LabState(find_scenario("talk"))


def test_undo_and_redo_go_through_every_change(state):
    seen = [state.moment()]
    for change in (
        lambda: state.set_toggle("multifd", True),
        lambda: state.set_knob("multifd", "channels", 8),
        lambda: state.edit("memory", "64GiB"),
        lambda: state.use_preset("nothing"),
    ):
        change()
        seen.append(state.moment())
    windows = state.run.windows
    for before in reversed(seen[:-1]):
        state.undo()
        assert state.moment() == before
    state.undo()
    assert state.error == "nothing to undo"
    for after in seen[1:]:
        state.redo()
        assert state.moment() == after
    state.redo()
    assert state.error == "nothing to redo"
    assert state.run.windows == windows


def test_a_new_change_after_undo_forgets_what_was_taken_back(state):
    state.set_toggle("multifd", True)
    state.undo()
    state.set_toggle("pin-threads", True)
    state.redo()
    assert state.error == "nothing to redo"
    assert "multifd" not in state.on


def test_what_is_refused_is_no_change(state):
    state.edit("memory", "much")
    state.set_toggle("resumable-vqs", "resumable-vqs" in state.on)
    assert state.history.past == []


@given(st.lists(st.sampled_from(["leave", "back", "forth"]), max_size=300))
def test_history_is_two_stacks(steps):
    history, past, future, now = History(), [], [], 0
    for number, step in enumerate(steps, 1):
        if step == "leave":
            history.leave(now)
            past, future, now = [*past, now][-MOST:], [], number
        elif step == "back":
            found = history.back(now)
            assert found == (past[-1] if past else None)
            if past:
                future.append(now)
                now = past.pop()
        else:
            found = history.forth(now)
            assert found == (future[-1] if future else None)
            if future:
                past.append(now)
                now = future.pop()


def test_a_session_comes_back_whole(state, tmp_path):
    state.set_toggle("multifd", True)
    state.set_knob("multifd", "channels", 4)
    path = tmp_path / "mine.session.json"
    save_session(path, state.moment(), state.history.past, "look at #2 <b>")
    moment, past, notes = read_session(path.read_text(), path.name)
    assert (moment, past, notes) == (state.moment(), state.history.past, "look at #2 <b>")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.session.json"]


def test_a_token_carries_the_whole_state(state):
    state.set_knob("async-vq", next(iter(state_knobs("async-vq"))), 2)
    state.edit("devices", "3")
    token = token_of(state.moment())
    assert len(token) < 2000
    assert read_token(f"  {token[:40]} {token[40:]} ") == state.moment()


def state_knobs(name):
    from vdpa_lab.migration import catalogue
    from vdpa_lab.migration.optimization import knobs_of

    return knobs_of(catalogue()[name])


def bomb():
    packed = zlib.compress(b"[" * (session_file.MOST_BYTES + 10), 9)
    return session_file.PREFIX + base64.urlsafe_b64encode(packed).decode()


@pytest.mark.parametrize("token", ["", "hello", "vl1.", "vl1.!!!!", "vl1." + "A" * 70_000, bomb(), "vl1.eJwDAAAAAAE"])
def test_damaged_tokens_are_refused_in_words(token):
    with pytest.raises(InputError, match="token"):
        read_token(token)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader_of_tokens(text):
    for token in (text, session_file.PREFIX + text):
        with pytest.raises(InputError):
            read_token(token)


def broken(**changes):
    moment = session_file.moment_document(Moment(find_scenario("sim-256-1d"), (), {}))
    document = {"format": session_file.FORMAT, "moment": moment, **changes}
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a session"),
        (json.dumps({"format": "other"}), "not a session"),
        (broken(extra=1), "unknown key 'extra'"),
        (broken(moment={"scenario": "x"}), "scenario, on and knobs"),
        (broken(notes="x" * 30_000), "at most 20000"),
        (broken(past=3), "list of states"),
        (broken(past=[{}]), "past state 1"),
        (broken(moment={"scenario": "name = 1", "on": [], "knobs": {}}), "mine"),
        (broken(moment={"scenario": 1, "on": [], "knobs": {}}), "text of a scenario"),
        (broken(moment={"scenario": "", "on": "all", "knobs": {}}), "list of names"),
        (broken(moment={"scenario": "", "on": ["multfd"], "knobs": {}}), "did you mean 'multifd'"),
        (broken(moment={"scenario": "", "on": [], "knobs": []}), "table"),
        (broken(moment={"scenario": "", "on": [], "knobs": {"x": {}, "multifd": {"y": 1}}}), "no such knobs"),
        (broken(moment={"scenario": "", "on": [], "knobs": {"multifd": {"channels": 0}}}), "out of its bounds"),
        (" " * (session_file.MOST_BYTES + 1), "larger than"),
    ],
)
def test_bad_sessions_are_refused_in_words(text, said):
    with pytest.raises(ValueError, match=said):
        read_session(text, "mine.session.json")


@pytest.mark.parametrize("form", FORMATS)
def test_exports_are_stable_and_say_where_they_come_from(form, tmp_path):
    ran = simulate(find_scenario("sim-256-1d"))
    one, two = (export(ran, tmp_path / f"{name}.{form}") for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    if form not in ("png", "pdf"):
        assert "sim-256-1d" in one.read_text()
        assert "vdpa_lab 0" in one.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one.{form}", f"two.{form}"]


def test_exports_have_the_numbers_of_the_command_line(tmp_path, capsys):
    path = tmp_path / "run.json"
    assert main(["simulate", "sim-256-1d", "--json", "--out", str(path)]) == 0
    printed, written = json.loads(capsys.readouterr().out), json.loads(path.read_text())
    assert written.pop("about")
    assert written == printed
    rows = list(csv.DictReader(line for line in export_text(tmp_path, "csv").splitlines() if not line.startswith("#")))
    assert sum(int(row["ns"]) for row in rows if row["window"] == "vm_paused") == printed["windows"]["vm_paused_ns"]


@pytest.mark.parametrize("form", FORMATS)
def test_the_page_and_the_command_line_write_the_same_file(form, tmp_path, monkeypatch):
    """With the same toggles and knobs, to the byte."""
    monkeypatch.chdir(tmp_path)
    lab = Dashboard(LabState(find_scenario("sim-256-1d")))
    lab.state.use_preset("nothing")
    for name in ("iotlb-batch", "suspend", "multifd"):
        lab.state.set_toggle(name, True)
    lab.state.set_knob("multifd", "channels", 7)
    keeping = lab.views.views[-1]
    keeping.form.value = form
    keeping.buttons["Export"].click()
    assert lab.failures == []
    theirs = tmp_path / f"theirs.{form}"
    options = ["--only", "iotlb-batch,suspend,multifd", "--knob", "multifd.channels=7", "--out", str(theirs)]
    assert main(["simulate", "sim-256-1d", *options]) == 0
    assert theirs.read_bytes() == (tmp_path / f"sim-256-1d.{form}").read_bytes()


def test_a_perfetto_file_has_the_spans_and_the_memory_that_remains(tmp_path):
    ran = simulate(find_scenario("sim-256-1d"))
    document = json.loads(export(ran, tmp_path / "x.perfetto.json").read_text())
    events = document["traceEvents"]
    zero = document["otherData"]["zero_us"]
    spans = sorted((round(e["ts"] * 1000), round(e["dur"] * 1000)) for e in events if e["ph"] == "X" and "args" in e)
    begin = -round(zero * 1000)
    assert spans == sorted((span.start - begin, span.ns) for span in ran.timeline.spans)
    counted = [(round(e["ts"] * 1000), e["args"]["value"]) for e in events if e["ph"] == "C"]
    sent = next(span for span in ran.timeline.spans if span.op == "precopy")
    points = precopy(ran.scenario).points
    assert counted == [(sent.start - begin + point.ns, point.remaining_bytes) for point in points]
    assert f"scenario: {ran.scenario.name}" in document["otherData"]["about"]


def test_a_turned_knob_is_in_every_text(tmp_path):
    """A scenario file has no knobs, so the file says how to turn them."""
    quiet = replace(find_scenario("talk"), workload=Workload())
    turned = simulate(quiet, ("async-vq", "iotlb-batch"), knobs={"async-vq": {"in_flight": 4}})
    assert turned.plan.turned == (("async-vq", "in_flight", 4),)
    for form in TEXTS:
        assert "--knob async-vq.in_flight=4" in export(turned, tmp_path / f"x.{form}").read_text()
    same = simulate(quiet, ("async-vq", "iotlb-batch"), knobs={"async-vq": {"in_flight": 16}})
    assert same.plan.turned == ()
    assert "--knob" not in export(same, tmp_path / "y.md").read_text()


def test_tables_and_texts_need_no_packets(tmp_path, monkeypatch):
    """A picture or a table of windows says nothing of them."""
    stock = simulate(find_scenario("talk"), ())
    monkeypatch.setattr(type(stock), "traffic", lambda run: pytest.fail("packets were simulated"))
    for form in FORMATS:
        if form != "json":
            assert export(stock, tmp_path / f"x.{form}").stat().st_size


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        ("async-vq", "write optimisation, knob and number"),
        ("async-vq.in_flight=many", "write optimisation, knob and number"),
        ("multifd.channels=2", "multifd is not on"),
        ("async-vq.flights=2", "no knob 'flights'"),
        ("async-vq.in_flight=17", "from 1 to 16"),
    ],
)
def test_knobs_that_cannot_be_turned_are_refused(knob, said, capsys):
    for verb in ("simulate", "plan"):
        assert main([verb, "talk", "--only", "async-vq", "--knob", knob]) == 2
        assert said in capsys.readouterr().err


def export_text(folder, form):
    return export(simulate(find_scenario("sim-256-1d")), folder / f"x.{form}").read_text()


def test_an_exported_scenario_gives_the_same_run(tmp_path):
    ran = simulate(find_scenario("talk"), ("suspend", "iotlb-batch"))
    again = simulate(read_scenario(export(ran, tmp_path / "mine.toml")))
    assert again.windows == ran.windows


def test_another_form_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match="a run is written as"):
        export(simulate(find_scenario("sim-256-1d")), tmp_path / "x.docx")
    assert main(["simulate", "sim-256-1d", "--out", str(tmp_path / "x.docx")]) == 2
    assert "written as" in capsys.readouterr().err


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = Dashboard(LabState(find_scenario("talk")))
    shown.views.tab.selected_index = len(shown.views.views)
    return shown


def test_the_page_saves_opens_and_exports(lab, tmp_path):
    keeping = lab.views.views[-1]
    assert isinstance(keeping, Keeping)
    keeping.notes.value = "first idea"
    token = keeping.token.value
    keeping.buttons["Save session"].click()
    lab.state.use_preset("nothing")
    assert keeping.token.value != token
    keeping.buttons["Open session"].click()
    assert keeping.token.value == token
    assert keeping.notes.value == "first idea"
    keeping.buttons["Export"].click()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.session.json", "talk.svg"]
    lab.state.use_preset("nothing")
    keeping.given.value = token
    assert keeping.token.value == token
    assert lab.failures == []


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a/b"])
def test_a_file_stays_beside_the_notebook(lab, tmp_path, name):
    keeping = lab.views.views[-1]
    keeping.name.value = name
    for button in keeping.buttons.values():
        button.click()
    assert list(tmp_path.iterdir()) == []
    assert len(lab.failures) == len(keeping.buttons)
    assert "no file name" in lab.results.status.value


def test_a_scenario_that_was_exported_is_opened_again(lab, tmp_path):
    page, state = lab.views.views[-1], lab.state
    assert page.title == "Keep"
    state.set_toggle("multifd", True)
    state.edit("memory", "64GiB")
    page.form.value = "toml"
    page.buttons["Export"].click()
    kept = state.run
    state.reset()
    page.buttons["Open scenario"].click()
    assert state.run.plan.applied == kept.plan.applied
    assert state.run.windows == kept.windows
    assert "Opened" in page.said.value
    state.undo()
    assert state.scenario.guest.memory == find_scenario("talk").guest.memory


def test_a_session_that_is_not_there_is_said(lab):
    lab.views.views[-1].buttons["Open session"].click()
    assert "there is no talk.session.json" in lab.results.status.value


def test_undo_and_redo_are_greyed_when_there_is_nothing(lab):
    buttons = lab.controls.choices.buttons
    assert buttons["Undo"].disabled
    assert buttons["Redo"].disabled
    lab.state.set_toggle("multifd", True)
    assert not buttons["Undo"].disabled
    buttons["Undo"].click()
    assert buttons["Undo"].disabled
    assert not buttons["Redo"].disabled


# ----------------------------------------------------------------------------------------------------------- autosave


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A function that opens a dashboard as a fresh kernel would, over one folder."""
    monkeypatch.setenv("VDPA_LAB_AUTOSAVE", str(tmp_path))

    def fresh(name="sim-256-1d"):
        monkeypatch.setattr(states, "_SESSIONS", {})
        monkeypatch.setattr(dashboards, "_OPEN", {})
        return dashboards.open_dashboard(name)

    return fresh


def test_a_restarted_kernel_loses_nothing(kept, tmp_path):
    first = kept()
    assert list(tmp_path.iterdir()) == [], "nothing was done yet"
    first.state.edit("memory", "512MiB")
    first.state.set_toggle("early-listener", False)
    first.state.notes = "half the memory"
    again = kept()
    assert again.state is not first.state
    assert again.state.moment() == first.state.moment()
    assert again.state.notes == "half the memory"
    assert "as you left it" in again.results.status.value
    again.state.undo()
    assert "early-listener" in again.state.on
    assert [path.name for path in tmp_path.iterdir()] == ["sim-256-1d.autosave.json"]


@pytest.mark.parametrize("text", ["", "{}", "[" * 5000, '{"format": "vdpa_lab session", "moment": {}}'])
def test_a_broken_file_is_put_aside(kept, tmp_path, text):
    (tmp_path / "sim-256-1d.autosave.json").write_text(text)
    shown = kept()
    assert "put aside as sim-256-1d.autosave.broken.json" in shown.results.status.value
    assert (tmp_path / "sim-256-1d.autosave.broken.json").read_text() == text
    shown.state.edit("memory", "512MiB")
    assert read_session((tmp_path / "sim-256-1d.autosave.json").read_text(), "x")[0] == shown.state.moment()


def test_a_folder_that_cannot_be_written_is_said(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("VDPA_LAB_AUTOSAVE", str(tmp_path / "absent"))
    shown = kept()
    shown.state.edit("memory", "512MiB")
    assert "not kept" in shown.state.error
