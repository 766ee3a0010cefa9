"""The whole migration on one time axis: memory still to be sent, packets, latency, lanes; precopy beside real runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdpa_lab.library import RecordedPrecopy
from vdpa_lab.migration import Run
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.precopy_record import Precopy
from vdpa_lab.plot.beside import COLORS, HATCHES
from vdpa_lab.plot.style import EDGE, FONT_SIZE, OKABE_ITO, PAPER_INK
from vdpa_lab.timeline.spans import LANES
from vdpa_lab.units import MIB, SECOND, US

REMAINING, SENT, THRESHOLD, RECORDED = OKABE_ITO["blue"], OKABE_ITO["sky"], OKABE_ITO["vermillion"], PAPER_INK
BLACKOUTS = {1: OKABE_ITO["orange"], 2: OKABE_ITO["vermillion"], 3: OKABE_ITO["vermillion"]}
WIDTH, MARGIN = 9.0, 0.15  # inches; of a zoomed blackout, on both sides
DIRECTIONS = {"rx": (OKABE_ITO["green"], "-"), "tx": (OKABE_ITO["purple"], "--")}


def draw_remaining(ax: Axes, run: Precopy, recorded: Sequence[tuple[int, int, int]] = (), start_ns: int = 0) -> Axes:
    """Memory that QEMU knows to be dirty over time, with the threshold of its decision; recorded answers as dots."""
    points = np.array([(start_ns + each.ns, each.remaining_bytes, each.threshold_bytes) for each in run.points])
    ax.plot(points[:, 0] / SECOND, points[:, 1] / MIB, color=REMAINING, linewidth=1.3, label="simulated")
    ax.step(points[:, 0] / SECOND, points[:, 2] / MIB, color=THRESHOLD, linewidth=1, where="post", linestyle="--",
            label="threshold")  # fmt: skip
    if recorded:
        its = np.array(recorded)
        ax.plot(its[:, 0] / SECOND, its[:, 1] / MIB, ".", color=RECORDED, markersize=3, label="recorded")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.tick_params(labelsize=FONT_SIZE)
    ax.set_ylabel("remaining, MiB", fontsize=FONT_SIZE)
    return ax


def precopy_figure(runs: Sequence[RecordedPrecopy], columns: int = 3) -> Figure:
    """Remaining memory of recorded runs beside the model's, a panel each; the title gives both total times."""
    lines = -(-len(runs) // columns)
    figure = Figure(figsize=(WIDTH, 1.9 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, each in zip(panels, runs, strict=False):
        ours = precopy(each.scenario)
        draw_remaining(ax, ours, each.points)
        times = f"{each.total_ns / SECOND:.2f} s recorded, {ours.total_ns / SECOND:.2f} s simulated"
        ax.set_title(f"{each.name}\n{times}", fontsize=FONT_SIZE)
    for ax in panels[len(runs) :]:
        ax.set_axis_off()
    for ax in panels[-columns:]:
        ax.set_xlabel("s", fontsize=FONT_SIZE)
    panels[0].legend(fontsize=FONT_SIZE - 1, frameon=False)
    return figure


def whole_figure(run: Run, blackout: int = 0) -> Figure:
    """One simulated migration from its start to its end, or one `blackout` of it (1, 2, 3) with some time around.

    From above: memory still to be sent, packets a second and latency (median and 99 %) of each period, who works.
    """
    timeline, seen = run.timeline, run.traffic()
    dead = [(each["blackout"], each["start_ns"], each["start_ns"] + each["ns"]) for each in run.outages()]
    edges: dict[int, tuple[int, int]] = {}
    for number, start, stop in dead:
        first, last = edges.get(number, (start, stop))
        edges[number] = min(first, start), max(last, stop)
    sent = next((span for span in timeline.spans if span.op == "precopy"), None)
    end = max([*timeline.marks.values(), sent.end if sent else 0])
    low, high = edges.get(blackout, (0, end))
    if blackout in edges:
        low, high = low - int((high - low) * MARGIN), high + int((high - low) * MARGIN)
    lanes = _lanes(run, low, high)
    heights = [2, *([1.4, 1.4] if seen.flows else []), max(0.8, 0.28 * len(lanes))]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.6), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    draw_remaining(panels[0], precopy(run.scenario), start_ns=sent.start if sent else 0)
    panels[0].legend(fontsize=FONT_SIZE - 1, frameon=False, loc="upper right")
    if seen.flows:
        _draw_periods(panels[1], panels[2], run, _bounds(edges, max(end, high)))
    _draw_lanes(panels[-1], lanes)
    for ax in panels:
        for number, start, stop in dead:
            ax.axvspan(start / SECOND, stop / SECOND, color=BLACKOUTS[number], alpha=0.18)
    panels[-1].set_xlim(low / SECOND, high / SECOND)
    shaded = " and ".join(map(str, sorted(edges))) or "none"
    panels[-1].set_xlabel(f"s since the migration began; shaded: blackout {shaded} of each device", fontsize=FONT_SIZE)
    return figure


def _bounds(edges: dict[int, tuple[int, int]], end: int) -> dict[str, tuple[int, int]]:
    """Begin and end of the traffic's periods on the timeline."""
    last = 3 if 3 in edges else 2
    first, second = edges.get(1, (0, 0)), edges.get(last, (end, end))
    return {
        "before": (min(0, first[0]), first[0]),
        "blackout-1": first,
        "precopy": (first[1], second[0]),
        f"blackout-{last}": second,
        "after": (second[1], max(end, second[1])),
    }


def _draw_periods(rate: Axes, latency: Axes, run: Run, bounds: dict[str, tuple[int, int]]) -> None:
    seen, load = run.traffic(), run.scenario.workload.traffic
    for direction, (color, style) in DIRECTIONS.items():
        flows = [flow for flow in seen.flows if flow.direction == direction]
        told: set[str] = set()  # the legend names each once
        for name, (start, stop) in bounds.items():
            periods = [each for flow in flows for each in flow.periods if each.name == name]
            if stop <= start or not periods:
                continue
            offered, got = (sum(getattr(each, what) for each in periods) for what in ("offered", "delivered"))
            if name.startswith("blackout"):  # a stalled vCPU sends nothing, and what is not sent is not offered
                offered += sum(each.withheld for each in periods)
            asked = getattr(load, f"{direction}_pps") * run.scenario.device.count
            share = got / offered if offered else 0.0
            span = np.array([start, stop]) / SECOND
            rate.plot(span, [share * asked / 1e3] * 2, color=color, linestyle=style, linewidth=2,
                      label=None if told else direction.upper())  # fmt: skip
            told.add("rate")
            for quantile, width in (("p50", 2.0), ("p99", 0.9)):
                values = [each.latency_ns[quantile] for each in periods if quantile in each.latency_ns]
                if values:
                    label = None if quantile in told else f"{direction.upper()} {quantile}"
                    told.add(quantile)
                    latency.plot(
                        span, [max(values) / US] * 2, color=color, linestyle=style, linewidth=width, label=label
                    )
    latency.set_yscale("log")
    rate.set_ylim(bottom=0)
    for ax, title in ((rate, "delivered, 1000/s"), (latency, "latency, µs")):
        ax.set_ylabel(title, fontsize=FONT_SIZE)
        ax.tick_params(labelsize=FONT_SIZE)
        ax.legend(fontsize=FONT_SIZE - 1, frameon=False, ncols=2, loc="center right")


def _lanes(run: Run, low: int, high: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for span in run.timeline.spans:
        if span.ns and span.end > low and span.start < high:
            found.setdefault((span.lane.side, span.lane.kind), []).append((span.start / SECOND, span.ns / SECOND))
    order = list(COLORS)
    return dict(sorted(found.items(), key=lambda row: (row[0][0] != "source", row[0][0], order.index(row[0][1]))))


def _draw_lanes(ax: Axes, lanes: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    for row, ((side, kind), spans) in enumerate(lanes.items()):
        ax.broken_barh(spans, (row - 0.35, 0.7), facecolor=COLORS[kind], hatch=HATCHES[side], edgecolor=COLORS[kind],
                       linewidth=0.6)  # fmt: skip
    ax.set_yticks(range(len(lanes)), [f"{side} {LANES[kind]}" for side, kind in lanes], fontsize=FONT_SIZE - 0.5)
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.tick_params(axis="x", labelsize=FONT_SIZE)
    ax.grid(True, axis="x", color=EDGE, alpha=0.25, linewidth=0.5)
