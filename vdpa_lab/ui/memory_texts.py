"""Guest memory as the device maps it, before and during shadowing: picture, sections, MKEY windows; escaped HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import groupby

from vdpa_lab.machine import MemoryRegion, Run, Window, memory_region, memory_windows, sections, shadow_layout
from vdpa_lab.machine.iova import identity_memory
from vdpa_lab.model import Scenario
from vdpa_lab.plot import memory_figure, svg_of
from vdpa_lab.ui.view_texts import table
from vdpa_lab.units import format_bytes

MOST_ROWS = 24
BEFORE, DURING = "passthrough", "shadowed"
REGIONS = ("Map", "IOTLB entries", "MKEYs", "KLMs", "MTTs", "Mailbox blocks")
WINDOWS = ("Direct MKEYs", "IOVA", "Size each", "Bytes of an MTT", "MTTs each", "IOTLB entries that reach in")


def memory(scenario: Scenario) -> str:
    """Sections of guest memory, where they are mapped before and during shadowing, and what mlx5 makes of them."""
    before, (rings, shadow) = identity_memory(scenario.guest), shadow_layout(scenario.guest, scenario.device)
    rows = [
        (f"<code>{_extent(was)}</code>", f"<code>{_extent(now)}</code>", escape(format_bytes(was.size)), was.perm,
         f"{was.entries:,}")
        for _, was, now in zip(sections(scenario.guest), before, shadow, strict=True)
    ]  # fmt: skip
    areas = [area for pair in rings.data for area in pair]
    if scenario.device.cvq:
        areas += [*rings.buffers, *rings.cvq]
    whole = tuple(sorted((*areas, *shadow)))
    windows = {BEFORE: memory_windows(before), DURING: memory_windows(whole)}
    maps = [(name, runs, windows[name]) for name, runs in ((BEFORE, before), (DURING, whole))]
    picture = svg_of(memory_figure(maps), "Memory of the device; its values are in the tables below")
    regions = [
        _region("passthrough, IOVA = GPA", memory_region(before)),
        _region("shadowed, packed behind rings", memory_region(whole)),
    ]
    return (
        f"<div class='vdpa-paper'>{picture}</div>"
        + table(("GPA and IOVA in passthrough", "IOVA when shadowed", "Size", "Access", "Chunks"), rows,
                "Sections of guest memory")
        + f"<p>{len(areas)} ring areas and buffers lie from 0x1000 on. One memory region of an mlx5 device:</p>"
        + table(REGIONS, regions, "mlx5 memory regions")
        + "".join(_windows(name, its) for name, its in windows.items())
    )  # fmt: skip


def _extent(run: Run) -> str:
    return f"{run.iova:#x} – {run.iova + run.size - 1:#x}"


def _region(name: str, region: MemoryRegion) -> tuple[str, ...]:
    return (escape(name), *(f"{value:,}" for value in region))


def window_rows(windows: Iterable[Window]) -> list[tuple[str, ...]]:
    """A row for windows that follow each other and are alike in size and MTTs."""
    rows = []
    for (size, entity, mtts), alike in groupby(windows, key=lambda each: (each.size, each.entity, each.mtts)):
        group = list(alike)
        extent = f"{group[0].iova:#x} – {group[-1].iova + group[-1].size - 1:#x}"
        entries = sum(each.entries for each in group)
        rows.append(
            (f"{len(group):,}", f"<code>{extent}</code>", escape(format_bytes(size)), escape(format_bytes(entity)),
             f"{mtts:,}", f"{entries:,}")
        )  # fmt: skip
    return rows


def _windows(name: str, windows: tuple[Window, ...]) -> str:
    rows = window_rows(windows)
    cut = f"<p>… {len(rows) - MOST_ROWS} more rows</p>" if len(rows) > MOST_ROWS else ""
    head = f"<p>MKEY windows, {escape(name)}: of at most 1 GiB from where a contiguous stretch begins.</p>"
    return head + table(WINDOWS, rows[:MOST_ROWS], f"MKEY windows, {name}") + cut
