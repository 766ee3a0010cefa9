"""Does one set of published rows predict another that its fit never saw?"""

from __future__ import annotations

from vdpa_lab.migration.calibrate import calibrate, fitted_rows, row_ratio
from vdpa_lab.migration.compare import Observation


def cross_predictions() -> list[tuple[str, Observation, float]]:
    """Fit one set of rows, predict another it never saw: (fitted figures, row, ratio). Leave-one-group-out, not row."""
    result = []
    for known, asked in ((("V6", "V7"), ("V8", "V9", "V10")), (("V8", "V9", "V10"), ("V6", "V7"))):
        fit = calibrate(known)
        for row in fitted_rows(asked):
            result.append((" ".join(known), row, row_ratio(row, fit.calibration(row.testbed))))
    return result
