"""Pages without NiceGUI, for those who are not logged in or not let in, and the bar, which all pages have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse

from inspection.web.headers import PLAIN
from inspection.web.pages.markup import render
from inspection.web.permissions import page_scope

STATIC = Path(__file__).parent / "static"


def render_bar(station: str, here: str, pages: Iterable[tuple[str, str]], state: Mapping[str, Any]) -> str:
    """The bar on top, with the pages that the role opens; ``state`` is that of the request, ``here`` the entry to mark."""
    scopes = state.get("scopes", frozenset())
    opened = [(address, name) for address, name in pages if page_scope(address) in scopes]
    role = state.get("role")
    return render("bar.html", station=station, here=here, pages=opened, user=state.get("user"), role=role)


def plain_page(
    station: str, title: str, html: str, state: Mapping[str, Any] | None = None, status: HTTPStatus = HTTPStatus.OK
) -> HTMLResponse:
    """A whole page; ``html`` is put in as it is."""
    bar = render_bar(station, "", (("/", "Live"), ("/lots", "Lots")), state or {})
    page = render("plain.html", station=station, title=title, bar=bar, html=html)
    return HTMLResponse(page, status, {"content-security-policy": PLAIN, "cache-control": "no-store"})


def refused_page(station: str, state: Mapping[str, Any], title: str, why: str) -> HTMLResponse:
    """The page for what somebody may not see, with status 403."""
    html = render("refused.html", title=title, why=why, user=state.get("user"))
    return plain_page(station, title, html, state if state.get("user") else None, HTTPStatus.FORBIDDEN)


def safe_next(address: str) -> str:
    """Where to go after the login: a page of this station, or else the live page."""
    if not address.startswith("/") or address.startswith("//") or "\\" in address or not address.isprintable():
        return "/"
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or parts.path.startswith(("/login", "/setup", "/api/")) else address
