"""The golden set: golden parts and their challenges, and golden images."""

from __future__ import annotations

from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.markup import render


def install(context: Context) -> None:
    settings = context.settings

    @layout.page("/golden")
    def golden(product: str | None = None) -> None:
        chosen = product if product in settings.products else next(iter(settings.products), None)
        html = render("golden.html", products=settings.products, chosen=chosen)
        layout.show(settings.station, "/golden", "Golden set", html)
