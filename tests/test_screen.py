"""The picture on the screen: brought up to date it is what drawing it afresh would give, for less work."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.plot import FAMILIES, Bar, DowntimePicture, bar_of, draw_downtime, screen
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


@given(st.lists(st.lists(BARS, min_size=1, max_size=3), min_size=2, max_size=4))
@settings(max_examples=12)
def test_a_picture_brought_up_to_date_is_the_picture_drawn_afresh(pictures):
    kept = DowntimePicture(SHOWN_WINDOWS[:2])
    for bars in pictures:
        assert kept.png(bars) == DowntimePicture(SHOWN_WINDOWS[:2]).png(bars)


def pixels(png):
    return imread(io.BytesIO(png))


def test_a_picture_drawn_by_bars_looks_like_the_one_drawn_at_once(talk):
    bars = [bar_of(simulate(talk.scenario, ()), "stock"), bar_of(talk, "now")]
    picture = DowntimePicture()
    by_bars = pixels(picture.png(bars))
    for panel in picture.panels:
        draw_downtime(wipe(panel.axes), bars, [panel.window], ink=picture.ink, legend=False)
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
