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


# A bar that moves takes its hatch along, which begins at the picture's edge where it is drawn afresh.
PLAIN = [name for name, family in FAMILIES.items() if not family.hatch]
BARS = st.builds(
    lambda label, parts: Bar(label, dict.fromkeys(SHOWN_WINDOWS[:2], parts)),
    st.just("now"),
    st.none() | st.dictionaries(st.sampled_from(PLAIN), st.integers(1, 40 * SECOND), max_size=4),
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


def test_a_bar_that_moves_is_moved_not_drawn(monkeypatch):
    """With every change what was "now" becomes "previous"."""
    drawn = []
    plain = screen.draw_bar
    monkeypatch.setattr(screen, "draw_bar", lambda *args: (drawn.append(args[1].label), plain(*args)))
    one, two = [name for name, family in FAMILIES.items() if not family.hatch][:2]
    first, then, last = (
        Bar("now", {name: {one: ns, two: SECOND} for name in SHOWN_WINDOWS}) for ns in (3 * SECOND, SECOND, 2 * SECOND)
    )
    stock = first._replace(label="as shipped")
    picture = DowntimePicture()
    picture.png([stock, first._replace(label="previous"), then])
    drawn.clear()
    after = [stock, then._replace(label="previous"), first]
    moved = picture.png(after)
    assert drawn == []
    assert moved == DowntimePicture().png(after), "hatches apart, which begin at the picture's edge"
    drawn.clear()
    picture.png([stock, first._replace(label="previous"), last])
    assert set(drawn) == {"now"}
