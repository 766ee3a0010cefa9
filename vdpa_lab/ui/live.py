"""A picture that the page shows as soon as its text is there, and that says where it is to be zoomed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import ipywidgets as widgets
from traitlets import Unicode

from vdpa_lab.plot.lanes import LABELS, WIDTH

# Dragging over the operations zooms, a double click shows all again; the slider does the same for the keyboard.
SCRIPT = """
function render({model, el}) {
  const draw = () => { el.innerHTML = model.get('value'); };
  const share = (svg, e) => {
    const x = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    return Math.min(Math.max((x - LABELS) / (WIDTH - LABELS), 0), 1);
  };
  let from = null;
  const lanes = e => e.target.closest('.vdpa-lanes svg');
  el.addEventListener('pointerdown', e => { from = lanes(e) ? share(lanes(e), e) : null; });
  el.addEventListener('pointerup', e => {
    const svg = lanes(e);
    if (from === null || !svg) return;
    const to = share(svg, e), picked = [Math.min(from, to), Math.max(from, to)];
    from = null;
    if (picked[1] - picked[0] > 0.01) model.send({zoom: picked});
  });
  el.addEventListener('dblclick', e => { if (lanes(e)) model.send({zoom: null}); });
  draw();
  model.on('change:value', draw);
}
export default {render};
""".replace("LABELS", str(LABELS)).replace("WIDTH", str(WIDTH))


@cache
def _anywidget() -> type[widgets.DOMWidget] | None:
    """A widget that shows its `value` as it comes, of the extra `live`; None where that is not installed."""
    try:
        import anywidget
    except ImportError:
        return None

    class Picture(anywidget.AnyWidget):
        _esm = SCRIPT
        value = Unicode().tag(sync=True)

    return Picture


def picture(zoom: Callable[[object], object]) -> widgets.DOMWidget:
    """A widget that shows the HTML in its `value`; `zoom` is called with what the page asks for, see `wanted`.

    Without the extra `live` it is the plain HTML widget, which is slower and has no mouse.
    """
    quick = _anywidget()
    if quick is None:
        return widgets.HTML()
    made = quick()
    made.on_msg(lambda _, content, __: zoom(content))
    return made


def wanted(content: object, low: float, high: float, least: float) -> tuple[float, float] | None:
    """Which part, now [low, high], a message asks for: {"zoom": [from, to]} as shares of what is in sight.

    None stands for all: {"zoom": None}, or anything else. No less than `least` is left.
    """
    picked = content.get("zoom") if isinstance(content, dict) else None
    if not isinstance(picked, list) or len(picked) != 2 or not all(isinstance(each, int | float) for each in picked):
        return None
    begin, end = (low + (high - low) * min(max(each, 0.0), 1.0) for each in sorted(picked))
    return min(begin, high - least), max(end, begin + least)
