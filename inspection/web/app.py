"""The web application: the REST API under /api/v1 and the pages, on one FastAPI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from nicegui import ui
from starlette.exceptions import HTTPException
from starlette.routing import Match

from cameras.bus import Bus
from inspection.messages import CellMessage
from inspection.records.database import open_engine
from inspection.web import (
    problems,
    routes_exports,
    routes_inspections,
    routes_labels,
    routes_lots,
    routes_models,
    routes_station,
    routes_training,
    routes_triggers,
)
from inspection.web.access import Access
from inspection.web.commands import ZmqRecorderClient
from inspection.web.context import Context
from inspection.web.idempotency import Idempotency
from inspection.web.names import EncodedSlashes
from inspection.web.pages import inspections, layout, live, lots
from inspection.web.settings import Settings
from inspection.web.triggers import INBOX, Triggers

OPENAPI = Path(__file__).parent / "openapi.json"


def create_api(settings: Settings) -> FastAPI:
    """The REST API alone. Nothing is opened before the first request."""
    context = Context(
        settings,
        open_engine(settings.database_url, read_only=True),
        open_engine(settings.database_url),
        ZmqRecorderClient(settings.command_address),
        Triggers(lambda: Bus(settings.run_dir, INBOX, CellMessage)),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
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
    # The last one added is the first to see a request.
    app.add_middleware(Idempotency, records=context.writer)
    app.add_middleware(Access, tokens=context.reader if settings.tokens else None, requests_per_s=settings.requests_per_s)
    app.add_middleware(EncodedSlashes)
    problems.install(app)
    for routes in (
        routes_lots,
        routes_triggers,
        routes_exports,
        routes_inspections,
        routes_station,
        routes_labels,
        routes_training,
        routes_models,
    ):
        app.include_router(routes.router)

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


def create_app(settings: Settings) -> FastAPI:
    """The REST API and the pages. Once per process: NiceGUI keeps its pages in one place."""
    app = create_api(settings)
    layout.install(app)
    for page in (live, lots, inspections):
        page.install(app.state.context)

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
    )
    return app


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    # log_config=None: the process has set logging up; every poll of every page would be a line of the access log.
    uvicorn.run(create_app(settings), host=host, port=port, log_config=None, access_log=False)


def openapi_document() -> dict[str, Any]:
    """The description of the REST API, equal to the committed openapi.json."""
    nowhere = Path("nowhere")
    app = create_api(Settings("", f"sqlite:///{nowhere}", nowhere, nowhere, "", ()))
    document = app.openapi()
    app.state.context.recorder.close()
    return document
