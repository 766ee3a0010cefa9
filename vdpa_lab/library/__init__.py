"""Numbers and where they come from: calibrations, citations, published figures, what versions ship."""

from vdpa_lab.library.calibration import (
    BASES,
    Calibration,
    Cost,
    costs_text,
    parse_costs,
    priors,
    read_calibration,
    testbed_names,
)
from vdpa_lab.library.citations import Citation, bibliography
from vdpa_lab.library.features import behaves, shipped, shipped_features, versions
from vdpa_lab.library.figures import Figure, FigureError, read_figures
from vdpa_lab.library.precopy_runs import RecordedPrecopy, precopy_runs

__all__ = [
    "BASES",
    "Calibration",
    "Citation",
    "Cost",
    "Figure",
    "FigureError",
    "RecordedPrecopy",
    "behaves",
    "bibliography",
    "costs_text",
    "parse_costs",
    "precopy_runs",
    "priors",
    "read_calibration",
    "read_figures",
    "shipped",
    "shipped_features",
    "testbed_names",
    "versions",
]
