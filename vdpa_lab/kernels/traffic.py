"""Packets of one virtqueue through a data path that opens and closes: rings as counters, nothing else remembered.

A flow is one virtqueue's frames in order of arrival, times np.uint64 ns. Accepted frame i has slot i & mask: its time
of arrival until it is served, from then on the time at which its descriptor is free again. So a ring of CAP frames
has room for frame i at time t when frame i - CAP is served and its slot says t or earlier. A frame that a closed
device cannot take is dropped (receive) or waits in the ring and the qdisc (transmit). Arrivals come in blocks; the
last of a flow is LATEST, which is never reached. Sources: Linux drivers/net/virtio_net.c (start_xmit), VIRTIO 1.3 2.7.

Arrays: params uint64[flow, PARAMS], state uint64[flow, STATE], path uint64[flow, PATH] (how the flow's device stands
now), bounds uint64[device, EPOCHS - 1] (when its epochs end), clock uint64[vcpu, CLOCK], learned uint64[device], slots
uint64[flow, mask + 1], counts uint64[flow, EPOCHS, KINDS], gaps uint64[flow, 3, 2], hist uint64[flow, EPOCHS, BUCKETS].
"""

from __future__ import annotations

import numpy as np

from vdpa_lab.kernels._jit import kernel
from vdpa_lab.kernels.bitmap import popcount

U0, U1, U2, U3, U4, U5, U6, U8, U16, U32 = map(np.uint64, (0, 1, 2, 3, 4, 5, 6, 8, 16, 32))
LATEST = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

# params: CAP frames at once, SERVICE ns of the port, GUEST ns of the driver to receive one, IS_RX, DEVICE, VCPU, and
# DEADLINE ns; RING is what one visit of the shadow thread forwards at most.
CAP, SERVICE, GUEST, IS_RX, DEVICE, VCPU, DEADLINE, RING, PARAMS = range(9)
# state: place in the block, frames accepted and served, port and guest busy until, last delivery, epochs in and out.
POS, ACCEPTED, SERVED, PORT_FREE, GUEST_FREE, LAST, EPOCH_IN, EPOCH_OUT, STATE = range(9)
# path: mode, cause of a drop, whether the fabric has to learn where the device is now, since when and until when.
MODE, CAUSE, LEARNS, SINCE, UNTIL, PATH = range(6)
DIRECT, SHADOW, CLOSED = map(np.uint64, range(3))
# clock of a vCPU: paused from, to; stalled on a doorbell after, to.
PAUSED, RESUMED, STALLED, RELEASED, CLOCK = range(5)
EPOCHS = 5  # before, blackout 1, precopy, blackout 2, after
OFFERED, DELIVERED, LATE, WITHHELD, SOURCE_DEAD, DESTINATION_CLOSED, NOT_LEARNED, NO_VLAN, NO_BUFFER, QDISC_FULL = (
    range(10)
)
KINDS = 10
_NOT_LEARNED, _NO_BUFFER, _QDISC_FULL = map(np.uint64, (NOT_LEARNED, NO_BUFFER, QDISC_FULL))
LAST_EPOCH = np.uint64(EPOCHS - 1)

# Latency histogram: exact below 64 ns, then 32 buckets an octave, so a bucket is no wider than 1/32 of its values.
SUB_BITS, OCTAVES = 5, 43
BUCKETS = (OCTAVES - SUB_BITS + 1) << SUB_BITS
TOP = np.uint64((1 << OCTAVES) - 1)  # 2.4 hours; longer ones count as that


@kernel(inline=True)
def bucket_of(value):
    """Histogram bucket of a latency in ns."""
    value = min(value, TOP)
    smear = value | U32  # bit 5 at least, so that the first 64 values have a bucket each
    smear |= smear >> U1
    smear |= smear >> U2
    smear |= smear >> U4
    smear |= smear >> U8
    smear |= smear >> U16
    smear |= smear >> U32
    shift = popcount(smear) - U6
    return (shift << U5) + (value >> shift)


def bucket_edges(bucket: int) -> tuple[int, int]:
    """Least and greatest latency in ns that a bucket counts."""
    shift = max((bucket >> SUB_BITS) - 1, 0)
    low = (bucket - (shift << SUB_BITS)) << shift
    return low, low + (1 << shift) - 1


