"""Lesson 2: when one side tells the other, and when it may stay silent.

Sources: VIRTIO 1.3, 2.7.7 and 2.7.10 (split), 2.8.10 (packed); Linux include/uapi/linux/virtio_ring.h
(vring_need_event), drivers/virtio/virtio_ring.c (virtqueue_enable_cb_delayed).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from vdpa_lab.course.exercise import (
    Exercise,
    Field,
    Message,
    Question,
    Slip,
    judge_bytes,
    judge_function,
    judge_number,
)
from vdpa_lab.course.ring_bench import RingBench
from vdpa_lab.kernels import ring_layout

FRAME = (0x2000, 1514, True)
SIZE, BUSY = 32, 16
LAST_USED, AFTER = 65530, 12
SLOT = 5


class Told(NamedTuple):
    """One publication: buffers in it, the available index after it, the event it was held against, whether it told."""

    burst: int
    index: int
    event: int
    notified: bool


def notifications(bursts: Iterable[int], event_idx: bool, *, busy: bool) -> tuple[Told, ...]:
    """What a driver tells a device that publishes so many buffers at a time on a ring of 32.

    busy: the device looks at nothing between the bursts, so its ring has to hold them all. Otherwise it empties the
    ring after each burst and asks for the next buffer.
    """
    bench, found = RingBench("split", SIZE, event_idx=event_idx), []
    for burst in bursts:
        for _ in range(burst):
            bench.add(FRAME)
        bench.publish()
        event = next(c.value for c in bench.cells() if c.name == ("avail_event" if event_idx else "flags"))
        found.append(Told(burst, bench.index("available ring"), event, bench.notifies()))
        while not busy and bench.take() is not None:
            bench.give(60)
            bench.reap()
        if not busy:
            bench.ask_available()
    return tuple(found)


def _told_busy_device() -> int:
    return sum(each.notified for each in notifications([1] * BUSY, True, busy=True))


def _need_event(event: int, new: int, old: int) -> bool:
    return bool(ring_layout.passed(*map(np.uint64, (event, new, old))))


CASES = (
    ((0, 1, 0), "The index moved from 0 to 1, so it passed the place 0 that was asked for."),
    ((5, 3, 0), "Place 5 is not reached yet."),
    ((3, 3, 0), "The index 3 says that places 0, 1 and 2 are filled; place 3 is the next one. Told at event + 1."),
    ((2, 3, 0), "Place 2 was filled just now: index 3 = event + 1."),
    ((0, 3, 1), "Place 0 was passed by an earlier publication; it is not told twice."),
    ((4, 4, 4), "Nothing was published since the last call, so there is nothing to tell."),
    ((65535, 2, 65530), "Indices run modulo 2^16: from 65530 to 2 the index passed 65535 (traps of a wrapped index)."),
    ((1, 2, 65530), "From 65530 over 65535 to 2: place 1 is passed too."),
    ((65529, 2, 65530), "Place 65529 lies before the old index; compare distances modulo 2^16, not numbers."),
    ((2, 2, 65530), "Place 2 is the next one, not yet filled."),
    ((32767, 40000, 32000), "No sign is involved: these are distances of unsigned 16-bit numbers."),
)


def _judge_need_event(answer: Any) -> Message:
    why = "One subtraction on each side, modulo 2^16, and no case for the wrap: vring_need_event of Linux."
    look = "VIRTIO 1.3, 2.7.7.2 and 2.7.10.1; event = used_event or avail_event, new and old = the index now and then"
    return judge_function(answer, _need_event, CASES, why, "need_event(event, new, old)", look)


def _used_event() -> int:
    bench = RingBench("split", SIZE, event_idx=True, base=LAST_USED)
    bench.ask_used(after=AFTER)
    return next(cell.value for cell in bench.cells() if cell.name == "used_event")


def _judge_used_event(answer: Any) -> Message:
    expected = _used_event()
    late = (LAST_USED + AFTER) % 65536
    slips = [
        Slip(LAST_USED + AFTER - 1, "The field has 16 bits: take it modulo 65536."),
        Slip(LAST_USED + AFTER, "The field has 16 bits; and the interrupt comes when the index *passes* the event."),
        Slip(
            late, f"The interrupt comes when the used index reaches event + 1: this one waits for {AFTER + 1} buffers."
        ),
        Slip(AFTER, "The event is a place of the free-running index, not a distance from it."),
        Slip(AFTER - 1, "The event is a place of the free-running index, not a distance from it."),
    ]
    why = (
        "A busy driver asks late and gets one interrupt for a whole batch; Linux asks for three quarters of "
        "what is out."
    )
    return judge_number(answer, expected, "(the value of used_event)", why, slips, "VIRTIO 1.3, 2.7.7.1", 0.0)


def _suppression() -> bytes:
    bench = RingBench("packed", 8, event_idx=True)
    bench.ask_used(after=SLOT + 1)
    return bench.memory[bench.at.driver : bench.at.driver + 4].tobytes()


def _judge_suppression(answer: Any) -> Message:
    fields = (
        Field(0, 2, "desc", "The slot stands in bits 0 to 14 and the wrap counter in bit 15 (2.8.14)."),
        Field(2, 2, "flags", "0 enables, 1 disables, 2 asks for one descriptor (RING_EVENT_FLAGS_DESC, 2.8.10)."),
    )
    why = "A slot alone would be ambiguous: it comes round each lap. The wrap counter says in which lap it is meant."
    return judge_bytes(
        answer, _suppression(), fields, why, "VIRTIO 1.3, 2.8.10 and 2.8.14 (struct pvirtq_event_suppress)"
    )


QUESTION = Question(
    "2",
    f"VIRTIO_F_EVENT_IDX is on and the device asked for the next buffer. It is busy, and looks at nothing, while the "
    f"driver publishes {BUSY} buffers one at a time. How many notifications does the driver send?",
    _told_busy_device,
    "Only the first publication passes avail_event. The device has not moved it, so all others stay silent (2.7.10).",
)

EXERCISES = (
    Exercise(
        "2.1", "To tell or not to tell",
        "Write need_event(event, new, old): True when an index that moved from old to new has passed the place "
        "event. All "
        "three are 16-bit numbers that wrap.",
        _judge_need_event,
        (
            "Count how many places were filled: (new - old) modulo 2^16.",
            "Count how far event + 1 lies behind new, again modulo 2^16.",
            "The place was passed if that second distance is smaller than the first.",
        ),
        """
