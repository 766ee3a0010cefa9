"""Numbers and where they come from: calibrations, citations, published figures, what versions ship."""

from vdpa_lab.library.calibration import (
    BASES,
    Calibration,
    Cost,
    costs_text,
    parse_costs,
    read_calibration,
    testbed_names,
)
from vdpa_lab.library.citations import Citation, bibliography
from vdpa_lab.library.features import behaves, shipped, shipped_features

__all__ = [
    "BASES",
    "Calibration",
    "Citation",
    "Cost",
    "behaves",
    "bibliography",
    "costs_text",
    "parse_costs",
    "read_calibration",
    "shipped",
    "shipped_features",
    "testbed_names",
]