@kernel(inline=True)
def _deliver(f, arrival, at, params, state, bounds, counts, gaps, hist):
    """Frame f reaches its receiver; counted in the epoch of its arrival."""
    device, epoch = params[f, DEVICE], state[f, EPOCH_OUT]
    while epoch < LAST_EPOCH and arrival >= bounds[device, epoch]:
        epoch += U1
    state[f, EPOCH_OUT] = epoch
    latency, last = at - arrival, state[f, LAST]
    counts[f, epoch, DELIVERED] += U1
    hist[f, epoch, bucket_of(latency)] += U1
    if latency > params[f, DEADLINE]:
        counts[f, epoch, LATE] += U1
    if last != LATEST:
        gap = at - last
        if gap > gaps[f, 0, 0]:
            gaps[f, 0, 0], gaps[f, 0, 1] = gap, last
        if at > bounds[device, 0] and last < bounds[device, 1] and gap > gaps[f, 1, 0]:
            gaps[f, 1, 0], gaps[f, 1, 1] = gap, last
        if at > bounds[device, 2] and last < bounds[device, 3] and gap > gaps[f, 2, 0]:
            gaps[f, 2, 0], gaps[f, 2, 1] = gap, last
    state[f, LAST] = at


@kernel(inline=True)
def serve(f, start, params, state, path, bounds, clock, learned, slots, counts, gaps, hist):
    """The oldest waiting frame passes the port from `start` on, or when the port is free."""
    slot = state[f, SERVED] & np.uint64(slots.shape[1] - 1)
    arrival = slots[f, slot]
    done = max(start, state[f, PORT_FREE]) + params[f, SERVICE]
    state[f, PORT_FREE] = done
    state[f, SERVED] += U1
    at = done
    if params[f, IS_RX] != U0:
        at = max(done, state[f, GUEST_FREE])
        vcpu = params[f, VCPU]
        if clock[vcpu, PAUSED] <= at and at < clock[vcpu, RESUMED]:
            at = clock[vcpu, RESUMED]
        done = at + params[f, GUEST]
        state[f, GUEST_FREE] = done
    elif path[f, LEARNS] != U0:
        learned[params[f, DEVICE]] = min(learned[params[f, DEVICE]], done)
    slots[f, slot] = done
    _deliver(f, arrival, at, params, state, bounds, counts, gaps, hist)


@kernel(inline=True)
def offer(f, t, params, state, path, bounds, clock, learned, slots, counts):
    """A frame arrives at t: it is withheld (its vCPU does not run), dropped with a cause, or accepted."""
    device, epoch = params[f, DEVICE], state[f, EPOCH_IN]
    while epoch < LAST_EPOCH and t >= bounds[device, epoch]:
        epoch += U1
    state[f, EPOCH_IN] = epoch
    accepted, room = state[f, ACCEPTED], True
    mask = np.uint64(slots.shape[1] - 1)
    if accepted >= params[f, CAP]:
        before = accepted - params[f, CAP]
        room = before < state[f, SERVED] and slots[f, before & mask] <= t
    cause = U0
    if params[f, IS_RX] != U0:
        if path[f, MODE] == CLOSED:
            cause = path[f, CAUSE]
        elif path[f, LEARNS] != U0 and t < learned[device]:
            cause = _NOT_LEARNED
        elif not room:
            cause = _NO_BUFFER
    else:
        vcpu = params[f, VCPU]
        paused = clock[vcpu, PAUSED] <= t and t < clock[vcpu, RESUMED]
        if paused or (clock[vcpu, STALLED] < t and t < clock[vcpu, RELEASED]):
            counts[f, epoch, WITHHELD] += U1
            return
        if not room:
            cause = _QDISC_FULL
    counts[f, epoch, OFFERED] += U1
    if cause != U0:
        counts[f, epoch, cause] += U1
    else:
        slots[f, accepted & mask] = t
        state[f, ACCEPTED] = accepted + U1


@kernel(counted=False)
def run_flow(f, arrivals, end, params, state, path, bounds, clock, learned, slots, counts, gaps, hist):
    """One flow of a device in passthrough or closed, until `end`; True when it wants the next block of arrivals.

    A device that closes completes the frames that it has buffers for: a suspended device leaves none half done, and
    vhost_svq_stop flushes what is used (QEMU hw/virtio/vhost-shadow-virtqueue.c).
    """
    size = np.uint64(arrivals.size)
    closed = path[f, MODE] == CLOSED
    since, until = path[f, SINCE], path[f, UNTIL]
    while state[f, SERVED] < state[f, ACCEPTED] and (not closed or params[f, IS_RX] != U0):
        start = max(state[f, PORT_FREE], since)
        if not closed and start >= until:
            break
        serve(f, start, params, state, path, bounds, clock, learned, slots, counts, gaps, hist)
    while state[f, POS] < size:
        t = arrivals[state[f, POS]]
        if t >= end:
            return False
        state[f, POS] += U1
        offer(f, t, params, state, path, bounds, clock, learned, slots, counts)
        if not closed and state[f, SERVED] < state[f, ACCEPTED]:
            start = max(state[f, PORT_FREE], t)
            if start < until:
                serve(f, start, params, state, path, bounds, clock, learned, slots, counts, gaps, hist)
    return True