def answer(event, new, old):
    return (new - event - 1) % 65536 < (new - old) % 65536
""",
        "This is vring_need_event() in include/uapi/linux/virtio_ring.h.",
    ),
    Exercise(
        "2.2", "Interrupt me later",
        f"A driver has seen used buffers up to index {LAST_USED} and wants its next interrupt when {AFTER} more "
        f"are used. "
        "Which value does it write to used_event?",
        _judge_used_event,
        (
            "The interrupt comes when the used index goes past the event, that is, reaches event + 1.",
            f"So event + 1 = {LAST_USED} + {AFTER}, modulo 2^16.",
        ),
        f"""
last_used, after = {LAST_USED}, {AFTER}
answer = (last_used + after - 1) % 65536
""",
        "The same place would come round again 65536 buffers later; a ring is never that long, so that is no "
        "ambiguity.",
    ),
    Exercise(
        "2.3", "The same in a packed ring",
        "A packed ring of 8 has VIRTIO_F_EVENT_IDX and is in its first lap (wrap counter 1). Give the 4 bytes "
        "of the driver "
        f"event suppression structure that ask for an interrupt when the descriptor in slot {SLOT} is used.",
        _judge_suppression,
        (
            "Two little-endian 16-bit fields: desc, then flags.",
            "desc is the slot with the wrap counter in bit 15; flags is RING_EVENT_FLAGS_DESC = 2.",
        ),
        f"""
import struct

answer = struct.pack("<HH", {SLOT} | 1 << 15, 2)
""",
        "Without VIRTIO_F_EVENT_IDX only enable (0) and disable (1) exist.",
    ),
)  # fmt: skip
