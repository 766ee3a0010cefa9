"""The dashboard's sweeps and its list of earlier runs: the numbers are those of the command line and of the runs."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.plot import sweep_figure
from vdpa_lab.sweep import sweep
from vdpa_lab.sweep.axes import all_kinds
from vdpa_lab.ui.dashboard import Dashboard
from vdpa_lab.ui.downloads import MOST_BYTES, download_link
from vdpa_lab.ui.earlier import SHOWN, changes
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.sweep_page import DRAWS, Asked, axis_key, choices, read_values, sweep_html
from vdpa_lab.ui.texts import difference, duration_words
from vdpa_lab.units import GIB, SECOND


class Cells(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def lab():
    shown = Dashboard(LabState(find_scenario("sim-256-1d")))
    yield shown
    assert shown.failures == []


def view(lab, title):
    return next(each for each in lab.views.views if each.title == title)


def swept(page, seconds=120):
    page.start.click()
    page.job.wait(seconds)
    return page.page.value


def test_everything_that_the_page_offers_can_be_swept():
    """Each key is one of a scenario file, and each of its values to begin with is allowed there."""
    kinds = all_kinds(())
    for key, (title, values) in choices().items():
        assert title
        for value in read_values(key, values):
            assert kinds[key].accepts(kinds[key].read(value)), (key, value)


def test_a_sweep_over_one_field_is_that_of_the_command_line(lab):
    page = view(lab, "Sweep")
    page.first.value, page.values[0].value = "guest.memory", "128MiB, 256MiB"
    html = swept(page)
    spec = {"name": "sim-256-1d", "scenario": lab.state.scenario, "optimizations": list(lab.run.plan.applied),
            "draws": DRAWS, "windows": ["network_outage"], "axes": {"guest.memory": ["128MiB", "256MiB"]}}  # fmt: skip
    table = sweep(spec, workers=0, show=lambda _: None).table
    (link,) = re.findall(r"download='sim-256-1d-sweep.csv' href='data:text/csv;base64,([^']*)'", html)
    text = base64.b64decode(link).decode()
    assert text.startswith("# vdpa_lab sweep of sim-256-1d")
    mine = pd.read_csv(io.StringIO(text), comment="#", keep_default_na=False)
    assert mine["network_outage_ns"].tolist() == table["network_outage_ns"].tolist()
    assert "<svg" in html
    head, *rows = Cells(re.sub("<svg.*?</svg>", "", html, flags=re.S)).rows
    assert head[0] == "Memory"
    assert [row[0] for row in rows] == ["128 MiB", "256 MiB"]


def test_two_fields_make_a_heat_map_and_what_cannot_be_is_refused_in_words():
    axes = {"device.queue_pairs": [1, 2], "optimizations.suspend": [True, False]}
    asked = Asked(find_scenario("liu2023"), ("suspend", "resumable-vqs"), {}, axes, "network_outage")
    table = sweep(asked.specification() | {"draws": 0}, workers=0, show=lambda _: None).table
    html = sweep_html(asked, table)
    rows = Cells(re.sub("<svg.*?</svg>", "", html, flags=re.S)).rows[1:]
    assert [row[:2] for row in rows] == [["1", "on"], ["1", "off"], ["2", "on"], ["2", "off"]]
    assert all(("needs suspend" in row[-1]) is (row[1] == "off") for row in rows)
    assert all((row[2] == "–") is (row[1] == "off") for row in rows)
    figure = sweep_figure(table, list(axes), "network_outage_ns")
    assert len(figure.axes[0].patches) == 2, "hatched"
    refused = table.assign(network_outage_ns=pd.NA)
    assert "<svg" not in sweep_html(asked, refused)


def test_a_curve_shows_median_and_spread():
    table = pd.DataFrame({"guest.memory": np.repeat([GIB, 2 * GIB], 101), "ns": [*range(101), *range(0, 202, 2)]})
    table["ns"] *= SECOND
    axes = sweep_figure(table, ["guest.memory"], "ns").axes[0]
    assert axes.lines[0].get_ydata().tolist() == [50, 100]
    bars = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert bars == [[5, 95], [10, 190]]
    assert [each.get_text() for each in axes.get_xticklabels()] == ["1 GiB", "2 GiB"]
    with pytest.raises(ValueError, match="no run has"):
        sweep_figure(table.assign(ns=pd.NA), ["guest.memory"], "ns")


def test_bad_values_are_refused_before_anything_is_begun():
    lab = Dashboard(LabState(find_scenario("sim-256-1d")))
    page = view(lab, "Sweep")
    for first, values, second, said in (
        ("guest.memory", "much", "", "much"),
        ("guest.memory", " , ", "", "at least one value"),
        ("device.count", "1, 1", "", "given twice"),
        ("guest.memory", "128MiB", "guest.memory", "two different things"),
    ):
        page.first.value, page.second.value = first, second
        page.values[0].value = values
        page.start.click()
        assert said in lab.results.status.value, said
        assert page.job is None


def test_values_follow_what_is_varied_and_a_sweep_can_be_cancelled(lab):
    page = view(lab, "Sweep")
    page.first.value = "device.queue_pairs"
    assert page.values[0].value == choices()["device.queue_pairs"][1]
    page.second.value = "guest.memory"
    page.start.click()
    job = page.job
    assert not page.stop.disabled
    page.stop.click()
    job.wait(60)
    assert "Cancelled." in page.page.value
    assert page.job is None
    assert not page.start.disabled


def test_progress_is_seen_while_a_sweep_runs(lab):
    page = view(lab, "Sweep")
    seen = []
    page.far.observe(lambda change: seen.append(change["new"]), "value")
    page.first.value, page.values[0].value = "guest.memory", "128MiB, 256MiB"
    swept(page)
    assert any(f" of {2 * DRAWS}" in each for each in seen)
    assert page.bar.layout.visibility == "hidden"


def test_earlier_runs_are_listed_with_what_changed_and_led_back_to(lab):
    state, page = lab.state, view(lab, "Keep")
    begun = state.moment()
    off = state.on[-1]
    state.set_toggle(off, False)
    state.edit("memory", "512MiB")
    page.show()
    rows = Cells(page.earlier.page.value).rows[1:]
    assert [row[0] for row in rows] == ["2", "1", "0"]
    assert rows[0][1] == "Memory 512MiB"
    assert rows[1][1].startswith("− ")
    first = simulate(begun.scenario, begun.on).windows["network_outage"]
    assert rows[2][2:] == [duration_words(first), difference(first, state.run.windows["network_outage"])]
    page.earlier.back.value = 0
    assert state.moment() == begun
    state.undo()
    assert state.scenario.guest.memory == 512 << 20
    assert list(changes(begun, begun)) == []


def test_the_list_of_earlier_runs_is_bounded(lab):
    for number in range(SHOWN + 5):
        lab.state.edit("queue_size", str((128, 256)[number % 2]))
    page = view(lab, "Keep")
    page.show()
    assert len(Cells(page.earlier.page.value).rows) <= SHOWN + 2


def test_a_file_too_large_for_the_page_has_no_link():
    assert download_link("x.csv", b" " * (MOST_BYTES + 1)) == ""
    link = download_link("<x>.svg", b"<svg/>")
    assert "<x>" not in link
    assert "data:image/svg+xml;base64,PHN2Zy8+" in link


def test_keys_of_fields_are_those_of_scenario_files():
    from vdpa_lab.ui.fields import FIELDS

    assert axis_key(FIELDS["dirty_rate"]) == "workload.dirty.rate"
    assert axis_key(FIELDS["qemu"]) == "source.qemu"
