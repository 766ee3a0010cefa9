"""Pictures: what the bars stand for, how they are cut, and that equal data give equal bytes."""

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from vdpa_lab.library.calibration import parse_costs
from vdpa_lab.migration import simulate
from vdpa_lab.migration.account import account
from vdpa_lab.migration.baseline import WIRE
from vdpa_lab.migration.uncertainty import interval_ns
from vdpa_lab.model import find_scenario
from vdpa_lab.paths import data_dir
from vdpa_lab.plot import (
    FAMILIES,
    Bar,
    DowntimePicture,
    bar_of,
    bars_svg,
    draw_downtime,
    draw_ladder,
    duration_words,
    family_of,
    save_figure,
    swatch_png,
)
from vdpa_lab.plot.downtime import AXES, CLIP_RATIO, ROOM, SHOWN_WINDOWS, WINDOWS_OF_A_BAR, clip_at, scale_of
from vdpa_lab.plot.style import PREFIXES
from vdpa_lab.timeline.breakdown import WAITING
from vdpa_lab.units import MS, SECOND

DAY = 86_400 * SECOND
PNG = b"\x89PNG\r\n\x1a\n"


def axes_of(width=7.0, height=3.0):
    return Figure(figsize=(width, height)).add_axes((0.15, 0.2, 0.8, 0.75))


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def widths_of(axes):
    """Horizontal extent of each drawn segment, break marks left out."""
    return [patch.get_width() for patch in axes.patches if patch.get_zorder() < 3]


@pytest.fixture(scope="module")
def talk():
    return simulate(find_scenario("talk"))


# --- families -----------------------------------------------------------------------------------------------


def calibration_files():
    return sorted((data_dir() / "calibration").glob("*.csv"))


@pytest.mark.parametrize("path", calibration_files(), ids=lambda path: path.stem)
def test_every_price_has_a_family(path):
    costs = parse_costs(path.read_text(encoding="utf-8"), path.name)
    assert costs
    homeless = [cost.key for cost in costs if family_of(cost.key).name == "other"]
    assert homeless == []


def test_what_has_no_price_of_its_own_has_a_family_too():
    assert family_of(WIRE).name == "link"
    assert family_of(WAITING).name == "waiting"


def test_an_operation_of_a_foreign_trace_is_drawn_as_such():
    assert family_of("vhost_vdpa_something_new").name == "other"


def test_the_longest_prefix_decides():
    assert family_of("mlx5.mkey_create_cpu").name == "mkey"
    assert family_of("mlx5.mtt").name == "map"
    assert set(PREFIXES.values()) == set(FAMILIES) - {"other"}


def test_families_look_different():
    looks = [(family.color, family.hatch) for family in FAMILIES.values()]
    assert len(set(looks)) == len(looks)


def test_only_what_has_no_mechanism_is_grey():
    def is_grey(color):
        return color[1:3] == color[3:5] == color[5:7]

    assert {name for name, family in FAMILIES.items() if is_grey(family.color)} == {
        "unexplained",
        "waiting",
        "other",
    }
    assert FAMILIES["unexplained"].hatch


def test_labels_read_on_their_colour():
    assert FAMILIES["qemu"].label_color == "#000000"
    assert FAMILIES["pin"].label_color == "#ffffff"


# --- bars ---------------------------------------------------------------------------------------------------


def test_bars_sum_to_their_windows(talk):
    bar = bar_of(talk, "now")
    assert set(bar.windows) == set(WINDOWS_OF_A_BAR)
    assert {window: bar.total(window) for window in SHOWN_WINDOWS} == {
        window: talk.windows[window] for window in SHOWN_WINDOWS
    }


def test_every_priced_step_is_drawn_in_a_family(talk):
    keys = {key for work, _ in account(talk.plan) for key, _ in work}
    assert keys
    assert "other" not in {family_of(key).name for key in keys}


def test_segments_are_as_long_as_their_time():
    bar = Bar("now", {"svq_switch": {"pin": 30 * MS, "unexplained": 10 * MS}})
    axes = draw_downtime(axes_of(), [bar], ["svq_switch"])
    assert sorted(widths_of(axes)) == [10 * MS, 30 * MS]
    assert "40 ms" in texts_of(axes)
    assert "memory pinning 75%" in texts_of(axes)


def test_an_axis_stays_while_bars_change_a_little():
    spans = [scale_of([Bar("now", {"svq_switch": {"pin": ms * MS}})], ["svq_switch"]).span for ms in range(100, 200)]
    assert len(set(spans)) <= AXES + 1
    assert spans == sorted(spans)
    assert all(span >= ROOM * ms * MS for span, ms in zip(spans, range(100, 200), strict=True))


