"""The views beside the downtime: lanes in time, plan, memory, sources; drawn when looked at, and safe to show."""

import base64
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from conftest import CHECKOUT
from hypothesis import given
from hypothesis import strategies as st
from pages import Words

from vdpa_lab import traces
from vdpa_lab.beside import calibrate_runs, fit_text
from vdpa_lab.library import costs_text
from vdpa_lab.migration import plan, simulate
from vdpa_lab.migration.show import plan_diff
from vdpa_lab.model import Workload, find_scenario
from vdpa_lab.plot import lanes, timeline_svg
from vdpa_lab.timeline import Lane, Span, Term, Timeline
from vdpa_lab.ui import traffic_texts, view_texts
from vdpa_lab.ui.dashboard import Dashboard
from vdpa_lab.ui.job import Job
from vdpa_lab.ui.job_page import progress_words
from vdpa_lab.ui.operations import SPANS, extent
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.worth import shares
from vdpa_lab.units import SECOND

HOSTILE = "</svg><script>alert('x')</script>&"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def lab():
    shown = Dashboard(LabState(find_scenario("talk")))
    yield shown
    assert shown.failures == []


def page(lab, number):
    lab.views.tab.selected_index = number
    return lab.views.views[number - 1].page.value


def svg_of(timeline, start, end):
    return timeline_svg(timeline, start, end, lambda span: f"{span.op} {span.ns}", title="a run")


def test_lanes_show_every_operation_of_the_window():
    """Each span with extent is in one block of its lane, and hovering over the block tells of it."""
    ran = simulate(find_scenario("sim-256-1d"))
    start, end = extent(ran.timeline, ("vm_paused",))
    found = lanes.lanes_of(ran.timeline, start, end)
    inside = [span for span in ran.timeline.spans if span.ns and span.end > start and span.start < end]
    assert sorted(span.name for spans in found.values() for span in spans) == sorted(span.name for span in inside)
    picture = ElementTree.fromstring(svg_of(ran.timeline, start, end))
    hovered = [title.text for title in picture.iter(f"{SVG}title")]
    blocks = [block for spans in found.values() for block in lanes.blocks_of(spans, (end - start) / 532)]
    assert sum(len(block.spans) for block in blocks) == len(inside)
    assert any(text.startswith("IOTLB_UPDATE ") for text in hovered)
    assert "src-vm-stopped" in " ".join(hovered)


def test_source_stands_above_the_destination():
    ran = simulate(find_scenario("talk"))
    sides = [lane.side for lane in lanes.lanes_of(ran.timeline, 0, max(s.end for s in ran.timeline.spans))]
    assert sides == sorted(sides, key=lanes.SIDES.index)
    assert {"source", "destination"} <= set(sides)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 50)), max_size=30))
def test_blocks_keep_every_span_once_and_in_order(drawn):
    at, spans = 0, []
    for number, (gap, length) in enumerate(drawn):
        at += gap
        spans.append(
            Span(f"s{number}", "op", Lane("source", "bql"), -1, at, at + length, (Term("cvq.poll", 1, length),))
        )
        at += length
    blocks = lanes.blocks_of(spans, 20.0)
    assert [span for block in blocks for span in block.spans] == spans
    assert all(a.end <= b.start for a, b in pairwise(blocks))
    for block in blocks:
        assert block.family == "cvq"
        assert len(block.spans) == 1 or all(span.ns < 16 for span in block.spans)


def test_text_from_outside_cannot_leave_its_place():
    lane = Lane("source", "bql")
    timeline = Timeline((Span(HOSTILE, HOSTILE, lane, -1, 0, 10, ()),), {HOSTILE: 5}, (-1,), {HOSTILE: 0})
    text = timeline_svg(timeline, 0, 10, lambda span: span.op, title=HOSTILE)
    assert "<script" not in text
    assert [title.text for title in ElementTree.fromstring(text).iter(f"{SVG}title")].count(HOSTILE) == 2


