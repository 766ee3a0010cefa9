"""Many runs at once: sweeps, what each optimisation is worth, sensitivity, questions from the other end, fleets."""

from vdpa_lab.sweep.attribution import Attribution, Share, attribute
from vdpa_lab.sweep.engine import Estimate, Progress, Results, estimate, sweep
from vdpa_lab.sweep.fleet import Fleet, Versions, fleet
from vdpa_lab.sweep.fleet_file import read_fleet
from vdpa_lab.sweep.global_sensitivity import global_sensitivity
from vdpa_lab.sweep.inverse import SmallestSet, smallest_set
from vdpa_lab.sweep.limits import Largest, convergence_frontier, largest_guest
from vdpa_lab.sweep.pairs import Pair
from vdpa_lab.sweep.sensitivity import Distribution, Swing, monte_carlo, tornado
from vdpa_lab.sweep.spec import Spec, read_spec
from vdpa_lab.sweep.texts import attribution_text, fleet_text, results_text
from vdpa_lab.sweep.vectorised import PricedPlan

__all__ = [
    "Attribution",
    "Distribution",
    "Estimate",
    "Fleet",
    "Largest",
    "Pair",
    "PricedPlan",
    "Progress",
    "Results",
    "Share",
    "SmallestSet",
    "Spec",
    "Swing",
    "Versions",
    "attribute",
    "attribution_text",
    "convergence_frontier",
    "estimate",
    "fleet",
    "fleet_text",
    "global_sensitivity",
    "largest_guest",
    "monte_carlo",
    "read_fleet",
    "read_spec",
    "results_text",
    "smallest_set",
    "sweep",
    "tornado",
]
