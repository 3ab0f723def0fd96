"""What all pages share: the head, the bar on top, and the answer to addresses where nothing is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from nicegui import ui

from inspection.web.pages.markup import render

STATIC = Path(__file__).parent / "static"


def install(app: FastAPI) -> None:
    """Serve the style sheet and script, and name them in the head of every page."""
    app.mount("/static", StaticFiles(directory=STATIC))
    for name, tag in (("station.js", '<script src="{}"></script>'), ("station.css", '<link rel="stylesheet" href="{}">')):
        # The digest makes browsers fetch a changed file.
        digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
        ui.add_head_html(tag.format(f"/static/{name}?{digest}"), shared=True)


def bar(station: str, here: str) -> None:
    """The bar on top; ``here`` is the entry to mark."""
    ui.html(render("bar.html", station=station, here=here), sanitize=False, tag="header").classes("bar")


def show(station: str, here: str, title: str, html: str) -> None:
    """A page that does not change while it is looked at."""
    ui.page_title(f"{title} · {station}")
    bar(station, here)
    ui.html(html, sanitize=False).classes("sheet")


def show_missing(station: str, detail: str) -> None:
    """The page for what is not recorded, with status 404."""
    ui.context.client.status_code = 404
    show(station, "", "Not found", render("missing.html", detail=detail))
