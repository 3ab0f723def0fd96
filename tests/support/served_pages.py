"""A browser page on the station's web process, which complains of everything that goes wrong in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe import violations

CHROMIUM = Path("/usr/bin/chromium")


def look(page: Any, name: str, *, whole: bool = False) -> None:
    """Does it fit the screen, in both sizes and themes, and can everybody use it? A picture of each if asked for.

    A ``whole`` page is seen without scrolling down.
    """
    for theme in ("light", "dark"):
        page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
        for width, height in ((1024, 768), (1440, 900)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function("[...document.images].every(image => image.complete || image.loading === 'lazy')")
            if folder := os.environ.get("STATION_SCREENSHOTS"):
                page.screenshot(path=Path(folder) / f"{name}-{width}x{height}-{theme}.png")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert not whole or page.evaluate("document.documentElement.scrollHeight") <= height, name
        found = violations(page)
        assert not found, f"{name}, {theme}: " + "\n".join(found)


@dataclass
class PageVisit:
    """A browser page, and what went wrong in it."""

    page: Any
    url: str
    trouble: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.trouble.append(f"{message.type}: {message.text}")

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.trouble.append(f"page error: {error}"))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: str) -> Any:
        response = self.page.goto(self.url + path)
        self.page.wait_for_selector(".live, .sheet, review-page part-panel")
        return response

    def forgive(self, status: str) -> None:
        """The browser reports an answer of this status itself."""
        self.trouble[:] = [text for text in self.trouble if status not in text]

    def check(self) -> None:
        """Nothing went wrong, and nothing was asked of another host."""
        assert not self.trouble, "\n".join(self.trouble)
        assert [url for url in self.requests if not url.startswith((self.url, "data:", "blob:"))] == []
