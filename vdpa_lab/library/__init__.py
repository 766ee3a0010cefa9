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
from vdpa_lab.library.features import behaves, shipped, shipped_features
from vdpa_lab.library.figures import Figure, FigureError, read_figures

__all__ = [
    "BASES",
    "Calibration",
    "Citation",
    "Cost",
    "Figure",
    "FigureError",
    "behaves",
    "bibliography",
    "costs_text",
    "parse_costs",
    "priors",
    "read_calibration",
    "read_figures",
    "shipped",
    "shipped_features",
    "testbed_names",
]
