"""Lesson 5: dirty pages, passes over memory, and whether a migration converges.

Sources: QEMU migration/ram.c (migration_bitmap_sync, save_page_header), migration/migration.c
(migration_iteration_run).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vdpa_lab.course.exercise import Exercise, Message, Question, Slip, judge_function, judge_number, judge_table
from vdpa_lab.machine.dirty import DirtyBitmap
from vdpa_lab.migration.precopy import STALLED, precopy
from vdpa_lab.migration.precopy_record import Precopy
from vdpa_lab.model import Dirty, Scenario, find_scenario
from vdpa_lab.units import GIB, MIB, MS, PAGE_SIZE

MEMORY = 8 * GIB
RATE, LIMIT = GIB, 300 * MS  # bytes a second, and the downtime limit: QEMU's default
HOT = 64 * MIB
WRITES_PER_SECOND = 2 * GIB // PAGE_SIZE
FAST = 100 * GIB // PAGE_SIZE  # pages a second: the whole working set again and again within one window
STEADY = 100_000  # pages a second of exercise 5.3
BITS = 64


def scenario(rate: int, working_set: int, bandwidth: int = RATE, limit: int = LIMIT) -> Scenario:
    """A guest of 8 GiB without zero pages whose writer goes round `working_set` bytes, `rate` pages a second.

    bandwidth: bytes a second. limit: the downtime limit in ns.
    """
    base = find_scenario("talk")
    return replace(
        base,
        guest=replace(base.guest, memory=MEMORY, zero_pages=0.0),
        migration=replace(base.migration, max_bandwidth=bandwidth, downtime_limit=limit),
        workload=replace(base.workload, dirty=Dirty("sequential", rate, working_set)),
    )


def passes(rate: int, working_set: int, bandwidth: int = RATE, limit: int = LIMIT) -> Precopy:
    """What precopy makes of that guest: the passes, what is left, whether it converged."""
    return precopy(scenario(rate, working_set, bandwidth, limit))


def _converges_hot() -> str:
    return "yes" if passes(WRITES_PER_SECOND, HOT).converged else "no"


def _largest_hot() -> int:
    """The largest working set in MiB that converges although the guest writes faster than the link sends."""
    low, high = 1, MEMORY // MIB
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(FAST, middle * MIB).converged else (low, middle)
    return low


def _judge_hot(answer: Any) -> Message:
    slips = [
        Slip(LIMIT * 2 * GIB // 10**9 // MIB, "What counts is how fast the link sends, not how fast the guest writes."),
        Slip(RATE // MIB, "That takes a whole second to send; the downtime limit is 300 ms."),
    ]
    why = "300 ms at 1 GiB/s: a working set that fits is sent in the stop, however often it is written meanwhile."
    look = "what is left is compared with bandwidth x downtime limit (migration_iteration_run)"
    return judge_number(answer, _largest_hot(), "MiB", why, slips, look, within=0.005)


def _pages(word: int) -> np.ndarray:
    return np.array([bit for bit in range(BITS) if word >> bit & 1], np.uint64)


def synced(bmap: int, dirty: int) -> tuple[int, int]:
    """(the bitmap after a sync, pages newly to be sent) of 64 pages as bits; by the lab's dirty bitmaps."""
    guest = DirtyBitmap([("ram", BITS)])
    guest.start()
    guest.sync()
    for page in _pages(~bmap & ((1 << BITS) - 1)).tolist():
        guest.send(0, page, page + 1)
    guest.mark(0, _pages(dirty))
    new = guest.sync()
    return int(guest.bmap[0]), new


SYNCS = (
    ((0b0000, 0b0101), "Two pages were clean and are dirty now."),
    ((0b0011, 0b0000), "Nothing was written; what waits stays, and is not counted again."),
    ((0b0001, 0b0001), "The page still waits to be sent: written again before it was sent, it is counted once."),
    ((0b1010, 0b0110), "One of the two written pages waits already: only the other one is new."),
    (((1 << 64) - 1, (1 << 64) - 1), "At the first sync all pages wait to be sent anyway, so none is new."),
    ((1 << 63, 1), "The highest page waits and the lowest is new; both have to be in the bitmap."),
)


def _judge_sync(answer: Any) -> Message:
    why = "new = dirty and not bmap. That is why the first sync of a migration reports 0 new pages: all wait already."
    return judge_function(
        answer, synced, SYNCS, why, "synced(bmap, dirty)", "migration_bitmap_sync: ones that the OR adds"
    )