def test_no_time_is_no_picture():
    with pytest.raises(ValueError, match="no time lies between 5 and 5 ns"):
        svg_of(simulate(find_scenario("sim-256-1d")).timeline, 5, 5)


def test_equal_runs_give_equal_pictures():
    first, second = (simulate(find_scenario("sim-256-1d")) for _ in range(2))
    assert svg_of(first.timeline, 0, 10**9) == svg_of(second.timeline, 0, 10**9)


def test_only_the_tab_in_sight_is_drawn(lab, monkeypatch):
    drawn = []
    for view in lab.views.views[:5]:
        monkeypatch.setattr(view, "html", lambda view=view, html=view.html: drawn.append(view.title) or html())
    lab.state.set_toggle("multifd", True)
    assert drawn == []
    page(lab, 2)
    page(lab, 2)
    assert drawn == ["Plan"]
    lab.state.set_toggle("multifd", False)
    assert drawn == ["Plan", "Plan"]
    lab.views.tab.selected_index = 0
    lab.state.set_toggle("multifd", True)
    assert drawn == ["Plan", "Plan"]


def test_the_zoom_shows_less_of_the_window(lab):
    before = page(lab, 1)
    operations = lab.views.views[0]
    operations.zoom.value = (0, 1)
    after = operations.page.value
    assert after != before
    assert after.count("<rect") < before.count("<rect")
    for name in SPANS:
        operations.window.value = name
        assert operations.lanes().startswith("<svg")


def test_hovering_tells_the_price_and_its_source(lab):
    told = Words(page(lab, 1)).text
    assert re.search(r"mlx5\.mtt × [\d,]+ = [\d.]+ \w+ \((fitted|guess): \w+\)", told)


def test_the_plan_as_text_its_difference_and_its_log(lab):
    assert "IOTLB_BATCH_BEGIN" in page(lab, 2)
    kind = lab.views.views[1].kind
    kind.value = "Difference from stock"
    stock = plan(lab.state.scenario, ())
    assert Words(lab.views.views[1].page.value).text.splitlines()[:5] == plan_diff(stock, lab.run.plan).splitlines()[:5]
    kind.value = "As a kernel log"
    assert "setup-src" in lab.views.views[1].page.value


def test_a_long_text_is_cut_and_says_so():
    text = Words(view_texts.listing("line\n" * (view_texts.MOST_LINES + 7), "x")).text
    assert text.endswith("… 7 more lines")


def test_memory_shows_both_maps(lab):
    text = Words(page(lab, 3)).text
    assert "0x100000000 – 0x207fffffff" in text
    assert "passthrough, IOVA = GPA" in text
    lab.state.edit("memory", "4GiB")
    assert "0x207fffffff" not in lab.views.views[2].page.value


def test_sources_add_up_and_are_escaped(lab):
    html = page(lab, 7)
    shares = [float(share) for share in re.findall(r"<td>([\d.]+)%</td>", html)]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert shares == sorted(shares, reverse=True)
    assert "<script" not in html
    cost = lab.run.sources()[0]
    assert view_texts._source(cost)


def test_a_window_that_is_not_there_shows_the_whole_migration():
    ran = simulate(find_scenario("sim-256-1d-svq"))
    start, end = extent(ran.timeline, ("svq_switch",))
    assert (start, end) == (min(s.start for s in ran.timeline.spans), max(s.end for s in ran.timeline.spans))


def finished(view):
    view.job.wait(60)
    return Words(view.page.value).text


def test_shares_of_the_saving_are_worked_out_in_a_process(lab):
    worth = view(lab, "Worth")
    worth.start.click()
    assert worth.start.disabled
    assert not worth.stop.disabled
    text = finished(worth)
    assert "early-listener-kept" in text
    assert "on throughout: " in text
    assert "no promise of what it gains alone" in text
    assert not worth.start.disabled
    assert worth.stop.disabled


