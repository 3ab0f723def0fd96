"""Accessibility of a page in a real browser, by axe-core: what breaks WCAG 2.2, levels A and AA."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page: Any) -> list[str]:
    """``rule: element (what is wrong)`` of everything that axe-core finds on a Playwright page as it is now."""
    package = find_spec("axe_playwright_python")
    assert package is not None, "the accessibility tests need the axe-playwright-python package"
    page.evaluate((Path(str(package.origin)).parent / "axe.min.js").read_text(encoding="utf-8"))
    # NiceGUI's own bar comes and goes while something is fetched.
    found = page.evaluate("rules => axe.run({exclude: ['.q-loading-bar']}, {runOnly: rules})", _RULES)["violations"]
    return [f"{rule['id']}: {node['html'][:160]} ({node['failureSummary']})" for rule in found for node in rule["nodes"]]
