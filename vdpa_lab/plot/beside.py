"""Recorded, simulated and published beside each other: lengths of windows by who did the work, and lanes in time."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vdpa_lab import __version__
from vdpa_lab.beside import Comparison, Subject, quantity_title
from vdpa_lab.plot.save import save_figure
from vdpa_lab.plot.style import EDGE, FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.timeline import WINDOWS, Lane, intervals
from vdpa_lab.timeline.breakdown import WAITING
from vdpa_lab.units import MS, format_duration

# Who works: a colour a lane, hatched on the destination.
COLORS = {
    "bql": OKABE_ITO["orange"], "migration": OKABE_ITO["yellow"], "thread": OKABE_ITO["purple"],
    "kernel": OKABE_ITO["blue"], "firmware": OKABE_ITO["vermillion"], "worker": OKABE_ITO["sky"],
    "vcpu": OKABE_ITO["green"], "link": OKABE_ITO["black"],
}  # fmt: skip
HATCHES = {"source": "", "destination": "///", "wire": "..."}
WAITS = {"facecolor": "white", "hatch": "xx"}
HEIGHT, ROW, HEAD, WIDTH, LABELS = 0.6, 0.3, 0.9, 9.0, 38  # of a bar in rows; inches; characters of a label
LANE_WINDOWS = ("svq_switch", "source_teardown", "destination_setup", "network_outage")


def _look(lane: Lane | None) -> dict:
    if lane is None:
        return WAITS
    return {"facecolor": COLORS[lane.kind], "hatch": HATCHES[lane.side]}


def _title(lane: Lane | None) -> str:
    return str(lane) if lane else WAITING


def _by_lane(subject: Subject, window: str) -> dict[Lane | None, int]:
    totals: dict[Lane | None, int] = {}
    for part in subject.parts.get(window, ()):
        lane = part.lane.of_all if part.lane else None
        totals[lane] = totals.get(lane, 0) + part.ns
    order = list(COLORS)
    return dict(
        sorted(totals.items(), key=lambda row: (row[0] is None, row[0] and (order.index(row[0].kind), row[0].side)))
    )


def draw_window(ax: Axes, found: Comparison, quantity: str) -> dict[str, Patch]:
    """One quantity of every subject that has it, in ms; gives the legend's entries."""
    having = [each for each in found.subjects if quantity in each.values]
    legend: dict[str, Patch] = {}
    for row, subject in enumerate(having):
        at, value = 0.0, subject.values[quantity]
        for lane, ns in _by_lane(subject, quantity).items():
            style = _look(lane)
            ax.barh(row, ns / MS, HEIGHT, left=at, edgecolor=EDGE, linewidth=0.5, **style)
            legend.setdefault(_title(lane), Patch(edgecolor=EDGE, **style))
            at += ns / MS
        if not at:
            ax.barh(row, value.ns / MS, HEIGHT, facecolor="none", edgecolor=PAPER_INK, linewidth=1.2)
        reach = [[(value.ns - value.low) / MS], [(value.high - value.ns) / MS]]
        if value.low < value.high:
            ax.errorbar(value.ns / MS, row, xerr=[[max(0.0, side[0])] for side in reach], color=PAPER_INK, capsize=3)
        ax.annotate(
            format_duration(value.ns), (max(value.high, value.ns) / MS, row), xytext=(5, 0), va="center",
            textcoords="offset points", fontsize=FONT_SIZE,
        )  # fmt: skip
    ax.set_yticks(range(len(having)), [each.title[:LABELS] for each in having], fontsize=FONT_SIZE)
    ax.invert_yaxis()
    ax.margins(x=0.14)
    ax.set_xlim(left=0)
    ax.tick_params(labelsize=FONT_SIZE)
    ax.set_xlabel("ms", fontsize=FONT_SIZE)
    ax.set_title(quantity_title(quantity), fontsize=FONT_SIZE + 1, loc="left")
    return legend


