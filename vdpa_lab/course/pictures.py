"""What the figures of the lessons show, as HTML from the package's own numbers; no widget here.

Each function takes what a control holds, and returns a document fragment in which all text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from vdpa_lab.course.ring_bench import Cell, RingBench, flag_names
from vdpa_lab.units import MIB, MS, PAGE_SIZE, format_bytes, format_duration
from vdpa_lab.words import InputError

INK = "var(--jp-ui-font-color1, #222)"
HEADER, FRAME = (0x1000, 12, False), (0x2000, 1514, True)
RING_STEPS = (
    ("A new ring: all zeros.", None),
    ("The driver places a chain: 12 bytes to read, 1514 to write.", "add"),
    ("The driver publishes it.", "publish"),
    ("The driver places and publishes a second one.", "both"),
    ("The device takes the first: it only reads.", "take"),
    ("The device gives it back, 60 bytes written.", "give"),
    ("The driver reaps it: it only reads, and knows what is free from its own book.", "reap"),
    ("The device takes and gives back the second.", "serve"),
    ("The driver reaps it, and the ring is idle again.", "reap"),
)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], marked: Iterable[int] = ()) -> str:
    """An HTML table of the lab's looks; rows of the numbers in `marked` stand out."""
    marked, bold, plain = set(marked), " style='font-weight:700'", ""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr{bold if number in marked else plain}>"
        + "".join(f"<td>{cell if isinstance(cell, Bar) else escape(str(cell))}</td>" for cell in row)
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return f"<table class='vdpa-view'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Bar(str):
    """A bar as HTML, `share` of the width from 0 to 1; the number stands beside it in a cell of its own."""

    def __new__(cls, share: float) -> Bar:
        return super().__new__(
            cls, f"<div class='vdpa-share' style='width:{100 * max(0.0, min(1.0, share)):.1f}%'></div>"
        )


def _played(kind: str, step: int) -> tuple[RingBench, bytes]:
    """The bench after so many steps, and its memory one step before."""
    bench, before = RingBench(kind, 4), b""
    for _, action in RING_STEPS[: step + 1]:
        before = bench.memory.tobytes()
        if action in ("add", "both"):
            bench.add(HEADER, FRAME)
        if action in ("publish", "both"):
            bench.publish()
        if action in ("take", "serve"):
            bench.take()
        if action in ("give", "serve"):
            bench.give(60)
        if action == "reap":
            bench.reap()
    return bench, before


def _value(cell: Cell) -> str:
    if cell.name.endswith(".flags") and "descriptor" in cell.area:
        return f"{cell.value:#06x} {flag_names(cell.value)}"
    return f"{cell.value:#x}" if cell.name.endswith("addr") else str(cell.value)


def ring(kind: str, step: int) -> str:
    """Every field of a ring of four at one step, the bytes as they lie in memory; what has changed is bold."""
    bench, before = _played(kind, step)
    memory = bench.memory.tobytes()
    rows, changed = [], []
    for number, cell in enumerate(bench.cells()):
        place = slice(cell.at, cell.at + cell.size)
        if memory[place] != before[place]:
            changed.append(number)
        rows.append((f"{cell.at:#04x}", cell.area, cell.name, memory[place].hex(" "), _value(cell)))
    title = f"Step {step} of {len(RING_STEPS) - 1}: {RING_STEPS[step][0]}"
    if kind == "packed" and RING_STEPS[step][1] == "publish":
        title += " On a packed ring there is nothing to do: its flags have told already."
    said = f"<p><b>{escape(title)}</b> {len(changed)} fields changed; {bench.free} descriptors are free.</p>"
    return said + table(("offset", "area", "field", "bytes", "value"), rows, changed)


