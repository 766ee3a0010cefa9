"""Who writes guest memory: kernels that fill an array with the page numbers written, in order, for `mark_pages`.

Pages are uint64 numbers below `count`, at most 2^32 (16 TiB). The state is uint64[2]: a random word and a position; the
generator is Marsaglia's 64-bit xorshift (13, 7, 17), of shifts and exclusive ors alone, so that results are equal
compiled and not. A `stride` without a common factor with `count` scatters neighbouring ranks over memory; 1 does not.
"""

from __future__ import annotations

import math

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import U0, U1

U7, U13, U17, U32 = map(np.uint64, (7, 13, 17, 32))
LOW32 = np.uint64(0xFFFF_FFFF)
RANDOM, POSITION = 0, 1
WORD = (1 << 64) - 1
MOST_PAGES = 1 << 32
EXACT_RANKS = 1024  # Zipf ranks with a probability of their own; those after them share one in groups
GROWTH = 64  # a group of ranks is 1/64 as long as the ranks before it


def new_state(seed: int) -> np.ndarray:
    """uint64[2] for any integer seed, spread by splitmix64; never the zero word, from which xorshift does not move."""
    word = (seed + 0x9E37_79B9_7F4A_7C15) & WORD
    word = ((word ^ word >> 30) * 0xBF58_476D_1CE4_E5B9) & WORD
    word = ((word ^ word >> 27) * 0x94D0_49BB_1331_11EB) & WORD
    return np.array([(word ^ word >> 31) or 1, 0], np.uint64)


def scatter_stride(count: int) -> int:
    """A stride near the golden section of `count` that has no common factor with it."""
    _check_count(count)
    stride = max(1, round(count * 0.6180339887498949))
    while math.gcd(stride, count) != 1:
        stride += 1
    return stride


def _check_count(count: int) -> None:
    if not 0 < count <= MOST_PAGES:
        raise ValueError("a writer has 1 to 2^32 pages")


def threshold(share: float) -> np.uint64:
    """A share from 0 to 1 as the number of 32-bit words below it."""
    if not 0 <= share <= 1:
        raise ValueError("a share is between 0 and 1")
    return np.uint64(round(share * 2**32))


def zipf_table(count: int, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """(edges, below) of Zipf's law over ranks 0..count-1: probability of rank r in proportion to (r + 1) ** -exponent.

    Ranks edges[k] to edges[k + 1] - 1 are drawn alike, with a random 32-bit word below below[k] but not below
    below[k - 1]. The first 1024 ranks stand alone; the others stand in groups that grow by 1/64, whose weight is the
    integral of the law, off by less than 10^-6.
    """
    _check_count(count)
    if not 0 <= exponent <= 8:
        raise ValueError("the exponent of Zipf's law is between 0 and 8")
    edges = list(range(min(count, EXACT_RANKS) + 1))
    while edges[-1] < count:
        edges.append(min(count, edges[-1] + edges[-1] // GROWTH))
    ranks = np.array(edges, np.float64)
    weights = (ranks[:-1] + 1) ** -exponent
    low, high = ranks[EXACT_RANKS:-1] + 0.5, ranks[EXACT_RANKS + 1 :] + 0.5
    if exponent == 1:
        weights[EXACT_RANKS:] = np.log(high / low)
    else:
        weights[EXACT_RANKS:] = (high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent)
    below = np.round(np.cumsum(weights) / weights.sum() * 2**32).astype(np.uint64)
    below[-1] = 1 << 32
    return np.array(edges, np.uint64), below


@kernel(inline=True)
def _next(word):
    word ^= word << U13
    word ^= word >> U7
    return word ^ word << U17


@kernel(inline=True)
def _below(word, count):
    """A number below `count` from the upper half of a random word."""
    return ((word >> U32) * count) >> U32


@kernel(counted=False)
def write_sequential(pages, state, count):
    """Fill uint64 `pages` with the pages after the last one, from 0 again after count - 1."""
    at = state[POSITION] % count
    for i in range(np.uint64(pages.size)):
        pages[i] = at
        at += U1
        if at == count:
            at = U0
    state[POSITION] = at


@kernel(counted=False)
def write_uniform(pages, state, count):
    """Fill `pages` with random pages, all alike."""
    word = state[RANDOM]
    for i in range(np.uint64(pages.size)):
        word = _next(word)
        pages[i] = _below(word, count)
    state[RANDOM] = word


@kernel(counted=False)
def write_hot_cold(pages, state, count, hot, share, stride):
    """Fill `pages`: `share` (see `threshold`) of the writes go to the first `hot` ranks, 0 < hot < count."""
    word = state[RANDOM]
    for i in range(np.uint64(pages.size)):
        word = _next(word)
        if word & LOW32 < share:
            rank = _below(word, hot)
        else:
            rank = hot + _below(word, count - hot)
        pages[i] = rank * stride % count if stride != U1 else rank
    state[RANDOM] = word


@kernel(counted=False)
def write_zipf(pages, state, count, edges, below, stride):
    """Fill `pages` after Zipf's law, with the edges and thresholds of `zipf_table`."""
    word, last = state[RANDOM], np.uint64(below.size) - U1
    for i in range(np.uint64(pages.size)):
        word = _next(word)
        draw = word & LOW32
        low, high = U0, last
        while low < high:
            middle = (low + high) >> U1
            if draw < below[middle]:
                high = middle
            else:
                low = middle + U1
        rank = edges[low] + _below(word, edges[low + U1] - edges[low])
        pages[i] = rank * stride % count if stride != U1 else rank
    state[RANDOM] = word


@kernel(counted=False)
def write_recorded(pages, state, record):
    """Fill `pages` with those of the uint64 list `record`, of at least one page, from its start again at its end."""
    size = np.uint64(record.size)
    at = state[POSITION] % size
    for i in range(np.uint64(pages.size)):
        pages[i] = record[at]
        at += U1
        if at == size:
            at = U0
    state[POSITION] = at
