"""A migration that is cancelled: no switchover, and a third blackout on the source that ends in passthrough."""

from dataclasses import replace

import pytest

from vdpa_lab.migration import catalogue, plan, precopy, simulate
from vdpa_lab.migration.laws import check
from vdpa_lab.migration.optimization import default_toggles, refusals
from vdpa_lab.model import Dirty, Traffic, Workload, find_scenario, read_scenario, scenario_names, write_scenario
from vdpa_lab.plot import bar_of, shown_windows, whole_figure
from vdpa_lab.report import run_text
from vdpa_lab.sweep import attribute
from vdpa_lab.ui.results import Results
from vdpa_lab.ui.state import LabState
from vdpa_lab.ui.theme import Theme
from vdpa_lab.ui.workload import precopy_words
from vdpa_lab.units import GIB, MS, SECOND
from vdpa_lab.words import InputError

CATALOGUE = catalogue()


def cancelled(name, after=SECOND, **device):
    one = find_scenario(name)
    return replace(
        one,
        migration=replace(one.migration, cancel_after=after),
        device=replace(one.device, **device),
        workload=Workload(Dirty("random", 10_000, min(GIB, one.guest.memory // 4))),
    )


def ops(run, path, side="source"):
    return [step for step in run.plan if step.path == path and step.lane.side == side]


def test_cancel_is_not_instant():
    """Trap 38: "cancel is instant": each ring's unmap rebuilds all of RAM's map; reset, unpin, pin; the VM runs."""
    one = cancelled("liu2023")
    run = simulate(one, ["suspend", "iotlb-batch", "cvq-asid"])
    # Unmapping shadow rings rebuilds the whole map each time, as at the switchover; then RAM is mapped once more.
    assert run.windows["third_blackout"] > run.windows["svq_switch"] > SECOND
    whole = simulate(replace(one, migration=replace(one.migration, cancel_after=None)), run.plan.applied)
    assert run.windows["third_blackout"] > whole.windows["source_teardown"] / one.device.count
    for window in ("vm_paused", "reported_downtime", "network_outage", "source_teardown", "destination_setup"):
        assert run.windows[window] is None, window
    assert {each["blackout"] for each in run.outages()} == {1, 3}
    assert not run.plan.select(op={"pause vCPUs", "last RAM", "resume vCPUs"})
    again = run.timeline.marks["svq-back-begin:1"]
    assert again > run.timeline.marks["svq-switch-end:0"] + SECOND
    assert sum(part.ns for part in run.breakdown("third_blackout")) == run.windows["third_blackout"]


def test_the_devices_go_back_in_series_and_into_the_cvqs_own_address_space():
    run = simulate(cancelled("liu2023"), ["suspend", "iotlb-batch", "cvq-asid"])
    back = ops(run, "back")
    device = run.scenario.device
    marks = [step.mark for step in back if step.mark]
    assert marks == ["svq-back-begin:1", "svq-back-end:1", "svq-back-begin:0", "svq-back-end:0"]
    first = [step for step in back if step.device == 1]
    details = [(step.op, step.detail) for step in first if step.detail and step.lane.kind == "kernel"]
    assert details[0][0] == "SUSPEND"
    assert [each for each in details if each[0] == "SET_GROUP_ASID"] == [("SET_GROUP_ASID", "arg=0x100000001")]
    ram = [step for step in first if step.op == "IOTLB_UPDATE" and step.effect.asid == 0]
    assert {step.caller for step in ram} == {"vhost_vdpa_listener_region_add"}, "rings are the guest's own again"
    unmapped = [step for step in first if step.op == "IOTLB_INVALIDATE"]
    assert {step.effect.asid for step in unmapped} == {0}, "in shadow mode all is in one address space"
    # 2 areas of each shadow ring, the CVQ's among them, rebuild the whole map each; its two buffers after the reset.
    rebuilt = [step for step in first if step.op == "set_map" and "unmap_rings" in step.caller]
    assert len(rebuilt) == 2 * (device.data_vqs + 1)
    # Positions are those that QEMU knows of its shadow rings: the device is not asked.
    assert not [step for step in first if step.caller == "vhost_vdpa_get_vring_base"]


def test_what_is_there_and_what_was_there_before_the_migration_are_the_same():
    """Everything mapped by the switch is unmapped by the return, and the other way round, rings and RAM."""
    run = simulate(cancelled("sim-256-2d", 100 * MS), ["suspend", "cvq-asid"])

    def messages(path, op):
        return sorted(
            (step.device, step.effect.asid, each.iova, each.size)
            for step in ops(run, path)
            if step.op == op
            for each in step.effect.runs
        )

    assert messages("back", "IOTLB_INVALIDATE") == messages("switch", "IOTLB_UPDATE")
    assert messages("back", "IOTLB_UPDATE") == messages("switch", "IOTLB_INVALIDATE")


@pytest.mark.parametrize("name", scenario_names())
def test_presets_keep_every_safety_order_when_cancelled(name):
    one = cancelled(name)
    for names in ((), None):
        check(plan(one, names))
        check(plan(replace(one, migration=replace(one.migration, cancel_after=0)), names))


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_optimisation_keeps_the_orders_of_a_cancelled_migration(name):
    one = cancelled("liu2023", count=2, queue_pairs=1, active_pairs=1)
    each = CATALOGUE[name]
    needs = [need if isinstance(need, str) else need[0] for need in each.requires]
    needs += [need for other in needs for need in CATALOGUE[other].requires if isinstance(need, str)]
    beside = [
        other
        for other in ("suspend", "iotlb-batch", "cvq-asid")
        if other not in each.conflicts and name not in CATALOGUE[other].conflicts
    ]
    for others in (needs, [*needs, *beside]):
        on = list(dict.fromkeys([*others, name]))
        assert not refusals(on, "mlx5")
        try:
            made = plan(one, on)
        except InputError:
            raise AssertionError(on) from None
        check(made, each.lifts)
        shadowing = made.scenario.device.svq == "auto"
        assert bool([step for step in made if step.path == "back"]) == shadowing


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("suspend", False),
        ("iotlb-batch", True),
        ("svq-map-batch", True),
        ("svq-desc-asid", True),
        ("parallel-mkey", True),
    ],
)
def test_what_shortens_the_switch_shortens_the_return(name, saved):
    one = cancelled("liu2023", count=1)
    toggles = [each for each in ("suspend", "iotlb-batch", "cvq-asid") if each != name]
    without, having = (simulate(one, on).windows["third_blackout"] for on in (toggles, [*toggles, name]))
    assert (having < without) == saved


def test_precopy_ends_when_cancel_comes():
    """The thread sees it when it wakes: at the end of a window at the latest. Nothing is decided then."""
    one = cancelled("talk", 3 * SECOND)
    run = precopy.precopy(one)
    assert run.cancelled
    assert not run.converged
    assert 3 * SECOND <= run.total_ns <= 3 * SECOND + precopy.WINDOW
    assert run.left_pages > 0
    assert sum(each.sent_bytes for each in run.iterations) == run.transferred_bytes
    small = cancelled("sim-128-1d", 100 * MS)
    exact, amounts = precopy.precopy(small, exact=True), precopy.precopy(small)
    assert exact.cancelled is amounts.cancelled is True
    assert exact.total_ns == pytest.approx(amounts.total_ns, rel=0.05)
    assert exact.left_pages == pytest.approx(amounts.left_pages, rel=0.05)
    assert f"{run.left_pages:,} pages are left when it is cancelled." in precopy_words(run)
    at_once = precopy.precopy(cancelled("talk", 0))
    assert (at_once.total_ns, at_once.transferred_bytes) == (0, 0)


def test_a_cancellation_ends_what_does_not_converge():
    stuck = cancelled("talk", 100 * SECOND)
    stuck = replace(stuck, workload=Workload(Dirty("random", 200_000, 8 * GIB)))
    run = precopy.precopy(stuck)
    assert run.cancelled
    assert 100 * SECOND <= run.total_ns < 101 * SECOND
    never = precopy.precopy(replace(stuck, migration=replace(stuck.migration, cancel_after=None)))
    assert not never.cancelled
    assert not never.converged


def test_too_late_to_cancel():
    """Once precopy has ended the migration goes on as without."""
    one = cancelled("sim-128-1d", 3600 * SECOND)
    done = simulate(replace(one, migration=replace(one.migration, cancel_after=None)))
    late = simulate(one)
    assert late.windows == done.windows
    assert late.windows["third_blackout"] is None
    assert late.plan.steps == done.plan.steps


def test_without_shadowing_no_device_goes_dark():
    """x-svq=on: log_global_enable has nothing to switch."""
    run = simulate(cancelled("sim-256-1d-svq", 100 * MS))
    assert run.windows["third_blackout"] is None
    assert run.windows["network_outage"] is None
    assert run.outages() == []


def test_the_document_says_that_it_was_cancelled(tmp_path):
    one = cancelled("sim-128-1d", 100 * MS)
    run = simulate(one)
    found = run.json()
    assert found["precopy"]["cancelled"] is True
    assert found["traffic"] == {}
    assert found["windows"]["third_blackout_ns"] == run.windows["third_blackout"] > 0
    assert found["counts"]["third_blackout"]["SUSPEND"] == 1
    assert sum(found["share_by_basis"].values()) == 0
    path = tmp_path / "one.toml"
    path.write_text(write_scenario(one), encoding="utf-8")
    assert read_scenario(path) == one
    assert default_toggles(one)


def test_packets_of_a_cancelled_migration():
    """Each device is dark twice and then as it was: no new place, nothing to learn, no announcement, no pause."""
    one = cancelled("sim-256-2d", 200 * MS)
    run = simulate(replace(one, workload=replace(one.workload, traffic=Traffic(3000, 3000))))
    found = run.traffic()
    assert (found.rounds, found.self_announce_ns, found.learned_ns) == ((), (), (None, None))
    dark = {(each["device"], each["blackout"]): each["ns"] for each in run.outages()}
    for flow in found.flows:
        assert [each.name for each in flow.periods] == ["before", "blackout-1", "precopy", "blackout-3", "after"]
        for each in flow.periods:
            assert each.offered == each.delivered + sum(each.dropped.values()) + each.queued
        last = flow.periods[-1]
        assert last.delivered == last.offered > 1000
        assert {each.blackout for each in flow.gaps} == {0, 1, 3}
        if flow.direction == "rx":
            for period, number in ((1, 1), (3, 3)):
                expected = dark[flow.device, number] * 3000 / SECOND
                assert flow.periods[period].dropped == {"source-dead": pytest.approx(expected, abs=2)}
            assert flow.gaps[-1].outage_ns >= dark[flow.device, 3] - MS, "the last frames come when it stops"
        else:
            # Whoever kicks stands still until both devices are back; the VM itself is never paused.
            assert (
                0
                < flow.periods[3].withheld + flow.periods[4].withheld
                <= sum(dark[d, 3] for d in (0, 1)) * 3000 / SECOND
            )


def test_shadowed_packets_do_not_notice_a_cancellation():
    one = cancelled("sim-256-1d-svq", 200 * MS)
    found = simulate(replace(one, workload=replace(one.workload, traffic=Traffic(3000, 3000)))).traffic()
    for flow in found.flows:
        assert flow.total("offered") == flow.total("delivered") > 1000
        assert not flow.total("withheld")


def test_what_is_drawn_and_told_of_a_cancelled_migration():
    one = cancelled("sim-256-1d", 200 * MS)
    run = simulate(replace(one, workload=replace(one.workload, traffic=Traffic(1000, 1000))))
    figure = whole_figure(run)
    assert "blackout 1 and 3" in figure.axes[-1].get_xlabel()
    assert len(figure.axes[-1].patches) > 0
    zoomed = whole_figure(run, 3).axes[0].get_xlim()
    assert zoomed[0] < run.timeline.marks["svq-back-begin:0"] / SECOND < zoomed[1]
    bars = [bar_of(run, "now")]
    assert shown_windows(bars)[-1] == "third_blackout"
    assert bars[0].total("third_blackout") == run.windows["third_blackout"]
    assert "third_blackout" not in shown_windows([bar_of(simulate(find_scenario("sim-256-1d")), "now")])
    said = "\n".join(run_text(run))
    assert "blackout 3 rests on" in said
    assert "network outage rests on" not in said
    with pytest.raises(InputError, match="no network_outage"):
        attribute(one, ["iotlb-batch"])
    assert attribute(one, ["iotlb-batch"], window="third_blackout").stock_ns > 0


def test_the_dashboard_cancels():
    state = LabState(find_scenario("sim-256-1d"))
    results = Results(state, Theme())
    results.show()
    before = results.totals.value
    state.edit("cancel", "100ms")
    results.show()
    results.tell()
    assert "Cancelled: no switchover" in results.status.value
    assert "data-window='third_blackout'" in results.totals.value
    assert "data-window='third_blackout'" not in before
    state.edit("cancel", "never")
    results.show()
    assert results.totals.value.count("third_blackout") == 1, "the previous run is still there"
