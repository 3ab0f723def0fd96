"""What Prometheus scrapes; no part of the REST interface, whose problems and versions it does not share."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from inspection.web.context import Context
from inspection.web.metrics import Station
from inspection.web.permissions import METRICS


def router(context: Context) -> APIRouter:
    """``GET /metrics``, in the format that the scraper prefers."""
    registry = CollectorRegistry()
    registry.register(Station(context))
    routes = APIRouter(include_in_schema=False)

    @routes.get(METRICS)
    def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=media_type)

    return routes
