"""Units at the door: inside the lab every size is in whole bytes and every time in whole nanoseconds.

`parse_*` reads what people write, `*_text` writes it so that parse(text(x)) == x always, `format_*` rounds
for the eye. KiB, MiB, GiB, TiB are binary and kB, MB, GB, TB decimal (IEC 80000-13); K, M, G, T are binary,
as QEMU's -m means them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PAGE_SIZE = 4 * KIB
US, MS, SECOND = 10**3, 10**6, 10**9

MAX_BYTES = 1 << 60
MAX_NS = 366 * 86_400 * SECOND
MAX_RATE = 1 << 50

UNLIMITED = "unlimited"

BYTE_UNITS = {
    "B": 1,
    "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB,
    "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "K": KIB, "M": MIB, "G": GIB, "T": TIB,
}  # fmt: skip
TIME_UNITS = {"ns": 1, "us": US, "µs": US, "μs": US, "ms": MS, "s": SECOND, "min": 60 * SECOND}
BIT_UNITS = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9, "Tbit/s": 10**12}
RATE_UNITS: dict[str, int | Fraction] = {f"{name}/s": size for name, size in BYTE_UNITS.items()}
RATE_UNITS |= {name: Fraction(bits, 8) for name, bits in BIT_UNITS.items()}

_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-zµμ/]{1,8})")


class UnitError(ValueError):
    """A text that is no size, duration or rate; says what was given and what is allowed."""


def _parse(text: str, what: str, units: Mapping[str, int | Fraction], low: str, bound: int) -> int:
    """Base units nearest to `text`; UnitError if it is malformed, above `bound`, or rounded to nothing."""
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        spelled = ", ".join(name for name in units if name != "μs")
        given = repr(text) if len(repr(text)) <= 80 else f"{repr(text)[:76]} ..."
        raise UnitError(f"{given} is not a {what}: give a number, not negative, and a unit of {spelled}")
    exact = Fraction(match[1]) * units[match[2]]
    value = round(exact)
    if value > bound:
        raise UnitError(f"{text!r} is too large for a {what}: at most {bound} {low} are allowed")
    if exact and not value:
        raise UnitError(f"{text!r} is too small for a {what}: at least 1 {low}, or 0, is allowed")
    return value


def parse_bytes(text: str) -> int:
    """Bytes of "128GiB", "1.5 MB", "64K", to the nearest byte. UnitError unless 0 .. MAX_BYTES."""
    return _parse(text, "size", BYTE_UNITS, "B", MAX_BYTES)


def parse_duration(text: str) -> int:
    """Nanoseconds of "300ms", "1.5 s", "12µs", to the nearest ns. UnitError unless 0 .. MAX_NS."""
    return _parse(text, "duration", TIME_UNITS, "ns", MAX_NS)


def parse_rate(text: str) -> int | None:
    """Bytes per second of "128MiB/s" or "100Gbit/s"; None for "unlimited". UnitError unless 0 .. MAX_RATE."""
    return None if text == UNLIMITED else _parse(text, "rate", RATE_UNITS, "B/s", MAX_RATE)


def _exact(value: int, units: Mapping[str, int | Fraction], names: tuple[str, ...]) -> tuple[int, str]:
    """`value` as a whole number of the first of `names` (largest first) that divides it."""
    for name in names:
        count = Fraction(value) / units[name]
        if value and count.denominator == 1:
            return int(count), name
    return value, names[-1]


_BYTE_NAMES = ("TiB", "GiB", "MiB", "KiB", "B")
_TIME_NAMES = ("s", "ms", "us", "ns")
_RATE_NAMES = ("TiB/s", "GiB/s", "MiB/s", "Tbit/s", "Gbit/s", "Mbit/s", "KiB/s", "kbit/s", "B/s")


def bytes_text(size: int) -> str:
    """Exact text of a size in bytes: parse_bytes(bytes_text(x)) == x for 0 .. MAX_BYTES."""
    return "{}{}".format(*_exact(size, BYTE_UNITS, _BYTE_NAMES))


def duration_text(ns: int) -> str:
    """Exact text of a duration in ns: parse_duration(duration_text(x)) == x for 0 .. MAX_NS."""
    return "{}{}".format(*_exact(ns, TIME_UNITS, _TIME_NAMES))


def rate_text(rate: int | None) -> str:
    """Exact text of bytes per second, or None: parse_rate(rate_text(x)) == x for 0 .. MAX_RATE."""
    return UNLIMITED if rate is None else "{}{}".format(*_exact(rate, RATE_UNITS, _RATE_NAMES))


def _rounded(value: float, digits: int) -> str:
    """`value` at `digits` significant digits, no trailing zeros, digits before the point never cut."""
    decimals = max(0, digits - len(str(int(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_duration(ns: float) -> str:
    """Nanoseconds for the eye: "1.234 s", "56.7 ms", "12 µs"; a negative difference keeps its sign."""
    sign, rest = ("-", -ns) if ns < 0 else ("", ns)
    for name, size, digits in (("ns", 1, 3), ("µs", US, 3), ("ms", MS, 3), ("s", SECOND, 4)):
        text = _rounded(rest / size, digits)
        if float(text) < 1000 or name == "s":
            return f"{sign if float(text) else ''}{text} {name}"
    raise AssertionError("seconds end the loop")  # pragma: no cover


def format_bytes(size: float) -> str:
    """Bytes for the eye: "128 GiB", "1.5 MiB", "11.64 GiB", "0 B"; a negative difference keeps its sign."""
    sign, rest = ("-", -size) if size < 0 else ("", size)
    for name in ("B", "KiB", "MiB", "GiB", "TiB"):
        text = _rounded(rest / BYTE_UNITS[name], 4)
        if float(text) < KIB or name == "TiB":
            return f"{sign if float(text) else ''}{text} {name}"
    raise AssertionError("TiB ends the loop")  # pragma: no cover


def format_rate(rate: int | None) -> str:
    """Bytes per second for the eye: "128 MiB/s", "100 Gbit/s" where that is exact, "unlimited" for None."""
    if rate is None:
        return UNLIMITED
    count, name = _exact(rate, RATE_UNITS, _RATE_NAMES)
    return f"{count} {name}" if count < 10_000 else f"{format_bytes(rate)}/s"
