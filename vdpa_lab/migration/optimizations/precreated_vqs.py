"""Hardware virtqueues created ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdpa_lab.migration.builder import beside
from vdpa_lab.migration.optimization import MLX5_PRESETS, Optimization
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step, Work

DEFAULT_VQ_SIZE = 256  # MLX5V_DEFAULT_VQ_SIZE: virtqueues of another size are created again
CREATION = frozenset({"CREATE_VQ", "CREATE_STEERING"})


@dataclass(frozen=True, slots=True)
class PrecreatedVqs(Optimization):
    """Create virtqueue objects when the device is added or reset; DRIVER_OK only modifies them."""

    name: ClassVar = "precreated-vqs"
    title: ClassVar = "Pre-created virtqueues"
    layer: ClassVar = "kernel"
    effect: ClassVar = "DRIVER_OK modifies virtqueues instead of creating them; lost when a ring has not 256 entries"
    status: ClassVar = "Linux 6.11"
    refs: ClassVar = ("tatulea2024precreate",)
    drivers: ClassVar = ("mlx5",)
    removes: ClassVar = ()
    adds: ClassVar = ("mlx5.command",)
    slower: ClassVar = dict.fromkeys(
        MLX5_PRESETS,
        "each reset creates the virtqueues again, also on a source that will not use them; with another ring "
        "size DRIVER_OK destroys and creates them once more",
    )

    def rewrite(self, plan: Plan) -> Plan:
        if plan.select(path="init", op="CREATE_VQ") or not plan.select(path="start", op="CREATE_VQ"):
            return plan
        fits = plan.scenario.device.queue_size == DEFAULT_VQ_SIZE
        created = plan.select(path="start", op="CREATE_VQ")[0].work
        steering = plan.select(path="start", op="CREATE_STEERING")[0].work
        resets = [step for step in plan.select(path="init", op="SET_STATUS") if step.detail]
        after = {
            step.name: self._creation(plan, step, created, steering)
            for step in (*plan.select(op="CREATE_PA_MKEY"), *resets)
        }
        before = {}
        torn = plan.select(op="DESTROY_VQ")[0].work[0][1]
        for step in plan.select(path={"switch", "back", "start"}, op="CREATE_VQ", caller="vhost_vdpa_dev_start"):
            t = beside(plan, step, self.name)
            t.firmware("MODIFY_VQ" if fits else "DESTROY_VQ", 2 * plan.scenario.device.pairs_in_use if fits else torn)
            before[step.name] = t.steps
        return plan.edit(plan.select(caller="vhost_vdpa_dev_start", op=CREATION) if fits else (), before, after)

    def _creation(self, plan: Plan, step: Step, created: Work, steering: Work) -> list[Step]:
        t = beside(plan, step, self.name)
        t.step("CREATE_VQ", "firmware", *created)
        t.step("CREATE_STEERING", "firmware", *steering)
        return t.steps
