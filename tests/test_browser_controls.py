"""Every control of the dashboard once, in a real browser, and the ways of using it that are not the mouse's."""

import pytest
from conftest import CHECKOUT

from vdpa_lab.migration import catalogue

CELL = "import vdpa_lab; vdpa_lab.explore({!r})"
TABS = ".vdpa-results .lm-TabBar-tab"
CONTROLS = "select, input[type=checkbox], input[type=text], input[type=number], textarea, button, [role=slider]"
LEAST = {"select": 10, "checkbox": 15, "combobox": 10, "text": 4, "button": 15, "slider": 3}
PAGE = ".vdpa-results .widget-tab-contents > :not(.lm-mod-hidden)"
UPLOAD = "jupyter-widget-upload"  # has a test of its own, with files
SIZES = {"1280": (1280, 860, False), "projector": (1920, 1080, True), "zoomed": (640, 430, False)}
SHOTS = CHECKOUT / "build" / "screens"  # for people to look at
BOXES = ".vdpa-root, .vdpa-controls, .vdpa-results, .vdpa-row, .vdpa-bar, .vdpa-fields, .vdpa-fields > *"
CUT_OFF = """boxes => [...document.querySelectorAll(boxes)]
    .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 2)
    .map(e => `${e.className} ${e.scrollWidth} > ${e.clientWidth}`)"""
WORKING = """() => [...document.querySelectorAll('.vdpa-root [role=status]')]
    .some(e => e.offsetParent && e.innerText.startsWith('Working'))"""


def explored(lab, lab_page, scenario, *cells):
    """The page of a notebook with the dashboard of a scenario in sight, and further cells below it."""
    lab.add_notebook("controls.ipynb", CELL.format(scenario), *cells)
    lab_page.open("controls.ipynb")
    lab_page.run_all()
    lab_page.picture()
    return lab_page


@pytest.fixture
def dashboard(lab, lab_page):
    return explored(lab, lab_page, "sim-256-1d")


def kind_of(control):
    return control.evaluate(
        """e => e.getAttribute('role') === 'slider' ? 'slider'
            : e.tagName === 'INPUT' ? (e.type === 'checkbox' ? 'checkbox' : e.list ? 'combobox' : 'text')
            : e.tagName === 'TEXTAREA' ? 'text' : e.tagName.toLowerCase()"""
    )


def use(dashboard, control, kind):
    """Do with a control what it is for; the page is left as it was where that is easy."""
    if kind == "select":
        values = control.evaluate("e => [...e.options].map(o => o.value)")
        now = control.input_value()
        control.select_option(next((value for value in values if value != now), now))
    elif kind == "checkbox":
        control.click()
        dashboard.settle()
        if control.is_enabled():
            control.click()
    elif kind == "combobox":
        options = control.evaluate("e => [...e.list.options].map(o => o.value)")
        control.fill(options[0])
        control.press("Enter")
    elif kind == "text":
        before = control.input_value()
        if before:  # a token, a file's name, values of a sweep: good as they are
            control.fill(before)
        elif control.evaluate("e => e.tagName") == "TEXTAREA":
            control.fill("noted")
        control.press("Tab")
    elif kind == "slider":
        control.focus()
        control.press("ArrowRight")
    else:
        control.click()


def walk(dashboard, inside, seen):
    """Use every control of a part of the page; the errors that the page then told, in words."""
    page, told = dashboard.page, []
    area = page.locator(inside)
    controls = area.locator(CONTROLS)
    for number in range(controls.count()):
        control = controls.nth(number)
        upload = UPLOAD in (control.get_attribute("class") or "")
        if upload or not control.is_visible() or not control.is_enabled():
            continue
        kind = kind_of(control)
        name = control.evaluate("e => e.title || e.ariaLabel || e.innerText || e.className")
        use(dashboard, control, kind)
        seen[kind] = seen.get(kind, 0) + 1
        dashboard.settle()
        told += [f"{inside} {kind} {name}: {text}" for text in page.locator(".vdpa-error").all_inner_texts()]
    return told


@pytest.mark.browser
def test_every_control_once(dashboard):
    page, seen = dashboard.page, {}
    told = walk(dashboard, ".vdpa-top", seen) + walk(dashboard, ".vdpa-controls", seen)
    page.get_by_role("button", name="Reset all", exact=True).click()
    titles = page.locator(TABS).all_inner_texts()
    for title in titles:
        page.get_by_role("tab", name=title, exact=True).click()
        page.get_by_role("tabpanel", name=title, exact=True).wait_for()
        dashboard.settle()
        told += walk(dashboard, PAGE, seen)
        for button in page.get_by_role("button", name="Cancel", exact=True).all():
            if button.is_visible() and button.is_enabled():
                button.click()
    # What the walk cannot know: that a figure is no recording, and that no such file or run was kept yet.
    expected = ("choose one, or upload logs", "no run was kept", "there is no sim-256-1d.toml")
    assert [each for each in told if not any(known in each for known in expected)] == []
    assert len(titles) == 13
    assert {kind: seen.get(kind, 0) for kind, least in LEAST.items() if seen.get(kind, 0) < least} == {}


def with_needs(name):
    """An optimisation after all that it needs, of alternatives the first."""
    needs = [need if isinstance(need, str) else need[0] for need in catalogue()[name].requires]
    return [*(each for need in needs for each in with_needs(need)), name]


