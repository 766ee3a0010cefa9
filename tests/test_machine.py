"""Guest memory, IOVA layout, map rebuilds and mlx5 memory regions, against real runs and slow twins."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import naive
import pytest
from conftest import CHECKOUT
from hypothesis import given, settings
from hypothesis import strategies as st

from vdpa_lab.machine import mlx5
from vdpa_lab.machine.iotlb import EACH_LIMIT, Clean, Map, SetMap, Unmap, replay
from vdpa_lab.machine.iova import identity_memory, packed_memory, ring_areas, shadow_layout
from vdpa_lab.machine.memory import Equal, Run, memory_runs, page_run
from vdpa_lab.machine.mlx5 import MemoryRegion, memory_region
from vdpa_lab.machine.sections import sections
from vdpa_lab.migration import plan
from vdpa_lab.migration.account import account, iommu_leaves
from vdpa_lab.model import Guest, VdpaDevice, find_scenario
from vdpa_lab.units import GIB, KIB, MIB, PAGE_SIZE, TIB

TRACES = CHECKOUT / "data" / "traces"
COUNTS = json.loads((TRACES / "qtest" / "counts.json").read_text())
SHIPPED = ("suspend", "iotlb-batch", "cvq-asid", "parallel-cvq-load")
QTEST = replace(
    find_scenario("sim-256-1d"),
    name="qtest",
    guest=Guest(memory=256 * MIB, firmware="none"),
    device=VdpaDevice(driver="vdpa_sim", queue_size=64, cvq_size=64),
)


def traced_maps(run):
    """(asid, iova, size, perm) of every vhost_vdpa_dma_map line."""
    text = (TRACES / "dma-map" / f"{run}.txt").read_text()
    found = re.findall(r"asid: (\d+) iova: (0x\w+) size: (0x\w+) uaddr: 0x\w+ perm: (0x\w+)", text)
    perms = {"0x1": "ro", "0x3": "rw"}
    return [(int(asid), int(iova, 16), int(size, 16), perms[perm]) for asid, iova, size, perm in found]


# --- Sections and the IOVA layout.


def test_sections_without_firmware_are_those_of_a_real_guest():
    wanted = [(int(a, 16), int(b, 16), perm) for a, b, perm in COUNTS["config"]["sections"]]
    assert [(each.gpa, each.size, each.perm) for each in sections(QTEST.guest)] == wanted


def test_sections_after_seabios_are_those_of_a_real_guest():
    stated = find_scenario("sim-256-1d").guest
    derived = replace(stated, sections=None)
    assert sections(derived) == sections(stated) == stated.sections


@pytest.mark.parametrize(("memory", "low"), [(2815 * MIB, 2815 * MIB), (2816 * MIB, 2 * GIB), (4 * GIB, 2 * GIB)])
def test_memory_is_split_below_4_gib(memory, low):
    found = sections(Guest(memory=memory))
    below = [each for each in found if each.gpa == MIB]
    assert [each.size for each in below] == [low - MIB]
    assert sum(each.size for each in found if each.gpa >= 4 * GIB) == memory - low


def test_a_display_adds_16_mib_of_video_memory_and_keeps_a_hole():
    plain, shown = (sections(Guest(memory=4 * GIB, vga=vga)) for vga in (False, True))
    (video,) = [each for each in shown if each.gpa == 0xFD00_0000]
    assert (video.size, video.perm) == (16 * MIB, "rw")
    assert not any(each.gpa < 0xC0000 and each.end > 0xA0000 for each in shown)
    assert sum(e.size for e in shown if e.gpa >= MIB) == sum(e.size for e in plain if e.gpa >= MIB) + 16 * MIB


def test_the_layout_of_64_entry_rings_is_that_of_a_real_run():
    rings, memory = shadow_layout(QTEST.guest, QTEST.device)
    order = [area for pair in rings.data for area in pair] + [*rings.buffers, *rings.cvq]
    real = COUNTS["svq_iova_layout"]
    mapped = [(each.iova, each.perm) for each in (*order, *memory)]
    stated = [(int(row[1], 16), row[3]) for row in real if len(row) == 4]
    assert mapped[: len(stated)] == stated
    assert [each.iova for each in order] == [0x1000 * n for n in range(1, 9)]
    assert memory[0].iova == 0x9000
    assert next(run for run, one in zip(memory, sections(QTEST.guest), strict=True) if one.gpa == MIB).iova == 0x109000


def test_the_cvq_alone_begins_at_the_first_page_too():
    rings = ring_areas(QTEST.device, data_shadowed=False)
    stated = [int(row[1], 16) for row in COUNTS["passthrough_cvq_asid1_layout"]]
    assert [each.iova for each in (*rings.buffers, *rings.cvq)] == stated
    assert rings.data == ()


@pytest.mark.parametrize("run", ["v-256-1d-r2", "v-256-1d-q10-r1"])
def test_the_layout_of_larger_rings_is_that_of_a_real_run(run):
    """256 entries with QEMU 11.1.3, 1024 with 10.0.13: ring areas of several pages."""
    scenario = find_scenario("sim-256-1d-q10" if "q10" in run else "sim-256-1d")
    rings, memory = shadow_layout(scenario.guest, scenario.device)
    order = [*(area for pair in rings.data for area in pair), *rings.buffers, *rings.cvq, *memory]
    real = traced_maps(run)[-len(order) :]
    assert [(0, each.iova, each.size, each.perm) for each in order] == real
    if run == "v-256-1d-r2":
        assert memory[0].iova == 0xB000


@pytest.mark.parametrize("device", [VdpaDevice(queue_pairs=n, queue_size=s) for n in (1, 16) for s in (2, 256, 1024)])
def test_iova_zero_is_never_used_and_nothing_overlaps(device):
    """Trap 6."""
    for shadowed in (True, False):
        rings = ring_areas(device, shadowed)
        order = sorted((*(a for pair in rings.data for a in pair), *rings.buffers, *rings.cvq))
        assert order[0].iova == PAGE_SIZE
        assert all(a.iova + a.size == b.iova for a, b in pairwise(order))
        assert rings.end == order[-1].iova + order[-1].size


def test_sections_are_packed_without_gaps_and_do_not_keep_their_addresses():
    """Trap 5."""
    guest = Guest(memory=8 * GIB, vga=True)
    packed, identity = packed_memory(guest, 0x9000), identity_memory(guest)
    assert packed[0].iova == 0x9000
    assert all(a.iova + a.size == b.iova for a, b in pairwise(packed))
    assert [run.iova for run in identity] == [each.gpa for each in sections(guest)]
    assert [run.entries for run in packed] == [run.entries for run in identity]


@pytest.mark.parametrize("backing", ["4k", "thp", "2M", "1G"])
def test_entries_of_a_run_are_those_of_its_twin(backing):
    guest = Guest(memory=3 * GIB, backing=backing)
    for run in identity_memory(guest):
        assert run.entries == len(naive.entries(run))
        assert sum(size for _, size, _ in naive.entries(run)) == run.size == run.pages * PAGE_SIZE


# --- What each map rebuild is handed.


def rebuild_sizes(a_plan, side, path):
    """The entry counts of all set_map calls of device 0, in order, from what was mapped before."""
    scenario = a_plan.scenario
    mine = [step for step in a_plan if step.lane.side == side and step.device == 0 and step.effect]
    rings = ring_areas(scenario.device, data_shadowed=False)
    before = ()
    if side == "source":
        before = (
            Map(0, identity_memory(scenario.guest)),
            SetMap(0),
            Map(1, (*rings.buffers, *rings.cvq)),
            SetMap(1),
        )
    results = replay((*before, *(step.effect for step in mine)))[len(before) :]
    return [
        size
        for step, result in zip(mine, results, strict=True)
        if step.path == path and isinstance(step.effect, SetMap)
        for size in result.sizes
    ]


@pytest.mark.parametrize("run", COUNTS["set_map_entry_counts"])
def test_rebuilds_of_64_entry_rings_are_those_of_a_real_run(run):
    """Traps 2 and 3: the same sizes but for the chunks of RAM, which depend on how a real kernel populated it."""
    real = COUNTS["set_map_entry_counts"][run]
    version = "10.2.2" if "10.2" in run else "10.0.13"
    host = replace(QTEST.source, qemu=version)
    a_plan = plan(replace(QTEST, source=host, destination=host), SHIPPED)
    full = real["setup"][-1]
    setup = rebuild_sizes(a_plan, "source", "switch")
    assert setup[:-1] == real["setup"][:-1] == [3, 2, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    chunks = setup[-1] - 8
    assert chunks == sum(run.entries for run in identity_memory(QTEST.guest))
    expected = [size if size < 100 else size - full + setup[-1] for size in real["switchover"]]
    assert rebuild_sizes(a_plan, "source", "stop") == expected
    assert expected == [*(setup[-1] - n for n in range(1, 7)), 2, 1, 0]
    assert rebuild_sizes(a_plan, "destination", "start") == [1, 2, 3, 4, chunks]
    assert real["dest"][:-1] == [1, 2, 3, 4]


def test_rebuilds_of_256_entry_rings_count_each_chunk_of_an_area():
    """Traps 2 and 3: a driver area of two pages is two rebuilds when it is mapped, and one when it is unmapped."""
    scenario = find_scenario("sim-256-1d")
    a_plan = plan(scenario, SHIPPED)
    chunks = sum(run.entries for run in identity_memory(scenario.guest))
    full = chunks + 10
    assert rebuild_sizes(a_plan, "source", "switch") == [3, 2, 0, 1, 0, *range(1, 11), full]
    left = [full - gone for gone in (2, 3, 5, 6, 7, 8)]
    assert rebuild_sizes(a_plan, "source", "stop") == [*left, 2, 1, 0]
    assert rebuild_sizes(a_plan, "destination", "start") == [1, 2, 3, 4, chunks]


def test_qemu_10_calls_set_map_11_times_on_the_destination():
    """Rings of 1024 entries: the CVQ's areas have five and three pages."""
    a_plan = plan(find_scenario("sim-256-1d-q10"))
    sizes = rebuild_sizes(a_plan, "destination", "start")
    assert sizes[:-1] == list(range(1, 11))
    assert len(sizes) == 11
    done = dict(account(a_plan)[[step.op for step in a_plan].index("set_map")][0])
    assert done["set_map.call"] == 1


