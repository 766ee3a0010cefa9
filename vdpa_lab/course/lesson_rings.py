"""Lesson 1: what a virtqueue is. Bytes of split and packed rings, from the kernels that write them.

Sources: VIRTIO 1.3, 2.7 (split virtqueues) and 2.8 (packed virtqueues).
"""

from __future__ import annotations

from typing import Any

from vdpa_lab.course.exercise import (
    Exercise,
    Field,
    Message,
    Question,
    Slip,
    judge_bytes,
    judge_number,
    judge_table,
)
from vdpa_lab.course.ring_bench import RingBench

HEADER, FRAME = (0x1000, 12, False), (0x2000, 1514, True)
CHAINS, GIVEN, SIZE = 3, 2, 8
DESCRIPTOR = 16  # bytes of struct virtq_desc (2.7.5)


def _indices() -> RingBench:
    """Three chains of two descriptors made available, all taken, two given back and reaped."""
    bench = RingBench("split", SIZE)
    for _ in range(CHAINS):
        bench.add(HEADER, FRAME)
    bench.publish()
    for _ in range(CHAINS):
        bench.take()
    for _ in range(GIVEN):
        bench.give(FRAME[1])
        bench.reap()
    return bench


def _available_index() -> int:
    bench = RingBench("split", SIZE)
    bench.add(HEADER, FRAME)
    bench.publish()
    return bench.index("available ring")


def _chain() -> bytes:
    bench = RingBench("split", SIZE)
    bench.add(HEADER, FRAME)
    return bench.memory[: 2 * DESCRIPTOR].tobytes()


_WHYS = {
    "[0].len": "A length counts bytes (2.7.5).",
    "[0].flags": "The chain goes on, so NEXT (1); the device only reads it, so no WRITE (2.7.5).",
    "[0].next": "It holds the index of the next descriptor in the table, not an address (2.7.5).",
    "[1].flags": "The chain ends here, so no NEXT; the device writes to it, so WRITE (2) (2.7.5).",
}


def _judge_chain(answer: Any) -> Message:
    cells = [cell for cell in RingBench("split", SIZE).cells() if cell.at + cell.size <= 2 * DESCRIPTOR]
    # Without NEXT the last next field means nothing, so whatever is written there is right.
    fields = [Field(c.at, c.size, f"desc{c.name}", _WHYS.get(c.name, "")) for c in cells if c.name != "[1].next"]
    why = "Sixteen bytes a descriptor: a virtqueue holds addresses and lengths, never the data itself."
    return judge_bytes(answer, _chain(), fields, why, "VIRTIO 1.3, 2.7.5: le64 addr, le32 len, le16 flags, le16 next")


def _judge_indices(answer: Any) -> Message:
    bench = _indices()
    expected = {
        "avail_idx": bench.index("available ring"), "used_idx": bench.index("used ring"), "free": bench.free,
    }  # fmt: skip
    descriptors = "The index counts entries of the ring, and a chain takes one entry (its head), however long (2.7.6)."
    slips = {
        "avail_idx": [
            Slip(2 * CHAINS, descriptors),
            Slip(CHAINS - GIVEN, "An index only grows; nothing takes it back."),
        ],
        "used_idx": [Slip(2 * GIVEN, descriptors), Slip(CHAINS, "The device has taken three and given back two.")],
        "free": [
            Slip(SIZE - CHAINS + GIVEN, "Each chain of this queue takes two descriptors of the table."),
            Slip(SIZE - 2 * CHAINS, "The two chains that came back gave their descriptors back too (2.7.14)."),
            Slip(SIZE, "One chain is still with the device."),
        ],
    }
    why = "Each side writes one index and only reads the other: that is why no lock is needed."
    return judge_table(answer, expected, why, slips, look="run the bench of this lesson with three chains")


def _lap() -> tuple[list[int], int]:
    """Flags of the only descriptor slot reused: a packed ring of 4, buffer by buffer, and those after the device."""
    bench, seen = RingBench("packed", 4), []
    for _ in range(5):
        bench.add(FRAME)
        place = len(seen) % 4
        seen.append(next(cell.value for cell in bench.cells() if cell.name == f"[{place}].flags"))
        bench.take()
        bench.give(60)
        used = next(cell.value for cell in bench.cells() if cell.name == f"[{place}].flags")
        bench.reap()
    return seen, used


