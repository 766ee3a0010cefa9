"""What every test may ask for, and the order and settings under which the suite runs."""

import os
import shutil
from pathlib import Path

import hypothesis
import pytest
from browser import CHROMIUM_FLAGS, JupyterLab, LabPage, find_chromium

START = "00_start_here.ipynb"
CHECKOUT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

# A dashboard keeps its session beside the notebook; a test that wants that says so.
os.environ["VDPA_LAB_AUTOSAVE"] = "off"

# Compiling on first use would break any deadline; in CI a run fails only for what the change did.
hypothesis.settings.register_profile("vdpa_lab", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("vdpa_lab")


def pytest_collection_modifyitems(items):
    # Last, because playwright leaves an event loop running, which would disturb whoever starts their own.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(scope="session")
def checkout():
    return CHECKOUT


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A running JupyterLab over a copy of the notebooks."""
    root = tmp_path_factory.mktemp("lab")
    skip_checkpoints = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(CHECKOUT / "notebooks", root / "notebooks", ignore=skip_checkpoints)
    with JupyterLab(root) as running:
        yield running


@pytest.fixture(scope="session")
def chromium():
    executable = find_chromium()
    if executable is None:
        absent = pytest.fail if IN_CI else pytest.skip
        absent("no Chromium on the search path: install it, or name it in VDPA_LAB_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def lab_page(lab, chromium):
    """A tab on the lab; it fails the test for any problem in the page, its kernel or its requests."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    tab = LabPage(context.new_page(), lab)
    yield tab
    problems = tab.close()
    assert not problems, "\n".join(problems)


@pytest.fixture
def start(lab_page):
    """The start notebook, run, with its figure in sight."""
    lab_page.open(START)
    lab_page.run_all()
    lab_page.picture()
    return lab_page
