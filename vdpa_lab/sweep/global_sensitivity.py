"""Morris screening and Sobol indices of a window over the scenario and the prices, through SALib; an optional extra."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vdpa_lab.library import Calibration
from vdpa_lab.model import Scenario
from vdpa_lab.sweep.coalitions import checked_whole
from vdpa_lab.sweep.factors import Factors
from vdpa_lab.words import InputError

METHODS = ("morris", "sobol")
MOST = 10**8  # numbers in the table of samples


def global_sensitivity(
    scenario: Scenario | str,
    names: Iterable[str] | None = None,
    *,
    axes: Mapping[str, Any] | None = None,
    prices: bool = True,
    method: str = "sobol",
    window: str = "network_outage",
    samples: int = 512,
    seed: int = 1,
    calibration: Calibration | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Per factor its indices, the largest first. Factors: `axes`, and every price with an interval (see `Factors`).

    axes: keys of a scenario, toggles and knobs with their ranges or lists, as in a sweep's specification; each varies
    evenly over its way ("scale" as there). prices False: axes only. method "morris": mu_star and sigma in ns, with
    mu_star_conf. "sobol": S1 and ST, with their _conf (95 %). samples: SALib's N, for Sobol best a power of two.
    progress: called with the number of runs after each piece of work; what it raises ends the work. Raises InputError,
    also when SALib is not installed.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r}; one of {', '.join(METHODS)}")
    checked_whole("samples", samples, 2, "samples")
    checked_whole("seed", seed, 0, "any size")
    try:
        from SALib.analyze import morris as morris_indices
        from SALib.analyze import sobol as sobol_indices
        from SALib.sample import morris as morris_sample
        from SALib.sample import sobol as sobol_sample
    except ImportError:
        raise InputError("Morris and Sobol indices need SALib: pip install 'vdpa-lab[sensitivity]'") from None
    factors = Factors(scenario, names, axes, window, calibration, prices, progress)
    count = len(factors.keys)
    if samples * (count + 2) * count > MOST:
        raise InputError(f"samples = {samples} of {count} factors: more than {MOST} numbers; take fewer")
    problem = {"num_vars": count, "names": list(factors.keys), "bounds": [[0.0, 1.0]] * count}
    if method == "morris":
        points = morris_sample.sample(problem, samples, seed=seed)
    else:
        points = sobol_sample.sample(problem, samples, calc_second_order=False, seed=seed)
    ns = factors.ns(points).astype(float)
    if method == "morris":
        found, wanted = morris_indices.analyze(problem, points, ns, seed=seed), ("mu_star", "sigma", "mu_star_conf")
    else:
        found = sobol_indices.analyze(problem, ns, calc_second_order=False, seed=seed)
        wanted = ("ST", "S1", "ST_conf", "S1_conf")
    rows = [{"key": key, **{name: float(found[name][i]) for name in wanted}} for i, key in enumerate(factors.keys)]
    return sorted(rows, key=lambda row: -row[wanted[0]])
