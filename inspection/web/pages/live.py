"""The live page: the last part, readable from two metres, the lot that runs, and the state of the station."""

from __future__ import annotations

import asyncio

from nicegui import ui

from inspection.web.context import Context
from inspection.web.pages import layout
from inspection.web.pages.feed import Feed, Snapshot
from inspection.web.pages.markup import render

POLL_S = 0.5
FAULTS = 2
# Faster than this nobody sees single pictures, and making them would take the processor from the inspection.
PICTURES_UP_TO_RATE = 5.0


def install(context: Context) -> None:
    feed = Feed(context)

    @layout.page("/")
    async def live() -> None:
        ui.page_title(f"Live · {context.settings.station}")
        layout.bar(context.settings.station, "/")
        view = LiveView()
        view.show(await asyncio.to_thread(feed.current))

        async def update() -> None:
            view.show(await asyncio.to_thread(feed.current))

        ui.timer(POLL_S, update)


class LiveView:
    """The elements of one open page. Only those whose content changed are sent to the browser."""

    def __init__(self) -> None:
        with ui.element("div").classes("live"):
            self._alarm = ui.html("", sanitize=False, tag="section").props('role="alert"').classes("alarm")
            with ui.element("section").classes("panel picture"):
                # Elements of their own: the browser shows the old picture until the new one is there.
                self._frame = ui.element("img").props('alt="Frame of the last part"').classes("frame")
                self._map = ui.element("img").props('alt="Anomaly map"').classes("map")
                self._caption = ui.html("", sanitize=False).classes("caption")
            self._verdict = ui.html("", sanitize=False, tag="section").classes("last")
            self._lot = ui.html("", sanitize=False, tag="section").classes("panel lot")
            self._strip = ui.html("", sanitize=False, tag="section").classes("strip")
            self._station = ui.html("", sanitize=False, tag="section").classes("panel station")
            self._faults = ui.html("", sanitize=False, tag="section").classes("panel faults")

    def show(self, snapshot: Snapshot) -> None:
        last = snapshot.parts[0] if snapshot.parts else None
        _replace(self._alarm, render("live_alarm.html", health=snapshot.health).strip())
        _replace(self._verdict, render("live_verdict.html", last=last))
        _replace(self._caption, render("live_caption.html", last=last))
        _replace(self._lot, render("live_lot.html", summary=snapshot.summary, lot=snapshot.lot, rate=snapshot.rate))
        pictures = snapshot.rate <= PICTURES_UP_TO_RATE
        _replace(self._strip, render("live_strip.html", snapshot=snapshot, pictures=pictures))
        _replace(self._station, render("live_station.html", snapshot=snapshot))
        _replace(self._faults, render("live_faults.html", faults=snapshot.faults[:FAULTS], health=snapshot.health))
        kinds = {image.kind.value for image in last.images if image.deleted_at is None} if last else set()
        _set_source(self._frame, f"/api/v1/inspections/{last.seq}/image?render=png8" if last and "frame" in kinds else "")
        _set_source(self._map, f"/api/v1/inspections/{last.seq}/map" if last and "map" in kinds else "")


def _replace(element: ui.html, html: str) -> None:
    if element.content != html:
        element.set_content(html)


def _set_source(element: ui.element, source: str) -> None:
    if element.props.get("src", "") != source:
        element.props["src"] = source
        element.update()