def _judge_lap(answer: Any) -> Message:
    made, used = _lap()
    write = 2
    slips = [
        Slip(
            made[0],
            "Those are the flags of the first lap. The wrap counter has turned, so AVAIL and USED swap (2.8.1).",
        ),
        Slip(made[4] & ~write, "AVAIL and USED are right. The device writes to this buffer, so WRITE (2) is set too."),
        Slip(made[0] | made[4], "AVAIL and USED both set is a *used* descriptor of the first lap (2.8.1)."),
        Slip(used, "So the device leaves it: used, of the second lap. The driver has only made it available."),
    ]
    why = (
        "A side sees whose turn it is from two bits and its own wrap counter: no index in memory, one cache line less."
    )
    return judge_number(
        answer, made[4], "(the flags as a number)", why, slips, "VIRTIO 1.3, 2.8.1; AVAIL is bit 7, USED bit 15"
    )


QUESTION = Question(
    "1",
    "A driver makes one chain of two descriptors available on a new split ring. What does the available index "
    "read then?",
    _available_index,
    "The available ring lists heads of chains: one entry, whatever the number of descriptors (VIRTIO 1.3, 2.7.6).",
)

EXERCISES = (
    Exercise(
        "1.1", "A chain by hand",
        "Give the first 32 bytes of a new split ring's descriptor table after the driver placed one chain in "
        "it: 12 bytes "
        "at 0x1000 that the device reads, then 1514 bytes at 0x2000 that it writes. The chain uses descriptors "
        "0 and 1.",
        _judge_chain,
        (
            "One descriptor is struct.pack('<QIHH', addr, len, flags, next): 16 bytes.",
            "Flags are NEXT = 1 and WRITE = 2. Which of the two descriptors has a next one? Which one is written?",
            "Descriptor 0 has flags NEXT and next 1; descriptor 1 has flags WRITE.",
        ),
        """
import struct

NEXT, WRITE = 1, 2
answer = struct.pack("<QIHH", 0x1000, 12, NEXT, 1) + struct.pack("<QIHH", 0x2000, 1514, WRITE, 0)
""",
        "The last descriptor's `next` is not read, as NEXT is not set; a driver may leave its free list there.",
    ),
    Exercise(
        "1.2", "Who counts what",
        f"On a new split ring of {SIZE} the driver makes {CHAINS} chains of two descriptors available. The "
        f"device takes "
        f"all of them and gives {GIVEN} back, and the driver reaps those. Give avail_idx, used_idx, and the "
        f"driver's free "
        "descriptors, as a dict with the keys avail_idx, used_idx and free.",
        _judge_indices,
        (
            "Do indices count descriptors or chains? You predicted it at the start of the lesson.",
            "Free descriptors: those of chains that the driver has reaped are free again.",
            "The chain that is still with the device holds two of the eight.",
        ),
        """
chains, given, size = 3, 2, 8
answer = {"avail_idx": chains, "used_idx": given, "free": size - 2 * (chains - given)}
""",
        "Both indices run freely up to 65535 and wrap; only their differences mean something (2.7.6, 2.7.8).",
    ),
    Exercise(
        "1.3", "The second lap",
        "A packed ring has 4 descriptors. Buffers of one device-writable descriptor are added, used and reaped "
        "one after "
        "the other. Which flags (as a number) does the driver write for the fifth?",
        _judge_lap,
        (
            "The fifth goes where the first was. What has turned since then?",
            "The driver sets AVAIL to its wrap counter and USED to the inverse; the counter was 1 in the first lap.",
            "AVAIL = 1 << 7 stays clear, USED = 1 << 15 is set; and the buffer is device-writable.",
        ),
        """
WRITE, AVAIL, USED = 1 << 1, 1 << 7, 1 << 15
wrap_counter = 0
answer = WRITE | (AVAIL if wrap_counter else USED)
""",
        "Available in lap 1: AVAIL alone. Used in lap 1: both. Available in lap 2: USED alone. Used in lap 2: neither.",
    ),
)  # fmt: skip
