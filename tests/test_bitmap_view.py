"""The dirty bitmaps over time: each cell counts its own pages, and the film is of the migration that precopy runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdpa_lab.kernels._jit import DISABLED
from vdpa_lab.migration.precopy import play, precopy
from vdpa_lab.migration.precopy_exact import ExactRam
from vdpa_lab.migration.precopy_film import FIRST_STEP, Film, counted, film
from vdpa_lab.migration.precopy_layout import layout, page_costs
from vdpa_lab.model import Dirty, find_scenario
from vdpa_lab.plot import bitmap_figure, cell_words
from vdpa_lab.ui.bitmap_view import STALE, film_html
from vdpa_lab.ui.dashboard import Dashboard
from vdpa_lab.ui.state import LabState
from vdpa_lab.units import MIB, MS, PAGE_SIZE

SIZE = 32 if DISABLED else 256  # MiB


def scenario_of(pattern="hot", rate=4000, working_set=8, size=SIZE, zeros=0.0):
    talk = find_scenario("talk")
    dirty = Dirty(pattern=pattern, rate=rate, working_set=working_set * MIB) if rate else None
    guest = replace(talk.guest, memory=size * MIB, zero_pages=zeros)
    # Two seconds for the first pass, and a limit that asks for more of them.
    migration = replace(talk.migration, max_bandwidth=size * MIB // 2, downtime_limit=30 * MS)
    return replace(talk, guest=guest, migration=migration, workload=replace(talk.workload, dirty=dirty))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), st.integers(1, 12))
def test_cells_count_the_bits_of_their_words(words, step):
    cells = [sum(bin(word).count("1") for word in words[at : at + step]) for at in range(0, len(words), step)]
    assert counted(np.array(words, np.uint64), step).tolist() == cells


@pytest.mark.parametrize("pattern", ["sequential", "random", "hot"])
def test_looking_changes_nothing(pattern):
    """The film's migration is the one that `precopy` runs page by page."""
    scenario = scenario_of(pattern)
    assert film(scenario, columns=7, rows=9).precopy == precopy(scenario, exact=True)


def test_every_page_is_in_one_cell():
    scenario = scenario_of(size=SIZE + 4)
    found = film(scenario, columns=10, rows=8)
    pages = scenario.guest.ram // PAGE_SIZE
    assert found.pages.sum() == pages == found.to_send[0].sum()
    assert len(set(found.pages[:-1].tolist())) == 1
    assert found.pages[0] % 64 == 0
    assert 0 < found.pages[-1] <= found.pages[0]
    assert found.pages.size <= 10
    for counts in (found.to_send, found.unseen):
        assert counts.shape == (len(found.times_ns), found.pages.size)
        assert (counts <= found.pages).all()


def test_the_film_fits_its_rows_and_ends_when_the_vm_stands():
    scenario = scenario_of()
    long, short = film(scenario, rows=64), film(scenario, rows=5)
    assert len(short.times_ns) <= 6 < len(long.times_ns) <= 65
    assert long.times_ns[0] == 0
    assert sorted(long.times_ns) == list(long.times_ns)
    assert min(np.diff(long.times_ns[:-1])) >= FIRST_STEP
    assert long.times_ns[-1] == short.times_ns[-1] == long.precopy.total_ns
    assert long.to_send[-1].sum() == long.precopy.left_pages
    assert long.unseen[-1].sum() == 0, "a sync has just been made"
    # The rows that are left are rows of the longer film.
    for at, time in enumerate(short.times_ns):
        assert (short.to_send[at] == long.to_send[long.times_ns.index(time)]).all()


