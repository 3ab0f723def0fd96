"""Login and first start, users, the audit trail, and one's own account."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import ui

from inspection.domain import ROLE_SCOPES, Role
from inspection.passwords import MIN_LENGTH
from inspection.records.users import any_user
from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.markup import render
from inspection.web.pages.plain import plain_page, safe_next

ROLE_WORDS = {
    Role.OPERATOR: "sees everything, opens, closes and holds lots",
    Role.QA: "also reviews and labels, trains and deploys models, reads the audit trail",
    Role.ENGINEER: "also changes the settings",
    Role.ADMIN: "also makes users",
    Role.MES_SERVICE: "as an operator, for a program that cannot show a token; opens no page",
}


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/users")
    def users() -> None:
        html = render("users.html", roles=ROLE_WORDS, scopes=ROLE_SCOPES, least=MIN_LENGTH)
        layout.show(station, "/users", "Users", html)

    @layout.page("/audit")
    def audit() -> None:
        layout.show(station, "/audit", "Audit", render("audit.html"))

    @layout.page("/account")
    def account() -> None:
        state = ui.context.client.request.scope["state"]
        must_change = state["session"] is not None and state["session"].must_change_password
        known = {"user": state["user"], "role": state["role"], "must_change_password": must_change}
        html = render("account.html", **known, words=ROLE_WORDS, least=MIN_LENGTH)
        layout.show(station, "/account", "Your account", html)


def install_plain(app: FastAPI, context: Context) -> None:
    """The pages for those who are not logged in."""
    station = context.settings.station

    def started() -> bool:
        with context.reader.connect() as records:
            return any_user(records)

    @app.get("/login", include_in_schema=False)
    async def login(request: Request, next: str = "/", expired: bool = False) -> Response:
        after = safe_next(next)
        if request.scope["state"]["user"] is not None:
            return RedirectResponse(after, HTTPStatus.SEE_OTHER)
        return plain_page(station, "Log in", render("login.html", station=station, after=after, expired=expired))

    @app.get("/setup", include_in_schema=False)
    async def setup() -> Response:
        if await asyncio.to_thread(started):
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        return plain_page(station, "First start", render("setup.html", station=station, least=MIN_LENGTH))
