"""Rings of one virtqueue step by step: what is shown is what memory holds, through suspension, shadowing and a move."""

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from vdpa_lab.machine import shadow_layout
from vdpa_lab.machine.packed_story import packed_story
from vdpa_lab.machine.ring_bytes import Descriptor
from vdpa_lab.machine.ring_story import FRAME, HEADER, RX, RX_BUFFER, TX, WINDOW, split_story, window_of
from vdpa_lab.model import Section, find_scenario
from vdpa_lab.ui.dashboard import Dashboard
from vdpa_lab.ui.ring_texts import MOST_PAGES, told
from vdpa_lab.ui.state import LabState
from vdpa_lab.units import PAGE_SIZE
from vdpa_lab.words import InputError

SCENARIO = find_scenario("talk")
GUEST, DEVICE = SCENARIO.guest, SCENARIO.device
STAGES = ["passthrough", "suspended", "shadowed", "stopped", "destination"]


@pytest.fixture
def lab():
    shown = Dashboard(LabState(SCENARIO))
    yield shown
    assert shown.failures == []


def frames_of(queue=RX, size=8, backwards=False):
    return split_story(GUEST, DEVICE, queue, size, backwards)


def chains(ring, heads):
    """The elements of the chains at these heads, read from the shown table as VIRTIO 1.3, 2.7.5 has it."""
    for head in heads:
        elements, at = [], head
        while True:
            each = ring.descriptors[at]
            elements.append((each.addr, each.length, "WRITE" in each.flags))
            if "NEXT" not in each.flags:
                break
            at = each.link
        yield tuple(elements)