def test_batching_covers_the_listener_only():
    """Trap 4: off, one rebuild a chunk of RAM; on, a single one; those of the rings stay what they were."""
    scenario = replace(QTEST, guest=replace(QTEST.guest, memory=8 * MIB))
    batched, loose = plan(scenario, SHIPPED), plan(scenario, set(SHIPPED) - {"iotlb-batch"})
    chunks = sum(run.entries for run in identity_memory(scenario.guest))

    def calls(a_plan, **wanted):
        names = {step.name for step in a_plan.select(op="set_map", **wanted)}
        return sum(
            dict(work)["set_map.call"]
            for step, (work, _) in zip(a_plan, account(a_plan), strict=True)
            if step.name in names
        )

    added = {"side": "source", "path": "switch", "caller": "vhost_vdpa_listener_region_add"}
    removed = {"side": "source", "path": "stop", "caller": "vhost_vdpa_listener_region_del"}
    rings = {"side": "source", "path": "stop", "caller": "vhost_vdpa_svq_unmap_rings"}
    assert (calls(batched, **added), calls(loose, **added)) == (1, chunks)
    assert (calls(batched, **removed), calls(loose, **removed)) == (1, len(sections(scenario.guest)))
    assert calls(batched, **rings) == calls(loose, **rings) == 4


