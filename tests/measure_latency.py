"""How long from a click to changed pixels, in a real JupyterLab: python tests/measure_latency.py [clicks]

Prints median and 95th percentile in ms for a bare echo of a checkbox as text, for the picture of the Timeline page and
for that of the Downtime page, all in one session, and how long the first figure takes after the notebook is opened.
Clicks walk through combinations of toggles that were not there before, so that no run comes from a cache.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from browser import CHROMIUM_FLAGS, JupyterLab, LabPage, find_chromium
from playwright.sync_api import sync_playwright

CHECKOUT = Path(__file__).resolve().parents[1]
DASHBOARD = "import vdpa_lab; vdpa_lab.explore('talk')"
ECHO = """
import ipywidgets as widgets
box, said = widgets.Checkbox(description='Echo'), widgets.HTML('0')
said.add_class('echo')
count = iter(range(1, 10**6))
def show(change): said.value = str(next(count))
box.observe(show, 'value')
widgets.VBox([box, said])
"""
# From the click to the frame after the one in which the change is painted; a picture is decoded first.
CLICK = """([what, where]) => new Promise((done, failed) => {
    const seen = async () => {
        observer.disconnect();
        const image = document.querySelector(where + ' img.widget-image');
        if (image) await image.decode().catch(() => {});
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
    };
    const observer = new MutationObserver(seen);
    observer.observe(document.querySelector(where),
        {subtree: true, childList: true, characterData: true, attributeFilter: ['src']});
    setTimeout(() => failed(new Error('nothing changed')), 5000);
    const begun = performance.now();
    what.click();
})"""


def clicks_on(page, boxes, where, number):
    """Milliseconds of each click; the n-th one turns the box that a Gray code turns."""
    found = []
    for turn in range(1, number + 1):
        which = (turn & -turn).bit_length() - 1
        found.append(page.evaluate(CLICK, [boxes[which % len(boxes)], where]))
        page.wait_for_timeout(150)
    return found


def told(name, found):
    ordered = sorted(found)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    print(f"{name:<22} median {statistics.median(ordered):6.1f} ms   p95 {late:6.1f} ms   of {len(ordered)} clicks")


def main(number=40):
    os.environ["VDPA_LAB_AUTOSAVE"] = "off"
    root = Path(tempfile.mkdtemp())
    shutil.copytree(CHECKOUT / "notebooks", root / "notebooks")
    with JupyterLab(root) as lab, sync_playwright() as playwright:
        lab.add_notebook("latency.ipynb", DASHBOARD, ECHO)
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        tab = LabPage(chromium.new_page(viewport={"width": 1280, "height": 860}), lab)
        page = tab.page
        tab.open("latency.ipynb")
        begun = time.monotonic()
        tab.run_all()
        tab.picture()
        print(f"first figure after Run All: {time.monotonic() - begun:.1f} s")
        page.wait_for_timeout(2500)
        rows = page.locator(".vdpa-row input[type=checkbox]:enabled:checked").element_handles()
        echo = page.get_by_label("Echo", exact=True).element_handle()
        for pass_name in ("", ", again"):
            told(f"echo{pass_name}", clicks_on(page, [echo], ".echo", number))
            for title, part in (("Timeline", ".vdpa-lanes"), ("Downtime", ".vdpa-picture")):
                page.get_by_role("tab", name=title, exact=True).click()
                page.locator(part).first.wait_for()
                page.wait_for_timeout(500)
                where = ".vdpa-quick" if title == "Timeline" else ".vdpa-picture"
                free = [row for row in rows if row.is_enabled()]
                told(f"{title}{pass_name}", clicks_on(page, free[-6:], where, number))
        print(tab.close() or "no problems")
    shutil.rmtree(root)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