def test_a_cancelled_job_tells_nothing(lab):
    worth = view(lab, "Worth")
    worth.start.click()
    job = worth.job
    worth.stop.click()
    job.wait(60)
    assert "Cancelled." in worth.page.value
    assert worth.job is None


def test_what_a_worker_cannot_do_is_said():
    said, said_far = [], []
    for arguments in ((find_scenario("talk"), ("nobody",), ("suspend",), "network_outage"), (None, (), (), "x")):
        job = Job(shares, arguments, lambda good, why: said.append((good, why)), said_far.append)
        job.wait(60)
    assert [good for good, _ in said] == [False, False]
    assert "nobody" in said[0][1]
    assert said[1][1]
    assert "<b>" not in view_texts.failed("<b>")


def test_a_worker_that_dies_is_said():
    said = []
    job = Job(os._exit, (3,), lambda good, why: said.append((good, why)))
    job.wait(60)
    assert said == [(False, "the process that worked on it ended")]


def test_traffic_says_what_was_lost_and_why(lab):
    for field in ("rx_pps", "tx_pps"):
        lab.state.edit(field, "1000")
    text = Words(page(lab, 5)).text
    assert "source-dead" in text
    assert "rx 0.0" in text
    assert "tx 1.1" in text
    flows = lab.run.traffic().json()["flows"]
    assert f"{sum(period['delivered'] for period in flows[0]['periods']):,}" in text


def test_more_packets_than_can_be_sent_through_are_said(lab):
    """Stock QEMU without batches is out for days: the views and the document answer all the same."""
    lab.state.use_preset("nothing")
    document = lab.run.json()
    offered = document["traffic"]["too_many"]
    assert set(document["traffic"]) == {"too_many"}
    load, outage = lab.run.scenario.workload.traffic, lab.run.windows["network_outage"]
    assert offered >= (load.rx_pps + load.tx_pps) * outage // SECOND
    assert f"{offered:,} packets" in Words(page(lab, 5)).text
    assert "<svg" in page(lab, 4)


def test_no_traffic_says_how_to_have_some():
    ran = simulate(find_scenario("liu2023"))
    assert "no guest traffic" in traffic_texts.traffic(ran.traffic().json())


# ------------------------------------------------------------------------------------------- precopy, beside, workloads


def view(lab, title):
    number = next(i for i, each in enumerate(lab.views.views) if each.title == title)
    lab.views.tab.selected_index = number + 1
    return lab.views.views[number]


def test_precopy_has_controls_of_its_own_and_says_when_it_does_not_end():
    lab = Dashboard(LabState(find_scenario("sim-256-1d")))  # a few packets a second
    shown = view(lab, "Precopy")
    assert set(shown.fields) >= {"bandwidth", "limit", "pattern", "dirty_rate", "working_set", "auto_converge"}
    assert "does not converge" not in shown.page.value
    shown.fields["bandwidth"].value = "64MiB/s"
    shown.fields["working_set"].value = "256MiB"
    shown.fields["dirty_rate"].value = "100000"
    assert lab.state.scenario.workload.dirty.rate == 100_000
    assert lab.state.scenario.migration.max_bandwidth == 64 * 2**20
    assert "does not converge" in shown.page.value
    assert "<svg" in shown.page.value
    shown.fields["dirty_rate"].value = "many"
    assert "'many' is not a whole number" in lab.state.error
    lab.state.undo()
    shown.span.value = 2
    assert shown.page.value.count("<svg") == 1


def test_traffic_is_edited_where_there_was_none():
    scenario = find_scenario("sim-128-1d")
    lab = Dashboard(LabState(replace(scenario, workload=Workload())))
    shown = view(lab, "Traffic")
    assert "no guest traffic" in shown.page.value
    shown.fields["rx_pps"].value = "500"
    assert lab.state.scenario.workload.traffic.rx_pps == 500
    assert "Longest gap" in shown.page.value
    assert lab.failures == []


