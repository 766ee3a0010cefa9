"""What a precopy was: its passes, the instants that were noted down, and how it ended."""

from __future__ import annotations

from typing import NamedTuple


class Iteration(NamedTuple):
    """One pass: its start in ns, bytes of dirty pages then, bytes sent, pages newly dirty at the sync that ends it.

    The last pass is sent with the VM stopped, and finds none.
    """

    start_ns: int
    remaining_bytes: int
    sent_bytes: int
    dirty_pages: int


class Point(NamedTuple):
    """An instant: ns, bytes of dirty pages that QEMU knows of, bytes sent so far, the threshold of its decision."""

    ns: int
    remaining_bytes: int
    sent_bytes: int
    threshold_bytes: int


class Precopy(NamedTuple):
    """total_ns: until the VM stops. syncs: bitmap syncs after the first, the one with the VM stopped among them.

    left_pages: sent with the VM stopped, of which left_zero_pages are zeros; transferred_bytes has them. converged
    False: the downtime limit was never met, and the rest is sent with the VM stopped all the same. throttle: share of
    time that auto-converge took from the vCPUs in the end. clear_calls: of KVM_CLEAR_DIRTY_LOG, ring_exits:
    KVM_EXIT_DIRTY_RING_FULL (both exact only).
    cancelled: it ended with migrate-cancel; left_pages were never sent then.
    """

    total_ns: int
    iterations: tuple[Iteration, ...]
    transferred_bytes: int
    converged: bool
    left_pages: int
    left_zero_pages: int
    syncs: int
    points: tuple[Point, ...]
    throttle: float = 0.0
    clear_calls: int = 0
    cancelled: bool = False
    ring_exits: int = 0

    @property
    def left_bytes(self) -> int:
        return self.iterations[-1].sent_bytes
