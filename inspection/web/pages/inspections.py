"""One inspection: its picture, its map, all that is recorded about it and was said of it, and the other attempts of the part."""

from __future__ import annotations

import asyncio

from inspection.domain import Inspection, Label, LegalHold
from inspection.errors import NotFound
from inspection.records import queries
from inspection.records.labels import label_history
from inspection.records.legal_holds import holds_on
from inspection.records.opinions import opinions
from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.markup import render


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/inspections/{seq}")
    async def one_inspection(seq: str) -> None:
        def read() -> tuple[Inspection, tuple[Inspection, ...], tuple[Label, ...], tuple[LegalHold, ...]]:
            if not (seq.isascii() and seq.isdigit() and len(seq) <= 18):
                raise NotFound(f"inspections have numbers, {seq!r} is none; find the part by its lot")
            with context.reader.connect() as records:
                inspection = queries.get_inspection(records, int(seq))
                attempts = queries.attempts(records, inspection.serial)
                return inspection, attempts, label_history(records, inspection.seq), holds_on(records, inspection)

        try:
            inspection, attempts, history, holds = await asyncio.to_thread(read)
        except NotFound as error:
            layout.show_missing(station, str(error))
            return
        values = {"inspection": inspection, "attempts": attempts, "history": history, "holds": holds}
        html = render("inspection.html", **values, said=opinions(history))
        layout.show(station, "/lots", f"{inspection.serial} in lot {inspection.lot}", html)
