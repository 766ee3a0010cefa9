"""The pictures of the README, made by the package: `python -m vdpa_lab.plot.tour docs/pictures`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from vdpa_lab import __version__
from vdpa_lab.beside import compare
from vdpa_lab.library import precopy_runs
from vdpa_lab.migration import Run, simulate
from vdpa_lab.model import Host, Scenario, find_scenario
from vdpa_lab.plot.beside import windows_figure
from vdpa_lab.plot.downtime import bar_of
from vdpa_lab.plot.files import write_downtime
from vdpa_lab.plot.precopy import precopy_figure
from vdpa_lab.plot.reproduce import figures_figure
from vdpa_lab.plot.save import save_figure

WINDOWS = ("svq_switch", "source_teardown", "destination_setup")


def shipped(scenario: Scenario) -> Run:
    """The scenario under the newest versions that the lab knows, with what they ship."""
    host = Host(qemu="10.1", linux="6.12")
    return simulate(replace(scenario, source=host, destination=host, optimizations=None))


def write_tour(folder: str | Path) -> list[Path]:
    """downtime, recorded, published and precopy as SVG. Raises OSError."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    talk = find_scenario("talk")
    runs = {"as QEMU 10.1, Linux 6.12 ship it": shipped(talk), "with the talk's optimisations": simulate(talk)}
    bars = [bar_of(run, label) for label, run in runs.items()]
    figures = {
        "recorded": windows_figure(compare("v-256-1d-r2"), WINDOWS),
        "published": figures_figure("V6", "V9"),
        "precopy": precopy_figure(precopy_runs()),
    }
    about = f"vdpa_lab {__version__}"
    return [
        write_downtime(bars, folder / "downtime.svg", title="downtime", description=about),
        *(save_figure(each, folder / f"{name}.svg", title=name, description=about) for name, each in figures.items()),
    ]


if __name__ == "__main__":
    write_tour(sys.argv[1])
