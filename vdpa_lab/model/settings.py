"""What the operator tells QEMU: migration parameters, and changes to them while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import ClassVar, Final, Literal

from vdpa_lab.model.kinds import duration, flag, optional, rate, records, whole
from vdpa_lab.model.record import Record, key
from vdpa_lab.units import MIB, MS, SECOND, TIB


class Unset(Enum):
    """A setting that a change leaves as it is, where None has a meaning of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET

_BANDWIDTH = rate(1, TIB)
_DOWNTIME = duration(0, 2000 * SECOND)  # QEMU migration/options.c: MAX_MIGRATE_DOWNTIME_SECONDS 2000
_DAY = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Change(Record):
    """Settings changed after `after` ns of migration.

    downtime_limit: ns; None = as it is. max_bandwidth: bytes per second; None = unlimited, UNSET = as it is.
    """

    TABLE: ClassVar[str] = "change"

    after: int = key(duration(0, _DAY))
    downtime_limit: int | None = key(optional(_DOWNTIME), None, quiet=True)
    max_bandwidth: int | Literal[Unset.UNSET] | None = key(optional(_BANDWIDTH, UNSET), UNSET, quiet=True)

    def _check(self) -> None:
        if self.downtime_limit is None and self.max_bandwidth is UNSET:
            self._refuse("after", "a change must set downtime_limit or max_bandwidth")


@dataclass(frozen=True, slots=True)
class Migration(Record):
    """Migration parameters, by default QEMU's (migration/options.c).

    max_bandwidth: bytes per second; None = unlimited. downtime_limit: ns. return_path, auto_converge: the
    capabilities of these names. changes: in order of time. avail_switchover_bandwidth: bytes per second that the
    decision to stop counts with; None = what the last window had. cancel_after: ns of
    precopy after which migrate-cancel comes; None = never, and so it is once precopy is over. multifd_channels: the
    parameter of this name with the capability multifd; 0 = without. Raises ScenarioError.
    """

    TABLE: ClassVar[str] = "migration"
    REFUSED: ClassVar = dict.fromkeys(
        ("postcopy", "postcopy_ram"),
        "postcopy is not possible with vhost-vdpa: guest RAM is pinned, and QEMU has no guard for that, so "
        "discarded pages would leave the device on stale ones. Precopy only; leave the key out",
    )

    max_bandwidth: int | None = key(_BANDWIDTH, 128 * MIB)
    downtime_limit: int = key(_DOWNTIME, 300 * MS)
    return_path: bool = key(flag(), False)
    changes: tuple[Change, ...] = key(records(Change, 1000), (), quiet=True)
    auto_converge: bool = key(flag(), False, quiet=True)
    avail_switchover_bandwidth: int | None = key(optional(_BANDWIDTH), None, quiet=True)
    cancel_after: int | None = key(optional(duration(0, _DAY)), None, quiet=True)
    multifd_channels: int = key(whole(0, 255), 0, quiet=True)

    def _check(self) -> None:
        times = [change.after for change in self.changes]
        if any(later <= earlier for earlier, later in pairwise(times)):
            self._refuse("changes", "must be in order of time, each at its own time")