def offered(ring):
    """Heads between last_avail_idx and the available index, from the ring's own slots."""
    size = len(ring.avail)
    return [ring.avail[(ring.last_avail + step) % size] for step in range(ring.waiting)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("queue", [RX, TX])
def test_the_stages_come_in_order_and_indices_fit(queue, size, backwards):
    frames = frames_of(queue, size, backwards)
    stages = [frame.stage for frame in frames]
    assert sorted(stages, key=STAGES.index) == stages
    assert set(stages) == set(STAGES)
    for frame in frames:
        assert (frame.shadow is not None) == (frame.stage == "shadowed")
        assert frame.call
        assert frame.words.endswith(".")
        for ring in (frame.ring, frame.shadow):
            assert ring is None or ring.waiting + ring.inuse <= size


def test_a_taken_buffer_changes_no_byte_of_the_ring():
    """Trap: last_avail_idx is the device's own; nothing in guest memory tells it."""
    before, after = frames_of()[:2]
    assert after.ring._replace(last_avail=before.ring.last_avail) == before.ring
    assert after.ring.last_avail == 8


def test_what_was_taken_and_not_used_is_available_again_after_suspend():
    """GET_VRING_BASE of mlx5 is the used index, so nothing in flight is lost."""
    frames = frames_of()
    at = [frame.stage for frame in frames].index("suspended")
    was, now = frames[at - 1].ring, frames[at].ring
    assert now.last_avail == was.used_idx
    assert was.inuse > 0
    assert now.waiting == was.inuse + was.waiting


@pytest.mark.parametrize("queue", [RX, TX])
def test_the_shadow_ring_holds_the_same_buffers_at_iovas(queue):
    frames = [frame for frame in frames_of(queue) if frame.stage == "shadowed"]
    started, forwarded = frames[:2]
    assert (started.shadow.avail_idx, started.ring.waiting) == (0, len(offered(started.ring)))
    gpa, iova = window_of(GUEST, DEVICE)
    _, runs = shadow_layout(GUEST, DEVICE)
    assert iova in [run.iova for run in runs]
    assert iova != gpa
    guest = list(chains(started.ring, offered(started.ring)))
    shadow = list(chains(forwarded.shadow, offered(forwarded.shadow)))
    assert shadow == [tuple((addr - gpa + iova, *rest) for addr, *rest in chain) for chain in guest]
    sizes = {tuple(length for _, length, _ in chain) for chain in guest}
    assert sizes == {(RX_BUFFER,)} if queue == RX else {(HEADER, FRAME)}
    assert forwarded.kicks == len(guest), "each buffer is kicked on its own"


def test_trap_25_only_what_the_device_wrote_and_the_used_ring_is_marked():
    gpa, _ = window_of(GUEST, DEVICE)
    frames = frames_of()
    passed = [frame for frame in frames if frame.stage in ("passthrough", "suspended")]
    assert all(frame.dirty == () for frame in passed), "in passthrough nobody sees the device write"
    last = frames[-1]
    ring, first = last.ring, next(frame.ring.used_idx for frame in frames if frame.stage == "shadowed")
    returned = (ring.used_idx - first) & 0xFFFF
    assert returned
    assert gpa // PAGE_SIZE in last.dirty
    # A page a buffer: as many buffer pages as buffers came back through QEMU.
    assert len(last.dirty) == 1 + returned
    assert all(gpa // PAGE_SIZE <= page < (gpa + WINDOW) // PAGE_SIZE for page in last.dirty)
    assert frames_of(TX)[-1].dirty == (gpa // PAGE_SIZE,)


def test_trap_24_a_packet_used_just_before_suspend_is_in_the_bitmap():
    shadowed, stopped = frames_of()[-3:-1]
    assert (shadowed.stage, stopped.stage) == ("shadowed", "stopped")
    more = set(stopped.dirty) - set(shadowed.dirty)
    assert len(more) == 1
    assert stopped.ring.used_idx == shadowed.ring.used_idx + 1


def history(frames):
    """Heads that were made available, and heads that were used, in order: from the slots each index went over."""
    made, used, last = [], [], (0, 0)
    for frame in frames:
        ring, size = frame.ring, len(frame.ring.avail)
        made += [ring.avail[index % size] for index in range(last[0], ring.avail_idx)]
        used += [ring.used[index % size][0] for index in range(last[1], ring.used_idx)]
        last = ring.avail_idx, ring.used_idx
    return made, used


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("queue", [RX, TX])
def test_trap_26_each_unused_buffer_is_offered_again_exactly_once(queue, size):
    frames = frames_of(queue, size)
    made, used = history(frames)
    heads = offered(frames[-1].ring)
    assert heads == made[len(used) :]
    assert Counter(made) - Counter(used) == Counter(heads)
    assert ", ".join(map(str, heads)) in frames[-1].words
    assert "lost" not in frames[-1].words


@pytest.mark.parametrize("queue", [RX, TX])
def test_trap_27_completions_out_of_order_lose_and_repeat_buffers(queue):
    frames = frames_of(queue, backwards=True)
    found = re.search(r"Heads ([\d, ]+) were held and are not offered: lost", frames[-1].words)
    lost, heads = set(map(int, found[1].split(", "))), offered(frames[-1].ring)
    made, used = history(frames)
    assert lost == set(Counter(made) - Counter(used)) - set(heads)
    assert lost
    assert lost.isdisjoint(heads)
    assert len(set(heads)) < len(heads)
    assert "offered twice" in frames[-1].words


@pytest.mark.parametrize("queue", [RX, TX])
@pytest.mark.parametrize("size", [8, 16])
def test_a_packed_ring_says_by_its_flags_whose_a_descriptor_is(queue, size):
    frames = packed_story(GUEST, DEVICE, queue, size)
    turned = [frame for frame in frames if frame.ring.driver_avail.wrap == 0]
    assert turned, "the story goes over the end of the ring"
    for frame in frames:
        ring, at = frame.ring, frame.ring.driver_used
        end, wrap = ring.driver_avail
        # From where the driver takes back to where it adds next, each descriptor is available or used in its turn.
        slot, turn = at
        while (slot, turn) != (end, wrap):
            marks = ("AVAIL" in ring.descriptors[slot].flags, "USED" in ring.descriptors[slot].flags)
            assert (
                marks in ((bool(turn), not turn), (bool(turn), bool(turn)))
                or "NEXT" in ring.descriptors[slot - 1].flags
            )
            slot, turn = (slot + 1, turn) if slot + 1 < size else (0, 1 - turn)
    assert "RING_PACKED" in frames[-1].words
    assert "migration ends" in frames[-1].words


def test_a_guest_without_room_and_an_unknown_queue_are_refused():
    small = replace(GUEST, sections=(Section(gpa=0, size=64 * PAGE_SIZE - PAGE_SIZE, perm="rw"),))
    with pytest.raises(InputError, match="no RAM section"):
        split_story(small, DEVICE)
    with pytest.raises(InputError, match="queue 'XX'"):
        frames_of("XX")


def cells(html):
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", html)[1:]
    ]


def test_the_page_shows_each_step_as_memory_has_it(lab):
    view = next(view for view in lab.views.views if view.title == "Rings")
    lab.views.tab.selected_index = 1 + lab.views.views.index(view)
    assert "Step 1 of" in view.page.value
    assert view.back.disabled
    for number in range(1, len(view.frames)):
        view.on.click()
        frame = view.frames[number]
        assert view.step.value == number + 1
        assert f"Step {number + 1} of" in view.page.value
        assert view.page.value == view._html()
        for slot, each in enumerate(frame.ring.descriptors):
            assert cells(view.page.value)[slot][1:3] == [f"{each.addr:#x}", f"{each.length:,}"]
        assert ("The shadow ring" in view.page.value) == (frame.shadow is not None)
    assert view.on.disabled
    view.back.click()
    assert view.step.value == len(view.frames) - 1


def test_the_step_stays_within_another_story(lab):
    view = next(view for view in lab.views.views if view.title == "Rings")
    view.show()
    view.step.value = view.step.max
    view.kind.value = "Packed"
    assert view.step.value == view.step.max == len(view.frames)
    assert "Here the migration ends" in view.page.value
    view.size.value = 16
    assert len(cells(view.page.value)) == 16


def test_what_a_step_changed_is_bold():
    frames = frames_of()
    for step, (before, after) in enumerate(pairwise(frames), start=1):
        table = told(frames, step).split("The shadow ring")[0]
        assert ("<td><b>" in table) == (before.ring != after.ring and _shown_change(before, after))
    assert "<td><b>" not in told(frames, 0)


def _shown_change(before, after):
    """Flags of the rings stand below the table."""
    quiet = {"avail_flags": 0, "used_flags": 0}
    return before.ring._replace(**quiet) != after.ring._replace(**quiet)


def test_hostile_text_stays_text_and_long_lists_are_cut():
    hostile = "<script>alert(1)</script>"
    frame = frames_of()[0]._replace(
        stage=hostile, actor=hostile, call=hostile, words=hostile, dirty=tuple(range(MOST_PAGES + 3))
    )
    ring = frame.ring._replace(descriptors=(Descriptor(0, 0, (hostile,), 0), *frame.ring.descriptors[1:]))
    html = told((frame._replace(ring=ring),), 0)
    assert "<script" not in html
    assert "and 3 more" in html
