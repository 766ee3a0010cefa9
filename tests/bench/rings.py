"""Laps of a virtqueue in compiled Python against own C, side by side: `python -m tests.bench.rings`.

A lap takes a batch of buffers of one descriptor once round: add, publish, notify?, pop, push, interrupt?, get.
Candidates take turns in one process; a ratio is of neighbours, and the table has medians. Above 1: ours is faster.
"""

import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from vdpa_lab.kernels import packed, split
from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.ring_layout import new_shadow, views

SIZE, BATCH, LAPS, ROUNDS = 256, 32, 10_000, 41


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


def build(folder):
    """The C library, or None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    made = Path(folder) / "rings.so"
    source = Path(__file__).with_name("rings.c")
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-fno-strict-aliasing", "-o", made, source]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(made))
    for name in ("twin_split", "twin_packed", "plain_split", "plain_packed"):
        getattr(library, name).restype = ctypes.c_uint64
    return library


def words(*arrays):
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def numbers(*values):
    return [ctypes.c_uint64(int(value)) for value in values]


def candidates(kind, library):
    """{name: laps -> checked total} for one kind of ring, each with memory of its own."""
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
        found = {"ours": lambda laps: laps_split(*v, driver, device, shadow, *given, work, batch, laps)}
    else:
        seen = (v.m8, v.m16, v.m64)
        found = {"ours": lambda laps: laps_packed(*seen, driver, device, shadow, *given, work, batch, laps)}
    if library is None:
        return found

    _, twin_memory, twin_driver, twin_device, twin_shadow, twin_given = side()
    twin_work = np.zeros(8 * BATCH, np.uint64)
    kept.append((twin_shadow, twin_work))
    twin_words = words(twin_memory, twin_driver, twin_device, twin_shadow, *twin_given, twin_work)
    twin = getattr(library, f"twin_{kind}")
    found["twin"] = lambda laps: twin(*twin_words, *numbers(BATCH, laps))

    at, plain_memory, *_ = side()
    book = np.zeros(SIZE, np.uint64)
    plain = getattr(library, f"plain_{kind}")
    plain_args = [*words(plain_memory), *numbers(SIZE, *at[1:3]), *words(book), ctypes.c_uint64(BATCH)]
    kept.append((book,))
    found["plain"] = lambda laps: plain(*plain_args, ctypes.c_uint64(laps))
    found["ours"].kept = kept
    return found


def measure(kind, library, rounds=ROUNDS, laps=LAPS):
    """{name: (median ns a buffer, median ratio to ours, its quartiles)}."""
    found = candidates(kind, library)
    for run in found.values():
        total = run(100)
        assert 100 * BATCH <= total <= 100 * (BATCH + 2), total
    times = {name: [] for name in found}
    for turn in range(rounds):
        names = list(found)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter_ns()
            found[name](laps)
            times[name].append((time.perf_counter_ns() - start) / laps / BATCH)
    rows = {}
    for name, taken in times.items():
        ratios = [other / ours for other, ours in zip(taken, times["ours"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows[name] = statistics.median(taken), middle, low, high
    return rows


def main():
    with tempfile.TemporaryDirectory() as folder:
        library = build(folder)
        print(f"{'ring':8}{'candidate':12}{'ns a buffer':>12}{'other/ours':>12}   quartiles   (batch {BATCH})")
        for kind in ("split", "packed"):
            for name, (ns, ratio, low, high) in measure(kind, library).items():
                print(f"{kind:8}{name:12}{ns:12.2f}{ratio:12.2f}   {low:.2f}-{high:.2f}")


if __name__ == "__main__":
    main()
