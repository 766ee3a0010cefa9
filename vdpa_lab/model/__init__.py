"""The nouns of the lab: frozen, checked, hashable, read from and written to TOML; bytes and nanoseconds."""

from vdpa_lab.model.device import VdpaDevice
from vdpa_lab.model.errors import ScenarioError
from vdpa_lab.model.features import Feature, feature_mask, feature_names
from vdpa_lab.model.guest import Guest, Section
from vdpa_lab.model.host import Host, Link
from vdpa_lab.model.scenario import Scenario
from vdpa_lab.model.scenario_file import (
    find_scenario,
    parse_scenario,
    read_scenario,
    save_scenario,
    scenario_names,
    scenario_path,
    write_scenario,
)
from vdpa_lab.model.settings import UNSET, Change, Migration, Unset
from vdpa_lab.model.workload import Dirty, Traffic, Workload

__all__ = [
    "UNSET",
    "Change",
    "Dirty",
    "Feature",
    "Guest",
    "Host",
    "Link",
    "Migration",
    "Scenario",
    "ScenarioError",
    "Section",
    "Traffic",
    "Unset",
    "VdpaDevice",
    "Workload",
    "feature_mask",
    "feature_names",
    "find_scenario",
    "parse_scenario",
    "read_scenario",
    "save_scenario",
    "scenario_names",
    "scenario_path",
    "write_scenario",
]
