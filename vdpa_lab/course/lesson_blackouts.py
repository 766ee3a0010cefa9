"""Lesson 7: both blackouts of a recorded migration, read from its logs.

The runs are in data/traces (vdpa_sim_net under emulated CPUs: order, counts and ratios hold, absolute times do not).
Sources: QEMU hw/virtio/trace-events, migration/trace-events; Linux drivers/vhost/vdpa.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vdpa_lab.course.exercise import Exercise, Message, Question, Slip, judge_number, judge_table
from vdpa_lab.timeline import WINDOWS, intervals
from vdpa_lab.traces.recorded import run as read_run
from vdpa_lab.traces.recorded import shipped_runs
from vdpa_lab.traces.run import TraceRun
from vdpa_lab.units import MS
from vdpa_lab.words import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

RUN, TWO_PAIRS = "v-256-1d-r2", "v-256-1d-2qp-r2"
RAM_ENTRIES = 100  # of these guests: rings alone never make so many entries, RAM always does
TOLD = (
    "migrate_set_state", "vhost_vdpa_suspend", "vhost_vdpa_set_vring_enable_one", "vmstate_downtime_checkpoint",
    "global_dirty_changed", "vm_state_notify",
)  # fmt: skip


def recorded_names() -> tuple[str, ...]:
    """The recorded runs that come with logs of both hosts."""
    return tuple(name for name, folder in shipped_runs().items() if (folder / "trace-src.log.gz").is_file())


@lru_cache(maxsize=8)
def recorded(name: str = RUN) -> TraceRun:
    """One recorded run by its name. Raises InputError."""
    if name not in recorded_names():
        raise InputError(f"no recorded run {name!r}; {nearest(name, recorded_names())}")
    return read_run(name)


def events(name: str = RUN) -> pd.DataFrame:
    """What a reader needs of both logs, from the start of the migration to its end: ms, side, event, what it says."""
    import pandas as pd

    run, rows = recorded(name), []
    last = max(run.timeline.marks.values())
    for side in run.sides:
        for event in side.log.events:
            at = event.t - run.assembled.epoch
            if event.name in TOLD and 0 <= at <= last:
                words = [f"{key}={value}" for key, value in event.fields.items() if key != "dev"]
                rows.append((at / MS, side.role, event.name, " ".join(words)))
    return pd.DataFrame(sorted(rows), columns=["ms", "side", "event", "says"])


def set_maps(name: str = RUN) -> pd.DataFrame:
    """Every set_map of the source from the start of the migration on, from the kernel's log: ms, window, entries."""
    import pandas as pd

    run, rows = recorded(name), []
    spans = {title: intervals(run.timeline, WINDOWS[title]) for title in ("svq_switch", "source_teardown")}
    for op in run.kernel.ops:
        at = op.start - run.assembled.epoch
        if op.op != "set_map" or op.side != "source" or at < 0:
            continue
        inside = [
            title
            for title, found in spans.items()
            if any(each.start_ns <= at <= each.start_ns + each.ns for each in found)
        ]
        rows.append((at / MS, inside[0] if inside else "", op.fields["entries"]))
    return pd.DataFrame(rows, columns=["ms", "window", "entries"])


def _blackouts(name: str) -> dict[str, float]:
    found = {each["blackout"]: each["ns"] / MS for each in recorded(name).outages()}
    return {"first_ms": round(found[1], 1), "second_ms": round(found[2], 1)}


def _judge_blackouts(answer: Any) -> Message:
    run, expected = recorded(RUN), _blackouts(RUN)
    said = run.downtime()
    slips = {
        "first_ms": [
            Slip(run.windows()["reported_downtime"] / MS, "That is the downtime QEMU reports, of the second stop.")
        ],
        "second_ms": [
            Slip(
                said["reported_ns"] / MS,
                "That is QEMU's reported downtime: it ends on the source, before the destination has a network.",
            ),
            Slip(
                said["vm_away_ns"] / MS,
                "That is how long the guest was away; its device is stopped a little later than its vCPUs.",
            ),
            Slip(
                run.window("source_teardown") / MS,
                "That is the source's part alone. The network is back when the destination enables it.",
            ),
            Slip(
                run.window("vm_paused") / MS,
                "Those are the vCPUs. Ask when the *device* stops, and when the other one is enabled.",
            ),
        ],
    }
    why = "Two dead times, of which QEMU's own number holds neither: the first lies before any page is sent."
    look = "vhost_vdpa_suspend begins each; the last vhost_vdpa_set_vring_enable_one of index 0 or 1 ends it"
    return judge_table(answer, expected, why, slips, look=look, within=0.03)


def _late() -> int:
    said = recorded(RUN).downtime()
    return round((said["vm_away_ns"] - said["reported_ns"]) / MS)


