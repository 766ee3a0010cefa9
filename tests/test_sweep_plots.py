"""Pictures of sweeps: what stands in them is what the data say."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vdpa_lab.plot.distribution import distribution_figure, draw_distribution
from vdpa_lab.plot.frontier import draw_frontier, frontier_figure
from vdpa_lab.plot.save import save_figure
from vdpa_lab.plot.style import INK, family_of
from vdpa_lab.plot.sweep_axes import axis_words, column_words, ordered, value_words
from vdpa_lab.plot.sweep_curve import draw_curve, sweep_figure
from vdpa_lab.plot.sweeps import (
    GAIN,
    LOSS,
    draw_attribution,
    draw_heat,
    draw_small_multiples,
    draw_tornado,
    multiples_figure,
    tornado_figure,
)
from vdpa_lab.sweep.attribution import Attribution, Share
from vdpa_lab.sweep.sensitivity import Swing
from vdpa_lab.units import GIB, MIB, MS, SECOND

TABLE = pd.DataFrame(
    {
        "guest.memory": pd.array([GIB, GIB, 2 * GIB, 2 * GIB, 2 * GIB], "Int64"),
        "device.count": pd.array([1, 2, 1, 1, 2], "Int64"),
        "optimizations.suspend": pd.array([True, True, True, False, False], "boolean"),
        "network_outage_ns": pd.array([1 * SECOND, 2 * SECOND, 3 * SECOND, 5 * SECOND, None], "Int64"),
    }
)


def axes_of(count=1):
    found = Figure(figsize=(6, 3)).subplots(1, count, squeeze=False).ravel()
    return found[0] if count == 1 else list(found)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def bars(axes):
    return [(patch.get_x(), patch.get_width(), to_hex(patch.get_facecolor())) for patch in axes.patches]


def test_a_heat_map_shows_the_median_of_each_cell_and_hatches_what_is_missing():
    axes = draw_heat(axes_of(), TABLE, "guest.memory", "device.count", "network_outage_ns")
    assert sorted(texts(axes)) == ["1 s", "2 s", "4 s"]
    assert labels(axes.xaxis) == ["1 GiB", "2 GiB"]
    assert labels(axes.yaxis) == ["1", "2"]
    (unmet,) = [patch for patch in axes.patches if patch.get_hatch()]
    assert (unmet.get_x(), unmet.get_y()) == (0.5, 0.5)
    assert axes.get_title(loc="left") == "Network outage (blackout 2)"


def test_wide_ranges_are_shaded_by_their_logarithm():
    table = TABLE.assign(network_outage_ns=pd.array([1, 10, 100, 100, 1000], "Int64"))
    axes = draw_heat(axes_of(), table, "guest.memory", "device.count", "network_outage_ns")
    assert axes.images[0].get_array().compressed() * SECOND == pytest.approx([1, 100, 10, 1000])
    assert [axes.images[0].norm(ns / SECOND) for ns in (1, 10, 1000)] == pytest.approx([0, 1 / 3, 1])


def test_a_heat_map_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"no column 'size'; there are guest\.memory"):
        draw_heat(axes_of(), TABLE, "size", "device.count", "network_outage_ns")
    nothing = TABLE.assign(network_outage_ns=pd.array([None] * 5, "Int64"))
    with pytest.raises(ValueError, match="no run has a network_outage_ns"):
        draw_heat(axes_of(), nothing, "guest.memory", "device.count", "network_outage_ns")


def test_small_multiples_share_limits_and_draw_medians():
    panels = draw_small_multiples(
        axes_of(3), TABLE, "guest.memory", "network_outage_ns", "optimizations.suspend", "device.count"
    )
    assert [axes.get_title(loc="left").split() for axes in panels[:2]] == [
        ["optimizations.suspend", "on"],
        ["optimizations.suspend", "off"],
    ]
    first = panels[0].lines[0]
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([0, 1], [1.0, 3.0])
    assert labels(panels[0].xaxis) == ["1 GiB", "2 GiB"]
    assert panels[0].get_ylabel().split() == ["Network", "outage", "(blackout", "2),", "s"]
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert not panels[2].axison
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["1", "2"]
    assert panels[0].get_legend().get_title().get_text() == "device.count, devices"
    with pytest.raises(ValueError, match="has 2 values; 1 axes were given"):
        draw_small_multiples([axes_of()], TABLE, "guest.memory", "network_outage_ns", "optimizations.suspend")
    plain = draw_small_multiples(axes_of(2), TABLE, "device.count", "network_outage_ns", "optimizations.suspend")
    assert plain[0].get_legend() is None
    assert plain[0].get_xlabel() == "device.count, devices"


def many(rows, columns):
    """A table of a grid of that many values each way; the second column has no value."""
    at = np.arange(rows * columns)
    return pd.DataFrame(
        {
            "guest.memory": (at % columns + 1) * GIB,
            "workload.dirty.rate": at // columns * 1000,
            "network_outage_ns": pd.array([None if one % columns == 1 else int(one + 1) * MS for one in at], "Int64"),
        }
    )


@pytest.mark.parametrize(("rows", "columns", "words"), [(16, 12, True), (17, 12, False), (16, 13, False)])
def test_cells_of_a_large_heat_map_have_a_bar_of_colours_instead_of_words(rows, columns, words):
    figure = sweep_figure(many(rows, columns), ["guest.memory", "workload.dirty.rate"], "network_outage_ns")
    axes, *bar = figure.axes
    assert len(texts(axes)) == (rows * (columns - 1) if words else 0)
    assert [one.get_ylabel() for one in bar] == ([] if words else ["Network outage (blackout 2), s"])
    assert len(axes.patches) == rows
    assert axes.get_ylabel() == "workload.dirty.rate, pages/s"


@pytest.mark.parametrize("keys", [["guest.memory", "workload.dirty.rate"], ["guest.memory"], ["workload.dirty.rate"]])
def test_words_at_the_axes_of_many_values_do_not_overlap(keys):
    figure = sweep_figure(many(20, 30), keys, "network_outage_ns")
    figure.draw_without_rendering()
    for axis, side in ((figure.axes[0].xaxis, "x"), (figure.axes[0].yaxis, "y")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
        ends = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        assert len(ends) > 3
        assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert labels(figure.axes[0].xaxis)[-1] == ("30 GiB" if keys[0] == "guest.memory" else "19000")


@pytest.mark.parametrize(
    ("given", "order"),
    [
        (["10.0", "11.1.3", "8.2", "9.2"], ["8.2", "9.2", "10.0", "11.1.3"]),
        (["6.12", "6.7", "6.12"], ["6.7", "6.12"]),
        ([np.inf, 2.0, 10.0], [2.0, 10.0, np.inf]),
        ([10, 9, 100], [9, 10, 100]),
        (["thp", "4k", "1G"], ["thp", "4k", "1G"]),
        ([True, False], [True, False]),
        (["", "suspend"], ["", "suspend"]),
    ],
)
def test_values_stand_in_the_order_that_an_axis_has(given, order):
    assert ordered(given) == order
    table = pd.DataFrame({"x": given, "y": 1, "vm_paused_ns": range(1, len(given) + 1)})
    words = [value_words("x", each) for each in order]
    assert labels(draw_curve(axes_of(), table, "x", "vm_paused_ns").xaxis) == words
    assert labels(draw_heat(axes_of(), table, "x", "y", "vm_paused_ns").xaxis) == words
    assert labels(draw_small_multiples([axes_of()], table, "x", "vm_paused_ns", "y")[0].xaxis) == words
    panels = draw_small_multiples(axes_of(len(order)), table, "y", "vm_paused_ns", "x")
    assert [axes.get_title(loc="left") for axes in panels[: len(order)]] == [f"x {each}" for each in words]


def test_unlimited_is_a_place_of_its_own_in_small_multiples():
    rates = [MIB, GIB, np.inf]
    table = pd.DataFrame({"migration.max_bandwidth": rates, "n": 1, "vm_paused_ns": [SECOND, 2 * SECOND, 3 * SECOND]})
    axes = multiples_figure(table, "migration.max_bandwidth", "vm_paused_ns", "n").axes[0]
    assert list(axes.lines[0].get_ydata()) == [1, 2, 3]
    assert labels(axes.xaxis) == ["1 MiB/s", "1 GiB/s", "unlimited"]
    assert axes.get_ylabel() == "VM paused, s"


@pytest.mark.parametrize("draw", [
    lambda table, x, value: draw_heat(axes_of(), table, x, "device.count", value),
    lambda table, x, value: draw_curve(axes_of(), table, x, value),
    lambda table, x, value: multiples_figure(table, x, value, "device.count"),
    lambda table, x, value: draw_small_multiples([axes_of()], table, "guest.memory", value, "device.count", x),
])  # fmt: skip
def test_what_a_table_lacks_is_said_in_words(draw):
    with pytest.raises(ValueError, match=r"no column 'size'; there are guest\.memory"):
        draw(TABLE, "size", "network_outage_ns")
    with pytest.raises(ValueError, match="no column 'vm_paused_ns'; there are"):
        draw(TABLE, "guest.memory", "vm_paused_ns")
    nothing = TABLE.assign(network_outage_ns=pd.array([None] * 5, "Int64"))
    with pytest.raises(ValueError, match="no run has a network_outage_ns"):
        draw(nothing, "guest.memory", "network_outage_ns")


def test_small_multiples_have_a_figure_that_fits_a_page():
    for count, shape in ((1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))):
        table = pd.DataFrame({"guest.vcpus": [1] * count, "device.count": range(count), "vm_paused_ns": [MS] * count})
        figure = multiples_figure(table, "guest.vcpus", "vm_paused_ns", "device.count")
        assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == shape
        assert figure.get_figwidth() <= 9


def test_a_tornado_shows_the_widest_from_low_to_high():
    ends = (("mlx5.mtt", 1, 3, "fitted"), ("vhost.ioctl", 3, 2, "guess"), ("qemu.notifier", 2, 2, "guess"))
    swings = [Swing(key, low * SECOND, high * SECOND, basis) for key, low, high, basis in ends]
    axes = draw_tornado(axes_of(), 2 * SECOND, swings, most=2)
    assert [each[:2] for each in bars(axes)] == [(1.0, 2.0), (2.0, 1.0)]
    assert labels(axes.yaxis) == ["mlx5.mtt", "vhost.ioctl"]
    assert texts(axes) == ["  2 s, fitted", "  1 s, guess"]
    assert list(axes.lines[0].get_xdata()) == [2.0, 2.0]
    assert axes.get_title(loc="left") == "Network outage (blackout 2): one at a time, low to high"
    other = tornado_figure(2 * SECOND, swings, window="svq_switch").axes[0]
    assert other.get_title(loc="left").startswith("SVQ switch (Downtime #1): ")
    assert [text.get_text() for text in other.get_legend().get_texts()] == [
        "map rebuild (set_map, MTT, entries)", "notifiers and QEMU",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no window 'svq'"):
        draw_tornado(axes_of(), 2 * SECOND, swings, window="svq")


def frontier(*points):
    return [
        {"max_bandwidth": band, "downtime_limit_ns": limit, "dirty_rate": rate, "at_limit": rate == 10**9}
        for band, limit, rate in points
    ]


def edges(axes):
    """Markers that are placed by the height of the picture: downtime limit in s, height, whether filled."""
    return [
        (list(line.get_xdata()), line.get_ydata()[0], line.get_markerfacecolor() != "none")
        for line in axes.lines if line.get_linestyle() == "None"
    ]  # fmt: skip


def test_a_frontier_has_a_line_a_bandwidth_and_what_is_beyond_the_scale_at_its_edges():
    points = [(128 * MIB, 300 * MS, 50), (128 * MIB, 50 * MS, 40), (128 * MIB, SECOND, 10**9)]
    points += [(None, 50 * MS, None), (None, 300 * MS, 0), (None, SECOND, 60)]
    axes = draw_frontier(axes_of(), frontier(*points))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "128 MiB/s", "unlimited", "at the most that a scenario may say",
        "converges only while nothing is written", "does not converge, even while nothing is written",
    ]  # fmt: skip
    joined = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [np.nan_to_num(line.get_ydata(), nan=-1).tolist() for line in joined] == [[40, 50, -1], [-1, -1, 60]]
    (most, top, filled), (idle, low, _), (never, lowest, _) = edges(axes)
    assert (most, idle, never, filled) == ([1.0], [0.3], [0.05], False)
    assert top > 0.9
    assert max(low, lowest) < 0.1
    assert axes.get_ylim()[1] < 10**4, "the most that can be said stretches no axis"
    assert labels(axes.xaxis) == ["50 ms", "300 ms", "1 s"]
    with pytest.raises(ValueError, match="no rows"):
        draw_frontier(axes_of(), [])


def test_a_frontier_shows_a_limit_of_nothing_and_bandwidths_without_any_point():
    axes = frontier_figure(frontier((MIB, 0, 5), (MIB, MS, 6), (GIB, 0, None), (GIB, MS, None))).axes[0]
    assert labels(axes.xaxis)[0] == "0 ns"
    assert np.isfinite(axes.transData.transform((0, 5))).all()
    assert edges(axes)[0][0] == [0, 0.001]


def found(exact=True):
    gains = (("a", 7 * SECOND, 0.0), ("b", -SECOND, 0.0 if exact else 1e8), ("c", 0, 0.0))
    shares = tuple(Share(name, Fraction(twice, 2), error, 0, 0) for name, twice, error in gains)
    return Attribution("talk", "vm_paused", (), 5 * SECOND, 2 * SECOND, shares, (), exact, 200, 9, True)


def test_a_waterfall_runs_from_stock_to_all_on():
    axes = draw_attribution(axes_of(), found(), ink=INK)
    drawn = bars(axes)[:5]
    assert [(round(x, 6), round(width, 6)) for x, width, _ in drawn] == [
        (0, 5),
        (1.5, 3.5),
        (1.5, 0),
        (1.5, 0.5),
        (0, 2),
    ]
    assert [color for _, _, color in drawn[1:4:2]] == [to_hex(GAIN), to_hex(LOSS)]
    assert labels(axes.yaxis) == ["nothing of these on", "a", "c", "b", "all on"]
    assert texts(axes) == ["5 s", "−3.5 s", "0 ns", "+500 ms", "2 s"]
    assert axes.get_title(loc="left") == "VM paused: what each is worth (exact)"


def test_sampled_shares_carry_their_error():
    axes = draw_attribution(axes_of(), found(exact=False))
    (error,) = [line for line in axes.collections if len(line.get_segments()) == 1]
    low, high = error.get_segments()[0][:, 0]
    assert (high - low) / 2 == pytest.approx(0.1)
    assert "200 orders sampled" in axes.get_title(loc="left")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("guest.memory", 3 * GIB, "3 GiB"), ("link.bandwidth", 12_500_000_000, "100 Gbit/s"), ("x_ns", 5 * MS, "5 ms"),
     ("migration.max_bandwidth", float("inf"), "unlimited"), ("a.b", True, "on"), ("a.b", np.False_, "off"),
     ("a.b", 0.25, "0.25"), ("a.b", "4k", "4k"), ("a.b", pd.NA, "–"), ("migration.downtime_limit", 3e8, "300 ms"),
     ("migration.cancel_after", 2 * SECOND, "2 s"), ("migration.avail_switchover_bandwidth", GIB, "1 GiB/s"),
     ("optimizations", "", "none")],
)  # fmt: skip
def test_values_are_written_with_their_units(key, value, words):
    assert value_words(key, value) == words


def test_columns_are_named():
    assert column_words("vm_paused_ns") == "VM paused"
    assert column_words("guest.memory") == "guest.memory"


@pytest.mark.parametrize(
    ("key", "words"),
    [("guest.memory", "guest.memory"), ("workload.dirty.rate", "workload.dirty.rate, pages/s"),
     ("guest.vcpus", "guest.vcpus, vCPUs"), ("prices.vhost.ioctl", "prices.vhost.ioctl, times the price"),
     ("knobs.parallel-mkey.in_flight", "knobs.parallel-mkey.in_flight, commands"),
     ("vm_paused_ns", "VM paused, s"), ("precopy_ns", "Precopy, s")],
)  # fmt: skip
def test_an_axis_says_its_unit_unless_its_values_do(key, words):
    assert axis_words(key) == words


def test_a_distribution_counts_who_misses_the_target():
    table = pd.DataFrame({"before_ns": [4 * SECOND, SECOND, 2 * SECOND, 0], "after_ns": [SECOND, SECOND, MS, 0]})
    axes = distribution_figure(table, SECOND).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "before: 2 of 4 miss the target", "after: 0 of 4 miss the target", "target: 1 s",
    ]  # fmt: skip
    before, after, target = axes.lines
    low, high = axes.get_xlim()
    assert before.get_xdata().tolist() == [low, low, 1, 2, 4, high]
    assert before.get_ydata().tolist() == [0, 25, 50, 75, 100, 100]
    assert after.get_xdata().tolist() == [low, low, 0.001, 1, 1, high]
    assert list(target.get_xdata()) == [1, 1]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "Network outage (blackout 2), s"
    for wrong in (table.iloc[:0], table[["before_ns"]]):
        with pytest.raises(ValueError, match=r"no run has a before_ns|no column 'after_ns'"):
            distribution_figure(wrong, SECOND)
    with pytest.raises(ValueError, match="no window 'outage'"):
        distribution_figure(table, SECOND, window="outage")


def test_equal_data_give_equal_bytes(tmp_path):
    written = []
    for name in ("a.svg", "b.svg"):
        axes = draw_attribution(axes_of(), found())
        written.append(save_figure(axes.figure, tmp_path / name, title="t").read_bytes())
    assert written[0] == written[1]


def test_what_is_no_price_has_a_look_of_its_own_in_a_tornado():
    swings = [Swing("guest.memory", SECOND, 4 * SECOND, "scenario")]
    swings += [Swing("mlx5.mtt", 2 * SECOND, 3 * SECOND, "fitted")]
    axes = draw_tornado(axes_of(), 2 * SECOND, swings)
    chosen, price = (bars.patches[0] for bars in axes.containers)
    assert chosen.get_facecolor() == (1.0, 1.0, 1.0, 1.0) != price.get_facecolor()
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["the scenario", family_of("mlx5.mtt").title]
    low, high = axes.get_xlim()
    assert low < 1.0 < 4.0 < high
    axes = draw_tornado(axes_of(), 2 * SECOND, swings[1:])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == words[1:]


def test_a_tornado_in_which_nothing_moves_has_an_axis_all_the_same(recwarn):
    low, high = draw_tornado(axes_of(), SECOND, [Swing("mlx5.mtt", SECOND, SECOND, "fitted")]).get_xlim()
    assert low < 1.0 < high
    assert not recwarn.list


def test_a_vm_that_never_ends_is_in_no_length_and_misses():
    table = pd.DataFrame(
        {
            "before_ns": [SECOND, 2 * SECOND, 3 * SECOND, SECOND],
            "after_ns": [SECOND] * 4,
            "converges_before": [True, True, True, False],
            "converges_after": [True] * 4,
        }
    )
    axes = draw_distribution(axes_of(), table, 2 * SECOND)
    before, after = axes.get_lines()[:2]
    assert (max(before.get_ydata()), max(after.get_ydata())) == (75, 100)
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words[:2] == ["before: 2 of 4 miss the target,\n1 of them never end", "after: 0 of 4 miss the target"]
