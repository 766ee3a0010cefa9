"""Colours and hatches of the families for SVG that is written by hand, in the sense of the other pictures."""

from __future__ import annotations

from functools import cache

from vdpa_lab.plot.style import EDGE, FAMILIES

STROKES = {
    "/": "M0,6 L6,0",
    "\\": "M0,0 L6,6",
    "|": "M3,0 V6",
    "-": "M0,3 H6",
    "+": "M3,0 V6 M0,3 H6",
    "x": "M0,0 L6,6 M0,6 L6,0",
}


@cache
def patterns(ids: str) -> str:
    """A pattern for each family with a hatch. A pattern in a hidden part of the page paints nothing anywhere, so each
    picture brings its own: `ids` begins their ids."""
    parts = [
        f"<pattern id='{ids}-{family.name}' width='6' height='6' patternUnits='userSpaceOnUse'>"
        f"<rect width='6' height='6' fill='{family.color}'/>"
        f"<path d='{STROKES[family.hatch[0]]}' stroke='{EDGE}' stroke-width='1' fill='none'/></pattern>"
        for family in FAMILIES.values()
        if family.hatch
    ]
    return f"<defs>{''.join(parts)}</defs>"


def fill(name: str, ids: str) -> str:
    """The value of a fill attribute for a family."""
    family = FAMILIES[name]
    return f"url(#{ids}-{name})" if family.hatch else family.color
