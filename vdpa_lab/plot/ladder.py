"""Published figures beside the model, row by row, on one axis."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from vdpa_lab.plot.style import EDGE, FAMILIES, FONT_SIZE, OKABE_ITO, PAPER_INK, look, swatch

# How a published row was used decides its colour; the words stand beside it as well.
USE_COLORS = {"fitted": OKABE_ITO["sky"], "predicted": OKABE_ITO["green"], "shown": OKABE_ITO["yellow"]}
UNEXPLAINED = FAMILIES["unexplained"]
HEIGHT = 0.34
LABEL_WIDTH = 34  # letters of a row's label on one line


def draw_ladder(axes: Axes, rows: Sequence[Mapping], *, ink: str = PAPER_INK) -> Axes:
    """Published range and simulated value of each row of a figure, downwards in the order given.

    rows: as `compare_figures` or `vdpa-lab figures --json` give them, all of one figure, reading and unit.
    Beside each pair stand the ratio (simulated over the nearest published bound), whether the row was fitted,
    predicted or only shown, and which share rests on a constant without mechanism; that share is grey and
    hatched. Raises ValueError when units differ or there are no rows.
    """
    units = {row["unit"] for row in rows}
    if len(units) != 1:
        raise ValueError(f"one axis has one unit; these rows have {', '.join(sorted(units)) or 'none'}")
    unit = units.pop()
    span = max([max(row["published"] or (0,)) for row in rows] + [row["simulated"] or 0 for row in rows]) or 1
    for at, row in enumerate(rows):
        _published(axes, row, at - HEIGHT / 2, span, ink)
        _simulated(axes, row, at + HEIGHT / 2, span, ink)
    axes.set_xlim(0, span * 1.55)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [textwrap.fill(row["row"], LABEL_WIDTH) for row in rows])
    axes.set_xlabel(f"{rows[0]['quantity']}, {unit}", color=ink, fontsize=FONT_SIZE)
    axes.set_title(_title(rows[0]), color=ink, fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    axes.tick_params(colors=ink, labelsize=FONT_SIZE, length=2)
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(ink)
    _legend(axes, rows, ink)
    return axes


def _title(row: Mapping) -> str:
    reading = row.get("reading", "as printed")
    return f"{row['figure']}: {row.get('title') or row['quantity']}" + (
        f" ({reading})" if reading != "as printed" else ""
    )


def _published(axes, row, y, span, ink) -> None:
    if not row["published"]:
        axes.text(
            span * 0.01,
            y,
            "no value published",
            color=ink,
            fontsize=FONT_SIZE - 1,
            va="center",
            style="italic",
        )
        return
    low, high = row["published"]
    axes.barh(y, high, HEIGHT, color="none", edgecolor=ink, linewidth=0.8)
    if high > low:
        axes.barh(y, high - low, HEIGHT, left=low, color=ink, alpha=0.3, linewidth=0)
    text = f"{low:g}" if low == high else f"{low:g} – {high:g}"
    axes.text(high + span * 0.01, y, f"{text} published", color=ink, fontsize=FONT_SIZE - 1, va="center")


def _simulated(axes, row, y, span, ink) -> None:
    value = row["simulated"]
    if value is None:
        axes.text(span * 0.01, y, f"not computed; {row['use']}", color=ink, fontsize=FONT_SIZE - 1, va="center")
        return
    constant = value * row["residual_constant"]
    axes.barh(y, value - constant, HEIGHT, color=USE_COLORS[row["use"]], edgecolor=EDGE, linewidth=0.5)
    if constant:
        axes.barh(y, constant, HEIGHT, left=value - constant, **look(UNEXPLAINED))
    words = [f"{value:.3g} simulated"]
    if row["ratio"] is not None:
        words.append(f"× {row['ratio']:.2f}")
    words.append(row["use"])
    if constant:
        words.append(f"{row['residual_constant']:.0%} unexplained constant")
    axes.text(value + span * 0.01, y, ", ".join(words), color=ink, fontsize=FONT_SIZE - 1, va="center")


def _legend(axes, rows, ink) -> None:
    handles = [Patch(facecolor="none", edgecolor=ink, label="published (range shaded)")]
    used = {row["use"] for row in rows if row["simulated"] is not None}
    handles += [
        Patch(facecolor=color, edgecolor=EDGE, label=f"simulated, {use}")
        for use, color in USE_COLORS.items()
        if use in used
    ]
    if any(row["simulated"] and row["residual_constant"] for row in rows):
        handles.append(swatch(UNEXPLAINED))
    axes.legend(
        handles=handles, ncols=len(handles), frameon=False, fontsize=FONT_SIZE - 0.5, labelcolor=ink,
        loc="upper left", bbox_to_anchor=(0, -0.14),
    )  # fmt: skip
