"""Real migrations from their logs: readers, one timeline, windows, and a scenario like the run."""

from vdpa_lab.traces.perfetto import chrome_trace, save_chrome_trace
from vdpa_lab.traces.read import read
from vdpa_lab.traces.recorded import run, shipped_runs
from vdpa_lab.traces.run import TraceRun
from vdpa_lab.traces.scenario import facts_text, scenario, scenario_toml

__all__ = [
    "TraceRun",
    "chrome_trace",
    "facts_text",
    "read",
    "run",
    "save_chrome_trace",
    "scenario",
    "scenario_toml",
    "shipped_runs",
]
