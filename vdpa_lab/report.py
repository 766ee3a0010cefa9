"""What the command line prints: rows and text of runs, figures, fits and lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from vdpa_lab.library import bibliography, priors, read_figures
from vdpa_lab.migration import Run, catalogue
from vdpa_lab.migration.calibrate import Fit
from vdpa_lab.migration.compare import TOLERANCE, UNEXPLAINED, Observation, met, printed
from vdpa_lab.model import find_scenario, scenario_names
from vdpa_lab.timeline import WINDOWS, summed
from vdpa_lab.units import format_bytes, format_duration

TOP = 8


def table(rows: Sequence[dict[str, Any]], names: Sequence[str] = ()) -> list[str]:
    """Rows as aligned columns."""
    if not rows:
        return ["(none)"]
    names = names or list(dict.fromkeys(name for row in rows for name in row))
    cells = [[str(row.get(name, "") if row.get(name) is not None else "–") for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    lines = [names, *cells]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def optimization_rows() -> list[dict[str, Any]]:
    """The catalogue, in the order in which rewrites are applied."""
    return [
        {
            "name": each.name,
            "layer": each.layer,
            "status": each.status,
            "effect": each.effect,
            "requires": ", ".join(need if isinstance(need, str) else " or ".join(need) for need in each.requires),
            "knobs": ", ".join(knob.name for knob in fields(each)),
            "refs": ", ".join(each.refs),
        }
        for each in catalogue().values()
    ]


def scenario_rows() -> list[dict[str, Any]]:
    """The scenarios that come with the package."""
    found = [find_scenario(name) for name in scenario_names()]
    return [
        {
            "name": each.name,
            "memory": format_bytes(each.guest.memory),
            "devices": f"{each.device.count} {each.device.driver} x {each.device.queue_pairs} pairs",
            "testbed": each.testbed,
            "description": each.description.partition(". ")[0],
        }
        for each in found
    ]


def figure_rows() -> list[dict[str, Any]]:
    """The published figures."""
    return [
        {
            "name": each.name,
            "title": each.title,
            "rows": len(each.rows),
            "quantity": each.quantity,
            "source": str(bibliography()[each.reference]),
        }
        for each in read_figures()
    ]


def trace_rows() -> list[dict[str, Any]]:
    """The recorded runs that come with the package."""
    from vdpa_lab.traces import shipped_runs  # readers of logs, which no other report needs

    return [
        {"name": name, "files": ", ".join(sorted(each.name for each in folder.iterdir()))}
        for name, folder in shipped_runs().items()
    ]


def run_text(run: Run) -> Iterable[str]:
    """A run in words: windows with intervals, what the longest were spent on, and what the numbers rest on."""
    yield f"{run.scenario.name}: {', '.join(run.plan.applied) or 'nothing optimised'}"
    yield f"prices: {run.calibration.name}; 90 % intervals from the prices' own"
    yield ""
    for name, window in WINDOWS.items():
        ns = run.windows[name]
        if ns is None:
            yield f"{window.title:32} –  (this migration has none)"
            continue
        low, high = run.interval(name)
        yield f"{window.title:32} {format_duration(ns):>10}   {format_duration(low)} – {format_duration(high)}"
    yield ""
    for name in ("svq_switch", "source_teardown", "destination_setup", "third_blackout"):
        if not run.windows[name]:
            continue
        yield f"{WINDOWS[name].title}: {WINDOWS[name].meaning}"
        totals: dict[tuple[str, str], int] = {}
        for part in summed(run.breakdown(name)):
            totals[part.op, part.key] = totals.get((part.op, part.key), 0) + part.ns
        for (op, key), ns in sorted(totals.items(), key=lambda item: -item[1])[:TOP]:
            yield f"  {format_duration(ns):>10}  {op:20} {key:28} {run.cost(key).basis}"
    yield ""
    for name, words in (("network_outage", "network outage"), ("third_blackout", "blackout 3")):
        if shares := {basis: share for basis, share in run.share_by_basis(name).items() if share}:
            yield f"{words} rests on " + ", ".join(f"{share:.0%} {basis}" for basis, share in shares.items())


def figures_text(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    """Every comparison as a line, then what missed and by how much."""
    shown = [
        {
            "figure": row["figure"],
            "row": row["row"][:48],
            "reading": row["reading"],
            "unit": row["unit"],
            "published": printed(row) or None,
            "simulated": None if row["simulated"] is None else f"{row['simulated']:.4g}",
            "ratio": None if row["ratio"] is None else f"{row['ratio']:.2f}",
            "use": row["use"],
            "constant": f"{row['residual_constant']:.0%}",
        }
        for row in rows
    ]
    yield from table(shown)
    missed = [row for row in rows if row["ratio"] is not None and not met(row["ratio"])]
    yield ""
    compared = sum(row["ratio"] is not None for row in rows)
    yield f"{compared - len(missed)} of {compared} compared rows lie within a factor {TOLERANCE:g}; the others:"
    for row in missed:
        yield f"  {row['figure']} {row['row']} ({row['reading']}, {row['use']}): simulated/published {row['ratio']:.2f}"
    for row in rows:
        if row["figure"] == "V14" and row["interval"]:
            low, high = row["interval"]
            yield (
                f"The talk, {row['row']}: {row['simulated']:.3g} {row['unit']} (90 % {low:.3g} – {high:.3g}), "
                "never fitted; "
                f"{row['residual_constant']:.0%} of it is a constant without mechanism"
            )


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def fit_json(fit: Fit) -> dict[str, Any]:
    """The document of `vdpa-lab calibrate --json`."""

    def one(cost) -> dict[str, Any]:
        prior = None if cost.key.startswith(UNEXPLAINED) else cost.in_unit(priors()[cost.key].value)
        return {**cost.json(), "prior": prior}

    return {
        "reading": fit.reading,
        "values": len(fit.rows),
        "parameters": len(fit.costs) + sum(cost.value > 0 for costs in fit.constants.values() for cost in costs),
        "prices": [one(cost) for cost in fit.costs],
        "constants": {testbed: [one(cost) for cost in costs] for testbed, costs in fit.constants.items()},
        "null_directions": [dict(each) for each in fit.null_directions],
        "rows": [
            {"figure": row.figure.name, "row": row.row.label, "reading": row.reading, "ratio": reached}
            for row, reached in fit.rows
        ],
    }


def cross_rows(found: Iterable[tuple[str, Observation, float]]) -> list[dict[str, Any]]:
    """Predictions of rows from other rows."""
    return [
        {"fitted": fitted, "figure": row.figure.name, "row": row.row.label, "ratio": round(reached, 3)}
        for fitted, row, reached in found
    ]


def fit_text(fit: Fit) -> Iterable[str]:
    """A fit in words."""
    document = fit_json(fit)
    yield f"{document['values']} values, {document['parameters']} parameters, {fit.reading}"
    prices = list(document["prices"])
    for testbed, constants in document["constants"].items():
        prices += [{**each, "key": f"{testbed} {each['key']}"} for each in constants]
    yield from table([{name: _short(value) for name, value in each.items()} for each in prices])
    yield ""
    yield "not determined by these rows, held by the priors:"
    for each in document["null_directions"]:
        yield "  " + ", ".join(f"{weight:+.2f} {key}" for key, weight in each.items())
    yield ""
    yield from table([{**each, "ratio": f"{each['ratio']:.2f}"} for each in document["rows"]])


def bench_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `benchmarks` for reading: our time, then every candidate's time as a multiple of ours."""
    return [
        {
            "work": row["work"],
            "of": row["of"],
            "ours": format_duration(row["ns"]),
            **{
                name.removesuffix("_ratio") + " / ours": f"{ratio['median']:.2f}"
                for name, ratio in row.items()
                if name.endswith("_ratio")
            },
        }
        for row in rows
    ]


def probe_json(found: Any) -> dict[str, Any]:
    """The document of `vdpa-lab probe --json`; prices in ns."""
    costs = [{name: getattr(cost, name) for name in ("key", "value", "low", "high", "locator")} for cost in found.costs]
    return {"host": found.host, "way": found.way, "costs": costs, "missing": found.missing}


def probe_text(found: Any) -> list[str]:
    """What `vdpa-lab probe` measured, beside the prices that come with the package."""
    common = priors()
    rows = [
        {
            "price": cost.key,
            "here": format_duration(cost.value),
            "quartiles": f"{format_duration(cost.low)} – {format_duration(cost.high)}",
            "package": format_duration(common[cost.key].value) if cost.key in common else None,
        }
        for cost in found.costs
    ]
    return [
        f"{found.host}; pinned by {found.way}",
        "",
        *table(rows),
        *(f"not measured: {why}" for why in found.missing),
    ]
