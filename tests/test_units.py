"""Units at the door: what people write, exact text for files, rounded text for the eye."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdpa_lab import units
from vdpa_lab.units import (
    GIB,
    KIB,
    MAX_BYTES,
    MAX_NS,
    MAX_RATE,
    MIB,
    MS,
    PAGE_SIZE,
    SECOND,
    TIB,
    US,
    UnitError,
    bytes_text,
    duration_text,
    format_bytes,
    format_duration,
    format_rate,
    parse_bytes,
    parse_duration,
    parse_rate,
    rate_text,
)


def test_constants():
    assert (KIB, MIB, GIB, TIB, PAGE_SIZE) == (2**10, 2**20, 2**30, 2**40, 4096)
    assert (US, MS, SECOND) == (1_000, 1_000_000, 1_000_000_000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("1B", 1),
        ("4096 B", 4096),
        ("128GiB", 128 * GIB),
        ("1.5KiB", 1536),
        ("3TiB", 3 * TIB),
        ("2MiB", 2 * MIB),
        ("1kB", 1000),
        ("1.5 MB", 1_500_000),
        ("2GB", 2 * 10**9),
        ("1TB", 10**12),
        ("64K", 64 * KIB),
        ("256M", 256 * MIB),
        ("4G", 4 * GIB),
        ("1T", TIB),
        ("1.3KiB", 1331),  # 1331.2: the nearest byte
        ("1024.0TiB", 1024 * TIB),
    ],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("17ns", 17),
        ("12us", 12_000),
        ("12µs", 12_000),
        ("12μs", 12_000),  # Greek mu beside the micro sign
        ("300ms", 300 * MS),
        ("1.234567891 s", 1_234_567_891),
        ("2min", 120 * SECOND),
    ],
)
def test_durations(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("unlimited", None),
        ("128MiB/s", 128 * MIB),
        ("128M/s", 128 * MIB),
        ("1 MB/s", 1_000_000),
        ("8bit/s", 1),
        ("100Gbit/s", 12_500_000_000),
        ("2.5Gbit/s", 312_500_000),
        ("80kbit/s", 10_000),
        ("1Mbit/s", 125_000),
        ("1Tbit/s", 125_000_000_000),
        ("0B/s", 0),
    ],
)
def test_rates(text, rate):
    assert parse_rate(text) == rate


BAD = [
    "",
    " ",
    "5",
    "GiB",
    "-1GiB",
    "-1ms",
    "nan s",
    "NaNB",
    "inf GiB",
    "1e9B",
    "1_000B",
    "0x10B",
    "1 GiB ",
    " 1GiB",
]
BAD += [
    "1,5GiB",
    "1.GiB",
    ".5GiB",
    "1gib",
    "1KB",
    "1GIB",
    "1  GiB",
    "١GiB",
    "1GiB\n",
    "5parsec",
    "9" * 21 + "B",
    None,
    5,
]


@pytest.mark.parametrize("parse", [parse_bytes, parse_duration, parse_rate])
@pytest.mark.parametrize("text", BAD)
def test_bad_text_says_what_was_given_and_what_is_allowed(parse, text):
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert "a unit of " in str(caught.value)


def test_units_of_another_quantity_are_refused():
    for parse, text in [
        (parse_bytes, "1ms"),
        (parse_duration, "1GiB"),
        (parse_rate, "1GiB"),
        (parse_bytes, "1B/s"),
    ]:
        with pytest.raises(UnitError, match="is not a"):
            parse(text)


def test_unlimited_is_a_rate_only():
    for parse in (parse_bytes, parse_duration):
        with pytest.raises(UnitError, match="unlimited"):
            parse("unlimited")


def test_absurd_amounts_are_refused():
    for parse, text in [
        (parse_bytes, "1048577TiB"),
        (parse_duration, "999999min"),
        (parse_rate, "1025TiB/s"),
    ]:
        with pytest.raises(UnitError, match="too large"):
            parse(text)
    for parse, text in [(parse_bytes, "0.1B"), (parse_duration, "0.4ns"), (parse_rate, "1bit/s")]:
        with pytest.raises(UnitError, match="too small"):
            parse(text)


def test_a_long_bad_text_is_cut():
    with pytest.raises(UnitError) as caught:
        parse_bytes("x" * 100_000)
    assert len(str(caught.value)) < 300


@given(st.integers(0, MAX_BYTES))
def test_every_size_survives_its_text(size):
    assert parse_bytes(bytes_text(size)) == size


@given(st.integers(0, MAX_NS))
def test_every_duration_survives_its_text(ns):
    assert parse_duration(duration_text(ns)) == ns


@given(st.none() | st.integers(0, MAX_RATE))
def test_every_rate_survives_its_text(rate):
    assert parse_rate(rate_text(rate)) == rate


@given(st.sampled_from(sorted(units.BYTE_UNITS)), st.integers(1, 2**20))
def test_round_sizes_survive_too(unit, count):
    size = count * units.BYTE_UNITS[unit]
    assert parse_bytes(f"{count}{unit}") == parse_bytes(bytes_text(size)) == size


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused(text):
    for parse in (parse_bytes, parse_duration, parse_rate):
        try:
            value = parse(text)
        except UnitError:
            continue
        assert value is None or value >= 0


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (bytes_text(128 * GIB), "128GiB"),
        (bytes_text(1500), "1500B"),
        (bytes_text(0), "0B"),
        (duration_text(300 * MS), "300ms"),
        (duration_text(60 * SECOND), "60s"),
        (duration_text(1), "1ns"),
        (rate_text(128 * MIB), "128MiB/s"),
        (rate_text(12_500_000_000), "100Gbit/s"),
        (rate_text(3125), "25kbit/s"),
        (rate_text(1), "1B/s"),
        (rate_text(None), "unlimited"),
    ],
)
def test_exact_text_is_what_people_write(written, text):
    assert written == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (0.2, "0.2 ns"),
        (999, "999 ns"),
        (12_000, "12 µs"),
        (1_500, "1.5 µs"),
        (56_700_000, "56.7 ms"),
        (300_000_000, "300 ms"),
        (999_999_999, "1 s"),
        (1_234_000_000, "1.234 s"),
        (20_123_456_789, "20.12 s"),
        (12_345_600_000_000, "12346 s"),
        (-56_700_000, "-56.7 ms"),
        (-0.0001, "0 ns"),
    ],
)
def test_durations_for_the_eye(ns, text):
    assert format_duration(ns) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (128 * GIB, "128 GiB"),
        (GIB - 1, "1 GiB"),
        (5000 * TIB, "5000 TiB"),
        (-2 * MIB, "-2 MiB"),
    ],
)
def test_sizes_for_the_eye(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "unlimited"),
        (128 * MIB, "128 MiB/s"),
        (12_500_000_000, "100 Gbit/s"),
        (123_456_789, "117.7 MiB/s"),
        (0, "0 B/s"),
    ],
)
def test_rates_for_the_eye(rate, text):
    assert format_rate(rate) == text


@given(st.integers(0, MAX_NS))
def test_a_rounded_duration_is_near(ns):
    assert parse_duration(format_duration(ns)) == pytest.approx(ns, rel=6e-3)
