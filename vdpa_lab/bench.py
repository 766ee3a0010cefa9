"""How long the model takes: medians of repeated runs in one process, for reports and never for tests."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from vdpa_lab.migration import default_toggles, plan, simulate
from vdpa_lab.migration.baseline import baseline
from vdpa_lab.migration.optimization import catalogue, rewrite
from vdpa_lab.model import find_scenario

REPEATS = 15


def median_ns(work: Callable[[], object], repeats: int = REPEATS) -> int:
    """Median time of a call in ns, after one call that is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - start)
    return int(statistics.median(taken))


def benchmarks() -> Iterator[dict]:
    """Rows of `vdpa-lab bench`: a simulation with its plan kept, and the plan written and rewritten anew."""
    for name in ("talk", "tatulea2024"):
        scenario = find_scenario(name)
        toggles = default_toggles(scenario)
        steps = len(plan(scenario, toggles).steps)
        device = f"{scenario.device.count} devices of {scenario.device.data_vqs} data virtqueues"
        yield {
            "work": f"simulate {name}, warm",
            "of": f"{device}, {steps} steps",
            "ns": median_ns(lambda scenario=scenario, toggles=toggles: simulate(scenario, toggles)),
        }
        turned = [catalogue()[toggle] for toggle in toggles]
        yield {
            "work": f"plan {name}, nothing kept",
            "of": f"{len(turned)} rewrites",
            "ns": median_ns(lambda scenario=scenario, turned=turned: rewrite(baseline.__wrapped__(scenario), turned)),
        }
