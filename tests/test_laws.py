"""The ten laws, for every optimisation of the catalogue and for every pair of them.

After a change that is meant, `REGENERATE_GOLDEN=1 pytest tests/test_laws.py` writes the golden texts of law 8
again; their diff is the review.
"""

import os
import re
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pytest

from vdpa_lab.course.catalogue_laws import choices, clash, grown, shape, unnamed_work, unsaid, unsettled
from vdpa_lab.machine.iotlb import Map, Unmap
from vdpa_lab.migration import PlanError, catalogue, default_toggles, plan, refusals, simulate
from vdpa_lab.migration.account import _steady_state
from vdpa_lab.migration.baseline import baseline
from vdpa_lab.migration.laws import ORDERS, check, work_totals
from vdpa_lab.migration.optimization import Optimization, knob, knobs_of, known, predecessors, prepared, rewrite
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.show import plan_diff, plan_text
from vdpa_lab.model import find_scenario, scenario_names
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import GIB
from vdpa_lab.words import InputError

CATALOGUE = catalogue()
FIRSTS = predecessors(CATALOGUE)
GOLDEN = Path(__file__).parent / "golden"
REGENERATE = bool(os.environ.get("REGENERATE_GOLDEN"))
# What each golden text has in both plans: all that is shipped anyway.
ALWAYS = {"suspend", "iotlb-batch", "cvq-asid"}


def small(name, *, count=2, pairs=2, memory=5 * GIB, **device):
    """A preset with less memory and fewer devices and queues: the same kinds of steps, only fewer of each."""
    scenario = find_scenario(name)
    guest, alike = scenario.guest, scenario.device
    if guest.sections is None:
        guest = replace(guest, memory=min(guest.memory, memory))
    alike = replace(alike, count=min(count, alike.count), queue_pairs=min(pairs, alike.queue_pairs), **device)
    return replace(scenario, guest=guest, device=alike)


# Every driver, both versions' order of calls, one and several devices and queue pairs, x-svq=on, a ring size
# that pre-created virtqueues do not fit, VGA, no control virtqueue.
SCENARIOS = {
    "talk": small("talk"),
    "liu2023": small("liu2023", count=1),
    "tatulea2024": small("tatulea2024", pairs=1),
    "tatulea2024precreate": small("tatulea2024precreate", queue_size=1024),
    "palmer2025": replace(small("palmer2025"), guest=replace(small("palmer2025").guest, vga=True)),
    "sim-256-1d": small("sim-256-1d"),
    "sim-256-1d-2qp": small("sim-256-1d-2qp"),
    "sim-256-1d-q10": small("sim-256-1d-q10"),
    "sim-256-2d": small("sim-256-2d"),
    "sim-256-1d-svq": small("sim-256-1d-svq"),
    "iommu": small("sim-256-1d-2qp", driver="iommu"),
    "mlx5-svq": small("talk", count=1, svq="on"),
    "no-cvq": small("sim-256-1d", cvq=False, features=None),
}


@cache
def with_needs(*names):
    """The toggles with what each needs, in catalogue order; None when needs conflict."""
    on, todo = set(names), list(names)
    while todo:
        for need in CATALOGUE[todo.pop()].requires:
            if on.isdisjoint(choices(need)):
                fitting = [each for each in choices(need) if not any(conflict(each, other) for other in on)]
                if not fitting:
                    return None
                on.add(fitting[0])
                todo.append(fitting[0])
    return known(on)


def conflict(a, b):
    return clash(CATALOGUE[a], CATALOGUE[b])


def possible(names, driver):
    """The toggles with their needs; None where they cannot apply, which then is refused in words."""
    on = with_needs(*names)
    if on is None:
        return None
    refused = refusals(on, driver)
    for name, why in refused.items():
        assert re.match(r"(only for|needs|conflicts with) .*\w", why), (name, why)
    return None if refused else on


def comes_after(a, b):
    return any(first == b or comes_after(first, b) for first in FIRSTS[a])


