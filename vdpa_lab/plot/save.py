"""Pictures as bytes: the same figure gives the same file, and the file says what it shows."""

from __future__ import annotations

import io
from functools import cache
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vdpa_lab.plot.style import FAMILIES, PAPER_INK, look

# Ids from a salt instead of from chance, text as text, and no date: equal data give equal bytes.
STABLE = {"svg.hashsalt": "vdpa_lab", "svg.fonttype": "none", "pdf.fonttype": 42}
FORMATS = ("svg", "pdf", "png")


def _metadata(form: str, title: str, description: str) -> dict[str, str | None]:
    if form == "svg":
        return {"Date": None, "Title": title, "Description": description}
    if form == "pdf":
        return {"CreationDate": None, "Title": title, "Subject": description}
    return {"Software": None, "Title": title, "Description": description}


def save_figure(figure: Figure, path: str | Path, *, title: str = "", description: str = "", dpi: int = 150) -> Path:
    """Write the figure as the format that the name ends in; give the path.

    title and description go into the file: what is shown, of which scenario, with which version. Exports are
    white. Raises ValueError for another format, OSError if it cannot be written.
    """
    path = Path(path)
    form = path.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise ValueError(f"{path.name}: a picture is written as {', '.join(FORMATS)}")
    with matplotlib.rc_context(STABLE):
        figure.savefig(path, format=form, dpi=dpi, facecolor="white", metadata=_metadata(form, title, description))
    return path


def svg_of(figure: Figure, title: str) -> str:
    """The figure as an SVG element for a page of either theme, named for who cannot see it.

    No face; what is black or PAPER_INK takes the text colour of the page, what is white its background.
    """
    out = io.StringIO()
    with matplotlib.rc_context(STABLE):
        figure.savefig(out, format="svg", transparent=True, metadata=_metadata("svg", title, ""))
    text = out.getvalue()
    element = text[text.index("<svg") :]
    for ink in ("#000000", PAPER_INK):
        element = element.replace(ink, "currentColor")
    element = element.replace("fill: #ffffff", "fill: var(--jp-layout-color1, #fff)")
    # Text that matplotlib leaves black has no fill of its own.
    return element.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" fill="currentColor" ', 1)


def screen_png(figure: Figure, scale: float) -> bytes:
    """The figure as a transparent PNG at 100 dpi times `scale`, compressed lightly: for the screen."""
    figure.set_dpi(100 * scale)
    figure.patch.set_alpha(0.0)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return out.getvalue()


@cache
def swatch_png(name: str) -> bytes:
    """A family's colour and hatch as a small picture, for a legend made of text."""
    figure = Figure(figsize=(0.28, 0.14))
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, **look(FAMILIES[name])))
    return screen_png(figure, 2)
