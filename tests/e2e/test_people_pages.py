"""First start, login, users, audit trail and account in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from people import PASSWORD, add_user, logged_in
from served_pages import CHROMIUM, look
from sqlalchemy import Engine, select, update
from web_process import web_process

from inspection.domain import Role
from inspection.records.database import migrate, open_engine
from inspection.records.tables import sessions

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Engine]]:
    """A station that nobody has started yet."""
    folder = tmp_path_factory.mktemp("people")
    url = f"sqlite:///{folder / 'records.db'}"
    engine = open_engine(url)
    migrate(engine)
    with web_process(folder, url) as address:
        yield address, engine
    engine.dispose()


@pytest.fixture
def context(browser: Any, station: tuple[str, Engine]) -> Iterator[Any]:
    """Fails the test if the browser complained, of the pages' own policy too, or anything was asked of another host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light", base_url=station[0])
    trouble: list[str] = []
    elsewhere: list[str] = []

    def watch(page: Any) -> None:
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
        page.on(
            "request", lambda request: request.url.startswith((station[0], "data:", "blob:")) or elsewhere.append(request.url)
        )

    context.on("page", watch)
    yield context
    context.close()
    # The browser reports refusals itself, which are what is tested.
    assert [text for text in trouble if "the server responded with a status of 4" not in text] == []
    assert elsewhere == []


def test_from_the_first_start_to_an_operator_and_a_session_that_ends(context: Any, station: tuple[str, Engine]) -> None:
    page = context.new_page()
    page.goto("/lots?cursor=")
    expect(page.locator("h1")).to_have_text("First start of station-7")
    look(page, "setup")
    page.get_by_label("Your name").fill("ada")
    page.get_by_label("Password", exact=False).first.fill("adaadaadaada")
    page.get_by_label("Password once more").fill("adaadaadaada")
    page.get_by_role("button", name="Make the administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("The password is little more than the name")
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_role("button", name="Make the administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("differ")
    page.get_by_label("Password once more").fill(PASSWORD)
    page.get_by_role("button", name="Make the administrator").click()
    page.wait_for_selector(".live")
    expect(page.locator(".bar .who b")).to_have_text("ada")
    page.goto("/setup")
    page.wait_for_selector(".live")

    page.get_by_role("link", name="Users").click()
    page.get_by_role("button", name="New user").click()
    look(page, "users-new")
    page.get_by_label("Name").fill("oskar")
    page.get_by_label("First password").fill("a window over the sea")
    page.get_by_role("button", name="Make user").click()
    row = page.locator("tbody tr", has_text="oskar").first
    expect(row.locator(".state")).to_have_text("has a first password")
    row.get_by_label("Role of oskar").select_option("qa")
    expect(page.locator(".message", has_text="oskar is qa now")).to_be_visible()
    row.get_by_label("Role of oskar").select_option("operator")
    expect(page.locator(".message", has_text="oskar is operator now")).to_be_visible()
    look(page, "users")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Log in")

    page.goto("/lots?verdict=x")
    page.get_by_label("Name").fill("oskar")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
    look(page, "login")
    page.get_by_label("Password").fill("a window over the sea")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".notice")).to_contain_text("Somebody else chose your password")
    page.goto("/lots?verdict=x")
    expect(page.locator("h1")).to_have_text("Your account")
    look(page, "first-password")
    page.get_by_label("Password of now").fill("a window over the sea")
    for label in ("New password", "New password once more"):
        page.get_by_label(label, exact=label.endswith("more")).first.fill("a window over the sea")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("alert")).to_contain_text("This is the password of before")
    for label in ("New password", "New password once more"):
        page.get_by_label(label, exact=label.endswith("more")).first.fill("a bench in the shade")
    page.get_by_role("button", name="Change password").click()
    page.wait_for_selector(".live")
    page.goto("/lots?verdict=x")
    expect(page.locator("h1")).to_have_text("Lots")
    assert page.locator(".bar nav a").all_inner_texts()[:2] == ["Live", "Review"]
    assert not {"Users", "Audit", "Settings"} & set(page.locator(".bar nav a").all_inner_texts())
    refused = page.goto("/users")
    assert refused.status == 403
    expect(page.locator("h1")).to_have_text("Not for your role")
    look(page, "refused")

    page.goto("/account")
    page.get_by_label("Password of now").fill("a bench in the shade")
    page.get_by_label("New password", exact=False).first.fill("a door to the garden")
    page.get_by_label("New password once more").fill("a door to the garden")
    with station[1].begin() as connection:
        old = connection.execute(select(sessions.c.used_at).where(sessions.c.user == "oskar")).scalar_one()
        connection.execute(update(sessions).where(sessions.c.user == "oskar").values(used_at=old - timedelta(hours=1)))
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".notice")).to_contain_text("Your session has ended")
    page.get_by_label("Name").fill("oskar")
    page.get_by_label("Password").fill("a bench in the shade")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("Your account")
    look(page, "account")


def test_what_cannot_be_undone_asks_for_the_password_and_the_trail_tells_it(context: Any, station: tuple[str, Engine]) -> None:
    url, engine = station
    add_user(engine, "eve", Role.OPERATOR)
    page = logged_in(context, engine, url, "grace").new_page()
    with engine.begin() as connection:
        shown = select(sessions.c.authenticated_at).where(sessions.c.user == "grace")
        before = connection.execute(shown).scalar_one() - timedelta(minutes=6)
        connection.execute(update(sessions).where(sessions.c.user == "grace").values(authenticated_at=before))
    page.goto("/users")
    disable = page.get_by_role("button", name="Disable eve")
    disable.click()
    dialog = page.get_by_role("dialog", name="Your password, once more")
    expect(dialog).to_be_visible()
    look(page, "confirm")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".message.problem")).to_contain_text("show your password again")
    disable.click()
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Go on").click()
    expect(dialog.get_by_role("alert")).to_contain_text("the password is wrong")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Go on").click()
    expect(page.locator("tbody tr", has_text="eve").first.locator(".state")).to_have_text("disabled")

    page.get_by_role("link", name="Audit").click()
    expect(page.locator(".chain")).to_contain_text("Chain verified up to entry")
    done = page.locator("tbody tr", has_text="POST /users/{user}/disable").first
    expect(done.locator(".outcome")).to_have_text("done 200")
    expect(done).to_contain_text("user eve")
    look(page, "audit")
    page.get_by_label("Refused only").check()
    expect(page.locator("tbody tr", has_text="password needed")).to_have_count(2)
    expect(page.locator("tbody tr", has_text="done 2")).to_have_count(0)
    page.get_by_label("Who").fill("grace")
    page.get_by_role("button", name="Show").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("audit_id,at,by,role,client,action")
    assert all(",grace," in line for line in lines[1:])


def test_a_page_that_is_open_is_served_no_longer_than_its_session(context: Any, station: tuple[str, Engine]) -> None:
    """What NiceGUI's connection is asked for without a session is refused, and the page says where to log in."""
    url, engine = station
    page = logged_in(context, engine, url, "grace").new_page()
    page.goto("/")
    page.wait_for_selector(".live")
    answers = page.evaluate(
        """async () => Promise.all([
          fetch("/_nicegui_ws/socket.io/?EIO=4&transport=polling", { credentials: "omit" }).then((answer) => answer.status),
          new Promise((done) => {
            const origin = location.origin.replace("http", "ws");
            const socket = new WebSocket(origin + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket");
            socket.onopen = () => done("open");
            socket.onerror = () => done("refused");
          }),
        ])"""
    )
    assert answers == [401, "open"]
