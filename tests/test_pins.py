"""Micro-benchmarks of pinning: every time by its pages, beside the prices."""

import csv
from dataclasses import replace

import pytest

from vdpa_lab.beside.pins import page_ns, pin_benchmarks, pin_table
from vdpa_lab.library import priors, read_figures
from vdpa_lab.plot import pins_figure, write_pins
from vdpa_lab.words import InputError

FIGURES = {figure.name: figure for figure in read_figures()}


def row(figure, label):
    return next(each for each in FIGURES[figure].rows if each.label == label)


@pytest.mark.parametrize(
    ("figure", "label", "by_hand"),
    [
        ("M21", "THP, cold, 128G", 29.5e9 / 33_554_432),  # the size stands in the label
        ("M26", "PIN_LONGTERM, before", 87_600e3 / 4_194_304),  # in the configuration, before that of the pages
        ("M27", "1G huge pages, after", 27_500e3 / 4_194_304),
        ("M25", "HUGETLBFS", 0.136e9 / 4_194_304),
    ],
)
def test_a_time_by_its_pages(figure, label, by_hand):
    found = page_ns(FIGURES[figure], row(figure, label))
    assert found.ns == pytest.approx(by_hand)
    assert found.error / found.ns == pytest.approx(row(figure, label).resolution / row(figure, label).low)


def test_a_row_without_a_size_is_refused():
    figure = replace(FIGURES["M25"], configuration="base 6.16-rc4")
    with pytest.raises(InputError, match=r"M25.*'HUGETLBFS'.*no size"):
        page_ns(figure, row("M25", "HUGETLBFS"))


def test_no_patched_build_and_no_other_user_is_taken():
    found = pin_benchmarks()
    assert set(found) <= set(priors())
    labels = [each.row.label for times in found.values() for each in times]
    assert not [label for label in labels if "patched" in label or "FAST" in label]
    assert {each.figure.name for times in found.values() for each in times} == {
        "M21",
        "M22",
        "M24",
        "M25",
        "M26",
        "M27",
    }
    assert [len(found[key]) for key in ("pin_cold.thp", "pin_warm.thp", "unpin.1G")] == [6, 7, 1]


def test_every_prior_lies_within_its_range_which_reaches_a_published_time():
    for key, times in pin_benchmarks().items():
        cost = priors()[key]
        low, value, high = (cost.in_unit(each) for each in (cost.low, cost.value, cost.high))
        assert low <= value <= high
        assert min(each.ns - each.error for each in times) < 1.02 * high, key


def test_what_the_fit_made_of_them():
    table = pin_table()
    for key in ("pin_warm.4k", "unpin.4k", "pin_cold.thp"):
        assert table["published from"][key] < table["used"][key] < table["to"][key]
    for key in ("pin_warm.thp", "unpin.thp"):  # said in the notebook: below every published time
        assert table["used"][key] < table["published from"][key]


def test_the_picture_has_every_price_and_every_time():
    (axes,) = pins_figure().axes
    assert [label.get_text().split()[0] for label in axes.get_yticklabels()] == list(pin_benchmarks())
    drawn = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    times = [each for row in pin_benchmarks().values() for each in row]
    assert len(drawn) == len(times)
    assert min(line.get_xdata()[0] for line in drawn) > 0, "a printed zero has a place on a logarithmic axis"
    assert axes.get_xscale() == "log"


def test_files_hold_every_time_and_are_the_same_again(tmp_path):
    first = [path.read_bytes() for path in write_pins(tmp_path / "a")]
    assert [path.read_bytes() for path in write_pins(tmp_path / "b")] == first
    with (tmp_path / "a" / "pinning.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times = {(key, each.row.label, each.figure.name): each.ns for key, row in pin_benchmarks().items() for each in row}
    assert len(rows) == len(times)
    for each in rows:
        assert float(each["published"]) == pytest.approx(times[each["price"], each["row"], each["figure"]], abs=0.001)
        assert float(each["low"]) <= float(each["used"]) <= float(each["high"])
    assert b"ns a page of 4 KiB" in first[1]
