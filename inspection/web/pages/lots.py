"""Lots, and one lot with its reconciliation and its results."""

from __future__ import annotations

import asyncio

from nicegui import ui
from sqlalchemy import Connection

from inspection.domain import Inspection, Lot, LotEvent, LotSummary, Verdict
from inspection.errors import BadCursor, NotFound
from inspection.records import queries
from inspection.records.cursors import Page
from inspection.web.context import Context
from inspection.web.names import name_from_path
from inspection.web.pages import layout
from inspection.web.pages.markup import render

LOTS_PER_PAGE = 25
RESULTS_PER_PAGE = 50


def install(context: Context) -> None:
    station = context.settings.station

    @ui.page("/lots")
    async def lots(cursor: str | None = None) -> None:
        def read() -> tuple[Page[Lot], dict[str, LotSummary]]:
            with context.reader.connect() as records:
                page = queries.list_lots(records, cursor, LOTS_PER_PAGE)
                return page, {lot.lot: queries.lot_summary(records, lot.lot) for lot in page.items}

        try:
            page, summaries = await asyncio.to_thread(read)
        except BadCursor as error:
            layout.show_missing(station, str(error))
            return
        html = render("lots.html", page=page, summaries=summaries, first=cursor is None)
        layout.show(station, "lots", "Lots", html)

    @ui.page("/lots/{lot}")
    async def one_lot(lot: str, verdict: str | None = None, cursor: str | None = None) -> None:
        def read() -> tuple[LotSummary, Lot | None, Page[Inspection], Verdict | None, tuple[LotEvent, ...]]:
            chosen = Verdict(verdict) if verdict else None
            name = name_from_path(lot)
            with context.reader.connect() as records:
                summary = queries.lot_summary(records, name)
                page = queries.lot_results(records, name, cursor, RESULTS_PER_PAGE, chosen)
                return summary, _opened(records, name), page, chosen, queries.lot_history(records, name)

        try:
            summary, opened, page, chosen, events = await asyncio.to_thread(read)
        except (NotFound, BadCursor) as error:
            layout.show_missing(station, str(error))
            return
        except ValueError as error:
            layout.show_missing(station, f"the address cannot be right: {error}")
            return
        html = render("lot.html", summary=summary, lot=opened, page=page, chosen=chosen, first=cursor is None, events=events)
        layout.show(station, "lots", f"Lot {summary.lot}", html)


def _opened(records: Connection, lot: str) -> Lot | None:
    """The lot as opened; None for one that only triggers know."""
    try:
        return queries.get_lot(records, lot)
    except NotFound:
        return None
