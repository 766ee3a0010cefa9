"""Shadow virtqueues under load: one thread, QEMU's main loop, forwards every queue of every device.

The thread sleeps until a queue has something, wakes at a price, and forwards what it finds until the queue is empty or
a ring's worth is done; then it looks at the next queue in turn. While another thread holds the BQL it begins no
visit. Arrays as in `kernels.traffic`; times np.uint64 ns. Source: QEMU hw/virtio/vhost-shadow-virtqueue.c
(vhost_handle_guest_kick, vhost_svq_flush), util/main-loop.c.
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.traffic import ACCEPTED, LATEST, MODE, POS, RING, SERVED, SHADOW, U0, U1, offer, serve

# thread: its time, the flow to look at next, elements that the visit at hand may still forward, the next hold of the
# BQL; then prices in ns: of a wake-up, of an element; and ns it was busy.
NOW, NEXT, BUDGET, HOLD, WAKE, ELEMENT, BUSY, THREAD = range(8)
FINISHED = LATEST


@kernel(inline=True)
def _admit(f, arrivals, size, params, state, path, bounds, clock, learned, slots, counts, now, end):
    """Take in what has arrived by `now`; False when the block has no further arrival to compare with."""
    while state[f, POS] < size:
        t = arrivals[f, state[f, POS]]
        if t > now or t >= end:
            return True
        state[f, POS] += U1
        offer(f, t, params, state, path, bounds, clock, learned, slots, counts)
    return False


@kernel(inline=True)
def _spend(thread, ns):
    thread[NOW] += ns
    thread[BUSY] += ns


@kernel(counted=False)
def run_shadow(
    arrivals, sizes, holds, end, thread, params, state, path, bounds, clock, learned, slots, counts, gaps, hist
):
    """Forward the queues whose mode is SHADOW until `end`; returns the flow that wants its next block, or FINISHED.

    arrivals: uint64[flow, block], of which sizes[flow] count; holds: uint64[n, 2] in order, when others hold the BQL.
    """
    total = np.uint64(sizes.size)
    while True:
        if thread[BUDGET] == U0:
            while thread[HOLD] < np.uint64(holds.shape[0]) and holds[thread[HOLD], 0] <= thread[NOW]:
                thread[NOW] = max(thread[NOW], holds[thread[HOLD], 1])
                thread[HOLD] += U1
            if thread[NOW] >= end:
                break
            soonest, f, found = end, thread[NEXT], False
            for _ in range(total):
                if path[f, MODE] == SHADOW:
                    if not _admit(
                        f, arrivals, sizes[f], params, state, path, bounds, clock, learned, slots, counts,
                        thread[NOW], end,
                    ):  # fmt: skip
                        return f
                    if state[f, SERVED] < state[f, ACCEPTED]:
                        found = True
                        break
                    soonest = min(soonest, arrivals[f, state[f, POS]])
                f = U0 if f + U1 == total else f + U1
            thread[NEXT] = f
            if not found:
                thread[NOW] = soonest
                continue
            thread[BUDGET] = params[f, RING]
            _spend(thread, thread[WAKE])
        f = thread[NEXT]
        if thread[NOW] >= end:
            break
        if path[f, MODE] != SHADOW:
            thread[BUDGET] = U0
        elif not _admit(
            f, arrivals, sizes[f], params, state, path, bounds, clock, learned, slots, counts, thread[NOW], end
        ):
            return f
        elif state[f, SERVED] < state[f, ACCEPTED]:
            _spend(thread, thread[ELEMENT])
            thread[BUDGET] -= U1
            serve(f, thread[NOW], params, state, path, bounds, clock, learned, slots, counts, gaps, hist)
        else:
            thread[BUDGET] = U0
        if thread[BUDGET] == U0:
            thread[NEXT] = U0 if f + U1 == total else f + U1
    for i in range(total):
        if path[i, MODE] == SHADOW and not _admit(
            i, arrivals, sizes[i], params, state, path, bounds, clock, learned, slots, counts, end, end
        ):
            return np.uint64(i)
    return FINISHED
