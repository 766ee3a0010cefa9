"""The start notebook as a page without JupyterLab: Voila runs it, and the dashboard works there too."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from browser import _free_port, stays_on_this_machine
from conftest import CHECKOUT

TOGGLE = "Persistent IOTLB"
ROW = ".vdpa-totals tr[data-window='source_teardown']"


@pytest.fixture
def voila(tmp_path):
    """Address of the start notebook."""
    port, log = _free_port(), tmp_path / "voila.log"
    notebook = CHECKOUT / "notebooks" / "00_start_here.ipynb"
    command = [sys.executable, "-m", "voila", str(notebook), "--template=vdpa_lab", "--no-browser", f"--port={port}"]
    command.append("--Voila.ip=127.0.0.1")
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | own) as server:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                # An address that runs no notebook, so that waiting starts no kernel.
                urllib.request.urlopen(f"{address}/voila/static/nothing", timeout=1).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield address
        server.terminate()
    assert "Traceback" not in log.read_text()


@pytest.mark.browser
def test_the_dashboard_works_under_voila(voila, chromium, tmp_path):
    problems = []
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.on("request", lambda request: stays_on_this_machine(request.url) or problems.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(voila)
    image = page.locator("img.widget-image").first
    image.wait_for(timeout=90_000)
    before, totals = image.get_attribute("src"), page.locator(ROW).inner_text()
    page.get_by_label(TOGGLE, exact=True).uncheck()
    page.wait_for_function("before => document.querySelector('img.widget-image').src !== before", arg=before)
    page.wait_for_function("([row, said]) => document.querySelector(row).innerText !== said", arg=[ROW, totals])
    page.get_by_role("tab", name="Timeline", exact=True).click()
    page.locator(".vdpa-lanes svg").wait_for()
    page.screenshot(path=tmp_path / "voila.png")
    context.close()
    assert problems == []