@given(st.data())
@settings(max_examples=60)
def test_rebuild_sizes_are_those_of_the_twin(data):
    """Random maps and unmaps of small runs, each in or out of a batch."""
    twin, effects, live = naive.Device(), [], {}
    for number in range(data.draw(st.integers(1, 12))):
        asid = data.draw(st.integers(0, 1))
        batched = data.draw(st.booleans())
        mine = [run for (at, _), run in live.items() if at == asid]
        if mine and data.draw(st.booleans()):
            run = data.draw(st.sampled_from(mine))
            del live[asid, run.iova]
            twin.invalidate(asid, run, batched)
            effects.append(Unmap(asid, (run,)))
        else:
            pages, chunk = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
            first = data.draw(st.integers(1, min(chunk, pages)))
            run = Run(number << 20, pages << 12, "rw", Equal(chunk << 12, first << 12), "ram")
            live[asid, run.iova] = run
            twin.update(asid, run, batched)
            effects.append(Map(asid, (run,)))
        if not batched:
            effects.append(SetMap(asid, each=isinstance(effects[-1], Map)))
        elif data.draw(st.booleans()):
            twin.set_map(asid)
            effects.append(SetMap(asid))
    sizes = [size for result in replay(tuple(effects)) if result for size in result.sizes]
    assert sizes == twin.sizes