def in_order(on, first, then):
    """The toggles in an order that keeps what they declare and puts `first` before `then`."""
    ordered = []

    def visit(name):
        if name not in ordered:
            for each in sorted(set(FIRSTS[name]) & set(on)) + ([first] if name == then else []):
                visit(each)
            if name not in ordered:
                ordered.append(name)

    for name in sorted(on):
        visit(name)
    return [CATALOGUE[name] for name in ordered]


def written(scenario, optimizations):
    return rewrite(baseline(prepared(scenario, optimizations)), optimizations)


def keeps_the_orders(a_plan):
    """`check`, without the orders that what was applied says it does without."""
    check(a_plan, {rule for name in a_plan.applied for rule in CATALOGUE[name].lifts})


@cache
def totals(scenario, on):
    return work_totals(plan(scenario, on))


# --- 1. It says who it is.


@pytest.mark.parametrize("name", CATALOGUE)
def test_it_says_who_it_is(name):
    assert CATALOGUE[name].name == name
    assert list(unsaid(CATALOGUE[name])) == []


@pytest.mark.parametrize("name", [name for name, one in CATALOGUE.items() if knobs_of(one)])
def test_a_knob_beyond_its_ends_is_told_them(name):
    for each, about in knobs_of(CATALOGUE[name]).items():
        for beyond in (about["low"] - 1, about["high"] + 1):
            with pytest.raises(InputError, match=rf"{name}\.{each} = {beyond} .* from {about['low']}"):
                replace(CATALOGUE[name], **{each: beyond})


def test_what_says_nothing_about_itself_is_told_so():
    @dataclass(frozen=True)
    class Mute(Optimization):
        name: ClassVar = "mute"
        title: ClassVar = ""
        layer: ClassVar = "cloud"
        effect: ClassVar = "none"
        status: ClassVar = "proposed"
        refs: ClassVar = ("nobody1999",)
        requires: ClassVar = (("nothing", "suspend"),)
        conflicts: ClassVar = {"suspend": ""}
        slower: ClassVar = {"talk*": "why not"}
        bare: int = knob(3, low=1, high=4, unit="")

        def rewrite(self, plan):
            return plan

    Mute.__doc__ = None
    said = "\n".join(unsaid(Mute()))
    for each in (
        "title has",
        "layer = 'cloud'",
        "'nobody1999'",
        "no docstring",
        "not exist: nothing",
        "'suspend' has no",
    ):
        assert each in said
    assert "'talk*' is no preset" in said
    assert "knob bare has no unit" in said


@pytest.mark.parametrize("driver", ["mlx5", "vdpa_sim", "iommu"])
def test_what_cannot_apply_is_refused_in_words(driver):
    for name, one in CATALOGUE.items():
        scenario = replace(SCENARIOS["talk"], device=replace(SCENARIOS["talk"].device, driver=driver))
        if driver not in one.drivers:
            with pytest.raises(InputError, match=f"{name} cannot apply: only for .*, not {driver}"):
                plan(scenario, with_needs(name))
            continue
        if one.requires:
            with pytest.raises(InputError, match=f"{name} cannot apply: needs "):
                plan(scenario, [name])
        for other, why in one.conflicts.items():
            with pytest.raises(InputError, match=re.escape(f"{name} cannot apply: conflicts with {other}: {why}")):
                plan(scenario, {other, *with_needs(name)})


# --- 2. to 6., alone and in pairs.


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_stock_keeps_every_safety_order(scenario):
    check(plan(scenario, ()))


@pytest.mark.parametrize("name", scenario_names())
def test_presets_keep_every_safety_order(name):
    scenario = find_scenario(name)
    check(plan(scenario, ()))
    check(plan(scenario))


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("name", CATALOGUE)
def test_alone(name, scenario):
    on = possible([name], scenario.device.driver)
    if on is None:
        assert scenario.device.driver not in CATALOGUE[name].drivers
        return
    keeps_the_laws(scenario, on, {name})
    # 10. It sees the outline: a plan that is filled in before its rewrites is the one filled in after them.
    ordered = [CATALOGUE[each] for each in known(on)]
    assert written(scenario, ordered) == plan(scenario, on)
    # 6. Off is stock, exactly: nothing of it stays behind in the cached plans.
    assert plan(scenario, ()).steps == baseline(scenario).steps == baseline.__wrapped__(scenario).steps
    assert plan(scenario, ()).applied == ()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("name", CATALOGUE)
