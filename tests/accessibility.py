"""axe-core inside a page: what it finds wrong in the dashboard, in words."""

from pathlib import Path

import axe_playwright_python

SCRIPT = Path(axe_playwright_python.__file__).with_name("axe.min.js")
RUN = "where => axe.run(where)"


def axe(page, where=".vdpa-root"):
    """What axe-core finds in a part of the page: violations in words, and the rules that had work and passed."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(SCRIPT.read_text(encoding="utf-8"))
    found = page.evaluate(RUN, where)
    violations = [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
    return violations, {rule["id"] for rule in found["passes"]}
