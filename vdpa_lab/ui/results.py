"""The results: status line, figure, legend and totals of the present run. One look at the state, one drawing."""

from __future__ import annotations

import ipywidgets as widgets
from matplotlib.figure import Figure

from vdpa_lab.plot import bar_of, draw_downtime, screen_png, wipe