@pytest.mark.browser
def test_every_toggle_once(lab, lab_page):
    page = explored(lab, lab_page, "talk").page
    for name in catalogue():
        page.get_by_label("Preset", exact=True).select_option(label="Stock: nothing optimised")
        lab_page.settle()
        assert page.locator(".vdpa-list input:checked").count() == 0
        for each in dict.fromkeys(with_needs(name)):
            page.get_by_label(catalogue()[each].title, exact=True).check()
            lab_page.settle()
        assert page.locator(".vdpa-error").count() == 0, name


@pytest.mark.browser
def test_presets_ladder_undo_and_redo_by_keyboard_alone(dashboard):
    page = dashboard.page
    status = page.locator(".vdpa-status")

    def press(name):
        button = page.get_by_role("button", name=name, exact=True)
        button.focus()
        said = status.inner_text()
        page.keyboard.press("Enter")
        page.wait_for_function("said => document.querySelector('.vdpa-status').innerText !== said", arg=said)
        return status.inner_text()

    preset = page.get_by_label("Preset", exact=True)
    preset.focus()
    first = status.inner_text()
    preset.select_option(label="Stock: nothing optimised")
    page.wait_for_function("said => document.querySelector('.vdpa-status').innerText !== said", arg=first)
    stock = status.inner_text()
    assert "Ladder 1 of" in press("Next step ›")
    assert "Ladder 2 of" in press("Next step ›")
    press("Undo")
    chosen = "e => e.selectedOptions[0].text.replaceAll('\\u00a0', ' ')"
    assert preset.evaluate(chosen).startswith("Ladder 1 of")
    press("Undo")
    assert preset.evaluate(chosen) == "Stock: nothing optimised"
    press("Redo")
    press("Reset all")
    assert stock != status.inner_text()


@pytest.mark.browser
def test_tab_goes_through_the_controls_in_the_order_in_which_they_are_read(dashboard):
    """Left column downwards, then the tabs and their page; focus stays where it was when something changed."""
    page = dashboard.page
    page.get_by_role("combobox", name="Memory", exact=True).focus()
    where = (
        "() => { const e = document.activeElement; const b = e.getBoundingClientRect();"
        " return [e.closest('.vdpa-controls') ? 0 : e.closest('.vdpa-results') ? 1 : 2, b.top + scrollY]; }"
    )
    seen = []
    for _ in range(200):
        page.keyboard.press("Tab")
        column, _ = page.evaluate(where)
        seen.append(column)
        if column == 1:
            break
    assert seen == sorted(seen)
    assert seen[-1] == 1
    toggle = page.get_by_label("IOTLB message batching", exact=True)
    toggle.focus()
    before = dashboard.picture()
    page.keyboard.press("Space")
    dashboard.wait_for_new_picture(before)
    assert toggle.evaluate("e => e === document.activeElement")


@pytest.mark.browser
def test_cancel_is_heard_while_a_cell_runs(lab, lab_page):
    page = explored(lab, lab_page, "talk", "import time; time.sleep(0)").page
    page.get_by_role("tab", name="Worth", exact=True).click()
    page.get_by_role("button", name="Work it out", exact=True).click()
    lab_page.settle()
    page.evaluate(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget;
            content.activeCellIndex = content.widgets.length - 1;
            content.activeCell.model.sharedModel.setSource('time.sleep(1000)');
            window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    page.wait_for_timeout(500)
    busy = page.locator(".jp-Notebook .jp-Cell").last.get_by_text("[*]")
    busy.wait_for()
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    assert cancel.is_enabled()
    cancel.click()
    page.get_by_role("tabpanel", name="Worth", exact=True).get_by_text("Cancelled.").wait_for()
    assert busy.is_visible()


@pytest.mark.browser
def test_what_is_exported_can_be_downloaded(dashboard):
    page = dashboard.page
    page.get_by_role("tab", name="Keep", exact=True).click()
    page.get_by_label("Export as", exact=True).select_option("toml")
    page.get_by_role("button", name="Export", exact=True).click()
    link = page.locator(".vdpa-download")
    link.wait_for()
    with page.expect_download() as download:
        link.click()
    saved = download.value
    assert saved.suggested_filename == "sim-256-1d.toml"
    assert saved.path().read_bytes() == (dashboard.lab.notebooks / "sim-256-1d.toml").read_bytes()


@pytest.mark.browser
def test_dragging_over_the_operations_zooms_and_a_double_click_shows_all(dashboard):
    page = dashboard.page
    page.get_by_role("tab", name="Timeline", exact=True).click()
    picture = page.locator(".vdpa-lanes svg")
    picture.wait_for()
    picture.scroll_into_view_if_needed()
    box, whole = picture.bounding_box(), picture.inner_html()
    for share, act in ((0.5, page.mouse.down), (0.75, page.mouse.up)):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        act()
    page.wait_for_function("before => document.querySelector('.vdpa-lanes svg').innerHTML !== before", arg=whole)
    picture.dblclick()
    page.wait_for_function("before => document.querySelector('.vdpa-lanes svg').innerHTML === before", arg=whole)


@pytest.mark.browser
@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits(dashboard, size):
    """At 1280 pixels, on a projector, and at 200 % zoom (half the pixels of 1280); a picture of each is kept."""
    page, (width, height, projector) = dashboard.page, SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    if projector:
        page.get_by_role("button", name="Projector", exact=True).click()
    SHOTS.mkdir(parents=True, exist_ok=True)
    for title in page.locator(TABS).all_inner_texts():
        tab = page.get_by_role("tab", name=title, exact=True)
        tab.scroll_into_view_if_needed()
        tab.click()
        dashboard.settle()
        page.wait_for_function(f"!({WORKING})()", timeout=60_000)
        page.locator(".vdpa-root").scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / f"{size}-{title}.png")
        assert page.evaluate(CUT_OFF, BOXES) == [], title
