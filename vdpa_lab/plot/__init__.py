"""Pictures: data and Axes in, Axes out. The only floor that imports matplotlib, never its global state."""

from vdpa_lab.plot.bars import bars_svg
from vdpa_lab.plot.beside import lanes_figure, windows_figure, write_comparison
from vdpa_lab.plot.bitmap import bitmap_figure, cell_words
from vdpa_lab.plot.distribution import distribution_figure
from vdpa_lab.plot.downtime import Bar, bar_of, draw_downtime, draw_legend, duration_words, shown_windows
from vdpa_lab.plot.files import write_downtime, write_figures
from vdpa_lab.plot.frontier import frontier_figure
from vdpa_lab.plot.growth import draw_growth, write_growth
from vdpa_lab.plot.ladder import draw_ladder
from vdpa_lab.plot.lanes import timeline_svg
from vdpa_lab.plot.memory import memory_figure
from vdpa_lab.plot.pins import pins_figure, write_pins
from vdpa_lab.plot.precopy import draw_remaining, precopy_figure, whole_figure
from vdpa_lab.plot.reproduce import figures_figure
from vdpa_lab.plot.save import save_figure, svg_of, swatch_png
from vdpa_lab.plot.screen import DowntimePicture
from vdpa_lab.plot.style import FAMILIES, Family, family_of
from vdpa_lab.plot.sweep_axes import value_words
from vdpa_lab.plot.sweep_curve import results_figure, shown_axes, sweep_figure
from vdpa_lab.plot.sweeps import attribution_figure, multiples_figure, tornado_figure

__all__ = [
    "FAMILIES",
    "Bar",
    "DowntimePicture",
    "Family",
    "attribution_figure",
    "bar_of",
    "bars_svg",
    "bitmap_figure",
    "cell_words",
    "distribution_figure",
    "draw_downtime",
    "draw_growth",
    "draw_ladder",
    "draw_legend",
    "draw_remaining",
    "duration_words",
    "family_of",
    "figures_figure",
    "frontier_figure",
    "lanes_figure",
    "memory_figure",
    "multiples_figure",
    "pins_figure",
    "precopy_figure",
    "results_figure",
    "save_figure",
    "shown_axes",
    "shown_windows",
    "svg_of",
    "swatch_png",
    "sweep_figure",
    "timeline_svg",
    "tornado_figure",
    "value_words",
    "whole_figure",
    "windows_figure",
    "write_comparison",
    "write_downtime",
    "write_figures",
    "write_growth",
    "write_pins",
]