def test_in_pairs(name, scenario):
    driver = scenario.device.driver
    for other in list(CATALOGUE)[list(CATALOGUE).index(name) + 1 :]:
        on = possible([name, other], driver)
        if on is None:
            needs_clash = with_needs(name, other) is None
            other_driver = any(driver not in CATALOGUE[each].drivers for each in (name, other))
            assert needs_clash or other_driver or conflict(name, other), (name, other)
            continue
        keeps_the_laws(scenario, on, {name, other})
        if not (comes_after(name, other) or comes_after(other, name)):
            one, two = (written(scenario, in_order(on, *pair)) for pair in ((name, other), (other, name)))
            # 5. Order does not matter, or is declared.
            assert one.steps == two.steps or shape(one) == shape(two), (name, other)


def keeps_the_laws(scenario, on, named):
    rewritten = plan(scenario, on)
    # 2. It keeps every safety order.
    keeps_the_orders(rewritten)
    # 3. Work is conserved, but for what is named.
    for name in named:
        without = tuple(each for each in on if each != name)
        if not refusals(without, scenario.device.driver):
            assert not [*unnamed_work(CATALOGUE[name], totals(scenario, without), totals(scenario, on))], (name, on)
    # 4. Twice is once.
    for name in named:
        assert not [*unsettled(CATALOGUE[name], rewritten)], (name, on)
    # What the source had mapped before the migration is no matter of what is on, but for the CVQ's ASID.
    stock = [CATALOGUE["cvq-asid"]] if "cvq-asid" in on else []
    started = prepared(scenario, [CATALOGUE[name] for name in on])
    assert mapped_before(rewritten) == mapped_before(rewrite(baseline(started), stock))


def mapped_before(a_plan):
    found = (effect for effect in _steady_state(a_plan) if isinstance(effect, Map))
    return {effect.asid: {run.populated("guest") for run in effect.runs} for effect in found}


@pytest.mark.parametrize(
    "out",
    [
        ("suspend-only", "device-dirty-log", "svq-always"),
        ("suspend-only", "svq-always"),
        ("device-dirty-log", "svq-always"),
        ("suspend-only", "device-dirty-log"),
    ],
    ids="+".join,
)
def test_orders_declared_are_enough_for_any_set(out):
    """All that can be on at once, in catalogue order and in another one that keeps what is declared."""
    scenario = SCENARIOS["talk"]
    on = known(set(CATALOGUE) - {"early-listener", "map-at-load-setup", "skip-blank-reset"} - set(out))
    keeps_the_orders(plan(scenario, on))
    for first, then in combinations(on, 2):
        if not (comes_after(first, then) or comes_after(then, first)):
            turned = written(scenario, in_order(on, then, first))
            assert shape(turned) == shape(plan(scenario, on)), (first, then)


# --- 7. Downtime does not grow on any preset, or the object says where and why.


@pytest.mark.parametrize("name", scenario_names())
def test_downtime_does_not_grow(name):
    """Each optimisation beside what the preset has on: the same toggles with it and without it."""
    scenario = find_scenario(name)
    if scenario.device.count > 2:  # devices are served in series: two of them tell what four would
        scenario = replace(scenario, device=replace(scenario.device, count=2))
    windows = cache(lambda on: simulate(scenario, on).windows)

    for each, one in CATALOGUE.items():
        beside = [other for other in default_toggles(scenario) if other != each and not conflict(each, other)]
        on = possible([*beside, each], scenario.device.driver)
        if on is None:
            continue
        off = [other for other in on if other != each]
        while refused := refusals(off, scenario.device.driver):
            off = [other for other in off if other not in refused]
        longer = [*grown(name, windows(frozenset(off)), windows(frozenset([*off, each])))]
        if name in one.slower:
            assert longer, f"{each}.slower names {name}, where no downtime grows any more"
        else:
            assert not longer, f"{each}.slower has to say why for {name}"


# --- 8. Its plan reads as recorded.


