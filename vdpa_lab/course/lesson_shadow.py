"""Lesson 6: the shadow virtqueue: what it takes over, what it costs, and what becomes of packets in flight.

Sources: QEMU hw/virtio/vhost-shadow-virtqueue.c (vhost_svq_valid_features, vhost_svq_stop), hw/virtio/vhost-vdpa.c
(vhost_vdpa_svq_unmap_rings); Linux drivers/vhost/vdpa.c (vhost_vdpa_unmap).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from vdpa_lab.course.exercise import Exercise, Message, Question, Slip, judge_function, judge_table
from vdpa_lab.course.ring_bench import RingBench
from vdpa_lab.kernels import bitmap, svq, svq_translate
from vdpa_lab.machine.iotlb import SetMap
from vdpa_lab.machine.shadow import offered_again, shadow_gate, stop_shadow
from vdpa_lab.migration.account import account
from vdpa_lab.migration.optimization import plan
from vdpa_lab.model import Scenario, find_scenario
from vdpa_lab.model.features import Feature, feature_mask

POSTED, USED, SIZE = 6, 2, 8
OFFERED = ("VERSION_1", "EVENT_IDX", "RING_PACKED", "MRG_RXBUF", "IN_ORDER", "MAC")
RINGS = {"vhost_vdpa_svq_unmap_rings", "vhost_vdpa_svq_unmap_rings (CVQ)"}


def stock(pairs: int, cvq: bool = True) -> Scenario:
    """The small guest of the recorded run v-256-1d-r2 with so many queue pairs."""
    base = find_scenario("sim-256-1d")
    features = base.device.features if cvq else None
    return replace(base, device=replace(base.device, queue_pairs=pairs, cvq=cvq, features=features))


@lru_cache(maxsize=32)
def rebuilds(pairs: int, cvq: bool = True) -> int:
    """How often the whole map is rebuilt while rings are unmapped at the stop, RAM still being mapped; one device."""
    a_plan = plan(stock(pairs, cvq))
    works = zip(a_plan.steps, account(a_plan), strict=True)
    return sum(
        dict(work)["set_map.call"]
        for step, (work, _) in works
        if step.path == "stop" and step.caller in RINGS and isinstance(step.effect, SetMap)
    )


def set_maps(pairs: int, names: tuple[str, ...] | None = None) -> list[tuple[str, str, int, int]]:
    """Every set_map of the source: (path, caller, times, entries handed over in all)."""
    a_plan = plan(stock(pairs), names)
    found = []
    for step, (work, _) in zip(a_plan.steps, account(a_plan), strict=True):
        if isinstance(step.effect, SetMap) and step.path in ("switch", "stop"):
            amounts = dict(work)
            found.append((step.path, step.caller, amounts["set_map.call"], amounts["set_map.entry"]))
    return found


def _rebuilds_of_two() -> int:
    return rebuilds(2)


def _in_flight() -> dict[str, Any]:
    """A guest posts POSTED buffers to a shadowed queue; the device uses USED of them, and the source stops."""
    bench = RingBench("split", SIZE, room=1 << 14)
    memory = bench.memory
    maps = svq_translate.directory([(0, memory.size, 1 << 20)])
    q = svq.new(memory, SIZE, *bench.at[:3], maps, *bitmap.new_words(memory.size >> 12))
    heads = [bench.add((0x2000, 1514, True)) for _ in range(POSTED)]
    bench.publish()
    svq.checked(svq.forward_avail(q))
    _device_uses(q, USED)
    state = stop_shadow(q)
    return {"last_avail": state.last_avail, "again": list(offered_again(state, memory)), "heads": heads}


def _device_uses(q: svq.Shadow, count: int) -> None:
    """The device gives back `count` buffers of the shadow ring, in order: heads as they stand in its available ring."""
    at = svq.layout(int(q.driver[0]))
    for number in range(count):
        head = int(q.s16[at.avail // 2 + 2 + number])
        q.s32[at.used // 4 + 1 + 2 * number] = head
        q.s32[at.used // 4 + 2 + 2 * number] = 60
    q.s16[at.used // 2 + 1] = count


def _judge_in_flight(answer: Any) -> Message:
    found = _in_flight()
    expected = {"last_avail": found["last_avail"], "again": found["again"]}
    heads = found["heads"]
    slips = {
        "last_avail": [
            Slip(
                POSTED,
                "So the buffers that the device took and never used would be lost. QEMU steps back, one for "
                "each of them.",
            ),
            Slip(
                POSTED - USED, "The index counts from the start: it is where the queue goes on, not how many are left."
            ),
        ],
        "again": [
            Slip([], "Those that were not used have to be offered again, or their packets are lost."),
            Slip(heads, "The used ones are back with the guest: offered again they would be sent twice."),
        ],
    }
    why = "Every buffer that is not used is offered exactly once more; none is lost and none sent twice."
    return judge_table(answer, expected, why, slips, look="vhost_svq_stop, and vdpa_lab.machine.shadow.offered_again")


def _judge_gate(answer: Any) -> Message:
    gate = shadow_gate(feature_mask(*(Feature[name] for name in OFFERED)))
    expected = {"missing": sorted(gate.missing), "refused": sorted(gate.refused)}
    if isinstance(answer, dict):
        answer = {
            key: sorted(map(str, v)) if isinstance(v, list | tuple | set | frozenset) else v
            for key, v in answer.items()
        }
    slips = {
        "missing": [
            Slip(
                [],
                "A vDPA device has to go through the IOMMU's or its own translation: one bit says so, and it "
                "is not offered.",
            ),
            Slip(["VERSION_1"], "VERSION_1 is in the list. The other one that shadowing needs is not."),
        ],
        "refused": [
            Slip(
                ["RING_PACKED"],
                "One more bit of the transport changes how rings are used, and SVQ does not do that either.",
            ),
            Slip(
                ["IN_ORDER"],
                "QEMU's shadow rings are split rings: a device that offers the other format is refused too.",
            ),
            Slip(sorted(["EVENT_IDX", *gate.refused]), "EVENT_IDX is implemented by SVQ."),
            Slip(
                sorted(["MRG_RXBUF", *gate.refused]),
                "MRG_RXBUF is a feature of the network device, not of the transport: SVQ passes it on.",
            ),
        ],
    }
    why = (
        "It is what the device *offers* that counts: a packed-ring device blocks migration even if the guest "
        "uses split rings."
    )
    return judge_table(answer, expected, why, slips, look="vdpa_lab.machine.shadow.shadow_gate")


REBUILDS = (
    ((1, True), "One pair: two data virtqueues and the control virtqueue, with two areas each."),
    ((2, True), "Four data virtqueues and the control virtqueue, with two areas each."),
    ((8, True), "Linear in the number of virtqueues."),
    ((1, False), "Without a control virtqueue only the data virtqueues have rings to unmap."),
)


def _judge_rebuilds(answer: Any) -> Message:
    why = "2 (2N + 1) = 4N + 2. Each one hands over all of RAM: no other operation of a stock stop costs mlx5 as much."
    look = "vhost_vdpa_svq_unmap_rings: one INVALIDATE an area, each outside any batch"
    return judge_function(answer, rebuilds, REBUILDS, why, "rebuilds(pairs, cvq)", look)


QUESTION = Question(
    "6",
    "A device of two queue pairs and a control virtqueue is shadowed. At the stop stock QEMU unmaps its shadow "
    "rings while "
    "guest RAM is still mapped. How often is the whole map rebuilt by that?",
    _rebuilds_of_two,
    "Five virtqueues of two areas, each unmapped by a message of its own, outside any batch.",
)

EXERCISES = (
    Exercise(
        "6.1", "In flight",
        f"A guest made {POSTED} buffers available on a shadowed ring of {SIZE} (heads 0 to {POSTED - 1}, in "
        f"this order). SVQ "
        f"forwarded them all; the device used the first {USED}. Now the source stops. Which last_avail index is "
        f"migrated, and "
        "which heads does the destination offer to its device? A dict with the keys last_avail and again (a list).",
        _judge_in_flight,
        (
            "What has the device used? Those are finished, whatever else was forwarded.",
            "vhost_svq_stop steps last_avail back by one for each buffer that is forwarded and not used.",
        ),
        f"""