def windows_figure(found: Comparison, quantities: Sequence[str] = ()) -> Figure:
    """A panel a quantity, each on its own axis; bars by lane, whiskers are 90 % intervals or printed ranges."""
    names = [name for name in found.quantities if not quantities or name in quantities]
    rows = [sum(name in each.values for each in found.subjects) for name in names]
    figure = Figure(figsize=(WIDTH, sum(HEAD + ROW * count for count in rows) + HEAD), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False, height_ratios=[HEAD + ROW * count for count in rows])
    legend: dict[str, Patch] = {}
    for ax, name in zip(panels.ravel(), names, strict=True):
        legend |= draw_window(ax, found, name)
    if legend:
        figure.legend(
            legend.values(), legend.keys(), loc="outside lower center", ncols=3, fontsize=FONT_SIZE, frameon=False
        )
    return figure


def lanes_figure(found: Comparison, window: str, device: int = 0) -> Figure:
    """One window of one device in time, lane by lane, of every subject that has a timeline; 0 is the window's begin."""
    having = [each for each in found.subjects if each.timeline is not None and window in each.values]
    cut = {}
    for each in having:
        its = intervals(each.timeline, WINDOWS[window])
        cut[each.title] = next((one for one in its if one.device == device), its[0])
    drawn = {each.title: _spans(each, cut[each.title]) for each in having}
    lanes = sorted(
        {lane for rows in drawn.values() for lane in rows}, key=lambda lane: (lane.side != "source", str(lane))
    )
    rows = [(lane, each.title, each.kind) for lane in lanes for each in having]
    figure = Figure(figsize=(WIDTH, HEAD + 0.24 * len(rows)), layout="constrained")
    ax = figure.subplots()
    for row, (lane, title, _) in enumerate(rows):
        spans = drawn[title].get(lane, [])
        ax.broken_barh(spans, (row - HEIGHT / 2, HEIGHT), **_look(lane), edgecolor="none")
        if row % len(having) == 0 and row:
            ax.axhline(row - 0.5, color=EDGE, linewidth=0.5)
    for each in having:
        ax.axvline(cut[each.title].ns / MS, color=PAPER_INK, linewidth=0.8, linestyle="-" if each is having[0] else ":")
    ax.set_yticks(range(len(rows)), [f"{lane}, {kind}" for lane, _, kind in rows], fontsize=FONT_SIZE - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.tick_params(labelsize=FONT_SIZE)
    ax.set_xlabel(f"ms from the begin of the window; lines: its end ({having[0].title} solid)", fontsize=FONT_SIZE)
    ax.set_title(f"{WINDOWS[window].title}, device {device}", fontsize=FONT_SIZE + 1, loc="left")
    return figure


def _spans(subject: Subject, cut) -> dict[Lane, list[tuple[float, float]]]:
    """(start, length) in ms of a subject's spans in an interval, by lane without its device number."""
    end, found = cut.start_ns + cut.ns, {}
    for span in subject.timeline.spans:
        low, high = max(span.start, cut.start_ns), min(span.end, end)
        if high > low and span.device in (-1, cut.device):
            lane = span.lane.of_all
            found.setdefault(lane, []).append(((low - cut.start_ns) / MS, (high - low) / MS))
    return found


def write_comparison(found: Comparison, folder: str | Path) -> list[Path]:
    """windows.svg and windows.csv, operations.csv, counts.csv, and lanes of each main window. Raises OSError."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = f"vdpa_lab {__version__}; " + "; ".join(f"{each.title}: {each.source}" for each in found.subjects)
    written = []
    for name, rows in (
        ("windows", found.window_rows()),
        ("operations", found.part_rows()),
        ("counts", found.count_rows()),
    ):
        if rows:
            path = folder / f"{name}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                table.writeheader()
                table.writerows(rows)
            written.append(path)
    written.append(
        save_figure(windows_figure(found), folder / "windows.svg", title="Windows compared", description=about)
    )
    timed = [each for each in found.subjects if each.timeline is not None]
    for window in LANE_WINDOWS:
        if sum(window in each.values for each in timed) > 1:
            path = folder / f"lanes-{window}.svg"
            title = f"{WINDOWS[window].title}, lane by lane"
            written.append(save_figure(lanes_figure(found, window), path, title=title, description=about))
    return written
