"""What was chosen before, and what was taken back: undo and redo."""

from __future__ import annotations

from typing import NamedTuple

from vdpa_lab.model import Scenario

MOST = 100  # states kept; the oldest is forgotten first


class Moment(NamedTuple):
    """One state of the dashboard: the scenario as edited, toggles that are on, knobs by toggle."""

    scenario: Scenario
    on: tuple[str, ...]
    knobs: dict[str, dict[str, int]]


class History:
    """States before the present one, the latest last, and those taken back, the next one last."""

    def __init__(self) -> None:
        self.past: list[Moment] = []
        self.future: list[Moment] = []

    def leave(self, moment: Moment) -> None:
        """The present becomes past; what was taken back is gone."""
        self.past = [*self.past, moment][-MOST:]
        self.future = []

    def back(self, moment: Moment) -> Moment | None:
        """The state before `moment`, which is the present; None where there is none."""
        if not self.past:
            return None
        self.future.append(moment)
        return self.past.pop()

    def forth(self, moment: Moment) -> Moment | None:
        """The state that was taken back last; None where there is none."""
        if not self.future:
            return None
        self.past.append(moment)
        return self.future.pop()
