"""The quality page: yields, control charts, causes, drift, latency and errors by labels, over lots and over time."""

from __future__ import annotations

from inspection.web.context import Context
from inspection.web.pages import layout, words
from inspection.web.pages.markup import render


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/quality")
    def quality() -> None:
        html = render("quality.html", products=context.settings.products, reasons=words.REASONS)
        layout.show(station, "/quality", "Quality", html)
