"""Kinds of values: what is allowed, how TOML spells it, how it is written: one description for all three."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vdpa_lab.units import (
    bytes_text,
    duration_text,
    parse_bytes,
    parse_duration,
    parse_rate,
    rate_text,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    allowed: a noun phrase, for messages. accepts: is this a good value, in the lab's own units? read: TOML
    value -> value (may raise UnitError; what it returns is still checked). write: value -> TOML text. record:
    the class of a nested table, `many` of them in a list.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = lambda raw: raw
    write: Callable[[Any], str] = str
    record: type | None = None
    many: bool = False


def toml_string(text: str) -> str:
    """A TOML basic string on one line (TOML 1.0.0, String)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'


def _quoted(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: toml_string(write(value))


def _is_int(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def whole(low: int, high: int) -> Kind:
    """A whole number, low .. high."""
    return Kind(f"a whole number from {low} to {high}", lambda value: _is_int(value, low, high))


def power_of_two(low: int, high: int) -> Kind:
    """A power of two, low .. high."""
    return Kind(
        f"a power of two from {low} to {high}",
        lambda value: _is_int(value, low, high) and value.bit_count() == 1,
    )


def size(low: int, high: int, step: int = 1) -> Kind:
    """Bytes, low .. high, a multiple of step; spelled "128GiB"."""
    multiple = f", a multiple of {bytes_text(step)}" if step > 1 else ""
    return Kind(
        f'a size such as "256MiB" from {bytes_text(low)} to {bytes_text(high)}{multiple}',
        lambda value: _is_int(value, low, high) and value % step == 0,
        parse_bytes,
        _quoted(bytes_text),
    )


def duration(low: int, high: int) -> Kind:
    """Nanoseconds, low .. high; spelled "300ms"."""
    return Kind(
        f'a duration such as "100ms" from {duration_text(low)} to {duration_text(high)}',
        lambda value: _is_int(value, low, high),
        parse_duration,
        _quoted(duration_text),
    )


def rate(low: int, high: int) -> Kind:
    """Bytes per second, low .. high, or None for "unlimited"; spelled "128MiB/s" or "100Gbit/s"."""
    return Kind(
        f'a rate such as "128MiB/s" or "10Gbit/s" from {rate_text(low)} to {rate_text(high)}, or "unlimited"',
        lambda value: value is None or _is_int(value, low, high),
        parse_rate,
        _quoted(rate_text),
    )


def flag() -> Kind:
    """True or false."""
    return Kind("true or false", lambda value: type(value) is bool, write=lambda value: str(value).lower())


def share() -> Kind:
    """A part of a whole, 0.0 .. 1.0."""
    return Kind(
        "a number from 0 to 1",
        lambda value: type(value) in (int, float) and 0 <= value <= 1,
        write=lambda value: repr(float(value)),
    )


def choice(*words: str) -> Kind:
    """One of a few words."""
    listed = " | ".join(words)
    return Kind(listed, lambda value: type(value) is str and value in words, write=toml_string)


def word(pattern: str, allowed: str) -> Kind:
    """A text that wholly matches the regular expression `pattern`."""
    compiled = re.compile(pattern)
    return Kind(allowed, lambda value: type(value) is str and compiled.fullmatch(value) is not None, write=toml_string)


def _is_plain(value: object, longest: int) -> bool:
    if type(value) is not str or len(value) > longest:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def prose(longest: int) -> Kind:
    """Any Unicode text of at most `longest` characters."""
    return Kind(f"a text of at most {longest} characters", lambda value: _is_plain(value, longest), write=toml_string)


def hexadecimal(bits: int, step: int = 1) -> Kind:
    """A number below 2**bits, a multiple of step; spelled "0x300830000" or as a TOML integer."""
    multiple = f", a multiple of {step:#x}" if step > 1 else ""

    def read(raw: object) -> object:
        return int(raw, 16) if type(raw) is str and re.fullmatch("0x[0-9a-fA-F]{1,32}", raw) else raw

    return Kind(
        f'a number such as "0x1000" below {1 << bits:#x}{multiple}',
        lambda value: _is_int(value, 0, (1 << bits) - 1) and value % step == 0,
        read,
        lambda value: f'"{value:#x}"',
    )


def values(one: Kind, most: int) -> Kind:
    """A tuple of values of the kind `one`, at most `most`; a TOML array."""
    return Kind(
        f"a list of at most {most} values, each {one.allowed}",
        lambda value: type(value) is tuple and len(value) <= most and all(map(one.accepts, value)),
        lambda raw: tuple(map(one.read, raw)) if type(raw) is list else raw,
        lambda value: f"[{', '.join(map(one.write, value))}]",
    )


def words(one: Kind, most: int) -> Kind:
    """A tuple of different values of the kind `one`, at most `most`; a TOML array."""
    listed = values(one, most)
    return replace(
        listed,
        allowed=listed.allowed.replace(" values,", " different values,"),
        accepts=lambda value: listed.accepts(value) and len(set(value)) == len(value),
    )


def record(cls: type) -> Kind:
    """A nested record: a TOML table."""
    return Kind(f"a table ({cls.__name__})", lambda value: isinstance(value, cls), record=cls)


def records(cls: type, most: int) -> Kind:
    """A tuple of nested records, at most `most`: a TOML array of inline tables, or of rows."""
    return Kind(
        f"a list of at most {most} entries ({cls.__name__})",
        lambda value: type(value) is tuple and len(value) <= most and all(isinstance(each, cls) for each in value),
        record=cls,
        many=True,
    )


def optional(kind: Kind, none: object = None) -> Kind:
    """The kind, or `none`, which a file spells by leaving the key out."""
    return Kind(
        kind.allowed,
        lambda value: value is none or kind.accepts(value),
        kind.read,
        kind.write,
        kind.record,
        kind.many,
    )
