"""Published micro-benchmarks of pinning and unpinning beside the model's prices, all in ns a page of 4 KiB."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

from vdpa_lab.library import Calibration, bibliography, priors, read_calibration, read_figures
from vdpa_lab.library.figures import TIME_UNITS, Figure, Row
from vdpa_lab.units import GIB, PAGE_SIZE
from vdpa_lab.words import InputError

_SIZE = re.compile(r"\b(\d+)G\b")
# Which rows time what a price pays for: figure, and how its label begins. M21 and M22 state no size of hugetlb pages.
_TIMED = {
    "pin_cold.thp": (("M21", "THP, cold"), ("M22", "THP, cold")),
    "pin_cold.2M": (("M21", "hugetlb, cold"), ("M22", "hugetlb, cold")),
    "pin_warm.4k": (("M24", "MAP_POPULATE (4K)"), ("M26", "PIN_LONGTERM, before")),
    "pin_warm.thp": (("M21", "THP, preallocated"), ("M22", "THP, preallocated"), ("M24", "MADV_HUGEPAGE")),
    "pin_warm.2M": (("M21", "hugetlb, preallocated"), ("M22", "hugetlb, preallocated"), ("M24", "HUGETLBFS")),
    "pin_warm.1G": (("M26", "PIN_LONGTERM, both patches"),),
    "unpin.4k": (("M25", "MAP_POPULATE (4K)"), ("M27", "THP, before")),
    "unpin.thp": (("M25", "MADV_HUGEPAGE"), ("M27", "THP, after")),
    "unpin.2M": (("M25", "HUGETLBFS"),),
    "unpin.1G": (("M27", "1G huge pages, after"),),
}


class Timed(NamedTuple):
    """One published time of pinning or unpinning, as ns a page of 4 KiB; `error` is its reading error."""

    figure: Figure
    row: Row
    ns: float
    error: float


def page_ns(figure: Figure, row: Row) -> Timed:
    """A row's time divided by its pages of 4 KiB; the size stands first in the configuration, or in the label.

    Raises InputError if neither names a size.
    """
    size = _SIZE.search(figure.configuration) or _SIZE.search(row.label)
    if size is None or row.low is None:
        raise InputError(
            f"figure {figure.name}, row {row.label!r}: names no size such as 16G; add it to the configuration"
        )
    a_page = TIME_UNITS[figure.unit] / (int(size[1]) * GIB // PAGE_SIZE)
    return Timed(figure, row, row.low * a_page, row.resolution * a_page)


def pin_benchmarks() -> dict[str, list[Timed]]:
    """Price -> the published times of what it pays for."""
    figures = {figure.name: figure for figure in read_figures()}
    return {
        key: [
            page_ns(figures[name], row)
            for name, label in wanted
            for row in figures[name].rows
            if row.label == label or (row.label.startswith(f"{label}, ") and not row.label.endswith("patched"))
        ]
        for key, wanted in _TIMED.items()
    }


def pin_rows(calibration: Calibration | None = None) -> list[dict[str, object]]:
    """Every published time with the price that pays for it, ns a page: a row a time, for CSV."""
    before, used = priors(), calibration or read_calibration("tatulea2024")
    return [
        {
            "price": key, "figure": each.figure.name, "row": each.row.label, "published": round(each.ns, 3),
            "reading_error": round(each.error, 3), "prior": before[key].in_unit(before[key].value),
            "used": used[key].in_unit(used[key].value), "low": used[key].in_unit(used[key].low),
            "high": used[key].in_unit(used[key].high), "grade": used[key].basis,
            "source": str(bibliography()[each.figure.reference]),
        }
        for key, found in pin_benchmarks().items()
        for each in found
    ]  # fmt: skip


def pin_table(calibration: Calibration | None = None) -> pd.DataFrame:
    """Each price of a pin or unpin: lowest and highest published time, prior and used price, ns a page; their grade."""
    before, used = priors(), calibration or read_calibration("tatulea2024")
    rows = {}
    for key, found in pin_benchmarks().items():
        cost = used[key]
        rows[key] = {
            "published from": min(each.ns for each in found),
            "to": max(each.ns for each in found),
            "rows": len(found),
            "prior": before[key].in_unit(before[key].value),
            "used": cost.in_unit(cost.value),
            "5 %": cost.in_unit(cost.low),
            "95 %": cost.in_unit(cost.high),
            "grade": cost.basis,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