def test_mapping_or_unmapping_twice_is_an_error():
    run = page_run(0x1000, 0x1000, "rw")
    with pytest.raises(ValueError, match=r"0x1000 of ASID 1 is mapped already \(-EEXIST\)"):
        replay((Map(1, (run,)), Map(1, (run,))))
    with pytest.raises(ValueError, match="0x1000 of ASID 0 is not mapped"):
        replay((Map(1, (run,)), Unmap(0, (run,))))


def test_a_reset_drops_the_devices_map_and_keeps_the_entries():
    """Trap 13: after a reset the vhost IOTLB still has what it had, and the device has nothing to drop."""
    run = page_run(0x1000, 0x3000, "rw")
    done = replay((Map(0, (run,)), SetMap(0), Clean(), SetMap(0), Clean(), Clean()))
    assert [result and (result.rebuilds, result.dropped) for result in done] == [
        None,
        (1, 0),
        (0, 1),
        (1, 0),
        (0, 1),
        (0, 0),
    ]
    assert done[3].sizes == (3,)


def test_a_long_run_mapped_chunk_by_chunk_is_summed_in_closed_form():
    """Above EACH_LIMIT the sum is that of an arithmetic series; entries are exact, MKEYs close."""
    count = EACH_LIMIT + 36
    ring, run = page_run(0x1000, 0x2000, "ro"), page_run(0x10_0000, count << 12, "rw")
    (each,) = [
        r for r in replay((Map(0, (ring,)), SetMap(0), Map(0, (run,)), SetMap(0, each=True))) if r and r.rebuilds > 1
    ]
    twin = naive.Device()
    twin.update(0, ring)
    twin.update(0, run)
    assert each.rebuilds == count
    assert each.built.entries == sum(twin.sizes[2:])
    assert each.sizes == ()


# --- mlx5 memory regions.