def test_a_segment_thinner_than_a_pixel_leaves_its_place_to_the_next():
    parts = {"pin": 1000 * MS, "unpin": 1 * MS, "map": 0.2 * MS, "mkey": 500 * MS, "vq": 0.5 * MS}
    axes = draw_downtime(axes_of(), [Bar("now", {"svq_switch": parts})], ["svq_switch"])
    assert widths_of(axes) == pytest.approx([1000 * MS, 501.2 * MS])
    assert "1.5 s" in texts_of(axes), "the length is that of all"


def test_unexplained_time_is_hatched_grey():
    bar = Bar("now", {"svq_switch": {"unexplained": 10 * MS}})
    axes = draw_downtime(axes_of(), [bar], ["svq_switch"])
    assert [each.get_hatch() for each in axes.patches] == [FAMILIES["unexplained"].hatch]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["unexplained constant"]


def test_a_bar_far_longer_than_the_next_is_cut_and_named_in_words():
    bars = [Bar("stock", {"svq_switch": {"map": 3 * DAY}}), Bar("now", {"svq_switch": {"map": 40 * MS}})]
    axes = draw_downtime(axes_of(), bars, ["svq_switch"])
    assert "→ 3 days" in texts_of(axes)
    assert "40 ms" in texts_of(axes)
    assert max(widths_of(axes)) < 3 * 40 * MS
    assert len(axes.lines) == 2, "the two strokes of the break mark"


def test_cut_bars_keep_their_order():
    lengths = {"stock": 3 * DAY, "shipped": 20 * SECOND, "now": 40 * MS}
    bars = [Bar(label, {"svq_switch": {"map": ns}}) for label, ns in lengths.items()]
    stock, shipped, now = widths_of(draw_downtime(axes_of(), bars, ["svq_switch"]))
    assert stock > shipped > now == 40 * MS


def test_bars_of_like_length_are_not_cut():
    bars = [Bar("a", {"svq_switch": {"map": CLIP_RATIO * MS}}), Bar("b", {"svq_switch": {"map": MS}})]
    axes = draw_downtime(axes_of(), bars, ["svq_switch"])
    assert sorted(widths_of(axes)) == [MS, CLIP_RATIO * MS]
    assert not axes.lines


@pytest.mark.parametrize(
    ("lengths", "limit"),
    [
        ([], 0),
        ([0, 0], 0),
        ([5], 5),
        ([1, CLIP_RATIO], CLIP_RATIO),
        ([1, CLIP_RATIO + 1], 1),
        ([2, 1, 1000, 10**9], 2),
    ],
)
def test_clip_at(lengths, limit):
    assert clip_at(lengths) == limit


def test_windows_that_share_an_axis_do_not_cut_each_other():
    bar = Bar("now", {"svq_switch": {"vq": 9 * MS}, "network_outage": {"map": 30 * SECOND}})
    assert not draw_downtime(axes_of(), [bar], ["svq_switch", "network_outage"]).lines


def test_a_window_that_does_not_exist_says_so():
    axes = draw_downtime(axes_of(), [Bar("now", {"svq_switch": None})], ["svq_switch"])
    assert "none in this migration" in texts_of(axes)


def test_a_window_of_no_length_is_drawn():
    assert "0 ns" in texts_of(draw_downtime(axes_of(), [Bar("now", {"svq_switch": {}})], ["svq_switch"]))


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (0, "0 ns"),
        (9_570_400, "9.57 ms"),
        (1_634_000_000, "1.63 s"),
        (37_740_000_000, "37.7 s"),
        (119 * SECOND, "119 s"),
        (3 * 60 * SECOND, "3 min"),
        (11_520 * SECOND, "3.2 h"),
        (148.2 * DAY, "148 days"),
        (3652.5 * DAY, "10 years"),
        (36_525_000 * DAY, "100,000 years"),
    ],
)
def test_duration_words(ns, words):
    assert duration_words(ns) == words


def test_the_screen_picture_is_drawn_again_without_leftovers(talk):
    picture = DowntimePicture()
    bars = [bar_of(talk, "now")]
    first = picture.png(bars)
    assert first.startswith(PNG)
    assert picture.png([Bar("other", {window: {"pin": SECOND} for window in SHOWN_WINDOWS})]) != first
    assert picture.png(bars) == first


