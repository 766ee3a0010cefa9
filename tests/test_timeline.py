"""Windows as marks, their breakdown to the nanosecond, and what a real migration would report."""

from dataclasses import replace
from itertools import pairwise

import pytest

from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario, scenario_names
from vdpa_lab.timeline import (
    WINDOWS,
    Lane,
    Part,
    Span,
    Term,
    Timeline,
    breakdown,
    intervals,
    summed,
    window_ns,
)
from vdpa_lab.timeline.breakdown import WAITING
from vdpa_lab.timeline.spans import LANES
from vdpa_lab.timeline.windows import counted_intervals
from vdpa_lab.units import US

LANE = Lane("source", "kernel", 0)


def hand_made():
    """Two devices in series; device 1 takes longer. Between them nothing runs for 5 ns."""
    spans = (
        Span("begin 0", "mark", LANE, 0, 10, 10),
        Span("stop 0", "SUSPEND", LANE, 0, 10, 40, (Term("a", 1, 20), Term("b", 2, 10))),
        Span("end 0", "mark", LANE, 0, 40, 40),
        Span("begin 1", "mark", LANE, 1, 45, 45),
        Span("stop 1", "SUSPEND", LANE, 1, 45, 105, (Term("a", 1, 60),)),
        Span("end 1", "mark", LANE, 1, 105, 105),
    )
    marks = {"stop-begin:0": 0, "stop-end:0": 2, "stop-begin:1": 3, "stop-end:1": 5}
    return Timeline(spans, {m: spans[i].end for m, i in marks.items()}, (-1, 0, 1, -1, 3, 4), marks)


def test_intervals_are_between_marks_one_a_device():
    found = intervals(hand_made(), WINDOWS["source_teardown"])
    assert [(each.device, each.start_ns, each.ns) for each in found] == [(0, 10, 30), (1, 45, 60)]
    assert window_ns(hand_made(), "source_teardown") == 90
    assert window_ns(hand_made(), "network_outage") is None
    assert intervals(hand_made(), WINDOWS["network_outage"]) == ()
    assert breakdown(hand_made(), WINDOWS["network_outage"]) == ()


def test_a_sum_counts_all_devices_and_a_maximum_the_longest():
    timeline = hand_made()
    longest = WINDOWS["source_teardown"]._replace(combine="max")
    assert [each.device for each in counted_intervals(timeline, longest)] == [1]
    assert [part.ns for part in breakdown(timeline, longest)] == [60]
    parts = breakdown(timeline, WINDOWS["source_teardown"])
    assert sorted((part.device, part.key, part.ns) for part in parts) == [
        (0, "a", 20),
        (0, "b", 10),
        (1, "a", 60),
    ]


def test_what_nothing_accounts_for_is_called_waiting():
    timeline = hand_made()
    whole = WINDOWS["vm_paused"]._replace(begin="stop-begin:0", end="stop-end:1")
    parts = {(part.key, part.device): part.ns for part in breakdown(timeline, whole)}
    assert parts == {("a", 1): 60, (WAITING, -1): 35}, "the cause of device 1 is unknown in this timeline"
    known = replace(timeline, waited_for=(-1, 0, 1, 2, 3, 4))
    parts = {(part.key, part.device): part.ns for part in breakdown(known, whole)}
    assert parts == {("a", 0): 20, ("b", 0): 10, (WAITING, -1): 5, ("a", 1): 60}


def test_a_span_is_cut_at_the_windows_edge_term_by_term():
    timeline = hand_made()
    marks = {**timeline.marks, "x": 25, "y": 35}
    cut = replace(timeline, marks=marks, mark_spans={**timeline.mark_spans, "y": 1})
    parts = breakdown(cut, WINDOWS["vm_paused"]._replace(begin="x", end="y"))
    assert [(part.key, part.ns) for part in parts] == [("a", 5), ("b", 5)]


def test_time_of_a_span_without_a_price_goes_by_its_operation():
    span = Span("s", "unknown call", LANE, 0, 0, 10, (Term("a", 1, 4),))
    timeline = Timeline((span,), {"x": 0, "y": 10}, (-1,), {"y": 0})
    parts = breakdown(timeline, WINDOWS["vm_paused"]._replace(begin="x", end="y"))
    assert [(part.key, part.ns) for part in parts] == [("a", 4), ("unknown call", 6)]


def test_equal_parts_are_joined_and_sorted():
    parts = [Part("x", "k", LANE, 0, 5), Part("y", "k", LANE, 0, 20), Part("x", "k", LANE, 0, 7)]
    assert [(part.op, part.ns) for part in summed(parts)] == [("y", 20), ("x", 12)]


