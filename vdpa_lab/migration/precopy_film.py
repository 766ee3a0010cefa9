"""The dirty bitmaps of a precopy over time, downscaled: each cell counts the pages that it stands for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdpa_lab.migration.precopy import play
from vdpa_lab.migration.precopy_exact import ExactRam, Sent
from vdpa_lab.migration.precopy_layout import layout, page_costs
from vdpa_lab.migration.precopy_record import Precopy
from vdpa_lab.model import Scenario
from vdpa_lab.units import MS

COLUMNS, ROWS = 128, 128
FIRST_STEP = 50 * MS  # about as long as a slice of ram_save_iterate
WORD = 64  # pages


class Film(NamedTuple):
    """What two bitmaps held at instants `times_ns`: the first before anything is sent, the last when the VM stands.

    to_send, unseen: pages in each cell, uint32[instants, cells]; to_send: QEMU's bmap; unseen: written since and only
    in KVM's bitmap, so QEMU learns of them at its next sync. pages: of RAM in each cell, uint32[cells], equal but for
    the last. precopy: what the thread did meanwhile.
    """

    times_ns: tuple[int, ...]
    to_send: np.ndarray
    unseen: np.ndarray
    pages: np.ndarray
    precopy: Precopy


def counted(words: np.ndarray, step: int) -> np.ndarray:
    """Set bits of each `step` words, uint32[]; the last ones may be fewer."""
    return np.add.reduceat(np.bitwise_count(words).astype(np.uint32), np.arange(0, words.size, step))


class _Filmed(ExactRam):
    """RAM that is looked at as time goes by; when the film is full, every other look is dropped."""

    def __init__(self, scenario: Scenario, columns: int, rows: int) -> None:
        super().__init__(layout(scenario), scenario.workload.dirty, *page_costs(scenario))
        self.words, self.rows = -(-self.layout.pages // (WORD * columns)), rows
        self.now, self.due, self.step = 0, FIRST_STEP, FIRST_STEP
        self.looks: list[tuple[int, np.ndarray, np.ndarray]] = []

    def look(self) -> None:
        used = slice(-(-self.layout.pages // WORD))  # the arrays are a little longer than RAM
        bmap, kernel = self._bits.bmap[used], self._bits.kernel[used]
        both = (counted(words, self.words) for words in (bmap, kernel & ~bmap))
        self.looks.append((self.now, *both))

    def write(self, ns: int, share: float = 1.0) -> None:
        super().write(ns, share)
        self.now += ns
        if self.now < self.due:
            return
        self.look()
        if len(self.looks) >= self.rows:
            self.looks, self.step = self.looks[::2], 2 * self.step
        self.due = self.looks[-1][0] + self.step

    def send(self, room: int | None, most_ns: int, last_stage: bool = False, waited: int | None = None) -> Sent:
        if last_stage or not self.looks:
            self.look()
        return super().send(room, most_ns, last_stage, waited)


def film(scenario: Scenario, columns: int = COLUMNS, rows: int = ROWS) -> Film:
    """Precopy of this scenario page by page, filmed in at most `columns` cells and `rows` + 1 instants."""
    ram = _Filmed(scenario, columns, rows)
    found = play(scenario.migration, ram)
    times, to_send, unseen = zip(*ram.looks, strict=True)
    pages = np.full(to_send[0].size, WORD * ram.words, np.uint32)
    pages[-1] -= int(pages.sum()) - ram.layout.pages
    return Film(times, np.stack(to_send), np.stack(unseen), pages, found)
