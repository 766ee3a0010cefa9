"""A plan as the kernel log of a real migration: three windows, one line per ioctl or IOTLB message."""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step

WINDOWS = {
    "setup-src": ("source", "switch"),
    "blackout-src": ("source", "stop"),
    "blackout-dst": ("destination", "start"),
}


def window_steps(plan: Plan, window: str) -> Iterator[Step]:
    """The ioctls and messages of one window, in order.

    What belongs to starting dirty logging, and reads of the configuration space, are not part of a plan.
    """
    side, path = WINDOWS[window]
    for step in plan.steps:
        if step.path == path and step.lane.side == side and step.detail and step.lane.kind == "kernel":
            yield step


def kernel_ops(plan: Plan) -> str:
    """The text of `vdpa-lab plan --kernel-ops`."""
    lines = []
    for window, (side, _) in WINDOWS.items():
        lines.append(f"# {window}")
        prefix = "src" if side == "source" else "dst"
        lines += [f"{prefix}{step.device} {step.op} {step.detail}" for step in window_steps(plan, window)]
    return "\n".join(lines) + "\n"
