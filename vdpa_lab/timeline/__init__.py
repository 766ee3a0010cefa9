"""Spans, marks, windows and their exact breakdown: the one shape of a simulated run and of a real trace."""

from vdpa_lab.timeline.breakdown import Part, breakdown, summed
from vdpa_lab.timeline.spans import Lane, Span, Term, Timeline
from vdpa_lab.timeline.windows import WINDOWS, Window, intervals, window_ns

__all__ = [
    "WINDOWS",
    "Lane",
    "Part",
    "Span",
    "Term",
    "Timeline",
    "Window",
    "breakdown",
    "intervals",
    "summed",
    "window_ns",
]
