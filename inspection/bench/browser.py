"""A real browser, and somebody who is logged in, for measurements of pages."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.config import Config
from inspection.domain import Role
from inspection.errors import StationError
from inspection.passwords import Passwords
from inspection.records.database import open_engine
from inspection.records.sessions import start_session
from inspection.records.users import create_user, find_user

REVIEWER = "reviewer"


@contextmanager
def chromium(path: Path | None) -> Iterator[Any]:
    """A Chromium without a window; StationError without Playwright or a browser."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise StationError("pages are measured in a browser: install playwright (pip install playwright)") from None
    program = path or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except Error as error:
            what = program or "Playwright's own Chromium"
            reason = str(error).splitlines()[0]
            raise StationError(f"{what} does not start ({reason}); name a Chromium with --browser, or install one") from None
        try:
            yield browser
        finally:
            browser.close()


def log_in(config: Config) -> str:
    """What the browser of a reviewer shows; the reviewer is made if there is none, with a password that nobody knows."""
    engine = open_engine(config.database_url)
    with engine.begin() as connection:
        if find_user(connection, REVIEWER) is None:
            create_user(connection, REVIEWER, Role.QA, Passwords().hashed(secrets.token_urlsafe(32)), "bench")
        cookie = start_session(connection, REVIEWER, "127.0.0.1", datetime.now(UTC))
    engine.dispose()
    return cookie