@pytest.mark.parametrize(("gib", "direct", "klms"), [(16, 24, 28), (128, 136, 140), (256, 264, 268)])
def test_memory_keys_of_large_guests(gib, direct, klms):
    """With SeaBIOS and a display, 2 MiB pages: the keys are few, the MTTs follow the pages, neighbours or not."""
    merged = memory_region(identity_memory(Guest(memory=gib * GIB, backing="thp", vga=True)))
    found = memory_region(identity_memory(Guest(memory=gib * GIB, backing="2M", vga=True)))
    assert merged.entries < found.entries
    assert merged[1:3] == found[1:3]
    assert merged.mtts == pytest.approx(found.mtts, abs=16 * MIB // PAGE_SIZE)  # of video RAM, of small pages
    assert (found.direct, found.klms) == (direct, klms)
    low, high = {16: (9_000, 13_500), 128: (69_500, 71_000), 256: (135_000, 137_000)}[gib]
    assert low <= found.mtts <= high
    assert found.entries == pytest.approx(gib * 512, rel=0.03)


def test_small_pages_make_an_mtt_each_and_huge_ones_few():
    small, huge = (
        memory_region(identity_memory(Guest(memory=m * GIB, backing=b, vga=True))) for m, b in ((16, "4k"), (256, "1G"))
    )
    assert (small.direct, small.klms) == (24, 28)
    assert small.mtts == pytest.approx(4.2e6, rel=0.01)
    assert 5_000 < small.entries < 500_000, "consecutive pages share an entry, and not an MTT"
    assert (huge.direct, huge.klms) == (264, 268)
    assert huge.mtts == pytest.approx(5_000, rel=0.15)


def test_shadow_rings_have_keys_of_their_own_and_spoil_a_window():
    """Areas alternate between read-only and read-write, so none merges; video memory shares RAM's window."""
    guest, device = Guest(memory=256 * GIB, backing="thp", vga=True), VdpaDevice(queue_pairs=16)
    rings, memory = shadow_layout(guest, device)
    runs = sorted((*(a for pair in rings.data for a in pair), *rings.buffers, *rings.cvq, *memory))
    before, after = memory_region(identity_memory(guest)), memory_region(runs)
    assert after.direct - before.direct == 67
    assert 200_000 < after.mtts - before.mtts <= GIB // PAGE_SIZE


def window_of(*runs):
    return memory_region(runs)


def test_one_small_page_fills_a_window_with_mtts():
    """Trap 8: the MTT size is the greatest common divisor of the entries' sizes, wherever they lie."""
    huge = Run(4 * GIB, GIB - PAGE_SIZE, "rw", Equal(GIB, GIB - PAGE_SIZE), "ram")
    filler = page_run(5 * GIB - PAGE_SIZE, PAGE_SIZE, "rw")
    assert window_of(Run(4 * GIB, GIB, "rw", Equal(GIB, GIB), "ram")).mtts == 1
    assert window_of(huge, filler).mtts == 262_144


def test_addresses_do_not_matter_for_mtts_and_windows_begin_with_the_chain():
    """Traps 9 and 8: a layout shifted by a page has as many; 1 GiB from the chain's start, not by alignment."""
    for shift in (0, PAGE_SIZE, 5 * PAGE_SIZE):
        runs = [Run(GIB + shift, 2 * GIB, "rw", Equal(2 * MIB, 2 * MIB), "ram")]
        assert memory_region(runs) == memory_region([runs[0]._replace(iova=GIB)])
        assert memory_region(runs).direct == 2


def test_neighbours_merge_by_permission_only():
    """Trap 10."""
    a, b = page_run(0x1000, 0x1000, "rw"), page_run(0x2000, 0x1000, "rw")
    assert memory_region([a, b]).direct == 1
    assert memory_region([a, b._replace(perm="ro")]).direct == 2
    assert memory_region([a, b._replace(iova=0x3000)])[1:3] == (2, 3)  # a key for nothing over the gap
    assert memory_region([]) == MemoryRegion()


WINDOW = 64 * KIB


@st.composite
def small_spaces(draw):
    """Runs of a few pages in IOVA order, with and without gaps; the window is made as small."""
    at, runs = draw(st.integers(0, 40)), []
    for _ in range(draw(st.integers(0, 6))):
        pages, chunk = draw(st.integers(1, 60)), draw(st.sampled_from((1, 2, 3, 4, 8, 16)))
        first = draw(st.integers(1, min(chunk, pages)))
        perm = draw(st.sampled_from(("ro", "rw")))
        runs.append(Run(at << 12, pages << 12, perm, Equal(chunk << 12, first << 12), "ram"))
        at += pages + draw(st.sampled_from((0, 0, 0, 1, 7, 16, 33)))
    return runs


@given(small_spaces())
@settings(max_examples=300)
def test_a_memory_region_is_that_of_its_twin(runs):
    wide, mlx5.WINDOW = mlx5.WINDOW, WINDOW
    mlx5.chain_region.cache_clear()
    try:
        assert tuple(memory_region(runs)) == naive.region(runs, WINDOW)
    finally:
        mlx5.WINDOW = wide
        mlx5.chain_region.cache_clear()


@pytest.mark.parametrize("backing", ["thp", "1G"])
def test_a_memory_region_of_a_whole_guest_is_that_of_its_twin(backing):
    guest = Guest(memory=6 * GIB, backing=backing, vga=True)
    rings, packed = shadow_layout(guest, VdpaDevice(queue_pairs=2))
    shadow = sorted((*(a for pair in rings.data for a in pair), *rings.buffers, *rings.cvq, *packed))
    for runs in (identity_memory(guest), shadow):
        assert tuple(memory_region(runs)) == naive.region(runs)


# --- Parents without set_map: the IOMMU's page table.


def test_shadow_virtqueues_cost_superpages():
    """Trap 7: packed behind the rings, huge pages no longer line up with IOVAs: 512 leaves for one."""
    guest = Guest(memory=4 * GIB, backing="2M")
    below = memory_runs(guest, sections(guest), tuple(each.gpa for each in sections(guest)))
    _, packed = shadow_layout(guest, VdpaDevice())
    identity, shifted = (max(runs, key=lambda run: run.size) for runs in (below, packed))
    assert iommu_leaves(shifted) == shifted.pages
    assert iommu_leaves(shifted) == pytest.approx(512 * iommu_leaves(identity), rel=0.3)


@pytest.mark.parametrize("backing", ["4k", "thp", "2M", "1G"])
@pytest.mark.parametrize("shift", [0, PAGE_SIZE, 2 * MIB, GIB])
def test_page_table_leaves_are_those_of_the_twin(backing, shift):
    guest = Guest(memory=4 * GIB if backing == "1G" else 64 * MIB, backing=backing)
    for run in identity_memory(guest):
        moved = run._replace(iova=run.iova + shift)
        assert iommu_leaves(moved) == naive.iommu_leaves(moved)


# --- Memory plugged in later, and pages of two sizes.


def test_dimms_lie_behind_main_memory_from_a_whole_gib_on():
    """pc_get_device_memory_range and memory_device_get_free_addr; each DIMM is a RAM block of its own."""
    guest = Guest(memory=6 * GIB + 512 * MIB, dimms=(512 * MIB, 2 * GIB), backing="1G")
    plugged = [(each.gpa, each.size) for each in sections(guest)[-3:]]
    assert plugged == [(4 * GIB, 4 * GIB + 512 * MIB), (9 * GIB, 512 * MIB), (10 * GIB, 2 * GIB)]
    small = Guest(memory=GIB, dimms=(2 * MIB, 4 * MIB))
    assert [each.gpa for each in sections(small)[-2:]] == [4 * GIB, 4 * GIB + 2 * MIB]
    runs = identity_memory(guest)
    assert [run.kind for run in runs[-3:]] == ["ram"] * 3
    assert [run.chunks.offset for run in runs[-3:]] == [2 * GIB, 0, 0]
    assert sum(run.pages for run in runs if run.kind == "ram") <= guest.ram // PAGE_SIZE
    assert guest.ram == 9 * GIB


def test_four_tib_have_their_sections_and_keys():
    guest = Guest(memory=4 * TIB, backing="1G")
    assert sections(guest)[-1].end == 4 * TIB + 2 * GIB
    assert memory_region(identity_memory(guest)).direct == pytest.approx(4096, abs=8)


def test_holes_of_small_pages_cost_mtts():
    whole, holes = (
        memory_region(identity_memory(Guest(memory=8 * GIB, backing=backing))) for backing in ("thp", "mixed")
    )
    assert holes.entries > whole.entries
    assert holes.mtts > 50 * whole.mtts
    assert holes.direct == whole.direct


def test_unpinning_costs_the_same_whatever_the_size_of_a_page():
    """Trap 12: vhost_vdpa_pa_unmap unpins every 4 KiB page, also those of one huge page."""
    for memory in (4 * GIB, 8 * GIB):
        unpinned = {}
        for backing in ("4k", "thp", "1G"):
            scenario = replace(find_scenario("sim-256-1d"), guest=Guest(memory=memory, backing=backing))
            scenario = replace(scenario, workload=replace(scenario.workload, dirty=None))
            a_plan = plan(scenario, SHIPPED)
            unpinned[backing] = sum(
                amount
                for step, (work, _) in zip(a_plan, account(a_plan), strict=True)
                if step.path == "stop"
                for key, amount in work
                if key.startswith("unpin.")
            )
        assert len(set(unpinned.values())) == 1
        assert unpinned["1G"] >= memory // PAGE_SIZE
