"""Lesson 4: how mlx5 writes a map down: direct MKEYs of at most 1 GiB, MTTs, and one indirect MKEY of KLMs.

Source: Linux drivers/vdpa/mlx5/core/mr.c (create_user_mr, map_direct_mr, fill_indir).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdpa_lab.course.exercise import Exercise, Message, Question, Slip, judge_function, judge_number, judge_table
from vdpa_lab.kernels.mlx5_mr import LOG_SIZE, NSG, SIZE, region, sections_of
from vdpa_lab.machine.mlx5 import WINDOW
from vdpa_lab.units import GIB, KIB, MIB, PAGE_SIZE
from vdpa_lab.words import InputError

HUGE = 2 * MIB // PAGE_SIZE
MTT_BYTES = 8  # struct mlx5_mtt: one big-endian 64-bit address
RW, RO = 3, 1
# Size in bytes and permission, one after the other from IOVA 0, and a gap before the last.
SECTIONS = ((3 * GIB // 2, RW), (64 * KIB, RO), (3 * GIB // 2 - 64 * KIB, RW), (GIB, None), (GIB, RW))


def windows(lengths: Sequence[int]) -> list[dict[str, int]]:
    """The direct MKEYs over one chain of entries of so many 4 KiB pages: bytes, bytes an MTT stands for, MTTs."""
    counts = np.array(lengths, np.uint32)
    _, found = region(
        np.zeros(1, np.uint64), np.full(1, RW, np.uint64), np.array([0, counts.size], np.uint64), counts,
        WINDOW // PAGE_SIZE,
    )  # fmt: skip
    return [{"bytes": row[SIZE], "unit": 1 << row[LOG_SIZE], "mtts": row[NSG]} for row in found.tolist()]


def mtts(lengths: Sequence[int]) -> int:
    """MTTs of one chain of entries of so many 4 KiB pages."""
    return sum(each["mtts"] for each in windows(lengths))


def with_stray(gib: int, at: int | None) -> list[int]:
    """`gib` GiB of 2 MiB pages, in pages of 4 KiB; the huge page number `at` is broken into 4 KiB and the rest.

    Raises InputError for a page that the guest does not have.
    """
    lengths = [HUGE] * (gib * GIB // (2 * MIB))
    if at is not None and not 0 <= at < len(lengths):
        raise InputError(f"{gib} GiB have {len(lengths)} huge pages; number {at} is none of them")
    return lengths if at is None else [*lengths[:at], 1, HUGE - 1, *lengths[at + 1 :]]


def _stray_mtts() -> int:
    return mtts(with_stray(1, 100))


def _judge_two(answer: Any) -> Message:
    both, one = mtts(with_stray(2, 100)), mtts(with_stray(1, 100))
    clean = mtts(with_stray(1, None))
    slips = [
        Slip(
            2 * one,
            "Only the direct MKEY with the stray page suffers: each one, of at most 1 GiB, has a unit of its own.",
        ),
        Slip(2 * clean, "That is without the stray page."),
        Slip(2 * clean + 1, "The stray page does not add one MTT: all MTTs of its MKEY have one size, so all shrink."),
        Slip(one, "The other GiB has MTTs as well, of 2 MiB each."),
        Slip(both * MTT_BYTES, "That is their bytes; asked for are the MTTs."),
    ]
    why = (
        f"The stray page makes {one:,} MTTs ({one * MTT_BYTES // MIB} MiB of them) out of {clean}; the other "
        f"GiB keeps its {clean}."
    )
    return judge_number(answer, both, "MTTs", why, slips, "the figure of this lesson, with two windows")


RULES = (
    (([512] * 512,), "All entries are of 512 pages, so one MTT stands for 512 pages."),
    (([512, 1024, 512],), "A greatest common divisor, not a minimum and not an average."),
    (([4, 6],), "gcd(4, 6) = 2 pages. The smallest entry, 4 pages, would not fit the other one."),
    (([1] + [512] * 3,), "The odd page sets the unit of all."),
    (([262144],), "One entry of 1 GiB needs one MTT."),
    (
        ([3, 6],),
        "An MTT's size is a power of two: the driver takes ilog2 of the divisor, so 3 pages become 2. Round up "
        "at the end.",
    ),
)


def _judge_rule(answer: Any) -> Message:
    why = "Addresses play no part: shift the whole layout by a page and nothing changes. Only lengths count."
    return judge_function(answer, mtts, RULES, why, "mtts(lengths)", "map_direct_mr in drivers/vdpa/mlx5/core/mr.c")


def _placed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, at = [], 0
    for size, perm in SECTIONS:
        if perm is not None:
            rows.append((at, size, perm))
        at += size
    return tuple(np.array(column, np.uint64) for column in zip(*rows, strict=True))


def _keys() -> dict[str, int]:
    from vdpa_lab.machine.memory import Equal, Run
    from vdpa_lab.machine.mlx5 import memory_region

    runs = [
        Run(int(iova), int(size), "ro" if perm == RO else "rw", Equal(PAGE_SIZE, PAGE_SIZE), "ram")
        for iova, size, perm in zip(*_placed(), strict=True)
    ]
    built = memory_region(runs)
    return {"direct": built.direct, "klms": built.klms}


def _judge_keys(answer: Any) -> Message:
    merged, _ = region(*sections_of(_placed()[0], _placed()[1], np.full(4, RW, np.uint64)), WINDOW // PAGE_SIZE)
    expected = _keys()
    slips = {
        "direct": [
            Slip(
                int(merged[1]),
                "That comes out if permissions are overlooked (a change of them splits a chain), "
                "or the limit of 1 GiB for a direct MKEY (1.5 GiB takes two).",
            ),
            Slip(expected["direct"] + 1, "The gap has no direct MKEY: it is a KLM of the null key."),
        ],
        "klms": [
            Slip(expected["direct"], "The gap needs an entry as well: a KLM with the null key, of at most 1 GiB.")
        ],
    }
    why = "Chains are cut where contiguity or permission ends, then into windows of 1 GiB from each chain's start."
    return judge_table(answer, expected, why, slips, look="vdpa_lab.machine.mlx5.chains and memory_region")


QUESTION = Question(
    "4",
    "1 GiB of a guest is backed by 512 huge pages: 512 MTTs. Now one of them is broken up, into one page of 4 "
    "KiB and the "
    "rest. How many MTTs does mlx5 write then?",
    _stray_mtts,
    "All MTTs of a direct MKEY are of one size, which has to divide every entry: 4 KiB. 262,144 MTTs of 8 "
    "bytes are 2 MiB.",
)

EXERCISES = (
    Exercise(
        "4.1", "One stray page in two GiB",
        "2 GiB of 2 MiB pages, contiguous in IOVA, and one of those pages, in the first GiB, is broken into 4 "
        "KiB and the "
        "rest. How many MTTs are there in all?",
        _judge_two,
        (
            "How large is the largest range of one direct MKEY?",
            "The second GiB is a direct MKEY of its own, with an MTT size of its own.",
        ),
        """
