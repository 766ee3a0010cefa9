"""A fit to recorded runs as a document and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vdpa_lab.beside.run_prices import RunFit
from vdpa_lab.library import read_calibration
from vdpa_lab.units import format_duration


def fit_json(fit: RunFit, left_out: Sequence[dict] = ()) -> dict:
    """The document of `vdpa-lab calibrate RUN… --json`."""
    prior = read_calibration(fit.base)
    return {
        "runs": list(fit.runs),
        "base": fit.base,
        "operations": len(fit.charges),
        "prices": [
            {**cost.json(), "prior": cost.in_unit(prior[cost.key].value), "locator": cost.locator}
            for cost in (*fit.costs, *fit.constants)
        ],
        "residuals": fit.residuals(),
        "windows": [
            {"run": run, "window": window, "recorded_ns": recorded, "simulated_ns": ns, "ratio": ns / recorded}
            for run, window, recorded, ns in fit.windows
        ],
        "left_out": list(left_out),
        "unknown": fit.unknown,
        "warnings": list(fit.warnings),
    }


def fit_text(fit: RunFit, left_out: Sequence[dict] = ()) -> Iterator[str]:
    """The same in words."""
    document = fit_json(fit, left_out)
    yield f"{len(fit.runs)} runs, {document['operations']} operations; other prices are those of {fit.base}"
    yield f"{'price':32} {'fitted':>10} {'90 % interval':>22}  {'was':>9}"
    for row in document["prices"]:
        span = f"{row['low']:.4g} – {row['high']:.4g}"
        unit = f"{row['unit']:3}"
        yield f"{row['key']:32} {row['value']:>10.4g} {span:>22}  {row['prior']:>9.4g} {unit} {row['basis']}"
    yield ""
    yield "by operation: recorded, simulated with these prices"
    for row in document["residuals"]:
        both = f"{format_duration(row['recorded_ns']):>10} {format_duration(row['simulated_ns']):>10}"
        yield f"  {row['count']:>5} {row['operation']:22} {both}{_ratio(row)}"
    yield ""
    yield "windows: recorded, simulated (fitted); the constants take up what no operation explains"
    for row in document["windows"]:
        yield _window(row, "simulated_ns")
    if left_out:
        yield ""
        yield "each run predicted from the others alone: recorded, predicted"
        for row in left_out:
            yield _window(row, "predicted_ns")
    if fit.unknown:
        yield ""
        yield "these recordings say nothing of:"
        for key, share in fit.unknown.items():
            yield f"  {key} ({share:.1%} of the windows' time rests on the price of {fit.base})"
    for warning in fit.warnings:
        yield f"warning: {warning}"


def _ratio(row: dict) -> str:
    return "" if row["ratio"] is None else f"   {row['ratio']:.2f}"


def _window(row: dict, key: str) -> str:
    both = f"{format_duration(row['recorded_ns']):>10} {format_duration(row[key]):>10}"
    return f"  {row['run'][:40]:40} {row['window']:18} {both}{_ratio(row)}"
