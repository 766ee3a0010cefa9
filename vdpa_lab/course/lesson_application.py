"""Lesson 9: what an application feels: lost packets, TCP's retries, and when the fabric learns the new place.

Sources: Linux net/ipv4/tcp_timer.c (tcp_retransmit_timer), RFC 6298; QEMU net/announce.c, hw/net/virtio-net.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from vdpa_lab.course.exercise import Exercise, Message, Question, Slip, judge_function, judge_table
from vdpa_lab.migration.announce import guest_rounds, self_rounds
from vdpa_lab.migration.simulate import Run, simulate
from vdpa_lab.migration.traffic import Traffic, tcp_stall, traffic
from vdpa_lab.model import Traffic as Load
from vdpa_lab.model import find_scenario
from vdpa_lab.units import MS

SCENARIO, PPS = "sim-256-1d", 1000
OUTAGE, RTO = 450, 200  # ms
FRAMES, ACK = 10, 120  # ms from the guest's notification to its frames, and on to its ACK


def stall_ms(outage_ms: int, rto_ms: int) -> int:
    """When TCP gets through again, in ms after its last good segment."""
    return tcp_stall(outage_ms * MS, rto_ms * MS) // MS


def _stall() -> int:
    return stall_ms(OUTAGE, RTO)


STALLS = (
    ((450, 200), "Retries come 200 and 600 ms after the last good segment; the first one falls into the outage."),
    ((150, 200), "The outage is over before the first retry, so that one gets through."),
    ((200, 200), "The path is open again at the very instant of the first retry."),
    ((601, 200), "Waits double: 200, 400, 800 ms. Retries come at 200, 600 and 1400 ms."),
    ((3406, 200), "A real run's outage: 200 + 400 + 800 + 1600 + 3200 ms."),
    ((0, 200), "No outage, no stall."),
    ((900_000, 1000), "A wait never grows beyond two minutes (TCP_RTO_MAX)."),
)


def _judge_stall(answer: Any) -> Message:
    why = "A little less outage often changes nothing, and sometimes halves the stall: retries come at RTO x (2^n - 1)."
    return judge_function(
        answer, stall_ms, STALLS, why, "stall(outage_ms, rto_ms)", "RFC 6298, 5.5; TCP_RTO_MAX is 120 s"
    )


@lru_cache(maxsize=1)
def run() -> Run:
    """The small guest's migration, as its hosts ship it."""
    return simulate(find_scenario(SCENARIO))


@lru_cache(maxsize=16)
def packets(pps: int = PPS) -> Traffic:
    """`pps` packets a second each way through that migration, evenly spaced."""
    return traffic(run(), Load(pps, pps, 1500))


def _lost() -> dict[str, int]:
    flows = {flow.direction: flow for flow in packets().flows}
    return {
        f"{way}_lost": sum(sum(period.dropped.values()) for period in flows[way].periods) for way in ("rx", "tx")
    }  # fmt: skip


def _judge_lost(answer: Any) -> Message:
    windows = run().windows
    first, second = (windows[name] * PPS / 10**9 for name in ("svq_switch", "network_outage"))
    slips = {
        "rx_lost": [
            Slip(second, "That is the second blackout. There is one before it: the switch to shadow virtqueues."),
            Slip(first, "That is the first blackout. The second one loses packets too."),
            Slip(
                0,
                "Nobody takes frames out of the wire while the device is suspended; the NIC has no buffers and drops.",
            ),
        ],
        "tx_lost": [
            Slip(
                round(first + second),
                "What the guest sends waits in its ring, and is offered again: it comes late, it is not lost.",
            )
        ],
    }
    why = "Receiving loses what arrives; sending only waits: unused descriptors are offered again exactly once."
    look = "packets(1000).flows: `dropped` of each period, and `withheld`"
    return judge_table(answer, _lost(), why, slips, look=look, within=0.03)


