"""The model beside the published figures, and the fit that it rests on."""

import pytest

from vdpa_lab.library import BASES, bibliography, priors, read_calibration
from vdpa_lab.library import testbed_names as names_of_testbeds
from vdpa_lab.migration.calibrate import PHYSICAL, calibrate, save
from vdpa_lab.migration.compare import compare_figures, observations, quantity_parts, ratio
from vdpa_lab.migration.crosscheck import cross_predictions
from vdpa_lab.words import InputError

FACTOR = 1.5
# Fitted rows that the shared prices and one constant do not reach. V1's first two rows are the same plan on the source,
# printed as 20~30 and 5 s; V8 is another machine than V6, V7, V9 and V10.
MISSED = {("V1", "Baseline QEMU"), ("V7", "Deferred deletion"), ("V8", "After")}


@pytest.fixture(scope="module")
def rows():
    return compare_figures()


def as_printed(rows, *names):
    return [row for row in rows if row["figure"] in names and row["reading"] == "as printed"]


def test_every_published_row_stands_beside_the_model(rows):
    assert len(rows) >= 30
    assert {"V1", "V2", "V3", "V4", "V6", "V7", "V8", "V9", "V10", "V12", "V13", "V14"} <= {
        row["figure"] for row in rows
    }
    computed = [row for row in rows if row["simulated"] is not None]
    assert len(computed) >= 30
    for row in computed:
        assert row["simulated"] > 0
        low, high = row["interval"]
        assert low <= high
        assert 0 <= row["residual_constant"] <= 1


def test_fitted_rows_lie_within_the_aim_but_for_those_named(rows):
    fitted = [row for row in rows if row["use"] == "fitted" and row["reading"] == "as printed"]
    assert len(fitted) >= 20
    missed = {(row["figure"], row["row"]) for row in fitted if not 1 / FACTOR <= row["ratio"] <= FACTOR}
    assert missed == MISSED


def test_held_out_rows_of_the_early_listener_are_predicted(rows):
    for row in as_printed(rows, "V4b"):
        assert row["use"] == "predicted"
        assert 1 / FACTOR <= row["ratio"] <= FACTOR


@pytest.mark.parametrize("name", ["V1", "V2"])
def test_the_ladder_descends_in_the_printed_order(rows, name):
    steps = [row["simulated"] for row in as_printed(rows, name)]
    assert len(steps) == 5
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < steps[0] / 2


def test_both_readings_are_shown(rows):
    readings = {row["reading"] for row in rows if row["figure"] in ("V1", "V2")}
    assert readings == {"as printed", "rows 1-2 transposed"}
    transposed = [row for row in rows if row["reading"] != "as printed"]
    assert transposed[0]["published"] == [20, 20]


def test_the_talk_is_never_fitted(rows):
    assert "V14" not in {row.figure.name for row, _ in calibrate().rows}
    after = as_printed(rows, "V14")[-1]
    assert after["published"] == [0.2, 0.2]
    assert after["use"] == "predicted"
    assert after["residual_constant"] > 0


def test_the_stored_prices_are_those_of_the_fit(tmp_path):
    fit = calibrate()
    save(fit, tmp_path)
    for cost in fit.costs:
        assert read_calibration("tatulea2024")[cost.key].value == pytest.approx(cost.value, rel=1e-3)
        assert cost.low <= cost.value <= cost.high
        assert cost.basis == "fitted"
    assert {path.name for path in tmp_path.iterdir()} == {
        "shared.csv",
        "liu2023.csv",
        "tatulea2024.csv",
        "palmer2025.csv",
    }


def test_few_parameters_and_their_null_directions_are_said():
    fit = calibrate()
    constants = [cost for costs in fit.constants.values() for cost in costs if cost.value]
    assert len(PHYSICAL) + len(constants) < len(fit.rows)
    assert {cost.basis for cost in constants} == {"guess"}
    assert fit.null_directions


def test_fitted_prices_stay_within_their_priors():
    for cost in calibrate().costs:
        prior = priors()[cost.key]
        assert prior.low * 0.999 <= cost.value <= prior.high * 1.001


def test_predictions_across_figures_are_printed_and_mostly_hold():
    found = cross_predictions()
    good = [x for _, _, x in found if 1 / FACTOR <= x <= FACTOR]
    assert len(found) == 14
    assert len(good) >= 10  # V8, another machine, and the deferred deletion of V6 and V7 miss by up to a factor 2.3


def test_every_price_has_a_source_and_a_grade():
    for name in names_of_testbeds():
        for cost in read_calibration(name).values():
            assert cost.basis in BASES
            assert cost.source in bibliography(), cost.key


def test_ratio_is_one_inside_the_bounds():
    assert ratio(25, 20, 30) == 1.0
    assert ratio(10, 20, 30) == 0.5
    assert ratio(60, 20, 30) == 2.0


def test_unknown_figures_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="V14"):
        list(observations(["V144"]))
    with pytest.raises(InputError, match="fitted"):
        calibrate(["V14"])


def test_the_parts_of_a_call_are_its_firmware_commands():
    row = next(each for each in observations(["V9"]) if each.row.label == "Before")
    parts = quantity_parts(row.run(), row.quantity)
    amounts = {part.op for part in parts}
    assert amounts == {"SUSPEND", "unregister notifier", "MODIFY_VQ", "QUERY_VQ"}


def test_calibrate_without_scipy_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(InputError, match="pip install"):
        calibrate()
