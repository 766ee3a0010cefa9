"""What rewrites see of a scenario, and the amounts that are filled in behind them.

That rewrites make the same of a plan that is filled in before is law 10 of tests/test_laws.py.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from vdpa_lab.machine.iova import steady_memory
from vdpa_lab.migration import Optimization, Plan, Step, plan
from vdpa_lab.migration.baseline import stock
from vdpa_lab.migration.optimization import rewrite
from vdpa_lab.migration.outline import Amount, filled, open_places, outline
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.model import Dirty, Workload, find_scenario, scenario_names
from vdpa_lab.timeline import Lane
from vdpa_lab.units import PAGE_SIZE, SECOND


@pytest.mark.parametrize("name", scenario_names())
def test_amounts_are_those_of_the_scenario(name):
    """One by one from the scenario, and after a plan of the same outline with other amounts."""
    scenario = find_scenario(name)
    memory = scenario.guest.memory + 8 * PAGE_SIZE * 64
    other = replace(
        scenario,
        guest=replace(scenario.guest, memory=memory, vcpus=3, zero_pages=0.2, sections=None),
        link=replace(scenario.link, latency=77),
        workload=Workload(Dirty("sequential", 1000, memory // 2)),
    )
    if scenario.guest.sections is None:
        assert outline(other) == outline(scenario)
    for one in (scenario, other, scenario):
        passes, words = precopy(one), -(-one.guest.ram // PAGE_SIZE // 64)
        wire = -(-passes.left_bytes * SECOND // one.link.bandwidth)
        wanted = {
            "start dirty log": (("bitmap.sync_word", words),),
            "precopy": (("scenario.time", passes.total_ns),),
            "bitmap sync": (("bitmap.sync_word", passes.syncs * words),),
            "load setup section": (("scenario.time", one.link.latency),),
            "last bitmap sync": (("bitmap.sync_word", words),),
            "send last pages": (("ram.send_page", passes.left_pages),),
            "last RAM": (("scenario.time", wire),),
            "save CPU and board state": (("vmstate.save_cpu", one.guest.vcpus),),
            "stream arrives": (("scenario.time", one.link.latency),),
        }
        found = plan(one, ())
        assert found.scenario == one
        assert {step.op: step.work for step in found if step.op in wanted} == wanted
        assert [step.demand.size for step in found if step.demand] == [passes.left_bytes]
        maps = [s for s in found.select(op="IOTLB_UPDATE") if s.path == "start" and s.effect.runs[0].kind == "ram"]
        runs = [step.effect.runs[0] for step in maps]
        assert sum(run.size for run in runs) == one.device.count * sum(
            run.size for run in steady_memory(one.guest, one.device) if run.kind == "ram"
        )
        assert [step.detail for step in maps] == [f"asid=0 size={run.size:#x}" for run in runs]


@dataclass(frozen=True, slots=True)
class Curious(Optimization):
    """Looks at what no rewrite may look at."""

    name: ClassVar = "curious"
    asks: ClassVar = "guest.memory"

    def rewrite(self, plan):
        asked = plan.scenario
        for name in self.asks.split("."):
            asked = getattr(asked, name)
        return plan


@pytest.mark.parametrize("asked", ["guest.memory", "link.guest_traffic", "migration.downtime_limit", "workload"])
def test_a_rewrite_that_asks_for_an_amount_is_told_so(asked, monkeypatch):
    monkeypatch.setattr(Curious, "asks", asked)
    whole = asked if "." in asked else f"scenario.{asked}"
    with pytest.raises(AttributeError, match=f"cannot see {whole}: which steps a plan has may not follow from it"):
        rewrite(stock(outline(find_scenario("talk"))), [Curious()])


def test_an_amount_is_added_to_and_multiplied():
    twice = 2 * (Amount("vcpus") + 3)
    scenario = find_scenario("talk")
    steps = [
        Step(name, name, Lane("source", "bql"), -1, "stop", "", (), work)
        for name, work in (("a", (("vhost.ioctl", 1),)), ("b", (("vmstate.save_cpu", twice), ("vhost.ioctl", 5))))
    ]
    found = filled(Plan(outline(scenario), tuple(steps)), scenario, (1,))
    assert open_places(Plan(outline(scenario), tuple(steps))) == (1,)
    assert found.steps[0] is steps[0]
    assert found.steps[1].work == (("vmstate.save_cpu", 2 * (scenario.guest.vcpus + 3)), ("vhost.ioctl", 5))