@pytest.mark.parametrize("name", CATALOGUE)
def test_its_plan_reads_as_recorded(name):
    scenario, sort = small("liu2023", count=1, pairs=1), "one device of one queue pair"
    if name in ("parallel-devices", "whole-folio-pin"):
        scenario, sort = small("liu2023", pairs=1), "two devices of one queue pair, 2 MiB pages"
        scenario = replace(scenario, guest=replace(scenario.guest, backing="2M"))
    on = with_needs(name, *(ALWAYS - {name}))
    off = tuple(each for each in on if each != name)
    off = tuple(each for each in off if each not in refusals(off, "mlx5"))
    head = f"# {name} on {scenario.name}, {sort}; on in both plans: {', '.join(off)}\n"
    text = head + plan_diff(plan(scenario, off), plan(scenario, (*off, name)))
    path = GOLDEN / f"{name}.txt"
    if REGENERATE:
        path.write_text(text, encoding="utf-8")
    assert path.exists(), "new? REGENERATE_GOLDEN=1 pytest tests/test_laws.py, then read what it wrote"
    assert text == path.read_text(encoding="utf-8"), "meant? REGENERATE_GOLDEN=1 pytest tests/test_laws.py"


def test_every_golden_text_has_its_optimization():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CATALOGUE)


# --- 9. A breakdown sums to its window, exactly.


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_breakdowns_sum_to_their_windows(scenario):
    for name in (None, *CATALOGUE):
        on = () if name is None else possible([name], scenario.device.driver)
        if on is None:
            continue
        run = simulate(scenario, on)
        for window in WINDOWS:
            assert sum(part.ns for part in run.breakdown(window)) == (run.windows[window] or 0), (
                name,
                window,
            )
            assert all(part.ns > 0 for part in run.breakdown(window))


# --- The check itself finds what is wrong.


def cut(a_plan, number):
    """The plan in which this step waits for nothing."""
    steps = list(a_plan.steps)
    steps[number] = steps[number]._replace(after=())
    return Plan(a_plan.scenario, tuple(steps))


@pytest.mark.parametrize("order", ORDERS, ids=[order.rule for order in ORDERS])
def test_the_check_finds_a_step_that_waits_for_nothing(order):
    found = 0
    for name in ("talk", "sim-256-2d"):
        scenario = replace(SCENARIOS[name], device=replace(SCENARIOS[name].device, count=1))
        if "shadowing ends" in order.rule:
            scenario = replace(scenario, migration=replace(scenario.migration, cancel_after=0))
        a_plan = plan(scenario, ALWAYS | {"suspend-only"} if "passthrough" in order.rule else ALWAYS)
        for number, step in enumerate(a_plan.steps):
            if order.then(step) and any(order.first(each) for each in a_plan.steps):
                with pytest.raises(PlanError) as caught:
                    check(cut(a_plan, number))
                assert re.search(r"'.+'.*'.+'", str(caught.value)), "both steps are named"
                found += 1
                break
    assert found, "no plan tries this order"


def test_the_check_names_what_is_wrong_with_names_and_waits():
    stock = plan(SCENARIOS["sim-256-1d"], ())
    first, second, third = stock.steps[:3]
    with pytest.raises(PlanError, match=f"{re.escape(repr(first.name))} comes twice"):
        check(Plan(stock.scenario, (first, *stock.steps)))
    with pytest.raises(PlanError, match="which comes no earlier"):
        check(stock.alter([first], lambda step: step._replace(after=(third.name,))))
    with pytest.raises(PlanError, match="which is not in the plan"):
        check(stock.alter([second], lambda step: step._replace(after=("nobody",))))
    with pytest.raises(PlanError, match="does work of 'nobody'"):
        check(stock.alter([second], lambda step: step._replace(of="nobody")))


