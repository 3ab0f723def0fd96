"""The settings: recipes as forms, the configuration file itself, its former versions, and what the station is made of."""

from __future__ import annotations

from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.markup import render


def install(context: Context) -> None:
    settings = context.settings

    @layout.page("/settings")
    def show_settings() -> None:
        html = render("settings.html", editable=settings.config_path is not None)
        layout.show(settings.station, "/settings", "Settings", html)