def test_swatches_differ():
    assert len({swatch_png(name) for name in FAMILIES}) == len(FAMILIES)


# --- ladders ------------------------------------------------------------------------------------------------


def ladder_row(**more):
    row = {
        "figure": "V1", "title": "Downtime #1 ladder", "row": "Baseline", "quantity": "svq_switch",
        "unit": "s", "published": [20, 30], "simulated": 10.0, "ratio": 0.5, "use": "fitted",
        "reading": "as printed",
        "assumes": [], "residual_constant": 0.25, "source": "somebody",
    }  # fmt: skip
    return {**row, **more}


def test_a_ladder_says_ratio_use_and_constant():
    axes = draw_ladder(axes_of(), [ladder_row()])
    said = " | ".join(texts_of(axes))
    assert "20 – 30 published" in said
    assert "10 simulated, × 0.50, fitted, 25% unexplained constant" in said
    assert "V1: Downtime #1 ladder" in axes.get_title(loc="left")


def test_the_constant_of_a_ladder_is_hatched_grey_and_as_long_as_its_share():
    axes = draw_ladder(axes_of(), [ladder_row()])
    (constant,) = [patch for patch in axes.patches if patch.get_hatch() == FAMILIES["unexplained"].hatch]
    assert constant.get_width() == pytest.approx(2.5)


def test_a_ladder_has_rows_without_a_published_or_a_simulated_value():
    rows = [
        ladder_row(published=None, ratio=None, use="predicted", residual_constant=0.0),
        ladder_row(simulated=None, ratio=None, use="shown", published=[5, 5], reading="transposed"),
    ]
    axes = draw_ladder(axes_of(), rows)
    said = " | ".join(texts_of(axes))
    assert "no value published" in said
    assert "not computed; shown" in said
    assert "5 published" in said
    assert "10 simulated, predicted" in said


@pytest.mark.parametrize("rows", [[], [ladder_row(), ladder_row(unit="ms")]])
def test_a_ladder_has_one_unit(rows):
    with pytest.raises(ValueError, match="one unit"):
        draw_ladder(axes_of(), rows)


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["svg", "pdf", "png"])
def test_equal_data_give_equal_bytes(form, talk, tmp_path):
    def saved(name):
        axes = draw_downtime(axes_of(8, 6), [bar_of(talk, "now")])
        title = {"title": "Downtime", "description": "scenario talk"}
        return save_figure(axes.figure, tmp_path / f"{name}.{form}", **title).read_bytes()

    assert saved("first") == saved("second")


def test_a_picture_says_what_it_shows(tmp_path):
    axes = draw_downtime(axes_of(), [Bar("now", {"svq_switch": {"pin": MS}})], ["svq_switch"])
    path = save_figure(axes.figure, tmp_path / "a.svg", title="Downtime of <talk>", description="scenario & version")
    text = path.read_text(encoding="utf-8")
    assert "Downtime of &lt;talk&gt;" in text
    assert "scenario &amp; version" in text
    assert "memory pinning" in text, "text stays text"
    assert not re.search(r"<dc:date>", text)


def test_other_formats_are_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="svg, pdf, png"):
        save_figure(Figure(), Path(tmp_path) / "a.gif")


def test_each_total_carries_its_interval(talk):
    """The whisker is the interval that the texts give; a bar that is cut has none."""
    bar = bar_of(talk, "now")
    assert set(bar.spread) == {name for name in SHOWN_WINDOWS if talk.windows[name] is not None}
    low, high = interval_ns(talk.breakdown("network_outage"), talk.calibration)
    axes = draw_downtime(axes_of(), [bar], ["network_outage"])
    (whisker,) = axes.lines
    assert whisker.get_xdata() == pytest.approx((low, high))
    assert low < bar.total("network_outage") < high
    (words,) = [text for text in axes.texts if text.get_text() == duration_words(bar.total("network_outage"))]
    assert words.get_position()[0] > high
    span, needed = scale_of([bar], ["network_outage"]).span, high + (ROOM - 1) * bar.total("network_outage")
    assert needed <= span < needed * 2 ** (1 / AXES), "there is room for the words"
    pixel = span / (700 - 92)
    assert f"H{92 + high / pixel:.1f}" in bars_svg([bar], lambda *_: "", ["network_outage"], title="t")
    other = Bar("short", {"network_outage": {"map": MS}}, {"network_outage": (MS - 1, MS + 1)})
    assert len(draw_downtime(axes_of(), [bar, other], ["network_outage"]).lines) == 2 + 1, (
        "two of the break mark, one whisker"
    )
