"""What widgets need from the page: keys that stay inside, words for assistive technology, and looks."""

from __future__ import annotations

import ipywidgets as widgets

ROOT = "vdpa-root"

# JupyterLab takes single keys typed on a checkbox, slider or button for commands: "d d" deletes the cell. The widgets
# also lack what a screen reader asks for: names of slider handles, a text for the picture, a status that is announced.
GUARD_JS = """(function arm(n) {
  const roots = [...document.querySelectorAll('.vdpa-root')];
  if (!roots.some(r => !r.dataset.vdpaGuard) && n < 100) return setTimeout(() => arm(n + 1), 50);
  for (const r of roots) {
    if (r.dataset.vdpaGuard) continue;
    r.dataset.vdpaGuard = '1';
    r.addEventListener('keydown', e => {
      if (!e.ctrlKey && !e.metaKey && !e.altKey && e.key !== 'Escape') e.stopPropagation();
    });
    const fix = () => {
      r.querySelectorAll('.widget-slider').forEach(s => {
        const l = s.querySelector('.widget-label');
        s.querySelectorAll('.noUi-handle').forEach(h => h.setAttribute('aria-label', l ? l.textContent : 'value'));
      });
      const words = r.querySelector('.vdpa-alt')?.textContent || 'figure; its values are in the table below';
      r.querySelectorAll('img.widget-image').forEach(i => { if (i.alt !== words) i.alt = words; });
      r.querySelectorAll('.vdpa-status').forEach(s => s.setAttribute('aria-live', 'polite'));
      r.querySelectorAll('.vdpa-list').forEach(s => {
        s.setAttribute('role', 'group'); s.setAttribute('aria-label', 'Optimisations');
      });
    };
    fix();
    new MutationObserver(fix).observe(r, {childList: true, subtree: true});
  }
})(0);"""

CSS = """
.vdpa-root {color: var(--jp-ui-font-color1, #222); font-family: var(--jp-ui-font-family, sans-serif);
  container-type: inline-size}
.vdpa-root .widget-html-content, .vdpa-root .jupyter-widgets {line-height: 1.35}
.vdpa-head {display: flex; gap: 4px 14px; align-items: baseline; flex-wrap: wrap}
.vdpa-head b {font-size: 17px} .vdpa-head span {font-size: 12px; color: var(--jp-ui-font-color2, #666)}
.vdpa-columns {flex-flow: row wrap; align-items: flex-start; gap: 18px}
.vdpa-controls {flex: 1 1 350px; max-width: 430px; min-width: 300px}
.vdpa-results {flex: 2 1 600px; min-width: 320px}
.vdpa-root .vdpa-section {margin: 6px 0 2px; padding: 0; font-size: 12px; font-weight: 600;
  color: var(--jp-ui-font-color2, #555); text-transform: uppercase; letter-spacing: .05em}
.vdpa-fields {display: grid; grid-template-columns: 1fr 1fr; gap: 0 10px}
.vdpa-list {max-height: 530px; overflow-y: auto; border: 1px solid var(--jp-border-color2, #ccc);
  border-radius: 4px; padding: 0 8px}
.vdpa-row {border-bottom: 1px solid var(--jp-border-color3, #ddd); padding: 4px 0 5px}
.vdpa-row .widget-checkbox {width: auto; height: 22px; margin: 0}
.vdpa-row .widget-checkbox label {font-weight: 600; font-size: 13px; overflow: visible}
.vdpa-off .widget-checkbox label {color: var(--jp-ui-font-color2, #666); font-weight: 400}
.vdpa-about {font-size: 12px; padding-left: 20px} .vdpa-row .widget-html {margin: 0; height: auto}
.vdpa-source, .vdpa-basis {font-size: 11px; color: var(--jp-ui-font-color2, #666); font-weight: 400}
.vdpa-source a {color: var(--jp-content-link-color, #0059b3); text-decoration: underline}
.vdpa-why {color: var(--vdpa-alert); font-weight: 600}
.vdpa-status {border-left: 4px solid #009E73; padding: 2px 8px; min-height: 24px; font-size: 13px;
  background: var(--jp-layout-color2, #f3f3f3); margin: 0 0 4px; height: auto}
.vdpa-error {color: var(--vdpa-alert)} .vdpa-status:has(.vdpa-error) {border-left-color: #D55E00}
.vdpa-root {--vdpa-alert: #a33f00} [data-jp-theme-light="false"] .vdpa-root {--vdpa-alert: #ff9a57}
.vdpa-bar {flex-flow: row wrap; align-items: center; gap: 2px 6px}
.vdpa-root .vdpa-figure {max-width: 100%; height: auto; object-fit: contain; align-self: flex-start}
.vdpa-legend {list-style: none; display: flex; flex-wrap: wrap; gap: 1px 14px; margin: 0; padding: 0; font-size: 12px}
.vdpa-legend li {display: flex; align-items: center; gap: 5px; margin: 0}
.vdpa-legend img {width: 28px; height: 14px}
.vdpa-root table.vdpa-totals {border-collapse: collapse; font-size: 12px; width: 100%; margin: 2px 0 0}
.vdpa-totals th, .vdpa-totals td {padding: 2px 8px 2px 4px; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--jp-border-color2, #ddd); font-variant-numeric: tabular-nums}
.vdpa-totals th:first-child {text-align: left} .vdpa-totals tbody th {font-weight: 600}
.vdpa-totals td:nth-child(4) {font-weight: 700}
.vdpa-alt {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
.vdpa-hidden {height: 0; margin: 0; padding: 0; overflow: hidden}
"""


def looks() -> widgets.HTML:
    """The style sheet, as a widget without extent."""
    return _hidden(widgets.HTML(f"<style>{CSS}</style>"))


def guard() -> widgets.Output:
    """Arms the page whenever a view of the dashboard appears, as part of the tree: no second display is needed."""
    script = {"output_type": "display_data", "data": {"application/javascript": GUARD_JS}, "metadata": {}}
    return _hidden(widgets.Output(outputs=(script,)))


def _hidden(widget: widgets.Widget) -> widgets.Widget:
    widget.add_class("vdpa-hidden")
    return widget
