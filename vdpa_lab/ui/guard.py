"""What widgets need from the page: keys that stay inside, words for assistive technology, and looks."""

from __future__ import annotations

import ipywidgets as widgets

ROOT = "vdpa-root"

# JupyterLab takes single keys typed on a checkbox, slider or button for commands: "d d" deletes the cell.
# The widgets also lack what a screen reader asks for: names of slider handles, a text for the picture, a
# status that is announced, pages that belong to their tabs, buttons that say whether they are pressed. And "Run
# all" ends at the last cell: a dashboard that is new and out of sight is brought back, once.
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
        const name = l ? l.textContent : 'value';
        s.querySelectorAll('.noUi-handle').forEach(h => h.setAttribute('aria-label', name));
      });
      const words = r.querySelector('.vdpa-alt')?.textContent || 'figure; its values are in the table below';
      r.querySelectorAll('img.widget-image').forEach(i => { if (i.alt !== words) i.alt = words; });
      r.querySelectorAll('.vdpa-status').forEach(s => s.setAttribute('aria-live', 'polite'));
      r.querySelectorAll('.vdpa-list').forEach(s => {
        s.setAttribute('role', 'group'); s.setAttribute('aria-label', 'Optimisations');
      });
      r.querySelectorAll('.widget-toggle-button').forEach(b =>
        b.setAttribute('aria-pressed', b.classList.contains('mod-active')));
      r.querySelectorAll('.widget-tab').forEach(t => {
        const pages = t.querySelector(':scope > .widget-tab-contents').children;
        t.querySelectorAll(':scope > .lm-TabBar [role=tab]').forEach((tab, n) => {
          if (!pages[n]) return;
          pages[n].id ||= tab.id + '-page';
          pages[n].setAttribute('role', 'tabpanel');
          pages[n].setAttribute('aria-labelledby', tab.id);
          tab.setAttribute('aria-controls', pages[n].id);
        });
      });
    };
    fix();
    const tell = () => {
      const said = document.body.dataset.jpThemeLight;
      const word = said === undefined ? '' : said === 'false' ? 'dark' : 'light';
      r.querySelectorAll('.vdpa-page input').forEach(i => {
        if (i.value === word) return;
        i.value = word;
        i.dispatchEvent(new Event('input', {bubbles: true}));
      });
    };
    tell();
    setInterval(tell, 1000);  // the box may take its own, empty value after it was told
    new MutationObserver(tell).observe(document.body, {attributeFilter: ['data-jp-theme-light']});
    let idle = true;
    const stop = () => { idle = false; };
    for (const k of ['wheel', 'pointerdown', 'keydown'])
      window.addEventListener(k, stop, {once: true, capture: true});
    setTimeout(() => {
      const box = r.getBoundingClientRect();
      if (idle && (box.bottom < 200 || box.top > window.innerHeight - 200)) r.scrollIntoView();
    }, 900);
    // Its parts come one by one, the box that is told among them.
    const both = () => { fix(); tell(); };
    new MutationObserver(both).observe(r, {childList: true, subtree: true, attributeFilter: ['class']});
  }
})(0);"""

CSS = """
.vdpa-root {color: var(--jp-ui-font-color1, #222); font-family: var(--jp-ui-font-family, sans-serif);
  --vdpa-alert: #a33f00; --vdpa-quiet: var(--jp-ui-font-color2, #666)}
[data-jp-theme-light="false"] .vdpa-root {--vdpa-alert: #ff9a57}
.vdpa-root .widget-html-content {line-height: 1.35}
.vdpa-root .vdpa-page {display: none}
.vdpa-root .vdpa-top {align-items: flex-start; justify-content: space-between; overflow: visible}
.vdpa-root .vdpa-top > .widget-toggle-button {flex: 0 0 auto}
.vdpa-head {display: flex; gap: 4px 14px; align-items: baseline; flex-wrap: wrap}
.vdpa-root .vdpa-head h2 {font-size: 17px; font-weight: 700; margin: 0; padding: 0}
.vdpa-head span {font-size: 12px; color: var(--vdpa-quiet)}
.vdpa-root .vdpa-columns {flex-flow: row wrap-reverse; align-items: flex-end; gap: 18px; overflow: visible}
.vdpa-root .vdpa-controls {flex: 1 1 340px; max-width: 410px; min-width: min(300px, 100%)}
.vdpa-root .vdpa-results {flex: 2 1 600px; min-width: min(320px, 100%); overflow: visible}
.vdpa-root .vdpa-section {margin: 4px 0 2px; padding: 0; font-size: 11px; font-weight: 600;
  color: var(--vdpa-quiet); text-transform: uppercase; letter-spacing: .05em}
.vdpa-root .vdpa-fields {display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 8px}
.vdpa-root .vdpa-fields > .jupyter-widgets {width: auto; min-width: 0}
.vdpa-root .vdpa-bar {flex-flow: row wrap; align-items: center; gap: 0 4px; overflow: visible}
.vdpa-controls :is(.widget-label, .widget-label-basic) {text-align: left}
.vdpa-root .vdpa-bar > .widget-label {width: 82px}
.vdpa-root .vdpa-list {display: block; height: 545px; overflow-y: auto; padding: 0 8px; margin-top: 4px;
  border: 1px solid var(--jp-border-color2, #ccc); border-radius: 4px}
.vdpa-root .vdpa-row {display: block; overflow: visible; padding: 4px 0 5px; margin: 0;
  border-bottom: 1px solid var(--jp-border-color3, #ddd)}
.vdpa-row .widget-checkbox {width: auto; height: 20px; margin: 0; overflow: visible}
.vdpa-row .widget-checkbox label {font-weight: 600; font-size: 13px; line-height: 20px}
.vdpa-row.vdpa-off .widget-checkbox label {color: var(--vdpa-quiet); font-weight: 400}
.vdpa-row .widget-html {display: block; margin: 0; height: auto}
.vdpa-row .widget-slider {margin: 0 0 0 20px; width: 320px; max-width: calc(100% - 20px)}
.vdpa-about {font-size: 12px; padding-left: 20px; line-height: 1.3; color: var(--jp-ui-font-color1, #222)}
.vdpa-off .vdpa-about {color: var(--vdpa-quiet)}
.vdpa-source {font-size: 11px; color: var(--vdpa-quiet); overflow-wrap: anywhere}
.vdpa-root .vdpa-source code {background: none; padding: 0; font-size: 11px; color: inherit}
.vdpa-source a {color: var(--jp-content-link-color, #0059b3); text-decoration: underline}
.vdpa-why {color: var(--vdpa-alert); font-weight: 600}
.vdpa-root .vdpa-status {margin: 0 0 4px; padding: 2px 8px; height: 38px; overflow-y: auto; font-size: 12.5px;
  border-left: 4px solid #009E73; background: var(--jp-layout-color2, #f3f3f3)}
.vdpa-error {color: var(--vdpa-alert)} .vdpa-root .vdpa-status:has(.vdpa-error) {border-left-color: #D55E00}
.vdpa-root .vdpa-figure {max-width: 100%; height: auto; align-self: flex-start; margin: 0}
.vdpa-root .vdpa-legend {list-style: none; display: flex; flex-wrap: wrap; gap: 0 12px; margin: 0; padding: 0;
  font-size: 11.5px}
.vdpa-legend li {display: flex; align-items: center; gap: 5px; margin: 0}
.vdpa-legend img {width: 24px; height: 12px}
.vdpa-root table.vdpa-totals {border-collapse: collapse; font-size: 11.5px; width: 100%;
  margin: 2px 0 0; border: 0}
.vdpa-root .vdpa-totals :is(th, td) {padding: 2px 5px 0 0; text-align: right; white-space: nowrap;
  background: none; font-variant-numeric: tabular-nums; color: var(--jp-ui-font-color1, #222)}
.vdpa-root .vdpa-totals th:first-child {text-align: left; font-weight: 600}
.vdpa-root .vdpa-totals tbody td:nth-child(4) {font-weight: 700}
.vdpa-root .vdpa-totals .vdpa-basis td {text-align: left; font-size: 11px; padding: 0 0 2px; font-weight: 400;
  color: var(--vdpa-quiet); border-bottom: 1px solid var(--jp-border-color3, #ddd)}
.vdpa-scroll {overflow-x: auto}
.vdpa-root .jupyter-widget-tab-contents, .vdpa-root .widget-tab-contents {padding: 6px 4px; overflow: visible}
.vdpa-root table.vdpa-view {border-collapse: collapse; font-size: 11.5px; margin: 2px 0 8px; border: 0}
.vdpa-root .vdpa-view :is(th, td) {text-align: left; padding: 2px 10px 2px 0; vertical-align: top; background: none;
  color: var(--jp-ui-font-color1, #222); border-bottom: 1px solid var(--jp-border-color3, #ddd)}
.vdpa-root .vdpa-view code {background: none; padding: 0; font-size: 11px; color: inherit; white-space: nowrap}
.vdpa-view a {color: var(--jp-content-link-color, #0059b3); text-decoration: underline}
.vdpa-rings {display: flex; flex-wrap: wrap; gap: 0 24px} .vdpa-rings h4 {margin: 4px 0 2px; font-size: 12px}
.vdpa-share {height: 10px; min-width: 1px; background: #0072B2} .vdpa-view td:has(.vdpa-share) {width: 180px}
.vdpa-pairs {font-size: 12px; margin: 0 0 6px; padding-left: 18px}
.vdpa-root .vdpa-listing {font-size: 11px; line-height: 1.35; max-height: 560px; overflow: auto; padding: 6px;
  background: var(--jp-layout-color2, #f3f3f3); color: var(--jp-ui-font-color1, #222)}
.vdpa-root .widget-tab > .lm-TabBar .lm-TabBar-tab {flex: 0 0 auto; min-width: 0; padding: 0 5px}
.vdpa-root .widget-tab > .lm-TabBar .lm-TabBar-content {flex-wrap: wrap}
.vdpa-root .widget-tab > .lm-TabBar .lm-TabBar-tabLabel {overflow: visible; font-size: 12px}
.vdpa-root .vdpa-results .vdpa-fields {grid-template-columns: repeat(auto-fit, minmax(min(280px, 100%), 1fr))}
.vdpa-root .vdpa-results .vdpa-fields .widget-label {text-align: left}
.vdpa-paper {color: var(--jp-ui-font-color1, #222); margin: 4px 0; max-width: 780px}
.vdpa-paper svg {width: 100%; height: auto; display: block}
.vdpa-live {max-width: 780px} .vdpa-live svg {width: 100%; height: auto; display: block}
.vdpa-lanes svg {cursor: crosshair} .vdpa-root .vdpa-picture {overflow: visible}
.vdpa-alt {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
.vdpa-root.vdpa-projector {zoom: 1.4; --vdpa-quiet: var(--jp-ui-font-color0, #000);
  --jp-ui-font-color1: var(--jp-ui-font-color0, #000); --jp-ui-font-color2: var(--jp-ui-font-color0, #000);
  --jp-border-color2: var(--jp-ui-font-color0, #000); --jp-border-color3: var(--jp-ui-font-color0, #000)}
.vdpa-root.vdpa-projector :is(.vdpa-about, .vdpa-source, .vdpa-source code, .vdpa-legend, .vdpa-basis td) {
  font-size: 13px}
.vdpa-root .vdpa-hidden {height: 0; margin: 0; padding: 0; overflow: hidden; min-height: 0}
"""


def looks() -> widgets.HTML:
    """The style sheet, as a widget without extent."""
    return _hidden(widgets.HTML(f"<style>{CSS}</style>"))


def guard() -> widgets.Output:
    """Arms the page whenever a view of the dashboard appears; part of the tree, nothing else is displayed."""
    script = {"output_type": "display_data", "data": {"application/javascript": GUARD_JS}, "metadata": {}}
    return _hidden(widgets.Output(outputs=(script,)))


def _hidden(widget: widgets.Widget) -> widgets.Widget:
    widget.add_class("vdpa-hidden")
    return widget
