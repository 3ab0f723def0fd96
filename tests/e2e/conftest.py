"""What the tests in a real browser share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served_pages import CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
    if not CHROMIUM.exists():
        pytest.skip(f"the page tests need a browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        # Not how fast a page is on a busy machine is tested, but what it shows in the end.
        sync_api.expect.set_options(timeout=30_000)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()
