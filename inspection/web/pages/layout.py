"""What all pages share: the head, the bar on top, and the answer to addresses where nothing is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from nicegui import ui

from inspection.web.pages.markup import render
from inspection.web.pages.plain import STATIC, render_bar

PAGES = (
    ("/", "Live"),
    ("/review", "Review"),
    ("/lots", "Lots"),
    ("/quality", "Quality"),
    ("/training", "Training"),
    ("/models", "Models"),
    ("/golden", "Golden set"),
    ("/audit", "Audit"),
    ("/users", "Users"),
    ("/settings", "Settings"),
)
"""Address and name of what the bar leads to, where the role opens it."""
_STYLES = {
    "/": "live",
    "/review": "review",
    "/lots": "lots",
    "/quality": "quality",
    "/training": "learning",
    "/models": "learning",
    "/golden": "golden",
    "/audit": "people",
    "/users": "people",
    "/account": "people",
    "/settings": "settings",
}
"""The style sheet that pages have besides the station's."""
# Beside a busy line, building a page takes seconds; past this, an error is shown in its place.
_BUILD_S = 60.0


class _Static(StaticFiles):
    """Browsers ask each time whether a file has changed, so that modules of one version import each other."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def install(app: FastAPI) -> None:
    """Serve style sheets and scripts, and name in the head of every page what all have.

    ``station.js`` runs before anything is painted. The others are modules, which define the custom elements that pages use.
    """
    app.mount("/static", _Static(directory=STATIC))
    ui.add_head_html(_link("station"), shared=True)
    for name in sorted(file.name for file in STATIC.iterdir()):
        if name == "station.js":
            ui.add_head_html(f'<script src="/static/{name}"></script>', shared=True)
        elif name.endswith(".js"):
            ui.add_head_html(f'<script type="module" src="/static/{name}"></script>', shared=True)


def _link(sheet: str) -> str:
    return f'<link rel="stylesheet" href="/static/{sheet}.css">'


def page(address: str) -> ui.page:
    """Decorates the function that builds the page at ``address``."""
    return ui.page(address, response_timeout=_BUILD_S)


def bar(station: str, here: str) -> None:
    """The bar on top, and the page's own styles; ``here`` is the address of the entry to mark."""
    if here in _STYLES:
        ui.add_head_html(_link(_STYLES[here]))
    state = ui.context.client.request.scope.get("state", {})
    ui.html(render_bar(station, here, PAGES, state), sanitize=False, tag="header").classes("bar")


def show(station: str, here: str, title: str, html: str) -> None:
    """A page that does not change while it is looked at."""
    ui.page_title(f"{title} · {station}")
    bar(station, here)
    ui.html(html, sanitize=False).classes("sheet")


def show_missing(station: str, detail: str) -> None:
    """The page for what is not recorded, with status 404."""
    ui.context.client.status_code = 404
    show(station, "", "Not found", render("missing.html", detail=detail))
