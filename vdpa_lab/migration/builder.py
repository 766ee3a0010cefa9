"""Writes the steps of one thread of control in series: ioctls, IOTLB messages with their map rebuilds, firmware."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache, wraps
from types import MappingProxyType

from vdpa_lab.machine.iotlb import Clean, Effect, Map, SetMap, Unmap
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration.fluid import LINK, Demand
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.precopy_layout import PAGE_WIRE, page_ns
from vdpa_lab.migration.step import Step
from vdpa_lab.timeline import Lane

NO_DEVICE = -1
PREFIX = {"source": "src", "destination": "dst", "wire": "wire"}  # of the steps' names, by side
_lane = lru_cache(maxsize=1024)(Lane)  # one for all steps on it


class Thread:
    """Appends steps to `steps`, each waiting for the one before on the same thread."""

    def __init__(
        self,
        steps: list[Step],
        side: str,
        path: str,
        driver: str,
        after: tuple[str, ...] = (),
        device: int = NO_DEVICE,
        tag: str = "",
    ):
        self.steps, self.side, self.path, self.driver, self.tag = steps, side, path, driver, tag
        self.after, self.caller, self._count = after, "", 0
        self.on_device(device)

    def fork(self, path: str, device: int = NO_DEVICE, side: str | None = None) -> Thread:
        """A thread of control that begins where this one stands."""
        return Thread(self.steps, side or self.side, path, self.driver, self.after, device)

    def calling(self, caller: str) -> Thread:
        """Steps from here on are issued by this QEMU or kernel function."""
        self.caller = caller
        return self

    def on_device(self, device: int) -> Thread:
        """Steps from here on are of this device."""
        self.device = device
        self._names = f"{PREFIX[self.side]}{device if device >= 0 else ''}.{self.path}.{self.tag}"
        return self

    def join(self, other: Thread) -> None:
        """Wait for where `other` stands, too."""
        self.after = (*self.after, *(name for name in other.after if name not in self.after))

    def step(
        self,
        op: str,
        kind: str,
        *work: tuple[str, int],
        width: int = 1,
        effect: Effect | None = None,
        of: str = "",
        detail: str = "",
        mark: str = "",
        demand: Demand | None = None,
    ) -> Step:
        self._count += 1
        name = f"{self._names}{self._count}.{op}"
        on = _lane(self.side, kind, self.device if kind in ("kernel", "firmware", "worker") else NO_DEVICE)
        step = Step(
            name, op, on, self.device, self.path, self.caller, self.after, work, width, 1, effect, of, detail, mark,
            demand,
        )  # fmt: skip
        self.steps.append(step)
        self.after = (name,)
        return step

    def mark(self, name: str) -> Step:
        return self.step("mark", "bql", mark=name)

    def qemu(self, op: str, key: str, amount: int = 1) -> Step:
        return self.step(op, "bql", (key, amount))

    def ioctl(self, op: str, detail: str = "arg=0x0") -> Step:
        return self.step(op, "kernel", ("vhost.ioctl", 1), detail=detail)

    def firmware(self, op: str, commands: int, key: str = "mlx5.command") -> None:
        """Synchronous firmware commands that the ioctl before waits for (mlx5 only)."""
        if self.driver == "mlx5" and commands:
            self.step(op, "firmware", (key, commands))

    def set_map(self, asid: int, each: bool = False) -> None:
        """The parent's set_map; drivers without one map and unmap in place."""
        if self.driver == "iommu":
            return
        rebuilt = self.step("set_map", "kernel", effect=SetMap(asid, each))
        if self.driver == "mlx5":
            self.step("CREATE_MKEY", "firmware", of=rebuilt.name)
            self.step("DESTROY_MKEY", "firmware", of=rebuilt.name)

    def update(self, asid: int, run: Run) -> None:
        """IOTLB_UPDATE outside a batch."""
        self.message("IOTLB_UPDATE", asid, run)
        self.set_map(asid, each=True)

    def invalidate(self, asid: int, run: Run) -> None:
        """IOTLB_INVALIDATE outside a batch."""
        self.message("IOTLB_INVALIDATE", asid, run)
        self.set_map(asid)

    def batch_edge(self, op: str, asid: int) -> None:
        self.step(op, "kernel", ("vhost.message", 1), detail=message_detail(asid, 0))

    def message(self, op: str, asid: int, run: Run) -> Step:
        effect = Map(asid, (run,)) if op == "IOTLB_UPDATE" else Unmap(asid, (run,))
        return self.step(op, "kernel", effect=effect, detail=message_detail(asid, run.size))

    def reset(self) -> Step:
        """SET_STATUS 0 with the clean of the device's maps (vhost_vdpa_reset -> compat_reset)."""
        step = self.step("SET_STATUS", "kernel", ("vhost.ioctl", 1), effect=Clean(), detail="arg=0x0")
        if self.driver == "mlx5":
            self.step("DESTROY_MKEY", "firmware", of=step.name)
        return step


