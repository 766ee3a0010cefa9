"""What stands at the axes of a sweep's pictures: values in their order, in words, with units, as many as fit."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter

from vdpa_lab.library.features import version
from vdpa_lab.migration import catalogue
from vdpa_lab.migration.optimization import knobs_of
from vdpa_lab.plot.style import FONT_SIZE
from vdpa_lab.sweep.axes import KNOB, PRICE, scenario_kinds
from vdpa_lab.timeline import WINDOWS
from vdpa_lab.units import (
    format_bytes,
    format_duration,
    format_rate,
    parse_bytes,
    parse_duration,
    parse_rate,
)

NS = "_ns"  # what a column of ns ends in
# Units of keys whose values are plain numbers, where the key itself does not say what is counted.
UNITS = {
    "device.count": "devices", "device.queue_size": "entries", "device.cvq_size": "entries", "guest.vcpus": "vCPUs",
    "guest.dirty_ring_size": "entries", "guest.zero_pages": "share of RAM", "workload.dirty.rate": "pages/s",
    "workload.traffic.rx_pps": "packets/s", "workload.traffic.tx_pps": "packets/s", "workload.traffic.packet": "bytes",
}  # fmt: skip
LETTER, LINE = 0.55 * FONT_SIZE / 72, 1.5 * FONT_SIZE / 72  # inches, about: the width of one, the height of one


@cache
def _writers() -> dict[str, Callable[[float], str]]:
    """Key of a scenario -> its values for the eye, where they are sizes, durations or rates."""
    by_reader = {parse_bytes: format_bytes, parse_duration: format_duration, parse_rate: lambda n: format_rate(int(n))}
    return {key: by_reader[kind.read] for key, kind in scenario_kinds() if kind.read in by_reader}


def value_words(key: str, value: Any) -> str:
    """A value of a sweep's column for the eye, by the key that it is of."""
    if pd.isna(value):
        return "–"
    if isinstance(value, float) and np.isinf(value):
        return "unlimited"
    if key in _writers():
        return _writers()[key](float(value))
    if key.endswith(NS):
        return format_duration(float(value))
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def column_words(key: str) -> str:
    """What a column holds: a window's title, or the key."""
    if not key.endswith(NS):
        return key
    name = key.removesuffix(NS)
    return WINDOWS[name].title if name in WINDOWS else name.replace("_", " ").capitalize()


def axis_words(key: str) -> str:
    """What a column holds, with the unit that its values are in at an axis unless their own words carry it."""
    part, _, rest = key.partition(".")
    unit = UNITS.get(key, "")
    if part == KNOB:
        name, _, knob = rest.partition(".")
        unit = knobs_of(catalogue()[name])[knob]["unit"]
    elif part == PRICE:
        unit = "times the price"
    elif key.endswith(NS):
        unit = "s"
    return column_words(key) + (f", {unit}" if unit else "")


def ordered(values: Iterable[Any]) -> list[Any]:
    """Different values as an axis has them: numbers by value, versions by version, all else as it first appears."""
    found = list(dict.fromkeys(values))
    for order in (_number, version):
        try:
            return sorted(found, key=order)
        except (TypeError, ValueError):
            continue
    return found


def _number(value: Any) -> float:
    if isinstance(value, (bool, np.bool_, str)):
        raise TypeError("no number")
    return float(value)


def check_columns(table: pd.DataFrame, value: str, *keys: str) -> None:
    """Raise ValueError when a column is missing, or when no run has a `value`."""
    for name in (value, *keys):
        if name not in table.columns:
            raise ValueError(f"no column {name!r}; there are {', '.join(table.columns)}")
    if table[value].isna().all():
        raise ValueError(f"no run has a {value}")


def put_values(axis: Axis, key: str, values: Sequence[Any], ink: str) -> None:
    """Values at 0, 1, 2 … of an axis: all where their words fit, else each second, third … to the last; and a label.

    Long words are broken into lines. What fits is told from the room that the axes have when this is called.
    """
    words = [value_words(key, each) for each in values]
    if axis.axis_name == "y":
        most = axis.axes.get_window_extent().height / axis.axes.figure.dpi / LINE
    else:
        letters = letters_across(axis.axes)
        if sum(map(len, words)) > letters:
            wide = max(12, int(letters / len(words)) - 2)
            words = [textwrap.fill(each.replace("+", " + "), wide, break_long_words=False) for each in words]
        most = letters / (2 + max(len(line) for line in chain.from_iterable(map(str.splitlines, words))))
    shown = range(len(words) - 1, -1, -ceil(len(words) / max(2, most)))[::-1]
    axis.set_ticks(shown, [words[at] for at in shown], fontsize=FONT_SIZE)
    axis.set_label_text(axis_words(key), color=ink, fontsize=FONT_SIZE)


def letters_across(axes: Axes) -> float:
    """How many letters find room from one side of the axes to the other, about."""
    return axes.get_window_extent().width / axes.figure.dpi / LETTER


def put_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times the powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:.10g}")
    axis.set_minor_formatter(NullFormatter())
