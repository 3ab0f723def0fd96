"""The models of each product, and one model: what it is, what its gates said, and how it compares."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from sqlalchemy import Connection

from inspection.errors import NotFound
from inspection.records.deployments import get_model, list_models, why_not
from inspection.records.shadows import disagreements, shadow_summary
from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.histories import ListedModel, ProductModels, models_of
from inspection.web.pages.markup import render

DISAGREEMENTS = 50


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/models")
    async def models(product: str | None = None) -> None:
        def read() -> tuple[list[str], list[ProductModels]]:
            with context.reader.connect() as records:
                known = products(context, records)
                shown = [each for each in known if product in (None, each)]
                return known, [models_of(records, context, each) for each in shown]

        known, shown = await asyncio.to_thread(read)
        if product is not None and product not in known:
            layout.show_missing(station, f"There is no product {product!r} on this station; choose one from the list of models.")
            return
        layout.show(station, "/models", "Models", render("models.html", products=known, chosen=product, shown=shown))

    @layout.page("/models/{digest}")
    async def one_model(digest: str) -> None:
        def read() -> dict[str, Any]:
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise NotFound(f"models are named by 64 hexadecimal digits, {digest[:80]!r} is none; choose one from the list")
            with context.reader.connect() as records:
                registered = get_model(records, digest)
                whole = models_of(records, context, registered.product)
                listed = next(each for each in whole.models if each.model.model == digest)
                summary = shadow_summary(records, digest)
                differing = disagreements(records, digest, 0, DISAGREEMENTS) if summary.inspected else ()
                return {
                    "listed": listed,
                    "whole": whole,
                    "state": _actions(records, station, whole, listed),
                    "others": [_other(each) for each in whole.models if each is not listed],
                    "summary": summary,
                    "disagreements": differing,
                }

        try:
            values = await asyncio.to_thread(read)
        except NotFound as error:
            layout.show_missing(station, str(error))
            return
        layout.show(station, "/models", f"Model {digest[:12]}", render("model.html", **values))


def products(context: Context, records: Connection) -> list[str]:
    """The products that are configured, and others that there are models of."""
    return list(dict.fromkeys((*context.settings.products, *sorted({each.product for each in list_models(records)}))))


def _actions(records: Connection, station: str, whole: ProductModels, listed: ListedModel) -> dict[str, Any]:
    """What the buttons of a model's page need to know."""
    digest = listed.model.model
    return {
        "product": whole.product,
        "model": digest,
        "in_service": whole.in_service.deployment_id if whole.in_service else 0,
        "deployed": listed.deployed,
        "shadow": listed.shadow,
        "other_shadow": next((each.model.model for each in whole.models if each.shadow and each is not listed), None),
        "waiting": any(gate.passed is None for gate in listed.gates),
        "problem": None if listed.deployed else why_not(records, station, whole.product, digest),
        "former": whole.rollback.former if whole.rollback else None,
    }


def _other(listed: ListedModel) -> dict[str, Any]:
    words = ", ".join(text for _, text in listed.states)
    made = f"{listed.model.created_at.astimezone():%Y-%m-%d %H:%M}"
    return {"model": listed.model.model, "in_service": listed.deployed, "words": f"{words}, made {made}"}
