"""One colour and one hatch per family of costs, in every picture; ink that reads on light and dark."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from matplotlib.patches import Patch

# Okabe & Ito, Color Universal Design (2008); older matplotlib versions do not carry it.
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
INK = "#7A7A7A"  # as good on JupyterLab's light background as on its dark one: 4.3 : 1
PAPER_INK = "#222222"  # for white faces: files, and figures shown as they are
EDGE = "#808080"
FONT_SIZE = 8.5


class Family(NamedTuple):
    """A family of costs: how it is drawn, and its name in words."""

    name: str
    title: str
    color: str
    hatch: str = ""

    @property
    def label_color(self) -> str:
        """Black or white, whichever reads better on the family's colour (WCAG 2.2, relative luminance)."""
        red, green, blue = (int(self.color[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        return "#000000" if luminance > 0.179 else "#ffffff"


# In the order in which they are stacked. Grey means: no mechanism behind it. Hatches of straight lines, and few of
# them: dots and rings take matplotlib up to ten times as long to draw.
FAMILIES = {
    family.name: family
    for family in (
        Family("pin", "memory pinning", OKABE_ITO["blue"]),
        Family("unpin", "unpinning", OKABE_ITO["sky"], "///"),
        Family("map", "map rebuild (set_map, MTT, entries)", OKABE_ITO["orange"]),
        Family("mkey", "MKEY commands", OKABE_ITO["vermillion"], "\\\\\\"),
        Family("vq", "virtqueue commands", OKABE_ITO["green"]),
        Family("cvq", "control virtqueue", OKABE_ITO["purple"]),
        Family("qemu", "notifiers and QEMU", OKABE_ITO["yellow"]),
        Family("state", "device state", OKABE_ITO["purple"], "+++"),
        Family("link", "last RAM and link", OKABE_ITO["green"], "|||"),
        Family("unexplained", "unexplained constant", "#B8B8B8", "xx"),
        Family("waiting", "waiting", "#E6E6E6"),
        Family("other", "operations without a price", "#CFCFCF", "---"),
    )
}
# Prefix of a cost's key -> family; the longest prefix that fits counts.
PREFIXES = {
    "pin_": "pin",
    "unpin.": "unpin",
    "set_map.": "map",
    "iotlb.": "map",
    "iommu.": "map",
    "vhost.message": "map",
    "mlx5.mtt": "map",
    "mlx5.mkey": "mkey",
    "mlx5.gc_delay": "mkey",
    "mlx5.command": "vq",
    "mlx5.resume": "vq",
    "mlx5.vq": "vq",
    "cvq.": "cvq",
    "mlx5.notifier": "qemu",
    "vhost.ioctl": "qemu",
    "qemu.": "qemu",
    "vmstate.": "state",
    "scenario.": "link",
    "bitmap.": "link",
    "ram.": "link",
    "ring.": "qemu",
    "admin.": "vq",
    "unexplained.": "unexplained",
    "(waiting)": "waiting",
}


@cache
def family_of(key: str) -> Family:
    """The family of a cost's key; "other" for an operation that a foreign trace names and nobody priced."""
    fitting = [prefix for prefix in PREFIXES if key.startswith(prefix)]
    return FAMILIES[PREFIXES[max(fitting, key=len)] if fitting else "other"]


def look(family: Family) -> dict:
    """The family's appearance, as arguments of patches and collections."""
    return {"facecolor": family.color, "hatch": family.hatch, "edgecolor": EDGE, "linewidth": 0.5}


def swatch(family: Family) -> Patch:
    """The family as it stands in a legend."""
    return Patch(label=family.title, **look(family))
