"""The probe measures what the host allows, says what it does not, and writes prices that a run can use."""

import errno
import json

import pytest

from vdpa_lab import probe as package
from vdpa_lab.cli import main
from vdpa_lab.library import costs_text, parse_costs, priors, read_calibration
from vdpa_lab.migration import simulate
from vdpa_lab.model import find_scenario
from vdpa_lab.probe import pages, probe
from vdpa_lab.units import MIB
from vdpa_lab.words import InputError

KINDS = ("pin_cold", "pin_warm", "unpin")


@pytest.fixture(scope="module")
def found():
    return probe(16 * MIB, rounds=2)


def test_each_kind_of_page_is_measured_or_named_as_missing(found):
    keys = {cost.key for cost in found.costs}
    for backing in package.BACKINGS:
        measured = {f"{kind}.{backing}" for kind in KINDS}
        assert measured <= keys or any(f"pages of {backing}:" in why for why in found.missing)
    assert {"ram.copy_page", "ram.zero_page", "bitmap.sync_word"} <= keys
    assert found.way
    assert "Linux" in found.host or found.host


def test_prices_lie_within_their_range_and_a_cold_page_costs_more(found):
    prices = {cost.key: cost for cost in found.costs}
    assert all(cost.low <= cost.value <= cost.high for cost in found.costs)
    measured = [backing for backing in package.BACKINGS if f"pin_cold.{backing}" in prices]
    for backing in measured:
        assert prices[f"pin_cold.{backing}"].value > prices[f"pin_warm.{backing}"].value > 0
    assert all(cost.basis == "measured" for cost in found.costs if not cost.key.startswith("unexplained."))


def test_a_run_can_use_what_was_measured(found, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(costs_text(found.costs))
    assert [cost.key for cost in parse_costs(path.read_text(), "mine")] == [cost.key for cost in found.costs]
    ran = simulate(find_scenario("sim-256-1d"), calibration=read_calibration(str(path)))
    assert ran.windows["network_outage"] > 0


def test_where_io_uring_is_refused_pages_are_locked_and_that_is_said(monkeypatch):
    def refused(self):
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(package.IoUring, "__init__", refused)
    found = probe(16 * MIB, rounds=1)
    assert "mlock" in found.way
    assert any("io_uring cannot be used here" in why for why in found.missing)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EPERM])
def test_a_limit_that_is_too_low_is_named(monkeypatch, number):
    def refused(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(package, "pin_times", refused)
    monkeypatch.setattr(package.resource, "getrlimit", lambda what: (MIB, MIB))
    found = probe(16 * MIB, rounds=1)
    assert [why for why in found.missing if "RLIMIT_MEMLOCK is 1 MiB: raise it with ulimit -l" in why]
    assert any("vm.nr_hugepages" in why for why in found.missing)
    assert not any(cost.key.startswith("pin") for cost in found.costs)


def test_small_pages_instead_of_huge_ones_are_no_measurement(monkeypatch):
    monkeypatch.setattr(pages, "huge_bytes", lambda address: 0)
    with pytest.raises(OSError, match="huge pages of 0 of"):
        pages.pin_times(pages.Mlock(), 2 * MIB, "thp", 1)


def test_the_mapping_of_an_address_is_found():
    with pages.memory(4 * MIB, "4k") as address:
        assert pages.huge_bytes(address) == 0
    assert pages.huge_bytes(0) == 0


@pytest.mark.parametrize(("memory", "rounds", "said"), [(3 * MIB, 1, "multiple of 2MiB"), (2 << 30, 1, "--yes"),
                                                        (16 * MIB, 0, "0 rounds")])  # fmt: skip
def test_sizes_out_of_bounds_are_refused(memory, rounds, said):
    with pytest.raises(InputError, match=said):
        probe(memory, rounds)


def test_on_the_command_line(capsys, tmp_path):
    out = tmp_path / "here.csv"
    assert main(["probe", "--memory", "16MiB", "--rounds", "1", "--json", "--out", str(out)]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert "memory copy" in told.err
    assert {cost["key"] for cost in document["costs"]} == {cost.key for cost in parse_costs(out.read_text(), "here")}
    assert main(["probe", "--memory", "16MiB", "--rounds", "1"]) == 0
    text = capsys.readouterr().out
    assert "bitmap.sync_word" in text
    assert "pinned by" in text
    assert main(["probe", "--memory", "4GiB"]) == 2
    assert priors()["bitmap.sync_word"].value > 0
