"""A scenario: everything that one simulated live migration starts from."""

from __future__ import annotations

from dataclasses import dataclass

from vdpa_lab.model.device import MLX5_MAX_VQ_ENTRIES, VdpaDevice
from vdpa_lab.model.guest import Guest
from vdpa_lab.model.host import Host, Link
from vdpa_lab.model.kinds import optional, prose, record, word, words
from vdpa_lab.model.record import Record, key
from vdpa_lab.model.settings import Migration
from vdpa_lab.model.workload import Workload
from vdpa_lab.units import bytes_text, format_bytes

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
NAME = word(NAME_PATTERN, "a name of at most 100 letters, digits, '.', '_' and '-', the first a letter or digit")


@dataclass(frozen=True, slots=True)
class Scenario(Record):
    """One live migration to look at.

    destination: None on construction = like source; afterwards a Host. testbed: the name of a calibration.
    optimizations: names of those that are on; None = what the named versions ship. Raises ScenarioError.
    """

    name: str = key(NAME)
    guest: Guest = key(record(Guest))
    device: VdpaDevice = key(record(VdpaDevice), VdpaDevice())
    source: Host = key(record(Host), Host())
    destination: Host = key(optional(record(Host)), None, quiet=True)
    link: Link = key(record(Link), Link(), quiet=True)
    migration: Migration = key(record(Migration), Migration())
    workload: Workload = key(record(Workload), Workload(), quiet=True)
    description: str = key(prose(10_000), "", quiet=True)
    testbed: str = key(NAME, "liu2023")
    optimizations: tuple[str, ...] | None = key(optional(words(NAME, 200)), None, quiet=True)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the hosts must grant for this scenario and the lab takes for granted, in words."""
        found = []
        if self.device.count > 1:
            locked = format_bytes(self.device.count * self.guest.ram)
            found.append(f"every device pins all RAM: RLIMIT_MEMLOCK must allow {locked}")
        if self.device.driver == "mlx5" and self.device.queue_size > MLX5_MAX_VQ_ENTRIES:
            found.append(f"mlx5_vdpa offers at most {MLX5_MAX_VQ_ENTRIES} entries per virtqueue; more are assumed")
        return tuple(found)

    def _check(self) -> None:
        if self.destination is None:
            object.__setattr__(self, "destination", self.source)
        dirty = self.workload.dirty
        if dirty is not None and dirty.working_set > self.guest.ram:
            self._refuse(
                "workload.dirty.working_set",
                f"must be at most guest.memory = {bytes_text(self.guest.ram)}",
                f'"{bytes_text(dirty.working_set)}"',
            )
