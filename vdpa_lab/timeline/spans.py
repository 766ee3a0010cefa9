"""A timeline: what ran where from when to when, which instants have a name, and what held each span back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

NO_DEVICE = -1


class Lane(NamedTuple):
    """Who does the work: `side` source | destination | wire, `kind` one of LANES, `device` index or NO_DEVICE."""

    side: str
    kind: str
    device: int = NO_DEVICE

    @property
    def of_all(self) -> Lane:
        """The lane whatever the device."""
        return self._replace(device=NO_DEVICE)

    def __str__(self) -> str:
        return f"{self.side} {LANES[self.kind]}" + (f" {self.device}" if self.device != NO_DEVICE else "")


LANES = {
    "bql": "QEMU thread holding the BQL",
    "migration": "migration thread",
    "thread": "map thread",
    "kernel": "kernel",
    "firmware": "device firmware",
    "worker": "mlx5 workqueue",
    "vcpu": "vCPUs",
    "link": "link",
}


class Term(NamedTuple):
    """A share of a span: `key` names its cost, `amount` of it were done, `ns` is what they took."""

    key: str
    amount: int
    ns: int


class Span(NamedTuple):
    """One operation in time; start and end in ns, `terms` sum to end - start."""

    name: str
    op: str
    lane: Lane
    device: int
    start: int
    end: int
    terms: tuple[Term, ...] = ()

    @property
    def ns(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans in order of the plan or log, named instants (ns), and per span the index of the span it waited for.

    `waited_for[i]` is -1 where span i started on its own (time zero, or an unknown cause in a real trace).
    """

    spans: tuple[Span, ...]
    marks: dict[str, int]
    waited_for: tuple[int, ...]
    mark_spans: dict[str, int]

    @property
    def end(self) -> int:
        """When its last span ends, ns."""
        return max(span.end for span in self.spans)
