"""Pages over TLS: a certificate that is replaced while they are served, and browsers that are told to come encrypted alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspection.errors import StationError
from inspection.tls import Certificate, load, server_context

log = logging.getLogger(__name__)

_LOOK_S = 60.0
# A week: a station whose certificate was forgotten must not be out of reach for a year.
_STRICT = "max-age=604800"


class Renewed:
    """``context`` serves the newest certificate that can be used; ``find`` gives it, and renews one of the station's own."""

    def __init__(self, certificate: Certificate, find: Callable[[], Certificate | None], every_s: float = _LOOK_S) -> None:
        self.context = server_context(certificate)
        self._served = certificate
        self._find = find
        self._every_s = every_s
        self._trouble = ""
        self._say()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look for another certificate from time to time."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(self._every_s):
                self.look()

        thread = threading.Thread(target=look, name="certificate", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def look(self) -> None:
        """Take over another certificate; one that cannot be used is said once, and the former stays."""
        try:
            found = self._find()
            if found is None or found == self._served:
                return
            # Tried apart: a context whose certificate and key differ would serve nobody.
            server_context(found)
            load(self.context, found)
        except (StationError, OSError) as error:
            if str(error) != self._trouble:
                log.error("the former certificate stays: %s", error)
            self._trouble = str(error)
            return
        self._served, self._trouble = found, ""
        self._say()

    def _say(self) -> None:
        shown = self._served
        log.info("pages are served with the certificate %s, until %s", shown.fingerprint, f"{shown.not_after:%F}")


class OnlyEncrypted:
    """ASGI middleware: HTTP Strict Transport Security, RFC 6797.

    Not with a certificate of the station's own: browsers let nobody pass their warning once they were told so.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["strict-transport-security"] = _STRICT
            await send(message)

        await self._app(scope, receive, with_header)
