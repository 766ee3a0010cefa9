"""The dashboard for those who use a keyboard, a screen reader, a magnifier or a dark screen."""

import pytest
from accessibility import axe

THEME = "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"
TABS = ".vdpa-results .lm-TabBar-tab"
# Rules that must have had something to look at, or their silence would prove nothing.
MUST_HAVE_WORK = {
    "aria-input-field-name",
    "button-name",
    "color-contrast",
    "image-alt",
    "label",
    "scrollable-region-focusable",
    "select-name",
    "svg-img-alt",
}


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_any_tab(start, theme):
    page, passed = start.page, set()
    page.evaluate(THEME, theme)
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=theme)
    for title in page.locator(TABS).all_inner_texts():
        page.get_by_role("tab", name=title, exact=True).click()
        page.get_by_role("tabpanel", name=title, exact=True).wait_for()
        page.wait_for_timeout(700)
        violations, rules = axe(page)
        assert violations == [], f"{title}, {theme}"
        passed |= rules
    assert passed >= MUST_HAVE_WORK


@pytest.mark.browser
def test_axe_would_find_a_picture_without_words_and_a_handle_without_name(start):
    page = start.page
    page.evaluate(
        """() => {
            document.querySelector('img.widget-image').removeAttribute('alt');
            document.querySelectorAll('.noUi-handle').forEach(each => each.removeAttribute('aria-label'));
        }"""
    )
    violations, _ = axe(page)
    assert {each.split(" ")[0] for each in violations} == {"image-alt", "aria-input-field-name"}
