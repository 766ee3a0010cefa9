"""Rings of one virtqueue as tables, HTML; every string is escaped. What the step changed is bold."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from vdpa_lab.machine.ring_bytes import Descriptor, PackedRing, SplitRing
from vdpa_lab.machine.ring_story import Frame
from vdpa_lab.ui.view_texts import table

MOST_PAGES = 8
SPLIT_HEAD = ("Slot", "Address", "Bytes", "Flags", "Next", "avail.ring", "used.ring", "Index here")
PACKED_HEAD = ("Slot", "Address", "Bytes", "Flags", "Id", "Cursor here")
ALLOWED = "asks to be notified"
QUIET = "asks not to be"
Ring = SplitRing | PackedRing


def _descriptor(each: Descriptor) -> tuple[str, ...]:
    return (f"{each.addr:#x}", f"{each.length:,}", " ".join(each.flags) or "–", str(each.link))


def _split_rows(ring: SplitRing) -> list[tuple[str, ...]]:
    size, here = len(ring.descriptors), {}
    for name, index in (
        ("avail.idx", ring.avail_idx),
        ("last_avail_idx", ring.last_avail),
        ("used.idx", ring.used_idx),
        ("last_used_idx", ring.last_used),
    ):
        here.setdefault(index % size, []).append(f"{name} {index}")
    rows = zip(ring.descriptors, ring.avail, ring.used, strict=True)
    return [
        (str(slot), *_descriptor(each), str(head), f"{used}, {written:,} B", "; ".join(here.get(slot, ())))
        for slot, (each, head, (used, written)) in enumerate(rows)
    ]


def _packed_rows(ring: PackedRing) -> list[tuple[str, ...]]:
    here: dict[int, list[str]] = {}
    for name, (slot, wrap) in zip(ring._fields[1:], ring[1:], strict=True):
        here.setdefault(slot, []).append(f"{name.replace('_', ' ')}, wrap {wrap}")
    return [
        (str(slot), *_descriptor(each), "; ".join(here.get(slot, ()))) for slot, each in enumerate(ring.descriptors)
    ]


def _cells(rows: list[tuple[str, ...]], before: list[tuple[str, ...]]) -> Iterable[tuple[str, ...]]:
    """Cells as HTML; those that differ from `before` are bold."""
    for row, old in zip(rows, before, strict=True):
        words = [escape(cell) or "–" for cell in row]
        yield tuple(word if cell == was else f"<b>{word}</b>" for word, cell, was in zip(words, row, old, strict=True))


def ring_table(ring: Ring, before: Ring | None, title: str) -> str:
    """One ring; `before`: the same ring a step earlier, None where there was none."""
    packed = isinstance(ring, PackedRing)
    rows_of, head = (_packed_rows, PACKED_HEAD) if packed else (_split_rows, SPLIT_HEAD)
    rows = _cells(rows_of(ring), rows_of(ring if before is None else before))
    said = ""
    if not packed:
        said = (
            f"<p>{ring.waiting} wait to be taken, {ring.inuse} are with the device. The driver "
            f"{QUIET if ring.avail_flags & 1 else ALLOWED}, the device {QUIET if ring.used_flags & 1 else ALLOWED}.</p>"
        )
    return f"<div><h4>{escape(title)}</h4>{table(head, rows, title)}{said}</div>"


def told(frames: tuple[Frame, ...], step: int) -> str:
    """Step number `step`, from 0: who does what, then the rings after it."""
    frame = frames[step]
    before = frames[step - 1] if step else None
    actor = f"{frame.actor}, {frame.call}"
    head = (
        f"<p><b>Step {step + 1} of {len(frames)}, {escape(frame.stage)}.</b> {escape(frame.words)} "
        f"<small><code>{escape(actor)}</code></small></p>"
    )
    upper = ring_table(frame.ring, before and before.ring, "The guest's ring")
    lower = ring_table(frame.shadow, before and before.shadow, "The shadow ring") if frame.shadow else ""
    return f"{head}<div class='vdpa-rings'>{upper}{lower}</div>{_marks(frame)}"


def _marks(frame: Frame) -> str:
    pages = [f"{page:#x}" for page in frame.dirty[:MOST_PAGES]]
    more = f" and {len(frame.dirty) - MOST_PAGES} more" if len(frame.dirty) > MOST_PAGES else ""
    marked = f"{', '.join(pages)}{more}" if pages else "none"
    said = (
        f"Page frames in the migration bitmap through this queue: {marked}. "
        f"Shadow virtqueue so far: {frame.kicks} kicks of the device, {frame.calls} calls of the guest."
    )
    return f"<p>{escape(said)} What the step changed is bold.</p>"
