"""The web application: the REST API under /api/v1 and the pages, on one FastAPI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from nicegui import ui
from starlette.exceptions import HTTPException
from starlette.routing import Match

from cameras.beat import beat
from cameras.bus import Bus
from inspection.messages import CellMessage
from inspection.passwords import Passwords
from inspection.recorder_client import ZmqRecorderClient
from inspection.records.database import open_engine
from inspection.tls import Certificate
from inspection.web import (
    problems,
    routes_audit,
    routes_challenges,
    routes_classes,
    routes_comparisons,
    routes_exports,
    routes_golden,
    routes_inspections,
    routes_labels,
    routes_legal_holds,
    routes_lots,
    routes_metrics,
    routes_models,
    routes_quality,
    routes_review,
    routes_session,
    routes_settings,
    routes_station,
    routes_storage,
    routes_training,
    routes_triggers,
    routes_users,
)
from inspection.web.access import Access
from inspection.web.bodies import BodyLimit
from inspection.web.context import Context, utc_now
from inspection.web.disk import DiskWatch
from inspection.web.encrypted import OnlyEncrypted, Renewed
from inspection.web.headers import SecurityHeaders
from inspection.web.idempotency import Idempotency
from inspection.web.names import EncodedAddresses
from inspection.web.pages import golden, inspections, layout, live, lots, models, parts, people, quality, review, training
from inspection.web.pages import settings as settings_page
from inspection.web.settings import Settings
from inspection.web.trail import Templates
from inspection.web.triggers import INBOX, Triggers

_BEAT_S = 0.5
# Requests that are still answered when the process is to stop.
_STOP_S = 3
_AWAY_S = 15.0

OPENAPI = Path(__file__).parent / "openapi.json"


def create_api(settings: Settings, clock: Callable[[], datetime] = utc_now, passwords: Passwords | None = None) -> FastAPI:
    """The REST API alone. Nothing is opened before the first request."""
    context = Context(
        settings,
        open_engine(settings.database_url, read_only=True),
        open_engine(settings.database_url),
        ZmqRecorderClient(settings.command_address),
        Triggers(lambda: Bus(settings.run_dir, INBOX, CellMessage)),
        clock,
        passwords or Passwords(),
        DiskWatch(settings.limits),
    )
    templates = Templates()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        beats = asyncio.create_task(_beats())
        yield
        beats.cancel()
        context.reader.dispose()
        context.writer.dispose()
        context.recorder.close()
        context.triggers.close()

    app = FastAPI(
        title="Inspection station",
        version="1",
        description="Lots, parts, inspections, images, labels, training, models. Errors are RFC 9457 problems with a `code`.",
        openapi_url="/api/v1/openapi.json",
        # Their pages load scripts from the internet, which a station does not have.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.context = context
    app.state.answers = routes_quality.Answers()
    # The last one added is the first to see a request.
    app.add_middleware(Idempotency, records=context.writer)
    app.add_middleware(Access, context=context, templates=templates)
    app.add_middleware(BodyLimit)
    app.add_middleware(EncodedAddresses)
    app.add_middleware(SecurityHeaders)
    problems.install(app)
    for routes in (
        routes_lots,
        routes_triggers,
        routes_exports,
        routes_inspections,
        routes_station,
        routes_labels,
        routes_review,
        routes_classes,
        routes_training,
        routes_models,
        routes_session,
        routes_users,
        routes_audit,
        routes_quality,
        routes_challenges,
        routes_golden,
        routes_settings,
        routes_comparisons,
        routes_legal_holds,
        routes_storage,
    ):
        app.include_router(routes.router)
        templates.add(routes.router)
    app.include_router(routes_metrics.router(context))

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
    known = tuple(app.router.routes)

    @app.api_route("/api/{path:path}", methods=methods, include_in_schema=False)
    def nowhere(request: Request) -> Response:
        """The pages, mounted below everything else, would answer with HTML where the API has nothing."""
        tried = {method: {**request.scope, "method": method} for method in methods}
        allowed = [method for method in methods if any(route.matches(tried[method])[0] is Match.FULL for route in known)]
        if allowed:
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(allowed)})
        raise HTTPException(HTTPStatus.NOT_FOUND)

    return app


async def _beats() -> None:
    """The event loop, which all requests and pages share, comes round."""
    while True:
        beat()
        await asyncio.sleep(_BEAT_S)


def create_app(settings: Settings) -> FastAPI:
    """The REST API and the pages. Once per process: NiceGUI keeps its pages in one place."""
    app = create_api(settings)
    layout.install(app)
    for page in (live, review, lots, parts, inspections, quality, training, models, golden, people, settings_page):
        page.install(app.state.context)
    people.install_plain(app, app.state.context)

    def nowhere() -> None:
        layout.show_missing(settings.station, "There is no page at this address; start from the live page or the lots.")

    ui.run_with(
        app,
        root=nowhere,
        title=settings.station,
        favicon=layout.STATIC / "station.svg",
        tailwind=False,
        # Nothing is bound; the loop that looks for changes would run for nothing.
        binding_refresh_interval=None,
        show_welcome_message=False,
        language="en-US",
        # Beside a busy line pages wait, and so do their signs of life: a page whose browser seems gone is loaded again.
        reconnect_timeout=_AWAY_S,
    )
    return app


def run(settings: Settings, host: str, port: int, find_certificate: Callable[[], Certificate | None] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM, encrypted if there is a certificate, which is looked for again every minute."""
    app = create_app(settings)
    certificate = find_certificate()
    # log_config=None: the process has set logging up; every poll of every page would be a line of the access log.
    options: dict[str, Any] = {"host": host, "port": port, "log_config": None, "access_log": False, "server_header": False}
    options["timeout_graceful_shutdown"] = _STOP_S
    if certificate is None:
        uvicorn.run(app, **options)
        return
    renewed = Renewed(certificate, find_certificate)
    if not certificate.generated:
        app.add_middleware(OnlyEncrypted)
    with renewed.watching():
        uvicorn.run(app, **options, ssl_context_factory=lambda _config, _default: renewed.context)


def openapi_document() -> dict[str, Any]:
    """The description of the REST API, equal to the committed openapi.json."""
    nowhere = Path("nowhere")
    app = create_api(Settings("", f"sqlite:///{nowhere}", nowhere, nowhere, "", ()))
    document = app.openapi()
    app.state.context.recorder.close()
    return document
