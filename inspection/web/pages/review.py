"""The page on which people say what parts really are."""

from __future__ import annotations

from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.markup import render


def install(context: Context) -> None:
    station, products = context.settings.station, context.settings.products

    @layout.page("/review")
    async def review() -> None:
        layout.show(station, "/review", "Review", render("review.html", products=products))
