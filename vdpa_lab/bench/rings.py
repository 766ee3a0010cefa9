"""Laps of a virtqueue: a batch of buffers once round: add, publish, notify?, pop, push, interrupt?, get.

"twin" is the same in C, "peer" a driver and a device in C that handle one buffer at a time, as Linux and ringtest do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vdpa_lab.bench.harness import OURS, Case
from vdpa_lab.kernels import packed, split
from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.ring_layout import new_shadow, views

SIZE, BATCH, LAPS, LAPS_QUICK = 256, 32, 10_000, 20


@kernel(counted=False)
def laps_split(m8, m16, m32, m64, driver, device, shadow, addr, length, outs, ins, work, batch, laps):
    """Laps of a split ring; work: seven arrays uint64[batch]. Returns what was got, to be checked."""
    heads, n_out, n_in, where, size, ids, lens = work
    total = 0
    for _ in range(laps):
        split.add_batch(m64, m16, driver, shadow, addr, length, outs, ins, heads, batch)
        split.publish(m16, driver)
        total += split.need_notify(m16, driver)
        got = split.pop_batch(m8, m64, m16, device, heads, n_out, n_in, where, size, batch)
        split.push_batch(m32, m16, device, heads, size, got)
        total += split.need_interrupt(m16, device)
        total += split.get_batch(m32, m16, driver, shadow, ids, lens, batch)
    return total


@kernel(counted=False)
def laps_packed(m8, m16, m64, driver, device, shadow, addr, length, outs, ins, work, batch, laps):
    """`laps_split` for a packed ring; work: eight arrays."""
    ids, slots, n_out, n_in, where, size, got_ids, lens = work
    total = 0
    for _ in range(laps):
        packed.add_batch(m64, driver, shadow, addr, length, outs, ins, ids, batch)
        total += packed.need_notify(m16, driver)
        got = packed.pop_batch(m8, m64, device, ids, slots, n_out, n_in, where, size, batch)
        packed.push_batch(m64, device, ids, slots, size, got)
        total += packed.need_interrupt(m16, device)
        total += packed.get_batch(m64, driver, shadow, got_ids, lens, batch)
    return total


@kernel(counted=False)
def drive(m16, m32, m64, q, shadow, addr, length, outs, ins, work, batch, buffers):
    """The driver of a split ring, until so many buffers have come back; how many did. Ends at an error."""
    heads, ids, lens = work
    added = got = np.uint64(0)
    while got < buffers:
        if added < buffers:
            placed = split.add_batch(m64, m16, q, shadow, addr, length, outs, ins, heads, min(batch, buffers - added))
            if placed > 0:
                split.publish(m16, q)
                added += np.uint64(placed)
        back = split.get_batch(m32, m16, q, shadow, ids, lens, batch)
        if back < 0:
            break
        got += np.uint64(back)
    return got


@kernel(counted=False)
def serve(m8, m16, m32, m64, q, work, batch, buffers):
    """The device of a split ring, until it has given back so many buffers; how many it did. Ends at an error."""
    heads, n_out, n_in, where, size = work
    done = np.uint64(0)
    while done < buffers:
        taken = split.pop_batch(m8, m64, m16, q, heads, n_out, n_in, where, size, batch)
        if taken < 0:
            break
        if taken:
            split.push_batch(m32, m16, q, heads, size, np.uint64(taken))
            done += np.uint64(taken)
    return done


def _pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def _numbers(*values: int) -> list[ctypes.c_uint64]:
    return [ctypes.c_uint64(int(value)) for value in values]


def candidates(kind: str, library: ctypes.CDLL | None) -> dict[str, Callable[[int], int]]:
    """{name: laps -> what was told and got} for one kind of ring, each with memory of its own."""
    kernels = {"split": split, "packed": packed}[kind]
    kept = []

    def side():
        at = kernels.layout(SIZE)
        memory = np.zeros(-(-at.end // 4096) * 4096 + 64, np.uint8)
        memory = memory[-memory.ctypes.data % 64 :][: -(-at.end // 8) * 8]
        states = [kernels.state(memory, SIZE, *at[:3], event_idx=True) for _ in range(2)]
        given = [np.arange(BATCH, dtype=np.uint64) * 4096, np.full(BATCH, 1500, np.uint64)]
        given += [np.zeros(BATCH, np.uint64), np.ones(BATCH, np.uint64)]
        kept.append((memory, states, given))
        return at, memory, *states, new_shadow(SIZE), given

    _, memory, driver, device, shadow, given = side()
    work = tuple(np.zeros(BATCH, np.uint64) for _ in range(7 if kind == "split" else 8))
    v = views(memory)
    batch = np.uint64(BATCH)
    if kind == "split":
        found = {OURS: lambda laps: laps_split(*v, driver, device, shadow, *given, work, batch, laps)}
    else:
        seen = (v.m8, v.m16, v.m64)
        found = {OURS: lambda laps: laps_packed(*seen, driver, device, shadow, *given, work, batch, laps)}
    if library is None:
        return found

    _, twin_memory, twin_driver, twin_device, twin_shadow, twin_given = side()
    twin_work = np.zeros(8 * BATCH, np.uint64)
    kept.append((twin_shadow, twin_work))
    twin_words = _pointers(twin_memory, twin_driver, twin_device, twin_shadow, *twin_given, twin_work)
    twin = getattr(library, f"twin_{kind}")
    twin.restype = ctypes.c_uint64
    found["twin"] = lambda laps: twin(*twin_words, *_numbers(BATCH, laps))

    at, plain_memory, *_ = side()
    book = np.zeros(SIZE, np.uint64)
    plain = getattr(library, f"plain_{kind}")
    plain.restype = ctypes.c_uint64
    plain_args = [*_pointers(plain_memory), *_numbers(SIZE, *at[1:3]), *_pointers(book), ctypes.c_uint64(BATCH)]
    kept.append((book,))
    found["peer"] = lambda laps: plain(*plain_args, ctypes.c_uint64(laps))
    found[OURS].kept = kept
    return found


def threads(library: ctypes.CDLL | None, buffers: int) -> Iterator[tuple[str, Callable[[], int]]]:
    """A driver and a device in a thread each, without the interpreter lock; candidates by name."""
    at = split.layout(SIZE)
    kept = []

    def memory() -> np.ndarray:
        room = np.zeros(-(-at.end // 4096) * 4096 + 64, np.uint8)
        kept.append(room)
        return room[-room.ctypes.data % 64 :][: -(-at.end // 8) * 8]

    given = [np.arange(BATCH, dtype=np.uint64) * 4096, np.full(BATCH, 1500, np.uint64)]
    given += [np.zeros(BATCH, np.uint64), np.ones(BATCH, np.uint64)]
    batch, count, pool = np.uint64(BATCH), np.uint64(buffers), ThreadPoolExecutor(2)

    def ours() -> int:
        room = memory()
        driver, device = (split.state(room, SIZE, *at[:3], event_idx=True) for _ in range(2))
        v, shadow = views(room), new_shadow(SIZE)
        mine, theirs = (tuple(np.zeros(BATCH, np.uint64) for _ in range(n)) for n in (3, 5))
        served = pool.submit(serve, v.m8, v.m16, v.m32, v.m64, device, theirs, batch, count)
        got = drive(v.m16, v.m32, v.m64, driver, shadow, *given, mine, batch, count)
        assert served.result() == got
        kept.clear()
        return int(got)

    yield OURS, ours
    if library is not None:
        book, room = np.zeros(SIZE, np.uint64), memory()
        library.threads_split.restype = ctypes.c_uint64
        arguments = [*_pointers(room), *_numbers(SIZE, *at[1:3]), *_pointers(book), *_numbers(BATCH, buffers)]
        yield "peer", lambda kept=(book, room): library.threads_split(*arguments)


def _checked(run: Callable[[int], int], laps: int) -> Callable[[], None]:
    """A call that runs so many laps; what they told was right on a first try."""
    total = run(LAPS_QUICK)
    assert LAPS_QUICK * BATCH <= total <= LAPS_QUICK * (BATCH + 2), total

    def call() -> None:
        run(laps)

    return call


def cases(library: ctypes.CDLL | None, quick: bool) -> Iterator[Case]:
    """A split and a packed ring of 256 entries."""
    laps = LAPS_QUICK if quick else LAPS
    for kind in ("split", "packed"):
        calls = {name: _checked(run, laps) for name, run in candidates(kind, library).items()}
        yield Case(f"{kind} ring lap", f"{SIZE} entries, batches of {BATCH}", SIZE, laps * BATCH, calls)
    buffers = laps * BATCH
    yield Case("split ring, two threads", f"{SIZE} entries", SIZE, buffers, dict(threads(library, buffers)))
