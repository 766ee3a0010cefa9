"""Memory as the device maps it: picture, MKEY windows and tables agree; the waterfall of savings adds up."""

import re
from dataclasses import replace

import naive_mr
import pytest
from pages import Words

from vdpa_lab.machine import memory_region, memory_windows, mlx5, shadow_layout
from vdpa_lab.machine.iova import identity_memory
from vdpa_lab.model import Guest, find_scenario
from vdpa_lab.plot import attribution_figure, memory_figure
from vdpa_lab.ui import memory_texts, view_texts
from vdpa_lab.ui.worth import shares, worth_html
from vdpa_lab.units import GIB, MIB, PAGE_SIZE, SECOND

SCENARIO = find_scenario("sim-256-1d")
GUESTS = [Guest(memory=16 * MIB), Guest(memory=8 * MIB, vga=True, backing="thp"), Guest(memory=12 * MIB, backing="2M")]


def entries_of(runs):
    """(IOVA, size, perm) of each IOTLB entry."""
    for run in runs:
        at = run.iova
        for pages in run.lengths:
            yield at, int(pages) * PAGE_SIZE, run.perm
            at += int(pages) * PAGE_SIZE


def maps_of(scenario):
    rings, shadow = shadow_layout(scenario.guest, scenario.device)
    areas = [*(area for pair in rings.data for area in pair), *rings.buffers, *rings.cvq]
    return identity_memory(scenario.guest), tuple(sorted((*areas, *shadow)))


@pytest.mark.parametrize("guest", GUESTS)
def test_windows_are_those_of_stepping_page_by_page(guest, monkeypatch):
    monkeypatch.setattr(mlx5, "WINDOW", MIB)
    runs = identity_memory(guest)
    slow, _ = naive_mr.windows(list(entries_of(runs)), MIB)
    found = [(*window[:4], window.entries) for window in memory_windows(runs)]
    assert found == [(iova, size, entity, mtts, len(inside)) for iova, size, entity, mtts, inside in slow]
    assert len(found) > len(list(mlx5.chains(runs)))


@pytest.mark.parametrize("name", ["talk", "sim-256-1d"])
def test_windows_add_up_to_the_region(name):
    for runs in maps_of(find_scenario(name)):
        windows, region = memory_windows(runs), memory_region(runs)
        assert len(windows) == region.direct
        assert sum(window.mtts for window in windows) == region.mtts
        assert sum(window.size for window in windows) == sum(run.size for run in runs)
        assert max(window.size for window in windows) <= GIB


def test_the_page_shows_both_maps_and_their_windows():
    html = memory_texts.memory(SCENARIO)
    text = Words(re.sub("<svg.*?</svg>", "", html, flags=re.DOTALL)).text
    before, during = maps_of(SCENARIO)
    for runs in (before, during):
        for window in memory_windows(runs):
            if window.size >= MIB:
                assert f"{window.iova:#x} – {window.iova + window.size - 1:#x}" in text
    assert "MKEY windows, passthrough" in text
    assert "MKEY windows, shadowed" in text
    assert html.count("<svg") == 1


def test_alike_windows_are_one_row_and_many_rows_are_cut(monkeypatch):
    talk = find_scenario("talk")
    windows = memory_windows(maps_of(talk)[0])
    rows = memory_texts.window_rows(windows)
    assert sum(int(row[0].replace(",", "")) for row in rows) == len(windows)
    assert rows[-1][0] == "126"
    assert f"{windows[-126].iova:#x}" in rows[-1][1]
    monkeypatch.setattr(memory_texts, "MOST_ROWS", 3)
    assert f"… {len(rows) - 3} more rows" in memory_texts.memory(talk)


def test_the_picture_is_to_scale():
    maps = [(name, runs, memory_windows(runs)) for name, runs in zip("ab", maps_of(SCENARIO), strict=True)]
    whole, low = memory_figure(maps).axes[:2]
    end = max(run.iova + run.size for _, runs, _ in maps for run in runs)
    assert whole.get_xlim() == (0, end / GIB)
    assert low.get_xlim() == (0, 4)
    drawn = [path.get_extents() for each in whole.collections for path in each.get_paths()]
    bars = sorted((round(box.x0 * GIB), round(box.x1 * GIB)) for box in drawn if box.width and box.height)
    runs = sorted((run.iova, run.iova + run.size) for _, each, _ in maps for run in each)
    assert bars == runs
    lines = [round(box.x0 * GIB) for box in drawn if not box.width]
    assert sorted(lines) == sorted(window.iova for _, _, windows in maps for window in windows)


@pytest.fixture(scope="module")
def attribution():
    scenario = find_scenario("sim-256-1d")
    return shares(scenario, ("iotlb-batch", "svq-map-batch"), ("iotlb-batch", "suspend", "svq-map-batch"),
                  "network_outage", lambda far: None)  # fmt: skip


def test_the_waterfall_goes_from_stock_to_all_without_a_gap(attribution):
    """Shapley values are exact fractions: they add up to the saving."""
    ax = attribution_figure(attribution).axes[0]
    first, *steps, last = [bar.get_bbox() for bar in ax.patches]
    assert (first.x0, first.x1) == (0, attribution.stock_ns / SECOND)
    assert (last.x0, last.x1) == (0, attribution.all_ns / SECOND)
    shares, at = sorted(attribution.shares, key=lambda one: -one.ns), first.x1
    for step, share in zip(steps, shares, strict=True):
        below = at - float(share.ns) / SECOND
        assert sorted((step.x0, step.x1)) == pytest.approx(sorted((at, below)))
        at = below
    assert at == pytest.approx(last.x1)
    assert [label.get_text() for label in ax.get_yticklabels()][1:-1] == [share.toggle for share in shares]


def test_the_waterfall_comes_with_its_caveat(attribution):
    html = worth_html(attribution)
    assert html.count("<svg") == 1
    assert view_texts.worth_caveat() in html
    hostile = attribution.shares[0]._replace(toggle="</svg><script>x</script>")
    assert "<script" not in worth_html(replace(attribution, shares=(hostile,)))
