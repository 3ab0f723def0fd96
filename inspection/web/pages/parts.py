"""One part: every attempt of a serial, in all lots."""

from __future__ import annotations

import asyncio

from inspection.domain import Inspection, Label
from inspection.errors import NotFound
from inspection.records import queries
from inspection.records.labels import label_history
from inspection.web.context import Context
from inspection.web.names import name_from_path
from inspection.web.pages import layout
from inspection.web.pages.markup import render

MOST = 200
"""Attempts shown, the newest ones."""


def install(context: Context) -> None:
    station = context.settings.station

    @layout.page("/parts/{serial}")
    async def one_part(serial: str) -> None:
        def read() -> tuple[str, tuple[Inspection, ...], dict[int, Label]]:
            name = name_from_path(serial)
            with context.reader.connect() as records:
                attempts = queries.attempts(records, name)
                labels = {each.seq: label_history(records, each.seq)[:1] for each in attempts[-MOST:]}
                return name, attempts, {seq: found[0] for seq, found in labels.items() if found}

        try:
            name, attempts, labels = await asyncio.to_thread(read)
        except NotFound as error:
            layout.show_missing(station, str(error))
            return
        except ValueError as error:
            layout.show_missing(station, f"the address cannot be right: {error}")
            return
        newest_first = tuple(reversed(attempts[-MOST:]))
        html = render("part.html", serial=name, attempts=newest_first, count=len(attempts), labels=labels)
        layout.show(station, "/lots", f"Part {name}", html)