def _rounds() -> list[int]:
    return [each.sent // MS for each in guest_rounds(0, FRAMES * MS, ACK * MS)]


def _judge_rounds(answer: Any) -> Message:
    free = [at // MS for at in self_rounds(0)]
    late = [each + FRAMES for each in free]
    expected = {"sent": _rounds(), "reach_fabric": 0}
    if isinstance(answer, dict) and isinstance(answer.get("sent"), tuple):
        answer = {**answer, "sent": list(answer["sent"])}
    slips = {
        "sent": [
            Slip(free, "Those are QEMU's own rounds, on QEMU's clock. The guest's wait for its ACK each time."),
            Slip(
                late, "The next round does not come on a clock: it starts its pause when the guest's ACK has arrived."
            ),
        ],
        "reach_fabric": [
            Slip(5, "For vhost-vdpa QEMU has no data path of its own: its RARP goes to a receiver that drops it.")
        ],
    }
    why = (
        "A slow ACK delays every further round, and the fabric may know the new place only when the guest itself sends."
    )
    look = "round n + 1 is notified when round n is acknowledged, plus 50, 150, 250, 350 ms"
    return judge_table(answer, expected, why, slips, look=look)


QUESTION = Question(
    "9",
    f"The network is dead for {OUTAGE} ms; TCP's retransmission timeout is {RTO} ms. How many milliseconds "
    f"after its last good "
    "segment does a connection get through again?",
    _stall,
    "The retry at 200 ms is lost. The wait doubles, so the next one comes 400 ms later, at 600 ms.",
)

EXERCISES = (
    Exercise(
        "9.1", "TCP's stairs",
        "Write stall(outage_ms, rto_ms): when TCP gets through again, in ms after its last good segment.",
        _judge_stall,
        (
            "First retry after RTO; each further wait is twice the one before.",
            "The first retry at or after the end of the outage gets through. Without an outage there is no stall.",
            "A single wait never exceeds 120,000 ms.",
        ),
        """
def answer(outage_ms, rto_ms):
    at, wait = 0, rto_ms
    while at < outage_ms:
        at, wait = at + wait, min(2 * wait, 120_000)
    return at
""",
        "So the same outage of 450 ms costs an application 600 ms, and one of 650 ms costs it 1.4 s.",
    ),
    Exercise(
        "9.2", "Which packets are lost?",
        f"Through the simulated migration of {SCENARIO} come {PPS} packets a second each way. run.windows gives "
        f"the lengths of "
        "both blackouts: svq_switch and network_outage. How many packets are lost of those that the guest "
        "receives, and of "
        "those that it sends? A dict with the keys rx_lost and tx_lost (to 3 %).",
        _judge_lost,
        (
            "Both blackouts count. Length in seconds times packets a second.",
            "What becomes of a packet that the guest wants to send while the device is stopped? Think of lesson 6.",
        ),
        f"""
import vdpa_lab as vl

windows = vl.simulate(vl.find_scenario("{SCENARIO}")).windows
dead_s = (windows["svq_switch"] + windows["network_outage"]) / 1e9
answer = {{"rx_lost": round(dead_s * {PPS}), "tx_lost": 0}}
""",
        "One packet more may be lost before the fabric has learned the new place of the guest's MAC address.",
    ),
    Exercise(
        "9.3", "I am here now",
        f"The guest resumes at 0 ms. Its announcement leaves {FRAMES} ms after each notification, and its "
        f"ANNOUNCE_ACK arrives "
        f"{ACK} ms after that. When (ms) do its five announcements leave, and how many of QEMU's own five RARP "
        f"rounds reach the "
        "fabric? A dict with the keys sent (a list) and reach_fabric.",
        _judge_rounds,
        (
            "The pauses between rounds are 50, 150, 250 and 350 ms, each from the ACK on.",
            "A vhost-vdpa device is not fed by QEMU. Where could QEMU's own frames go?",
        ),
        f"""
sent, at = [], 0
for pause in (50, 150, 250, 350, 0):
    sent.append(at + {FRAMES})
    at += {FRAMES} + {ACK} + pause
answer = {{"sent": sent, "reach_fabric": 0}}
""",
        "Traffic of the guest itself teaches the fabric too, often sooner: its first frame is enough.",
    ),
)  # fmt: skip
