"""Scenarios, recordings and published figures on the same axes; and prices fitted to one's own recordings."""

from vdpa_lab.beside.differences import Comparison, compare, quantity_title
from vdpa_lab.beside.figures import figure_table
from vdpa_lab.beside.fit_texts import fit_json, fit_text
from vdpa_lab.beside.run_prices import RunFit, calibrate_runs, leave_one_out
from vdpa_lab.beside.subjects import Subject, Value, subjects

__all__ = [
    "Comparison",
    "RunFit",
    "Subject",
    "Value",
    "calibrate_runs",
    "compare",
    "figure_table",
    "fit_json",
    "fit_text",
    "leave_one_out",
    "quantity_title",
    "subjects",
]
