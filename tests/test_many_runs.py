"""What notebooks/40_many_runs.ipynb says in words, so that prose and numbers cannot part."""

import pytest

from vdpa_lab.paths import data_dir
from vdpa_lab.sweep import Versions, convergence_frontier, fleet, sweep
from vdpa_lab.units import GIB, MIB, MS, SECOND


def test_a_persistent_iotlb_gains_ten_times_as_much_on_small_pages():
    axes = {
        "guest.memory": ["32GiB", "64GiB", "128GiB"],
        "guest.backing": ["4k", "thp"],
        "optimizations.iotlb-persist": [False, True],
    }
    table = sweep({"scenario": "talk", "axes": axes}, show=lambda text: None, workers=0).table
    wide = table.pivot(index=["guest.backing", "guest.memory"], columns="optimizations.iotlb-persist")
    gains = wide["network_outage_ns"][False] - wide["network_outage_ns"][True]
    for memory in (32 * GIB, 64 * GIB, 128 * GIB):
        assert gains["4k", memory] / gains["thp", memory] == pytest.approx(10, abs=1.5)


def test_the_downtime_limit_hardly_helps_until_the_working_set_fits():
    limits = [100 * MS, 300 * MS, SECOND]
    rows = convergence_frontier("talk", bandwidths=[64 * MIB, 128 * MIB, 512 * MIB], downtime_limits=limits)
    rate = {(row["max_bandwidth"], row["downtime_limit_ns"]): row["dirty_rate"] for row in rows}
    assert rate[128 * MIB, 300 * MS] <= 1.02 * rate[128 * MIB, 100 * MS], "three times the limit"
    assert rate[128 * MIB, 100 * MS] == pytest.approx(2 * rate[64 * MIB, 100 * MS], rel=0.03), "twice the bandwidth"
    at_limit = {(row["max_bandwidth"], row["downtime_limit_ns"]) for row in rows if row["at_limit"]}
    assert at_limit == {(512 * MIB, SECOND)}, "256 MiB are sent in half a second"


def test_what_is_left_of_a_fleet_s_downtime_is_not_explained():
    vms = data_dir() / "fleets" / "example.csv"
    found = fleet(vms, Versions("8.2", "6.8"), Versions("10.1", "6.12"), 2 * SECOND)
    late = found.misses()
    assert len(late) == 4
    assert set(late["why"]) == {"unexplained (unexplained.source_teardown)"}
    assert (late["why_ns"] > late["after_ns"] / 2).all()
