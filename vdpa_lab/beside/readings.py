"""A trace beside both readings of the ladder: what one rebuild of the whole memory map costs in each."""

from __future__ import annotations

import pandas as pd

from vdpa_lab.library import read_figures
from vdpa_lab.migration import Run
from vdpa_lab.migration.compare import observations
from vdpa_lab.migration.step import where

REBUILD = ("set_map", "CREATE_MKEY", "DESTROY_MKEY")  # mlx5_vdpa_set_map: new mkeys of all memory, then the old go


def rebuild_ns(run: Run) -> int:
    """The dearest rebuild of a memory map while the source stops device 0, in ns; 0 where none is rebuilt."""
    dearest = 0
    for op in REBUILD:
        matches = where(path="stop", device=0, op=op)
        pairs = zip(run.plan.steps, run.timeline.spans, strict=True)
        dearest += max((sum(term.ns for term in span.terms) for step, span in pairs if matches(step)), default=0)
    return dearest


def traced_rebuild_ns() -> int:
    """The same in the one published trace (M1): from the end of the batch to the next line, in ns."""
    trace = next(figure for figure in read_figures() if figure.name == "M1")
    (end, _), (following, _) = (trace.bounds_ns(label) for label in ("batch ends", "next trace line"))
    return following - end


def rebuild_table() -> pd.DataFrame:
    """One rebuild in each reading of V2's first row, and in the trace, with the price of a warm 4 KiB pin beside it."""
    rows = [
        {"": "trace (M1)", "one rebuild, ms": traced_rebuild_ns() / 1e6},
    ]
    for each in observations(["V2"]):
        if each.row.label == each.figure.rows[0].label:
            run = each.run()
            price = run.cost("pin_warm.4k")
            rows.append(
                {
                    "": each.reading,
                    "one rebuild, ms": rebuild_ns(run) / 1e6,
                    "warm pin, ns a page": price.in_unit(price.value),
                }
            )
    return pd.DataFrame(rows).set_index("").round(1)
