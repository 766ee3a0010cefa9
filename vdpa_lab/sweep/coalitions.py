"""Which sets of toggles can be on together, and what each set's migration takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from vdpa_lab.library import Calibration, read_calibration
from vdpa_lab.migration import catalogue, default_toggles, plan, refusals
from vdpa_lab.migration.optimization import known
from vdpa_lab.migration.precopy import precopy
from vdpa_lab.migration.simulate import run_plan
from vdpa_lab.model import Scenario
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.words import InputError, nearest


def checked_window(name: str) -> str:
    """The window's name. Raises InputError with the nearest known one."""
    if name not in WINDOWS:
        raise InputError(f"no window {name!r}; {nearest(name, WINDOWS)}")
    return name


def checked_whole(name: str, value: object, low: int, unit: str) -> int:
    """A whole number of at least `low`. Raises InputError that names it."""
    if type(value) is not int or value < low:
        raise InputError(f"{name} = {value!r}; a whole number of {unit}, at least {low}")
    return value


def no_window(scenario: Scenario, window: str) -> InputError:
    """What to raise about a window that is asked for and that this migration has not."""
    return InputError(f"{scenario.name} has no {window}; choose another window")


class Game:
    """Toggles of one scenario as bits: bit i is toggles[i]; `base` stays on throughout.

    A set is feasible when the whole of it and the base can be on at once: every need is met, nothing conflicts.
    progress: called with the number of sets simulated after each; what it raises ends the work.
    """

    def __init__(
        self, scenario: Scenario, toggles: Iterable[str], base: Iterable[str], window: str,
        calibration: Calibration | None, progress: Callable[[int], None] | None = None,
    ):  # fmt: skip
        self.progress = progress
        self.scenario, self.window = scenario, checked_window(window)
        self.toggles, self.base = known(toggles), known(base)
        self.calibration = calibration or read_calibration(scenario.testbed)
        self._feasible: dict[int, bool] = {}
        self._found: dict[int, tuple[int | None, bool]] = {}

    @property
    def full(self) -> int:
        """All toggles on."""
        return (1 << len(self.toggles)) - 1

    def names(self, word: int) -> tuple[str, ...]:
        """The toggles of a set, without the base."""
        return tuple(name for i, name in enumerate(self.toggles) if word >> i & 1)

    def refused(self, word: int) -> dict[str, str]:
        """Why a set is not feasible; empty when it is."""
        return refusals((*self.base, *self.names(word)), self.scenario.device.driver)

    def feasible(self, word: int) -> bool:
        """Can this set be on?"""
        found = self._feasible.get(word)
        if found is None:
            found = self._feasible[word] = not self.refused(word)
        return found

    def simulated(self, word: int) -> tuple[int | None, bool]:
        """The window in ns with a feasible set on, None where the migration has none; and whether precopy converges."""
        found = self._found.get(word)
        if found is None:
            made = plan(self.scenario, (*self.base, *self.names(word)))
            windows = run_plan(made, self.calibration).windows
            found = self._found[word] = windows[self.window], precopy(made.scenario).converged
            if self.progress:
                self.progress(self.priced)
        return found

    def ns(self, word: int) -> int:
        """Length of the window with a feasible set on; 0 where the migration has no such window."""
        return self.simulated(word)[0] or 0

    def converges(self, word: int) -> bool:
        """Does precopy come to its end by itself? Else the window is that of a VM stopped all the same."""
        return self.simulated(word)[1]

    def meets(self, word: int, target_ns: int) -> bool:
        """Is the window at the target or below, of a migration that ends by itself?"""
        return self.converges(word) and self.ns(word) <= target_ns

    @property
    def priced(self) -> int:
        """How many different sets were simulated."""
        return len(self._found)


def chosen_toggles(
    scenario: Scenario, toggles: Iterable[str] | None, on: Iterable[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Toggles to look at (default: all that are on) and the base: what else is on. Raises InputError."""
    present = default_toggles(scenario) if on is None else known(on)
    looked_at = present if toggles is None else known(toggles)
    return looked_at, tuple(name for name in catalogue() if name in present and name not in looked_at)


def bits(word: int) -> Iterator[int]:
    """Positions of the ones of a word."""
    while word:
        low = word & -word
        yield low.bit_length() - 1
        word ^= low
