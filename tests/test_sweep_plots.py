"""Pictures of sweeps: what stands in them is what the data say."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vdpa_lab.plot.save import save_figure
from vdpa_lab.plot.style import INK
from vdpa_lab.plot.sweeps import (
    GAIN,
    LOSS,
    column_words,
    draw_attribution,
    draw_frontier,
    draw_heat,
    draw_small_multiples,
    draw_tornado,
    value_words,
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
    assert axes.images[0].get_array().compressed() == pytest.approx(np.log([1, 100, 10, 1000]))


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
    assert [axes.get_title(loc="left") for axes in panels[:2]] == [
        "optimizations.suspend on",
        "optimizations.suspend off",
    ]
    first = panels[0].lines[0]
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([1.0, 2.0], [1.0, 3.0])
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert not panels[2].axison
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["device.count 1", "device.count 2"]
    with pytest.raises(ValueError, match="has 2 values; 1 axes were given"):
        draw_small_multiples([axes_of()], TABLE, "guest.memory", "network_outage_ns", "optimizations.suspend")
    plain = draw_small_multiples(axes_of(2), TABLE, "device.count", "network_outage_ns", "optimizations.suspend")
    assert plain[0].get_legend() is None
    assert plain[0].get_xlabel() == "device.count"


def test_a_tornado_shows_the_widest_from_low_to_high():
    ends = (("mlx5.mtt", 1, 3, "fitted"), ("vhost.ioctl", 3, 2, "guess"), ("qemu.notifier", 2, 2, "guess"))
    swings = [Swing(key, low * SECOND, high * SECOND, basis) for key, low, high, basis in ends]
    axes = draw_tornado(axes_of(), 2 * SECOND, swings, most=2)
    assert [each[:2] for each in bars(axes)] == [(1.0, 2.0), (2.0, 1.0)]
    assert labels(axes.yaxis) == ["mlx5.mtt", "vhost.ioctl"]
    assert texts(axes) == ["  2 s, fitted", "  1 s, guess"]
    assert list(axes.lines[0].get_xdata()) == [2.0, 2.0]


def test_a_frontier_has_a_line_a_bandwidth_and_open_points_at_the_end_of_the_scale():
    points = ((128 * MIB, 300 * MS, 50), (128 * MIB, 50 * MS, 40), (None, 50 * MS, 10**9), (None, 300 * MS, None))
    rows = [
        {"max_bandwidth": band, "downtime_limit_ns": limit, "dirty_rate": rate, "at_limit": rate == 10**9}
        for band, limit, rate in points
    ]
    axes = draw_frontier(axes_of(), rows)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["128 MiB/s", "unlimited"]
    assert list(axes.lines[0].get_ydata()) == [40, 50]
    filled, _, _, open_ = axes.collections
    assert len(filled.get_offsets()) == 2
    assert open_.get_facecolors().size == 0
    assert len(open_.get_offsets()) == 1
    with pytest.raises(ValueError, match="no rows"):
        draw_frontier(axes_of(), [])


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
     ("a.b", 0.25, "0.25"), ("a.b", "4k", "4k"), ("a.b", pd.NA, "–"), ("migration.downtime_limit", 3e8, "300 ms")],
)  # fmt: skip
def test_values_are_written_with_their_units(key, value, words):
    assert value_words(key, value) == words


def test_columns_are_named():
    assert column_words("vm_paused_ns") == "VM paused"
    assert column_words("guest.memory") == "guest.memory"


def test_equal_data_give_equal_bytes(tmp_path):
    written = []
    for name in ("a.svg", "b.svg"):
        axes = draw_attribution(axes_of(), found())
        written.append(save_figure(axes.figure, tmp_path / name, title="t").read_bytes())
    assert written[0] == written[1]