def test_lanes_and_spans_say_what_they_are():
    assert str(LANE) == f"source {LANES['kernel']} 0"
    assert str(Lane("source", "bql")) == f"source {LANES['bql']}"
    assert Span("s", "s", LANE, 0, 3, 10).ns == 7


# --- Windows of simulated migrations.


def test_each_window_says_in_words_what_it_is():
    for name, window in WINDOWS.items():
        assert window.name == name
        assert window.title
        assert len(window.meaning) > 40
        assert window.combine in ("max", "sum")
        assert ("{d}" in window.begin) == ("{d}" in window.end)


@pytest.mark.parametrize("name", scenario_names())
def test_windows_sum_to_the_nanosecond_and_hang_together(name):
    run = simulate(find_scenario(name))
    marks, devices = run.timeline.marks, range(run.scenario.device.count)
    for window in WINDOWS:
        assert sum(part.ns for part in run.breakdown(window)) == (run.windows[window] or 0)
        assert WAITING not in {part.key for part in run.breakdown(window)}
    switch = [
        marks[f"svq-switch-end:{d}"] - marks[f"svq-switch-begin:{d}"] for d in devices if run.windows["svq_switch"]
    ]
    assert run.windows["svq_switch"] == (max(switch) if switch else None)
    assert run.windows["svq_switch_sum"] == (sum(switch) if switch else None)
    assert run.windows["source_teardown"] == sum(marks[f"stop-end:{d}"] - marks[f"stop-begin:{d}"] for d in devices)
    assert run.windows["vm_paused"] == marks["vcpus-resumed"] - marks["vcpus-paused"]
    outages = [each["ns"] for each in run.outages() if each["blackout"] == 2]
    assert outages == [marks[f"network-up:{d}"] - marks[f"stop-begin:{d}"] for d in devices]
    assert run.windows["network_outage"] == max(outages)
    assert sum(each["blackout"] == 1 for each in run.outages()) == len(switch)


def test_there_are_two_blackouts_and_the_first_ends_before_dirty_logging():
    """Trap: the switch to shadow virtqueues is an interruption of its own, with the VM running."""
    run = simulate(find_scenario("sim-256-2d"))
    first = [each for each in run.outages() if each["blackout"] == 1]
    second = [each for each in run.outages() if each["blackout"] == 2]
    logging = next(span for span in run.timeline.spans if span.op == "start dirty log")
    assert max(each["start_ns"] + each["ns"] for each in first) <= logging.start
    assert all(each["start_ns"] > logging.end for each in second)
    paused = run.timeline.marks["vcpus-paused"]
    assert all(each["start_ns"] + each["ns"] < paused for each in first)


def test_with_shadow_virtqueues_always_on_there_is_no_switch():
    run = simulate(find_scenario("sim-256-1d-svq"))
    assert run.windows["svq_switch"] is run.windows["svq_switch_sum"] is None
    assert run.breakdown("svq_switch") == ()


def test_reported_downtime_ends_with_the_flush_or_with_the_return_path():
    """Trap: without the return path it is far below the outage; with it, the destination's start is in it."""
    scenario = find_scenario("sim-256-1d-q10")
    without = simulate(scenario)
    having = simulate(replace(scenario, migration=replace(scenario.migration, return_path=True)))
    marks = without.timeline.marks
    assert marks["src-downtime-end"] == marks["src-non-iterable-saved"]
    assert without.windows["reported_downtime"] < without.windows["network_outage"]
    marks = having.timeline.marks
    assert marks["src-downtime-end"] == marks["dst-precopy-bh-vm-started"] + 50 * US
    assert having.windows["reported_downtime"] > having.windows["network_outage"]
    assert having.windows["network_outage"] == without.windows["network_outage"]


def test_devices_do_not_overlap_in_time():
    """Trap: on either host, one device at a time."""
    run = simulate(find_scenario("tatulea2024"))
    for window in ("svq_switch", "source_teardown", "destination_setup"):
        found = sorted(intervals(run.timeline, WINDOWS[window]), key=lambda each: each.start_ns)
        assert len(found) == 4
        assert all(a.start_ns + a.ns <= b.start_ns for a, b in pairwise(found))


def test_shares_by_basis_add_up():
    run = simulate(find_scenario("talk"))
    for window in WINDOWS:
        shares = run.share_by_basis(window)
        assert sum(shares.values()) == pytest.approx(int(run.windows[window] is not None))
        assert all(0 <= share <= 1 for share in shares.values())


def test_counts_are_of_operations_inside_the_window():
    run = simulate(find_scenario("sim-256-2d"))
    assert run.counts("svq_switch")["SUSPEND"] == run.counts("source_teardown")["SUSPEND"] == 2
    assert "SUSPEND" not in run.counts("destination_setup")
    assert run.counts("destination_setup")["SET_VRING_ENABLE"] == 2 * 3
