"""Published figures as a table and a picture: every row, its ratio, and what may be made of it."""

import re
from dataclasses import replace
from hashlib import sha256

import pytest
from conftest import CHECKOUT

from vdpa_lab import traces
from vdpa_lab.beside import figure_table
from vdpa_lab.beside.marks import MARKS, windows_text
from vdpa_lab.beside.tables import markdown_table
from vdpa_lab.beside.validation import validation_text
from vdpa_lab.migration import simulate
from vdpa_lab.migration.compare import compare_figures
from vdpa_lab.model import find_scenario
from vdpa_lab.model.reference import scenario_text
from vdpa_lab.plot import figures_figure
from vdpa_lab.plot.tour import write_tour
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.traces.checkpoints import NAMES
from vdpa_lab.traces.tracepoints import tracepoints
from vdpa_lab.words import InputError


def test_the_table_has_every_row_and_reading():
    table = figure_table("V1", "V12")
    rows = compare_figures(["V1", "V12"])
    assert list(table["row"]) == [row["row"] for row in rows]
    assert set(table["reading"]) == {"as printed", "rows 1-2 transposed"}
    first = table.iloc[0]
    assert (first["published"], first["met"], first["use"]) == ("20–30", "no", "fitted")
    assert float(first["ratio"]) == pytest.approx(rows[0]["ratio"], abs=0.005)
    shown = table[table["figure"] == "V12"].iloc[0]
    assert (shown["simulated"], shown["ratio"], shown["met"], shown["use"]) == ("not computed", "", "", "shown")
    assert set(figure_table("V4")["met"]) == {"yes"}
    assert figure_table("P1").iloc[0]["published"] == "none"


def test_a_panel_a_figure_and_reading():
    titles = [ax.get_title(loc="left") for ax in figures_figure("V1", "V8").axes]
    assert titles[0].startswith("V1: ")
    assert "rows 1-2 transposed" in titles[1]
    assert titles[2].startswith("V8: ")


def test_an_unknown_figure_is_refused():
    with pytest.raises(InputError, match="no figure 'V99'"):
        figure_table("V99")


def test_the_validation_report_is_what_it_would_be_now():
    """Meant? make validation"""
    assert (CHECKOUT / "docs" / "windows.md").read_text() == windows_text()
    assert (CHECKOUT / "docs" / "scenario.md").read_text() == scenario_text()
    assert (CHECKOUT / "docs" / "validation.md").read_text() == validation_text()


def test_published_figures_and_recordings_are_as_they_came():
    """Meant? make checksums"""
    data = CHECKOUT / "data"
    listed = dict(line.split("  ")[::-1] for line in (data / "SHA256SUMS").read_text().splitlines())
    found = [
        path for folder in ("published", "traces", "precopy") for path in (data / folder).rglob("*") if path.is_file()
    ]
    assert {str(path.relative_to(data)): sha256(path.read_bytes()).hexdigest() for path in found} == listed


def test_the_pictures_of_the_readme(tmp_path):
    readme = (CHECKOUT / "README.md").read_text()
    written = write_tour(tmp_path)
    for path in written:
        assert f"docs/pictures/{path.name}" in readme
        assert (CHECKOUT / "docs" / "pictures" / path.name).is_file()
    assert "as QEMU 10.1, Linux 6.12 ship it" in (tmp_path / "downtime.svg").read_text()


def test_flags_are_in_the_table_and_explained_in_the_report():
    table = figure_table("V1", "V12", "V14", "V8")
    flags = dict(zip(table["figure"], table["flags"], strict=True))
    assert flags == {"V1": "F1", "V12": "F7", "V14": "F4 F5", "V8": ""}
    report = (CHECKOUT / "docs" / "validation.md").read_text()
    assert all(f"| {flag} | {name} | " in report for name, flag in flags.items() if flag)
    assert set(figure_table("V12")["constant"]) == {""}, "nothing is computed, so no share of it"


def test_every_mark_that_bounds_a_window_is_told_and_none_else():
    assert set(MARKS) == {mark for window in WINDOWS.values() for mark in (window.begin, window.end)}
    one = find_scenario("liu2023")
    run, recorded = simulate(one), traces.run("v-256-1d-r2").timeline
    stopped = simulate(replace(one, migration=replace(one.migration, cancel_after=0)))
    for name in MARKS:
        back = name.startswith("svq-back")
        assert name.format(d=0) in (stopped if back else run).timeline.marks
        assert (name.format(d=0) in recorded.marks) != back


def test_the_marks_of_a_log_are_events_that_the_readers_know():
    known = set(tracepoints()) | set(NAMES)
    for mark in MARKS.values():
        named = re.findall(r"vhost_vdpa_\w+|vmstate_\w+|vm_state_notify|(?:src|dst)-[\w-]+", mark.log)
        assert set(named) <= known, mark


def test_a_bar_does_not_end_a_cell():
    assert markdown_table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | --- |\n| x/y | 1 |"