def rounds() -> list[float]:
    """Bytes that are dirty at the begin of each pass of exercise 5.3 and after the last, if passes were sent whole."""
    left = [float(MEMORY)]
    while left[-1] > LIMIT * RATE / 10**9:
        left.append(STEADY * PAGE_SIZE * left[-1] / RATE)
    return left


def _steady() -> dict[str, Any]:
    left = rounds()
    return {"passes": len(left) - 1, "left_mib": round(left[-1] / MIB)}


def _judge_steady(answer: Any) -> Message:
    expected, left, real = _steady(), rounds(), passes(STEADY, MEMORY)
    slips = {
        "passes": [
            Slip(expected["passes"] - 1, "The first pass sends all of memory; it counts too."),
            Slip(
                expected["passes"] + 1,
                "After the last pass what is left fits the limit: it is sent with the VM stopped.",
            ),
        ],
        "left_mib": [
            Slip(
                int(LIMIT * RATE // 10**9 // MIB), "That is the largest that fits the limit; the last pass leaves less."
            ),
            Slip(round(left[-2] / MIB), "That is what the last pass sends; asked is what it leaves."),
        ],
    }
    ratio = STEADY * PAGE_SIZE / RATE
    why = (
        f"Each pass leaves {ratio:.0%} of the one before: a geometric series, so its ratio decides, not its length. "
        "QEMU looks again before a pass is over, as soon as the rest would fit: "
        f"{len(real.iterations) - 1} passes here, and {real.left_pages * PAGE_SIZE // MIB} MiB left."
    )
    look = "left = pages a second x 4 KiB x (left before / bandwidth), from 8 GiB on, until it fits 300 ms"
    return judge_table(answer, expected, why, slips, look=look, within=0.01)


QUESTION = Question(
    "5",
    "A guest writes 2 GiB/s, all of it into the same 64 MiB, again and again. The link carries 1 GiB/s, the "
    "downtime limit "
    "is 300 ms. Does precopy converge?",
    _converges_hot,
    "A page written a thousand times is sent once. At most 64 MiB are dirty at any time, and those take 63 ms to send.",
    ("yes", "no"),
)

EXERCISES = (
    Exercise(
        "5.1", "How much may be hot?",
        "A guest writes so fast that its whole working set is dirty again at every look: 100 GiB/s. The link carries "
        "1 GiB/s, the limit is 300 ms. What is the largest working set in MiB with which it still converges?",
        _judge_hot,
        (
            "The writer is faster than the link, so after each pass the whole working set is dirty again.",
            "It converges when what is left can be sent within the downtime limit.",
        ),
        """
bandwidth_mib_per_s, limit_s = 1024, 0.3
answer = bandwidth_mib_per_s * limit_s
""",
        f"Beyond that no pass makes it smaller, and a real QEMU goes on forever; the lab gives up (after {STALLED} "
        "syncs without a new low).",
    ),
    Exercise(
        "5.2", "Counted once",
        "QEMU keeps one bit a page that still has to be sent. Write synced(bmap, dirty) for bitmaps as Python "
        "integers: it "
        "returns (the new bitmap, how many pages are newly to be sent).",
        _judge_sync,
        (
            "The new bitmap holds all pages of both.",
            "A page that waits already is not new: count the ones of dirty that bmap does not have.",
        ),
        """
def answer(bmap, dirty):
    return bmap | dirty, (dirty & ~bmap).bit_count()
""",
        "A counter of all ones of dirty would drift away from the bitmap, and the migration would never seem to end.",
    ),
    Exercise(
        "5.3", "How many passes?",
        f"A guest of 8 GiB dirties {STEADY:,} distinct pages of 4 KiB a second; the link carries 1 GiB/s, the "
        "limit is 300 ms. Suppose that each pass is sent to its end before QEMU looks again. How many passes are "
        "sent before the VM stops, and how many MiB does the last one leave? A dict with the keys passes and "
        "left_mib (to 1 %).",
        _judge_steady,
        (
            "The first pass sends 8 GiB and takes 8 s. How many pages are dirty after it?",
            "Each pass is as long as what the one before left. Stop when what is left takes at most 300 ms.",
            f"The ratio between one pass and the next is {STEADY:,} x 4 KiB / 1 GiB.",
        ),
        f"""
bandwidth, left, passes = 1 << 30, 8 << 30, 0
while left > 0.3 * bandwidth:
    left, passes = {STEADY} * 4096 * (left / bandwidth), passes + 1
answer = {{"passes": passes, "left_mib": left / (1 << 20)}}
""",
        "Headers (8 bytes a page) are left out here; the lab counts them.",
    ),
)  # fmt: skip