def test_the_check_follows_the_devices_memory():
    scenario = SCENARIOS["sim-256-1d"]
    stock = plan(scenario, ALWAYS)
    maps = stock.select(path="start", caller="vhost_vdpa_listener_region_add", op="IOTLB_UPDATE")
    with pytest.raises(PlanError, match="before all of its guest memory is mapped"):
        check(stock.drop(maps[3:4]))
    with pytest.raises(PlanError, match="before all of its guest memory is mapped"):
        check(stock.drop(stock.select(path="start", caller="vhost_vdpa_listener_region_add", op="set_map")))
    rings = stock.select(path="switch", caller="vhost_vdpa_svq_map_rings", op="IOTLB_UPDATE")
    with pytest.raises(PlanError, match=r"all shadow rings are mapped|not mapped before"):
        check(stock.drop(rings[:1]))
    with pytest.raises(PlanError, match=r"maps 0x0 over what .* mapped"):
        check(stock.insert([maps[0]._replace(name="again")], after=maps[0]))
    gone = maps[0]._replace(name="gone", op="IOTLB_INVALIDATE", effect=Unmap(*maps[1].effect[:2]))
    with pytest.raises(PlanError, match="not mapped like that"):
        check(stock.insert([gone], after=maps[0]))


def test_a_device_that_is_never_shadowed_has_to_tell_what_it_wrote():
    scenario = SCENARIOS["sim-256-1d"]
    scenario = replace(scenario, device=replace(scenario.device, svq="off"))
    with pytest.raises(PlanError, match="turn on suspend-only or device-dirty-log"):
        plan(scenario, ALWAYS)
    keeps_the_orders(plan(scenario, {"suspend-only", *ALWAYS}))


def test_the_check_knows_batches():
    stock = plan(SCENARIOS["sim-256-1d"], ALWAYS)
    begin = stock.select(path="start", op="IOTLB_BATCH_BEGIN")[0]
    end = stock.select(path="start", op="IOTLB_BATCH_END")[0]
    cvq = stock.select(path="start", caller="vhost_vdpa_net_cvq_start", op="IOTLB_UPDATE")[0]
    with pytest.raises(PlanError, match="begins one inside that of"):
        check(stock.insert([begin._replace(name="again")], after=begin))
    with pytest.raises(PlanError, match="ends one that none began"):
        check(stock.drop([begin]))
    with pytest.raises(PlanError, match="still is open"):
        check(stock.drop([end]))
    with pytest.raises(PlanError, match="goes to asid=1 inside"):
        check(stock.move([cvq], after=begin))
    beside = stock.reschedule([cvq], after=begin, before=stock.select(path="start", op="IOTLB_BATCH_END")[0])
    with pytest.raises(PlanError, match="a batch is closed to other messages"):
        check(beside)


def test_the_check_wants_devices_in_series():
    stock = plan(SCENARIOS["sim-256-2d"], ALWAYS)
    rule = "devices are served one after the other"
    with pytest.raises(PlanError, match=f"{rule}: .* stands where the mark 'stop-end:1' is due"):
        check(stock.drop([stock.mark("stop-end:1")]))
    with pytest.raises(PlanError, match=f"{rule}: 'start-end' is missing after"):
        check(stock.drop([stock.mark("start-end:1")]))
    begin, end, resume = (stock.mark(name) for name in ("start-begin:1", "start-end:0", "vcpus-resumed"))
    beside = stock.alter([begin], lambda step: step._replace(after=stock.mark("start-begin:0").after))
    beside = beside.alter([resume], lambda step: step._replace(after=(*step.after, end.name)))
    with pytest.raises(PlanError, match=f"{rule}: {begin.name!r} does not wait for {end.name!r}"):
        check(beside)


def test_a_plan_reads_as_a_table():
    text = plan_text(plan(SCENARIOS["sim-256-1d"], ALWAYS))
    lines = text.splitlines()
    assert lines[0].split() == ["where", "path", "caller", "operation", "detail", "work"]
    assert len({line.index(" switch ") for line in lines if line.startswith("src0 ") and " switch " in line}) == 1
    assert re.search(r"src0 +switch +vhost_vdpa_suspend +SUSPEND +arg=0x0 +vhost.ioctl=1\n", text)
    assert re.search(r"svq_unmap_rings \(CVQ\) +IOTLB_INVALIDATE +asid=1 size=0x1000 +vhost.message=1", text)
    assert plan_diff(plan(SCENARIOS["talk"]), plan(SCENARIOS["talk"])) == "no step differs\n"
