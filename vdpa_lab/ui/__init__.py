"""The widgets: a state that knows no widget, and views of it. Below the course, the only floor with ipywidgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vdpa_lab.model import Scenario
    from vdpa_lab.ui.dashboard import Dashboard

__all__ = ["explore"]


def explore(scenario: str | Scenario = "talk") -> Dashboard:
    """The dashboard of a scenario: a name in data/scenarios, a path, or a Scenario.

    As the last line of a cell it is shown; run again, it comes back as it was left. Raises ScenarioError or
    InputError for a scenario that cannot be.
    """
    # Only here, so that the state can be used and tested without widgets.
    from vdpa_lab.ui.dashboard import open_dashboard

    return open_dashboard(scenario)
