"""Plan a migration, rewrite it, price it, put it in time."""

from vdpa_lab.migration.optimization import Optimization, catalogue, default_toggles, plan, refusals
from vdpa_lab.migration.plan import Plan, PlanError
from vdpa_lab.migration.simulate import Run, simulate
from vdpa_lab.migration.step import Step

__all__ = [
    "Optimization",
    "Plan",
    "PlanError",
    "Run",
    "Step",
    "catalogue",
    "default_toggles",
    "plan",
    "refusals",
    "simulate",
]
