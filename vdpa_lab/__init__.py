"""vdpa_lab: where the downtime of a live migration with vDPA network devices goes, and what would shorten it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Loaded on first use, so that importing the package costs nothing.
_PUBLIC = {
    "explore": "vdpa_lab.ui",
    "find_scenario": "vdpa_lab.model",
    "read_scenario": "vdpa_lab.model",
    "parse_scenario": "vdpa_lab.model",
    "write_scenario": "vdpa_lab.model",
    "Scenario": "vdpa_lab.model",
    "simulate": "vdpa_lab.migration",
    "plan": "vdpa_lab.migration",
    "compare_figures": "vdpa_lab.migration.compare",
    "catalogue": "vdpa_lab.migration",
    "read_calibration": "vdpa_lab.library",
    "compare": "vdpa_lab.beside",
    "calibrate_runs": "vdpa_lab.beside",
    "fit_text": "vdpa_lab.beside",
    "leave_one_out": "vdpa_lab.beside",
    "figure_table": "vdpa_lab.beside",
    "draw_downtime": "vdpa_lab.plot",
    "draw_ladder": "vdpa_lab.plot",
    "attribute": "vdpa_lab.sweep",
    "monte_carlo": "vdpa_lab.sweep",
    "tornado": "vdpa_lab.sweep",
    "smallest_set": "vdpa_lab.sweep",
    "largest_guest": "vdpa_lab.sweep",
}
_PACKAGES = ("course",)
__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _PACKAGES:
        return import_module(f"vdpa_lab.{name}")
    raise AttributeError(f"module 'vdpa_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC, *_PACKAGES])
