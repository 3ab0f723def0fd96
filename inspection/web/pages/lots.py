"""Lots, found by what is known of them or of a part, and one lot with its reconciliation and its results."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from inspection.commands import check_name
from inspection.domain import Inspection, LegalHold, Lot, LotEvent, LotState, LotSummary, Verdict
from inspection.errors import BadCursor, NotFound
from inspection.records import queries
from inspection.records.cursors import Page
from inspection.records.legal_holds import list_holds
from inspection.records.queries import LotCounts, LotsWanted
from inspection.web.context import Context
from inspection.web.names import name_from_path, name_to_path
from inspection.web.pages import layout
from inspection.web.pages.markup import render

LOTS_PER_PAGE = 25
RESULTS_PER_PAGE = 50
SERIALS = 50


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found: lots that begin with the text, a page at a time, and serials that are it or begin with it."""

    page: Page[Lot]
    counts: dict[str, LotCounts]
    serials: tuple[str, ...] = ()

    @property
    def alone(self) -> str | None:
        """The address of what was found, if it is one thing."""
        if len(self.page.items) + len(self.serials) != 1:
            return None
        if self.serials:
            return f"/parts/{name_to_path(self.serials[0])}"
        return f"/lots/{name_to_path(self.page.items[0].lot)}"


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/lots")
    async def lots(
        q: str = "", product: str = "", state: str = "", since: str = "", until: str = "", cursor: str | None = None
    ) -> Response | None:
        asked = {"q": q.strip(), "product": product, "state": state, "since": since, "until": until}

        def read() -> Hits:
            wanted = _wanted(asked)
            with context.reader.connect() as records:
                page = queries.list_lots(records, cursor, LOTS_PER_PAGE, wanted)
                serials = _serials(records, asked["q"]) if asked["q"] and cursor is None else ()
                return Hits(page, queries.lot_counts(records, [lot.lot for lot in page.items]), serials)

        try:
            hits = await asyncio.to_thread(read)
        except BadCursor as error:
            layout.show_missing(station, str(error))
            return None
        except ValueError as error:
            layout.show_missing(station, f"the search cannot be right: {error}")
            return None
        if asked["q"] and cursor is None and hits.alone:
            return RedirectResponse(hits.alone)
        kept = urlencode({name: value for name, value in asked.items() if value})
        html = render(
            "lots.html",
            hits=hits,
            asked=asked,
            kept=kept,
            first=cursor is None,
            products=context.settings.products,
            states=list(LotState),
            most_serials=SERIALS,
        )
        layout.show(station, "/lots", "Lots", html)
        return None

    @layout.page("/lots/{lot}")
    async def one_lot(lot: str, verdict: str | None = None, cursor: str | None = None) -> None:
        def read() -> tuple[
            LotSummary, Lot | None, Page[Inspection], Verdict | None, tuple[LotEvent, ...], tuple[LegalHold, ...]
        ]:
            chosen = Verdict(verdict) if verdict else None
            name = name_from_path(lot)
            with context.reader.connect() as records:
                summary = queries.lot_summary(records, name)
                page = queries.lot_results(records, name, cursor, RESULTS_PER_PAGE, chosen)
                holds = list_holds(records, name, released=True)
                return summary, _opened(records, name), page, chosen, queries.lot_history(records, name), holds

        try:
            summary, opened, page, chosen, events, holds = await asyncio.to_thread(read)
        except (NotFound, BadCursor) as error:
            layout.show_missing(station, str(error))
            return
        except ValueError as error:
            layout.show_missing(station, f"the address cannot be right: {error}")
            return
        values = {"summary": summary, "lot": opened, "page": page, "chosen": chosen, "events": events, "holds": holds}
        html = render("lot.html", **values, first=cursor is None)
        layout.show(station, "/lots", f"Lot {summary.lot}", html)


def _wanted(asked: dict[str, str]) -> LotsWanted:
    """What the form asks for; ValueError if it makes no sense."""
    if asked["q"]:
        check_name(asked["q"])
    return LotsWanted(
        asked["q"] or None,
        asked["product"] or None,
        LotState(asked["state"]) if asked["state"] else None,
        _midnight(asked["since"]) if asked["since"] else None,
        _midnight(asked["until"], 1) if asked["until"] else None,
    )


def _midnight(day: str, later: int = 0) -> datetime:
    """Midnight on the station's clock at the beginning of a day, or so many days later."""
    there = date.fromisoformat(day)
    if not 1971 <= there.year <= 9000:
        raise ValueError(f"{day} is no day of a station")
    return datetime.combine(there + timedelta(days=later), time.min).astimezone(UTC)


def _serials(records: Connection, text: str) -> tuple[str, ...]:
    """The serial that the text is; serials that begin with it where it is none, in order."""
    try:
        queries.attempts(records, text)
    except NotFound:
        return queries.serials_like(records, text, SERIALS)
    return (text,)


def _opened(records: Connection, lot: str) -> Lot | None:
    """The lot as opened; None for one that only triggers know."""
    try:
        return queries.get_lot(records, lot)
    except NotFound:
        return None