page, huge, window = 4 << 10, 2 << 20, 1 << 30
answer = window // page + window // huge
""",
        "A map is rebuilt whole, so each rebuild writes those MTTs again, in mailbox blocks of 512 bytes.",
    ),
    Exercise(
        "4.2", "The rule",
        "Write mtts(lengths): how many MTTs one direct MKEY needs for IOTLB entries of these lengths, in pages "
        "of 4 KiB. "
        "The total is at most 1 GiB.",
        _judge_rule,
        (
            "What is the largest unit that divides every length?",
            "math.gcd takes any number of arguments. An MTT's size is a power of two not above that divisor.",
            "1 << (divisor.bit_length() - 1) is that power of two; the count is rounded up.",
        ),
        """
from math import gcd


def answer(lengths):
    unit = 1 << (gcd(*lengths).bit_length() - 1)
    return -(-sum(lengths) // unit)
""",
        "In C: log_entity_size = ilog2(gcd of the entries' sizes), nsg = DIV_ROUND_UP(total, 1 << log_entity_size).",
    ),
    Exercise(
        "4.3", "Keys of a map",
        "From IOVA 0: 1.5 GiB read-write, 64 KiB read-only, read-write up to 3 GiB, a gap of 1 GiB, 1 GiB "
        "read-write. How "
        "many direct MKEYs are made, and how many KLMs does the indirect MKEY have? A dict with the keys "
        "direct and klms.",
        _judge_keys,
        (
            "Three chains touch each other: why are they not one?",
            "1.5 GiB takes two windows. What fills a gap in the list of KLMs?",
        ),
        """
direct = 2 + 1 + 2 + 1
answer = {"direct": direct, "klms": direct + 1}
""",
        "The ROM of a PC below 1 MiB alone makes several chains: a real map has more keys than RAM has GiB.",
    ),
)  # fmt: skip
