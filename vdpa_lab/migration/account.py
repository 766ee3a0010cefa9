"""The amounts behind a plan: what each operation has to move, found by replaying the plan's memory messages.

A rewrite changes the messages; their consequences (pages pinned, entries, MKEYs, MTTs) follow here.
"""

from __future__ import annotations

from collections.abc import Iterator

from vdpa_lab.machine.iotlb import Clean, Effect, Map, SetMap, Unmap, replay
from vdpa_lab.machine.iova import steady_memory
from vdpa_lab.machine.memory import Run
from vdpa_lab.migration.plan import Plan
from vdpa_lab.migration.step import Step, Work
from vdpa_lab.migration.vhost import RAM_ASID
from vdpa_lab.units import GIB, MIB, PAGE_SIZE

SUPERPAGES = (GIB, 2 * MIB, PAGE_SIZE)  # sizes of x86 IOMMU page-table leaves


def account(plan: Plan) -> list[tuple[Work, int]]:
    """Per step its work and the number of times its caller waits; in the order of the plan."""
    effects = _with_warmth(plan)
    rebuilt = _rebuilds(plan, effects)
    driver, backing = plan.scenario.device.driver, plan.scenario.guest.backing
    result = [_mkeys(step, rebuilt[step.of]) if step.of else (step.work, step.groups) for step in plan.steps]
    for index, effect in effects.items():
        step = plan.steps[index]
        if isinstance(effect, SetMap):
            one = rebuilt[step.name]
            content = ("mlx5.mtt", one.built.mtts) if driver == "mlx5" else ("set_map.entry", one.built.entries)
            indirect = (("mlx5.command", one.indirect),) if driver == "mlx5" else ()
            result[index] = (("set_map.call", one.rebuilds), content, *indirect), 1
        elif isinstance(effect, Clean):
            result[index] = step.work, 1
        else:
            result[index] = (("vhost.message", 1), *_pages(effect, backing, driver)), 1
    return result


def _mkeys(step: Step, one) -> tuple[Work, int]:
    groups = max(1, one.rebuilds)
    if step.op == "CREATE_MKEY":
        count = one.built.direct
        return (("mlx5.mkey_create", count), ("mlx5.mkey_create_cpu", count)), groups
    count = one.dropped
    return (("mlx5.mkey_destroy", count), ("mlx5.mkey_destroy_cpu", count)), groups


def _pages(effect: Map | Unmap, backing: str, driver: str) -> Iterator[tuple[str, int]]:
    mapping, backing = isinstance(effect, Map), "thp" if backing == "mixed" else backing
    for run in effect.runs:
        kind = backing if run.kind == "ram" else "4k"
        if mapping:
            cold = int(run.pages * effect.cold) if run.kind == "ram" else 0
            yield _held("pin_warm", kind, run, run.pages - cold, effect.folios)
            if cold:
                yield f"pin_cold.{kind}", cold
        else:
            yield _held("unpin", kind, run, run.pages, effect.folios)
        yield "iotlb.entry", run.entries
        if driver == "iommu":
            yield ("iommu.map" if mapping else "iommu.unmap"), iommu_leaves(run)


