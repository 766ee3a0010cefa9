"""The start notebook as a person uses it: a real JupyterLab in a real Chromium."""

import re
import time

import nbformat
import pytest
from conftest import CHECKOUT, START
from nbclient import NotebookClient

FIGURE_WITHIN_S = 10
TOGGLE = "Persistent IOTLB"
ROW = ".vdpa-totals tr[data-window='source_teardown']"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
THEME = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"


def test_the_start_notebook_executes_from_top_to_bottom():
    notebook = nbformat.read(CHECKOUT / "notebooks" / START, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    *_, table = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "basis" in table.outputs[0]["data"]["text/plain"]


def teardown_row(page):
    return page.locator(ROW).inner_text()


@pytest.mark.browser
def test_run_all_shows_the_figure_soon_and_in_view(lab_page):
    lab_page.open(START)
    begun = time.monotonic()
    lab_page.run_all()
    lab_page.picture()
    assert time.monotonic() - begun < FIGURE_WITHIN_S
    image = lab_page.page.locator("img.widget-image")
    lab_page.page.wait_for_function("() => document.querySelector('img.widget-image').alt.includes('Network outage')")
    assert "as shipped" in image.get_attribute("alt")
    lab_page.page.wait_for_timeout(1500)
    box = image.bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= lab_page.page.viewport_size["height"]
    assert box["width"] > 600


@pytest.mark.browser
def test_a_toggle_found_by_its_label_changes_figure_and_totals(start):
    page, before = start.page, start.picture()
    totals = teardown_row(page)
    page.get_by_label(TOGGLE, exact=True).uncheck()
    start.wait_for_new_picture(before)
    page.wait_for_function("([row, said]) => document.querySelector(row).innerText !== said", arg=[ROW, totals])
    assert re.search(r"\+[\d,.]+ ms \(\+\d+", teardown_row(page))


@pytest.mark.browser
def test_keys_typed_on_a_toggle_leave_the_cells_alone(start):
    page = start.page
    cells = page.evaluate(CELLS)
    page.wait_for_function("() => document.querySelector('.vdpa-root').dataset.vdpaGuard")
    toggle = page.get_by_label(TOGGLE, exact=True)
    toggle.focus()
    for key in ("d", "d", "x", "m", "a"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.evaluate(CELLS) == cells
    before = start.picture()
    page.keyboard.press("Space")
    start.wait_for_new_picture(before)
    assert not toggle.is_checked()


@pytest.mark.browser
def test_greyed_toggles_say_why_and_errors_are_announced(start):
    page = start.page
    page.get_by_label("Device suspend", exact=True).uncheck()
    page.get_by_role("status").get_by_text("Dropped out with it").wait_for()
    assert page.get_by_label("Resumable virtqueues", exact=True).is_disabled()
    assert page.get_by_text("Cannot apply: needs suspend.").count() >= 1
    memory = page.get_by_role("combobox", name="Memory", exact=True)
    memory.fill("much")
    memory.press("Enter")
    page.get_by_role("alert").get_by_text("'much' is not a size").wait_for()
    assert memory.input_value() == "128GiB"


@pytest.mark.browser
def test_running_the_cell_again_loses_nothing(start):
    page, before = start.page, start.picture()
    page.get_by_label(TOGGLE, exact=True).uncheck()
    start.wait_for_new_picture(before)
    start.run_all()
    start.picture()
    assert not page.get_by_label(TOGGLE, exact=True).is_checked()


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_nothing_is_cut_off_at_1280_pixels(start, theme, tmp_path):
    page = start.page
    page.evaluate(THEME, theme)
    page.wait_for_timeout(500)
    too_wide = page.evaluate(
        """parts => [...document.querySelectorAll(parts)]
            .filter(each => each.scrollWidth > each.clientWidth + 2).map(each => each.className)""",
        ", ".join(f".vdpa-{part}" for part in ("root", "controls", "results", "list", "row", "totals")),
    )
    assert too_wide == []
    page.screenshot(path=tmp_path / "dashboard.png")
    assert (tmp_path / "dashboard.png").stat().st_size > 10_000


@pytest.mark.browser
def test_the_picture_takes_the_theme_of_the_page(start):
    """Its ink is told by the page, when it opens and when the theme changes."""
    page, told = start.page, "word => document.querySelector('.vdpa-page input').value === word"
    page.wait_for_function(told, arg="light")
    before = start.picture()
    page.evaluate(THEME, "JupyterLab Dark")
    page.wait_for_function(told, arg="dark")
    start.wait_for_new_picture(before)


@pytest.mark.browser
def test_every_tab_shows_its_view(start, tmp_path):
    page = start.page
    for title, seen in (
        ("Timeline", "Source kernel 0"),
        ("Plan", "vhost_vdpa_listener_region_add"),
        ("Memory", "passthrough, IOVA = GPA"),
        ("Precopy", "bitmap syncs"),
        ("Traffic", "Longest gap"),
        ("Beside", "Choose a recorded migration"),
        ("Rings", "The driver makes 8 buffers available"),
        ("Bitmap", "on the bitmaps that KVM and QEMU keep"),
        ("Sources", "Share of outage"),
    ):
        page.get_by_role("tab", name=title, exact=True).click()
        page.locator(".vdpa-results").get_by_text(seen).first.wait_for()
        page.screenshot(path=tmp_path / f"{title}.png")
    page.get_by_role("tab", name="Downtime", exact=True).click()
    assert start.picture()


@pytest.mark.browser
def test_logs_are_laid_beside_the_run_chosen_or_uploaded(start, tmp_path):
    page, folder = start.page, CHECKOUT / "data" / "traces" / "v-128-1d-r1"
    page.get_by_role("tab", name="Beside", exact=True).click()
    page.get_by_label("Beside it", exact=True).select_option("Recorded: v-256-1d-r2")
    page.get_by_text("v-256-1d-r2 (recorded) 133 ms").first.wait_for()
    page.screenshot(path=tmp_path / "beside.png")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload logs").click()
    chooser.value.set_files([folder / "trace-src.log.gz", folder / "trace-dst.log.gz", folder / "config.json"])
    page.get_by_text("trace-src.log.gz (recorded)").first.wait_for()
    page.get_by_role("tab", name="Precopy", exact=True).click()
    page.get_by_label("Pages a second", exact=True).fill("1000000")
    page.get_by_label("Working set", exact=True).fill("64GiB")
    page.get_by_label("Working set", exact=True).press("Enter")
    page.get_by_text("It does not converge").wait_for()
    page.screenshot(path=tmp_path / "precopy.png")


@pytest.mark.browser
def test_a_restarted_kernel_gives_the_session_back(lab, lab_page):
    cell = "import os; os.environ['VDPA_LAB_AUTOSAVE'] = '.'; import vdpa_lab; vdpa_lab.explore('sim-256-1d')"
    lab.add_notebook("kept.ipynb", cell)
    page = lab_page.page
    lab_page.open("kept.ipynb")
    lab_page.run_all()
    page.get_by_role("tab", name="Keep", exact=True).click()
    page.get_by_label("Notes", exact=True).fill("do not lose me")
    page.get_by_label("Notes", exact=True).press("Tab")
    page.wait_for_timeout(500)
    lab.stop_kernels()
    lab_page.open("kept.ipynb")
    lab_page.run_all()
    page.get_by_text("as you left it").wait_for()
    page.get_by_role("tab", name="Keep", exact=True).click()
    page.wait_for_function("() => [...document.querySelectorAll('textarea')].some(t => t.value === 'do not lose me')")
