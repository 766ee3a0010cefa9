"""The picture on the screen: brought up to date it is what drawing it afresh would give, for less work."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.plot import FAMILIES, Bar, DowntimePicture, bar_of, downtime, draw_downtime, screen
from vdpa_lab.plot.downtime import SHOWN_WINDOWS, wipe
from vdpa_lab.plot.save import screen_png
from vdpa_lab.plot.screen import HEIGHT, SCALE, WIDTH
from vdpa_lab.units import SECOND


@pytest.fixture(scope="module")
def talk():
    return simulate(find_scenario("talk"))


BARS = st.builds(
    lambda label, parts: Bar(label, dict.fromkeys(SHOWN_WINDOWS[:2], parts)),
    st.just("now"),
    st.none() | st.dictionaries(st.sampled_from(list(FAMILIES)), st.integers(1, 40 * SECOND), max_size=4),
)


# Few bars, so that they come again, and in other rows.
PICTURES = st.lists(BARS, min_size=2, max_size=4).flatmap(
    lambda bars: st.lists(st.lists(st.sampled_from(bars), min_size=1, max_size=3), min_size=2, max_size=4)
)


@given(PICTURES)
@settings(max_examples=12)
def test_a_picture_brought_up_to_date_is_the_picture_drawn_afresh(pictures):
    kept = DowntimePicture(SHOWN_WINDOWS[:2])
    for bars in pictures:
        assert kept.png(bars) == DowntimePicture(SHOWN_WINDOWS[:2]).png(bars)


def pixels(png):
    return imread(io.BytesIO(png))


def test_a_picture_drawn_by_bars_looks_like_the_one_drawn_at_once(talk, monkeypatch):
    plain = downtime.look
    monkeypatch.setattr(
        downtime, "look", lambda family: plain(family) | {"hatch": None}
    )  # begins as if in the first row
    bars = [bar_of(simulate(talk.scenario, ()), "stock"), bar_of(talk, "now")]
    picture = DowntimePicture()
    by_bars = pixels(picture.png(bars))
    for panel in picture.panels:
        limits = panel.axes.get_ylim()  # rows of whole pixels
        draw_downtime(wipe(panel.axes), bars, [panel.window], ink=picture.ink, legend=False).set_ylim(limits)
    at_once = pixels(screen_png(picture.canvas.figure, SCALE))
    assert by_bars.shape == at_once.shape == (HEIGHT * SCALE, WIDTH * SCALE, 4)
    # Neighbours of a bar are blended in another order; no more than an edge may differ.
    assert (abs(by_bars - at_once).max(axis=2) > 0.1).mean() < 1e-3


def test_only_bars_that_change_are_drawn_again(talk, monkeypatch):
    drawn = []
    plain = screen.draw_bar
    monkeypatch.setattr(screen, "draw_bar", lambda *args: (drawn.append((args[2], args[1].label)), plain(*args)))
    picture = DowntimePicture()
    stock, now = bar_of(simulate(talk.scenario, ()), "stock"), bar_of(talk, "now")
    picture.png([stock, now])
    assert len(drawn) == 2 * len(SHOWN_WINDOWS)
    drawn.clear()
    picture.png([stock, now])
    assert drawn == []
    shorter = now.windows["source_teardown"] | {"unpin": 1}
    picture.png([stock, now._replace(windows=now.windows | {"source_teardown": shorter})])
    assert drawn == [("source_teardown", "now")]


def test_a_bar_that_was_seen_is_not_drawn_again_even_in_another_row(talk, monkeypatch):
    drawn = []
    plain = screen.draw_bar
    monkeypatch.setattr(screen, "draw_bar", lambda *args: (drawn.append(args[1].label), plain(*args)))
    picture = DowntimePicture()
    runs = simulate(talk.scenario, ()), simulate(talk.scenario, ["suspend"]), talk
    picture.png([bar_of(run, label) for run, label in zip(runs, ("stock", "previous", "now"), strict=True)])
    drawn.clear()
    swapped = [bar_of(runs[which], label) for which, label in ((0, "stock"), (2, "previous"), (1, "now"))]
    found = picture.png(swapped)
    assert drawn == []
    assert found == DowntimePicture().png(swapped)


def test_looks_of_bars_are_kept_in_bounds(monkeypatch):
    monkeypatch.setattr(screen, "KEPT", 2)
    picture = DowntimePicture(SHOWN_WINDOWS[:1])
    for seconds in (8, 9, 8, 10, 11, 8):
        bars = [Bar("now", {SHOWN_WINDOWS[0]: {"unpin": seconds * SECOND}})]
        assert picture.png(bars) == DowntimePicture(SHOWN_WINDOWS[:1]).png(bars)
        assert len(picture.panels[0]._looks) <= 2