def test_what_is_written_behind_the_sender_is_known_to_kvm_alone_until_the_sync():
    """Trap: before the first sync of a pass QEMU's count does not grow, however much is written."""
    scenario = scenario_of("random", rate=8 * SIZE, working_set=SIZE // 4)
    found, at = film(scenario), layout(scenario)
    cell = int(found.pages[0])
    inside = np.zeros(found.pages.size, bool)
    inside[at.written_first // cell : -(-(at.written_first + at.written) // cell)] = True
    assert found.unseen.sum()
    assert not found.unseen[:, ~inside].any(), "only the working set is written"
    first = [row for row, time in enumerate(found.times_ns) if time < found.precopy.iterations[1].start_ns]
    assert (np.diff(found.to_send[first].sum(axis=1).astype(np.int64)) <= 0).all()


def test_without_a_writer_each_page_is_sent_once():
    found = film(scenario_of(rate=0))
    assert not found.unseen.any()
    assert (np.diff(found.to_send.astype(np.int64), axis=0) <= 0).all()
    assert found.to_send[-1].sum() == found.precopy.left_pages


def test_a_look_counts_what_the_bitmaps_hold():
    """Against single bits read one by one."""
    scenario = scenario_of("random", rate=100_000, working_set=4, size=32)
    found, looks = film(scenario, columns=3, rows=4), {}

    class Naive(ExactRam):
        now = 0

        def note(self):
            bits = self._bits
            sent, new = ({64 * w + b for w, word in enumerate(map(int, words)) for b in range(64) if word >> b & 1}
                         for words in (bits.bmap, bits.kernel))  # fmt: skip
            looks[self.now] = sent, new - sent

        def write(self, ns, share=1.0):
            super().write(ns, share)
            self.now += ns
            if self.now in found.times_ns[:-1]:
                self.note()

    play(scenario.migration, Naive(layout(scenario), scenario.workload.dirty, *page_costs(scenario)))
    cell = int(found.pages[0])
    assert set(found.times_ns[1:-1]) <= set(looks)
    for row, time in list(enumerate(found.times_ns))[1:-1]:
        for counts, pages in zip((found.to_send, found.unseen), looks[time], strict=True):
            naive = [sum(page // cell == at for page in pages) for at in range(found.pages.size)]
            assert counts[row].tolist() == naive


def made(pages=(128, 100)):
    counts = np.array([[128, 100], [0, 50], [64, 0]], np.uint32)
    run = film(scenario_of(rate=0, size=8)).precopy
    return Film((0, 10**9, 2 * 10**9), counts, counts[::-1].copy(), np.array(pages, np.uint32), run)


def test_the_picture_shows_each_cell_in_its_place():
    figure = bitmap_figure(made())
    left, right = figure.axes[:2]
    for ax, counts in ((left, made().to_send), (right, made().unseen)):
        mesh = ax.collections[0]
        assert np.allclose(mesh.get_array(), counts / made().pages)
        assert mesh.get_coordinates()[:, :, 1][:, 0].tolist()[:3] == [0.0, 1.0, 2.0]
        assert np.allclose(mesh.get_coordinates()[0, :, 0], np.array([0, 128, 228]) * PAGE_SIZE / 2**30)
        assert ax.get_ylim()[0] > ax.get_ylim()[1] == 0, "time runs down"
    assert cell_words(made()) in figure.get_suptitle()


def test_words_say_how_many_pages_a_cell_stands_for():
    assert cell_words(made()) == "each cell stands for 128 pages (512 KiB) of RAM, the last for 100"
    assert cell_words(made((128, 128))).endswith("of RAM")


def test_the_page_has_the_numbers_too():
    html = film_html(made(), "</svg><script>x</script>")
    assert "<script" not in html
    assert "<td>228</td>" in html
    assert "2 of 2" in html


@pytest.fixture
def lab():
    shown = Dashboard(LabState(scenario_of(size=8, working_set=1)))
    yield shown
    assert shown.failures == []


def view_of(lab):
    return next(view for view in lab.views.views if view.title == "Bitmap")


def test_it_is_worked_out_in_a_process_when_asked(lab):
    view = view_of(lab)
    lab.views.tab.selected_index = 1 + lab.views.views.index(view)
    assert "<svg" not in view.page.value
    view.start.click()
    assert view.start.disabled
    view.job.wait(60)
    assert view.page.value == film_html(film(lab.state.scenario), lab.state.scenario.name)
    assert not view.start.disabled
    assert view.stale.value == ""
    lab.state.edit("dirty_rate", "10")
    assert view.stale.value == STALE


def test_it_can_be_cancelled(lab):
    view = view_of(lab)
    view.start.click()
    job = view.job
    view.stop.click()
    job.wait(60)
    assert "<svg" not in view.page.value
    assert not view.start.disabled