def _held(what: str, kind: str, run: Run, pages: int, folios: bool) -> tuple[str, int]:
    """Pages counted one by one, or huge pages counted whole at the price of a small one each."""
    if folios and kind != "4k":
        return f"{what}.4k", -(-pages * PAGE_SIZE // run.chunks.page)
    return f"{what}.{kind}", pages


def iommu_leaves(run: Run) -> int:
    """IOMMU page-table leaves of a run: as large as its pages and the IOVA's alignment allow (iommu_pgsize)."""
    page, first = run.chunks.page, min(run.chunks.first, run.size)
    start, rest = run.iova + first, run.size - first
    whole, tail = rest // page, rest % page
    return (
        _leaves(run.iova, page - first, first)
        + whole * _leaves(start, 0, page)
        + _leaves(start + whole * page, 0, tail)
    )


def _leaves(iova: int, physical: int, size: int, sizes: tuple[int, ...] = SUPERPAGES) -> int:
    """The same of one physically contiguous stretch; `physical` is its place in a page of the largest."""
    leaf, smaller = sizes[0], sizes[1:]
    if not smaller:
        return size // leaf
    head = -iova % leaf
    whole = max(0, size - head) // leaf
    if not whole or (iova - physical) % leaf:
        return _leaves(iova, physical, size, smaller)
    end = head + whole * leaf
    return _leaves(iova, physical, head, smaller) + whole + _leaves(iova + end, physical + end, size - end, smaller)


def _with_warmth(plan: Plan) -> dict[int, Effect]:
    """Effects by step index, each told how the guest's pages were first touched, and which share nobody has touched.

    On the source all of RAM has been pinned since the VM started. On the destination the first device to map before
    RAM is loaded faults every page in; after loading only the pages that were zero, and so never written, are cold.
    """
    effects: dict[int, Effect] = {}
    at_source = _source_history(plan)
    touched: dict[tuple, str] = {}
    cold, first_touch = 1.0, "preallocated"
    for index, step in [(i, s) for i, s in enumerate(plan.steps) if s.effect is not None or s.op == "load RAM"]:
        if step.op == "load RAM":
            cold, first_touch = plan.scenario.guest.zero_pages, "ram-load"
        effect = step.effect
        if isinstance(effect, (Map, Unmap)):
            if step.lane.side == "source":
                effect = _populated(effect, at_source)
            else:
                block = effect.runs[0].chunks
                if isinstance(effect, Map) and block not in touched and effect.runs[0].kind == "ram":
                    effect = effect._replace(cold=cold)
                effect = _populated(effect, touched.setdefault(block, first_touch))
        if effect is not None:
            effects[index] = effect
    return effects


def _source_history(plan: Plan) -> str:
    """With an early memory listener the pin at start-up touches the source's pages first, else the guest does."""
    return "preallocated" if {"early-listener", "early-listener-kept"} & set(plan.applied) else "guest"


def _populated(effect: Map | Unmap, history: str) -> Map | Unmap:
    runs = tuple([run.populated(history) for run in effect.runs])
    return effect if runs == effect.runs else effect._replace(runs=runs)


def _rebuilds(plan: Plan, effects: dict[int, Effect]) -> dict[str, object]:
    """The Replay of every SetMap and Clean step, by step name; one replay a device and host."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index in effects:
        step = plan.steps[index]
        groups.setdefault((step.lane.side, step.device), []).append(index)
    found: dict[str, object] = {}
    steady = _steady_state(plan)
    for (side, _), indices in groups.items():
        before = steady if side == "source" else ()
        stripped = tuple(e._replace(cold=0.0) if isinstance(e := effects[i], Map) and e.cold else e for i in indices)
        for index, result in zip(indices, replay(before + stripped)[len(before) :], strict=True):
            if result is not None:
                found[plan.steps[index].name] = result
    return found


def _steady_state(plan: Plan) -> tuple[Effect, ...]:
    """What the source had mapped before the migration: what the plan unmaps without having mapped it.

    Guest memory that no message touches stays as it was: the plan of a cancelled migration may leave it alone.
    """
    history = _source_history(plan)
    mapped: set[tuple[int, int]] = set()
    told: set[tuple[int, int]] = set()
    found: dict[int, dict[int, Run]] = {}
    first = next((step.device for step in plan.steps if step.lane.side == "source" and step.effect), 0)
    for step in plan.steps:
        if step.lane.side != "source" or step.device != first or not isinstance(step.effect, (Map, Unmap)):
            continue
        asid, runs = step.effect.asid, step.effect.runs
        for run in runs:
            told.add((asid, run.iova))
            if isinstance(step.effect, Map):
                mapped.add((asid, run.iova))
            elif (asid, run.iova) in mapped:
                mapped.discard((asid, run.iova))
            else:
                found.setdefault(asid, {})[run.iova] = run.populated(history)
    for run in steady_memory(plan.scenario.guest, plan.scenario.device):
        if (RAM_ASID, run.iova) not in told:
            found.setdefault(RAM_ASID, {})[run.iova] = run.populated(history)
    state: list[Effect] = []
    for asid in sorted(found):
        state += [Map(asid, tuple(found[asid].values())), SetMap(asid)]
    return tuple(state)