def told(event_idx: bool, burst: int, busy: bool) -> str:
    """Notifications of 16 buffers published `burst` at a time."""
    from vdpa_lab.course.lesson_notifications import notifications

    found = notifications([burst] * (16 // burst), event_idx, busy=busy)
    field = "avail_event" if event_idx else "used ring flags"
    rows = [(each.burst, each.index, each.event, "notify" if each.notified else "silent") for each in found]
    sent = sum(each.notified for each in found)
    said = f"<p><b>{sent} notifications for {sum(each.burst for each in found)} buffers.</b></p>"
    marked = [number for number, each in enumerate(found) if each.notified]
    return said + table(("published", "available index after", field, "the driver"), rows, marked)


def addresses(shadowed: bool, gpa: int) -> str:
    """The device's address space in both modes, and where one guest address lies in it; gpa in KiB."""
    from vdpa_lab.course.lesson_addresses import layout

    address, places = gpa * 1024, layout(shadowed)
    rows, marked, said = [], [], f"GPA {address:#x} is in no RAM section: the device cannot reach it."
    for number, place in enumerate(places):
        theirs = "—" if place.gpa is None else f"{place.gpa:#x}"
        rows.append((place.what, f"{place.iova:#x}", theirs, f"{place.size // 1024:,} KiB"))
        if place.gpa is not None and place.gpa <= address < place.gpa + place.size:
            marked.append(number)
            said = f"GPA {address:#x} is IOVA {place.iova + address - place.gpa:#x} for the device."
    return f"<p><b>{said}</b></p>" + table(("what", "IOVA", "GPA", "size"), rows, marked)


def mkeys(gib: int, stray: int) -> str:
    """Direct MKEYs of a guest of so many GiB of 2 MiB pages; stray: the broken huge page, -1 for none."""
    from vdpa_lab.course.lesson_mkeys import MTT_BYTES, windows, with_stray

    found = windows(with_stray(gib, stray if stray >= 0 else None))
    most = max(each["mtts"] for each in found)
    rows = [
        (n, f"{w['bytes'] // MIB:,} MiB", f"{w['unit'] // 1024:,} KiB", f"{w['mtts']:,}", Bar(w["mtts"] / most))
        for n, w in enumerate(found)
    ]
    total = sum(each["mtts"] for each in found)
    size = format_bytes(total * MTT_BYTES)
    said = f"{total:,} MTTs ({size}) in {len(found)} direct MKEYs, all written anew at each rebuild."
    marked = [n for n, each in enumerate(found) if each["unit"] == PAGE_SIZE]
    return f"<p><b>{said}</b></p>" + table(("MKEY", "covers", "an MTT stands for", "MTTs", ""), rows, marked)


def passes(rate: int, working_set: int, bandwidth: int, limit: int) -> str:
    """Precopy pass by pass; rate: thousand pages a second, the other ones MiB, MiB a second and ms."""
    from vdpa_lab.course import lesson_precopy

    found = lesson_precopy.passes(1000 * rate, working_set * MIB, bandwidth * MIB, limit * MS)
    shown = found.iterations[:20]
    rows = [
        (n, format_duration(each.start_ns), f"{each.remaining_bytes // MIB:,} MiB", f"{each.dirty_pages:,}",
         Bar(each.remaining_bytes / lesson_precopy.MEMORY))
        for n, each in enumerate(shown, 1)
    ]  # fmt: skip
    left = found.left_pages * PAGE_SIZE
    said = (
        f"Converges after {len(found.iterations) - 1} passes and {format_duration(found.total_ns)}; {left // MIB:,} "
        f"MiB are "
        f"sent with the VM stopped."
        if found.converged
        else f"Does not converge: each pass leaves {left // MIB:,} MiB, and {limit} ms carry "
        f"{bandwidth * limit // 1000:,} MiB."
    )
    more = "<p>…</p>" if len(found.iterations) > len(shown) else ""
    head = ("pass", "begins at", "dirty then", "pages dirtied meanwhile", "")
    return f"<p><b>{said}</b></p>" + table(head, rows) + more


def rebuilds(pairs: int, batched: bool) -> str:
    """Every set_map of the source for so many queue pairs, with and without batched ring maps."""
    from vdpa_lab.course.lesson_shadow import set_maps
    from vdpa_lab.library import shipped
    from vdpa_lab.model import find_scenario

    on = (*shipped(find_scenario("sim-256-1d")), *(("svq-map-batch",) if batched else ()))
    found = set_maps(pairs, on)
    most = max(entries / times for _, _, times, entries in found)
    titles = {"switch": "switch to SVQ (VM runs)", "stop": "stop (VM stopped)"}
    rows = [
        (titles[path], caller, times, f"{entries / times:,.5g}", Bar(entries / times / most))
        for path, caller, times, entries in found
    ]
    stop = [(times, entries) for path, _, times, entries in found if path == "stop"]
    calls, handed = (sum(column) for column in zip(*stop, strict=True))
    said = f"At the stop {handed:,} entries are handed over, in {calls} set_maps."
    return f"<p><b>{said}</b></p>" + table(("when", "issued by", "times", "entries each", ""), rows)


def recorded(name: str, part: int) -> str:
    """A recorded run as lanes in time, and its windows; part: 0 for all of it, else the number of a blackout."""
    from vdpa_lab.course.lesson_blackouts import recorded as read
    from vdpa_lab.plot import timeline_svg
    from vdpa_lab.timeline import WINDOWS

    run = read(name)
    marks = run.timeline.marks.values()
    found = [(each["start_ns"], each["start_ns"] + each["ns"]) for each in run.outages() if each["blackout"] == part]
    if part and not found:
        raise InputError(f"the logs of {name} show no blackout {part}; with x-svq=on there is no first one")
    spans = found or [(min(marks), max(marks))]
    start, end = min(first for first, _ in spans), max(last for _, last in spans)
    windows = run.windows()
    rows = [(WINDOWS[key].title, format_duration(ns), Bar(ns / max(windows.values()))) for key, ns in windows.items()]
    picture = timeline_svg(
        run.timeline,
        start,
        end,
        lambda span: f"{span.op}: {format_duration(span.ns)}\n{span.lane}",
        title=f"Recorded run {name}",
        ink=INK,
    )
    return picture + table(("window", "length", ""), rows)


def laws(name: str) -> str:
    """What the laws say to one optimisation of the catalogue, and what it changes."""
    from vdpa_lab.course.judge_laws import findings, gain
    from vdpa_lab.course.lesson_own import PRESET
    from vdpa_lab.migration.optimization import catalogue
    from vdpa_lab.model import find_scenario

    one = catalogue()[name]
    rows = [(each.law, each.title, "holds" if each.holds else "broken", each.why) for each in findings(one)]
    said = f"<p><b>{escape(one.title)}</b>: {escape(one.effect)} ({escape(one.status)}).</p>"
    if "mlx5" in one.drivers:
        pairs = {
            window: gain(one, find_scenario(PRESET), window)
            for window in ("svq_switch", "source_teardown", "network_outage")
        }
        changes = [(window, format_duration(off), format_duration(on)) for window, (off, on) in pairs.items()]
        said += table((f"window of {PRESET}", "without", "with"), changes)
    return said + table(("law", "", "", "what breaks it"), rows)


def felt(pps: int, outage: int, rto: int) -> str:
    """Packets of a simulated migration by period, and TCP's retries over an outage; outage and rto in ms."""
    from vdpa_lab.course.lesson_application import packets, stall_ms

    rows = []
    for flow in packets(pps).flows:
        for each in flow.periods:
            causes = ", ".join(f"{count:,} {cause}" for cause, count in each.dropped.items()) or "—"
            rows.append(
                (flow.direction, each.name, f"{each.offered:,}", f"{each.delivered:,}", causes, f"{each.withheld:,}")
            )
    got = stall_ms(outage, rto)
    stairs, at, wait = [], 0, rto
    while at < got:
        at, wait = at + wait, min(2 * wait, 120_000)
        stairs.append(f"{at:,} ms {'gets through' if at >= outage else 'is lost'}")
    said = (
        f"<p><b>An outage of {outage:,} ms stalls TCP for {got:,} ms.</b> Retries: {'; '.join(stairs) or 'none'}.</p>"
    )
    return said + table(("way", "period", "offered", "delivered", "lost", "withheld"), rows)