def _judge_late(answer: Any) -> Message:
    said = recorded(RUN).downtime()
    slips = [
        Slip(said["reported_ns"] / MS, "That is what QEMU reports, not how late it is wrong."),
        Slip(
            said["vm_away_ns"] / MS, "That is how long the guest was away; asked is the part that QEMU did not count."
        ),
    ]
    look = "checkpoint=src-downtime-end on the source, checkpoint=dst-precopy-bh-vm-started on the destination"
    return judge_number(answer, _late(), "ms", recorded(RUN).why_they_differ() + ".", slips, look, within=0.03)


def _full_maps(name: str) -> int:
    found = set_maps(name)
    return int(((found["window"] == "source_teardown") & (found["entries"] >= RAM_ENTRIES)).sum())


def _judge_full_maps(answer: Any) -> Message:
    found = set_maps(TWO_PAIRS)
    stop = found[found["window"] == "source_teardown"]
    slips = [
        Slip(len(stop), "Some of those hand over only a few entries: RAM is gone from the map by then."),
        Slip(
            int((found["entries"] >= RAM_ENTRIES).sum()),
            "That counts the whole migration; asked is the stop of the source.",
        ),
        Slip(8, "The control virtqueue is shadowed as well."),
    ]
    why = "4N + 2 with N = 2, in a real kernel's log: the formula of lesson 6 was no model's invention."
    return judge_number(answer, _full_maps(TWO_PAIRS), "set_maps", why, slips, f"vl.course.set_maps({TWO_PAIRS!r})")


def _longer() -> str:
    run = recorded(RUN)
    return "longer" if run.window("network_outage") > run.window("reported_downtime") else "shorter"


QUESTION = Question(
    "7",
    "A real migration, without a return path. QEMU reported a downtime of 134 ms. Was the network, in its "
    "second blackout, "
    "dead for longer or for shorter than that?",
    _longer,
    "Without a return path QEMU's clock stops when the source has sent everything; the destination has yet to "
    "set up its device.",
    ("longer", "shorter"),
)

EXERCISES = (
    Exercise(
        "7.1", "Two blackouts",
        f"From vl.course.events({RUN!r}): how many milliseconds was the device dead, the first time and the "
        f"second? A dict "
        "with the keys first_ms and second_ms (to 3 %).",
        _judge_blackouts,
        (
            "A blackout begins when the device is suspended: vhost_vdpa_suspend on the source.",
            "It ends when the last data virtqueue is enabled: vhost_vdpa_set_vring_enable_one, index 0 and 1. "
            "Index 2 is the CVQ.",
            "The first ends on the source, the second on the destination.",
        ),
        f"""
import vdpa_lab as vl

log = vl.course.events("{RUN}")
stops = log[log.event == "vhost_vdpa_suspend"].ms.tolist()
data = log[(log.event == "vhost_vdpa_set_vring_enable_one") & log.says.str.contains("index=[01] enable=1")]
first = data[(data.side == "source") & (data.ms > stops[0])].ms.max() - stops[0]
second = data[data.side == "destination"].ms.max() - stops[1]
answer = {{"first_ms": first, "second_ms": second}}
""",
        "The clocks of both hosts are one here. On two hosts the second needs their offset, and the lab asks for it.",
    ),
    Exercise(
        "7.2", "What QEMU did not count",
        f"In {RUN}, how many milliseconds after the end of the reported downtime did the guest run again (to 3 %)?",
        _judge_late,
        (
            "The source says when its clock stopped: vmstate_downtime_checkpoint src-downtime-end.",
            "The guest runs again at the destination's checkpoint dst-precopy-bh-vm-started.",
        ),
        f"""
import vdpa_lab as vl

said = vl.course.recorded("{RUN}").downtime()
answer = (said["vm_away_ns"] - said["reported_ns"]) / 1e6
""",
        "With a return path it is the other way round: the clock stops when the destination's answer has come back.",
    ),
    Exercise(
        "7.3", "Rebuilds, counted by the kernel",
        f"From vl.course.set_maps({TWO_PAIRS!r}), a device of two queue pairs: how many set_maps of the "
        f"source's teardown "
        "handed over the map of all RAM?",
        _judge_full_maps,
        (
            "Keep the rows whose window is source_teardown, and look at the entries.",
            "Rings are a handful of entries, RAM is hundreds. Where does the number fall?",
        ),
        f"""
import vdpa_lab as vl

log = vl.course.set_maps("{TWO_PAIRS}")
answer = int(((log.window == "source_teardown") & (log.entries > {RAM_ENTRIES})).sum())
""",
        "Each hands over a few entries fewer than the one before: the ring that just went.",
    ),
)  # fmt: skip