def phrase(write: Callable[..., None]) -> Callable[..., None]:
    """What follows from where its thread stands and from its arguments alone is written once, and then repeated."""

    @lru_cache(maxsize=256)
    def written(place: tuple, caller: str, count: int, *about: Hashable) -> tuple:
        t = Thread([], *place).calling(caller)
        t._count = count
        write(t, *about)
        return tuple(t.steps), t.after, t.caller, t._count

    @wraps(write)
    def repeat(t: Thread, *about: Hashable) -> None:
        place = (t.side, t.path, t.driver, t.after, t.device, t.tag)
        steps, t.after, t.caller, t._count = written(place, t.caller, t._count, *about)
        t.steps += steps

    return repeat


def beside(plan: Plan, step: Step, tag: str, path: str = "") -> Thread:
    """An empty thread that writes new steps in the manner of `step`; `tag` keeps their names apart from all others."""
    return Thread(
        [], step.lane.side, path or step.path, plan.scenario.device.driver, (), step.device, f"{tag}-{step.name}-"
    ).calling(step.caller)


def more(step: Step, amount: int) -> Step:
    """The same step with `amount` more of its first kind of work."""
    (key, had), *others = step.work
    return step.but(work=((key, had + amount), *others))


def more_last_pages(plan: Plan, pages: int) -> Plan:
    """With so many more whole pages sent once the VM stands."""
    (wire,) = plan.select(op="last RAM")
    sent = more(wire, page_ns(pages, plan.scenario.link.bandwidth))
    sent = sent.but(demand=Demand(LINK, wire.demand.size + pages * PAGE_WIRE))
    plan = plan.alter(plan.select(op="send last pages"), lambda step: more(step, pages))
    return plan.alter([wire], lambda _: sent)


def in_asid(step: Step, asid: int) -> Step:
    """The same message or map rebuild in another address space."""
    effect = type(step.effect)(asid, *step.effect[1:])
    detail = message_detail(asid, effect.runs[0].size) if isinstance(effect, (Map, Unmap)) else step.detail
    return step.but(effect=effect, detail=detail)


def rebuilds(plan: Plan, messages: Iterable[Step]) -> list[Step]:
    """The set_map of each unbatched message, with its MKEY commands."""
    follows, maps, found = {step.name for step in messages}, set(), []
    for step in [step for step in plan.steps if step.of or step.op == "set_map"]:
        if step.of in maps:
            found.append(step)
        elif not step.of and not follows.isdisjoint(step.after):
            maps.add(step.name)
            found.append(step)
    return found


def batched(
    plan: Plan, groups: Iterable[list[Step]], tag: str, behind: Mapping[str, str] = MappingProxyType({})
) -> Plan:
    """A batch around each group of messages (one address space each): a single set_map at its end, none before.

    Groups that are in a batch already stay as they are. behind: by the name of a group's first message, that of the
    step after which the batch comes, if elsewhere.
    """
    batching = {step.name for step in plan.select(op="IOTLB_BATCH_BEGIN")}
    groups = [group for group in groups if group and batching.isdisjoint(group[0].after)]
    if not groups:
        return plan
    gone, before, after = rebuilds(plan, (step for group in groups for step in group)), {}, {}
    for group in groups:
        first, asid = group[0], group[0].effect.asid
        begin, end = (beside(plan, first, f"{tag}-{edge}") for edge in ("begin", "end"))
        begin.batch_edge("IOTLB_BATCH_BEGIN", asid)
        end.batch_edge("IOTLB_BATCH_END", asid)
        end.set_map(asid)
        if first.name in behind:
            gone += group
            after[behind[first.name]] = [*begin.steps, *group, *end.steps]
        else:
            before[first.name], after[group[-1].name] = begin.steps, end.steps
    return plan.edit(gone, before, after)


def message_detail(asid: int, size: int) -> str:
    return f"asid={asid} size={size:#x}"