def test_a_recording_and_a_figure_lie_beside_the_run(lab):
    shown = view(lab, "Beside")
    assert "Choose a recorded migration" in shown.page.value
    shown.chosen.value = "v-256-1d-r2"
    text = Words(shown.page.value).text
    assert "v-256-1d-r2 (recorded) 133 ms" in text
    assert "the largest difference is" in text
    assert shown.page.value.count("<svg") == 2, "bars, and lanes"
    shown.chosen.value = "V14"
    assert "V14 After (published)" in Words(shown.page.value).text


def uploaded(name, content):
    now = datetime.now(UTC)
    return {"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": now}


def test_uploaded_logs_are_read_and_untrusted(lab):
    shown = view(lab, "Beside")
    folder = CHECKOUT / "data" / "traces" / "v-128-1d-r1"
    files = [uploaded(f"../{name}<b>", (folder / name).read_bytes())
             for name in ("trace-src.log.gz", "trace-dst.log.gz", "config.json")]  # fmt: skip
    shown.upload.value = tuple(files)
    shown.fit.job.wait(60)
    assert "Yours: " in shown.chosen.label
    assert "recorded" in Words(shown.page.value).text
    assert "<b>" not in shown.page.value
    assert lab.failures == []


def test_an_upload_that_is_no_log_is_refused_in_words():
    lab = Dashboard(LabState(find_scenario("sim-128-1d")))
    shown = view(lab, "Beside")
    shown.upload.value = (uploaded("x.txt", b"hello <script>alert(1)</script>"),)
    shown.fit.job.wait(60)
    assert "no log that can be read" in Words(shown.fit.page.value).text
    assert "<script" not in shown.fit.page.value
    shown.upload.value = tuple(uploaded(f"{n}", b"x") for n in range(9))
    assert "at most 8 files" in lab.results.status.value
    assert len(lab.failures) == 1


def test_prices_are_fitted_to_the_recording_that_is_chosen(lab):
    """The page says what `vdpa-lab calibrate RUN` says, and offers the prices as the command writes them."""
    shown = view(lab, "Beside")
    shown.chosen.value = "v-128-1d-r1"
    shown.fit.start.click()
    shown.fit.job.wait(60)
    fit = calibrate_runs([traces.run("v-128-1d-r1")])
    assert "\n".join(fit_text(fit)) in Words(shown.fit.page.value).text
    (link,) = re.findall(r"download='prices.csv' href='data:text/csv;base64,([^']*)'", shown.fit.page.value)
    assert base64.b64decode(link).decode() == costs_text([*fit.costs, *fit.constants])


def test_prices_cannot_be_fitted_to_a_figure():
    lab = Dashboard(LabState(find_scenario("sim-128-1d")))
    shown = view(lab, "Beside")
    shown.chosen.value = "V14"
    shown.fit.start.click()
    assert "choose one, or upload logs" in lab.results.status.value
    assert shown.fit.job is None


def tell_three(name, progress):
    for done in range(1, 4):
        progress((done, 3, 0.5 if done < 3 else 0.0))
    return name


def test_work_tells_how_far_it_is():
    far, said = [], []
    Job(tell_three, ("x",), lambda *answer: said.append(answer), far.append).wait(60)
    assert far == [(1, 3, 0.5), (2, 3, 0.5), (3, 3, 0.0)]
    assert said == [(True, "x")]
    assert progress_words(1, 3, 0.5) == "1 of 3, about 500 ms left"
    assert progress_words(1000, 2000, None) == "1,000 of 2,000"


def test_an_answer_that_cannot_be_shown_is_said(lab):
    page = view(lab, "Worth")
    page.work("busy", tell_three, ("<b>",), lambda name: {}[name], progress=True)
    page.job.wait(60)
    assert "KeyError" in page.page.value
    assert "<b>" not in page.page.value
    assert not page.start.disabled
