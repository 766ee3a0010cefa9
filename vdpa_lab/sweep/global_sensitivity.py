"""Morris screening and Sobol indices of a window over the prices' intervals, through SALib; an optional extra."""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Any

import numpy as np

from vdpa_lab.library import Calibration
from vdpa_lab.model import Scenario
from vdpa_lab.sweep.sensitivity import Priced
from vdpa_lab.words import InputError

METHODS = ("morris", "sobol")


def global_sensitivity(
    scenario: Scenario | str,
    names: Iterable[str] | None = None,
    *,
    method: str = "sobol",
    window: str = "network_outage",
    samples: int = 512,
    seed: int = 1,
    calibration: Calibration | None = None,
) -> list[dict[str, Any]]:
    """Per price with an interval its indices, the largest first; prices vary evenly in the logarithm, low to high.

    method "morris": mu_star and sigma in ns, with mu_star_conf. "sobol": S1 and ST, with their _conf (95 %). samples:
    SALib's N. Raises InputError when SALib is not installed.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r}; one of {', '.join(METHODS)}")
    try:
        from SALib.analyze import morris as morris_indices
        from SALib.analyze import sobol as sobol_indices
        from SALib.sample import morris as morris_sample
        from SALib.sample import sobol as sobol_sample
    except ImportError:
        raise InputError("Morris and Sobol indices need SALib: pip install 'vdpa-lab[sensitivity]'") from None
    priced = Priced(scenario, names, window, calibration)
    columns = priced.uncertain
    keys = [priced.plan.keys[column] for column in columns]
    bounds = [[log(priced.costs[key].low), log(priced.costs[key].high)] for key in keys]
    problem = {"num_vars": len(keys), "names": keys, "bounds": bounds}
    if method == "morris":
        points = morris_sample.sample(problem, samples, seed=seed)
    else:
        points = sobol_sample.sample(problem, samples, calc_second_order=False, seed=seed)
    prices = np.repeat(priced.values[None], len(points), axis=0)
    prices[:, columns] = np.exp(points)
    ns = priced.ns(prices).astype(np.float64)
    if method == "morris":
        found, wanted = morris_indices.analyze(problem, points, ns, seed=seed), ("mu_star", "sigma", "mu_star_conf")
    else:
        found = sobol_indices.analyze(problem, ns, calc_second_order=False, seed=seed)
        wanted = ("ST", "S1", "ST_conf", "S1_conf")
    rows = [{"key": key, **{name: float(found[name][i]) for name in wanted}} for i, key in enumerate(keys)]
    return sorted(rows, key=lambda row: -row[wanted[0]])
