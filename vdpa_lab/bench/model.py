"""How long the model takes: a simulation with its plan kept, and a plan written and rewritten anew."""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.bench.harness import OURS, Case
from vdpa_lab.migration import default_toggles, plan, simulate
from vdpa_lab.migration.baseline import stock
from vdpa_lab.migration.optimization import catalogue, rewrite
from vdpa_lab.migration.outline import filled, open_places, outline
from vdpa_lab.model import find_scenario


def cases(library: object, quick: bool) -> Iterator[Case]:
    """The two scenarios at the ends of the scale; there is nothing to compare with."""
    for name in ("talk",) if quick else ("talk", "tatulea2024"):
        scenario = find_scenario(name)
        toggles = default_toggles(scenario)
        steps = len(plan(scenario, toggles).steps)
        device = f"{name}: {scenario.device.count} devices of {scenario.device.data_vqs} data virtqueues"

        def simulated(scenario=scenario, toggles=toggles) -> None:
            simulate(scenario, toggles)

        def planned(scenario=scenario, toggles=toggles) -> None:
            found = rewrite(stock.__wrapped__(outline(scenario)), [catalogue()[toggle] for toggle in toggles])
            filled(found, scenario, open_places(found))

        yield Case("simulate, warm", f"{device}, {steps} steps", steps, 1, {OURS: simulated})
        yield Case("plan, nothing kept", f"{device}, {len(toggles)} rewrites", steps, 1, {OURS: planned})
