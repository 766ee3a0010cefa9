"""Published figures as a table: printed value, simulated value, their ratio, and what may be made of it."""

from __future__ import annotations

import re

import pandas as pd

from vdpa_lab.migration.compare import compare_figures, met, printed

_FLAG = re.compile(r"\bF[1-9]\b")


def figure_table(*names: str) -> pd.DataFrame:
    """A row a published value and reading of these figures. Raises InputError for an unknown name.

    published and simulated in the figure's unit; interval: 90 % by the prices' own; ratio: to the nearest published
    bound; met: within a factor 1.5; use: fitted | predicted | shown; reading error: half a unit of the last printed
    digit; constant: the share without mechanism; flags: where sources disagree, explained in the figure's note and
    in docs/validation.md.
    """
    return pd.DataFrame(
        [
            {
                "figure": row["figure"],
                "row": row["row"],
                "reading": row["reading"],
                "unit": row["unit"],
                "published": printed(row) or "none",
                "reading error": f"±{row['resolution']:g}" if row["published"] else "",
                "simulated": _number(row["simulated"]),
                "interval": " – ".join(map(_number, row["interval"])) if row["interval"] else "",
                "ratio": "" if row["ratio"] is None else f"{row['ratio']:.2f}",
                "met": "" if row["ratio"] is None else "yes" if met(row["ratio"]) else "no",
                "use": row["use"],
                "constant": f"{row['residual_constant']:.0%}" if row["simulated"] is not None else "",
                "flags": flags_of(row["note"]),
            }
            for row in compare_figures(names)
        ]
    )


def flags_of(note: str) -> str:
    """The flags (F1 to F9) that a figure's note names, in order, each once."""
    return " ".join(sorted(set(_FLAG.findall(note))))


def _number(value: float | None) -> str:
    return "not computed" if value is None else f"{value:.4g}"
