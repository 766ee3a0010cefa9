"""A migration that is cancelled during precopy: shadowing ends on the source, and each device goes dark once more.

Source: QEMU migration/migration.c (migration_cleanup: qemu_savevm_state_cleanup, then MIG_EVENT_PRECOPY_FAILED),
net/vhost-vdpa.c (vhost_vdpa_net_log_global_enable(false): svq_switching = DISABLING, vhost_net_stop, vhost_net_start).
"""

from __future__ import annotations

from collections.abc import Iterable

from vdpa_lab.migration import vhost
from vdpa_lab.migration.builder import Thread
from vdpa_lab.migration.outline import Outline
from vdpa_lab.migration.plan import Plan

SWITCHOVER = frozenset({"stop", "save", "load", "start", "after"})


def end_shadowing(t: Thread, of: Outline, devices: Iterable[int]) -> None:
    """The switch in reverse: stop in shadow, start in passthrough; main thread, VM running."""
    t = t.fork("back").calling("ram_save_cleanup")
    t.step("stop dirty log", "bql")
    before, after = vhost.shadowed(of, of.source), vhost.passthrough(of, of.source)
    for device in devices:
        one = t.fork("back", device)
        one.mark(f"svq-back-begin:{device}")
        vhost.stop(one, before)
        vhost.start(one, after, masked_calls=2, status=vhost.ACKNOWLEDGE_DRIVER)
        # Never measured: what no operation explains of the same two halves elsewhere.
        one.calling("").qemu("unexplained", "unexplained.source_teardown")
        one.qemu("unexplained", "unexplained.destination_setup")
        one.mark(f"svq-back-end:{device}")
        t.after = one.after


def without_switchover(plan: Plan) -> Plan:
    """What is left of a plan whose migration is cancelled; its optimisations have been applied to all of it."""
    cancelled = plan.scenario.migration.cancelled
    return plan.drop(step for step in plan.steps if step.path in SWITCHOVER) if cancelled else plan