posted, used = {POSTED}, {USED}
answer = {{"last_avail": used, "again": list(range(used, posted))}}
""",
        "Stepping back is right only if the device uses buffers in order; QEMU says so in a comment and "
        "accepts it for networks.",
    ),
    Exercise(
        "6.2", "May it be shadowed?",
        f"A device offers {', '.join(OFFERED)}. Which features that shadowing needs are missing, and which of "
        f"the offered ones "
        "does QEMU refuse? A dict with the keys missing and refused (lists of names).",
        _judge_gate,
        (
            "Only bits of the transport (28 to 42, as Linux counts them) can be refused; the others belong to "
            "the network device.",
            "Needed: VERSION_1 and ACCESS_PLATFORM. Left to the device: ANY_LAYOUT and EVENT_IDX.",
        ),
        """
answer = {"missing": ["ACCESS_PLATFORM"], "refused": ["RING_PACKED", "IN_ORDER"]}
""",
        "vhost_svq_valid_features; INDIRECT_DESC is refused as well.",
    ),
    Exercise(
        "6.3", "Rebuilds at the stop",
        "Write rebuilds(pairs, cvq): how often a stock stop rebuilds the whole map of one device, by unmapping "
        "shadow rings.",
        _judge_rebuilds,
        (
            "A queue pair is two virtqueues; a shadow virtqueue has two areas in the device's address space.",
            "Two areas of each of 2 N data virtqueues, and of the control virtqueue if there is one.",
        ),
        """
def answer(pairs, cvq):
    return 2 * (2 * pairs + (1 if cvq else 0))
""",
        "What would change it: batch them (svq-map-batch), or give them an address space of their own (svq-desc-asid).",
    ),
)  # fmt: skip
