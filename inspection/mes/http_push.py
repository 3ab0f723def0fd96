"""HTTP push: events as JSON, signed as Standard Webhooks asks (https://www.standardwebhooks.com, version 1).

Each POST carries up to 200 events and is acknowledged by any 2xx status. ``webhook-id`` names its first and last event, so it is
the same when it comes again with the same events; each event has its own ``event_id`` for receivers that keep what they have.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec

from inspection.errors import ConfigError
from inspection.mes.receiver import Event, Undelivered

_PREFIX = "whsec_"
_TIMEOUT_S = 10.0
"""The longest silence of a receiver."""
_DELIVERY_S = 30.0
"""From looking up its name to its status; one that sends a byte now and then is never silent."""
_BODY_S, _BODY_BYTES = 1.0, 4096

# Its line for each request shows the whole URL.
logging.getLogger("httpx").setLevel(logging.WARNING)


class HttpReceiver:
    """``secret`` is base64 of 24 to 64 bytes, with or without ``whsec_`` in front; both ends know it.

    A loop of its own, as nothing else bounds how long a whole delivery takes.
    """

    def __init__(self, url: str, secret: str, ca_file: Path | None = None) -> None:
        self._url = url
        parts = urlsplit(url)
        # A secret may stand behind the question mark.
        self._named = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._key = decode_secret(secret)
        trusted = ssl.create_default_context()
        if ca_file is not None:
            trusted.load_verify_locations(ca_file)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, verify=trusted, follow_redirects=False)
        self._loop = asyncio.Runner()

    def deliver(self, events: Sequence[Event]) -> None:
        if not events:
            return
        body = encode(events)
        webhook_id = f"{events[0].event_id}..{events[-1].event_id}"
        at = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": at,
            "webhook-signature": sign(self._key, webhook_id, at, body),
        }
        try:
            status = self._loop.run(self._post(body, headers))
        except TimeoutError as error:
            raise Undelivered(f"{self._named} has not answered within {_DELIVERY_S:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Undelivered(f"{self._named} cannot be reached: {_reason(error)}") from error
        if not httpx.codes.is_success(status):
            raise Undelivered(f"{self._named} answered {status} {_phrase(status)}; it must answer 2xx")

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer."""
        async with asyncio.timeout(_DELIVERY_S) as limit:
            async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                limit.reschedule(None)
                await _read_short(response)
        return response.status_code


async def _read_short(response: httpx.Response) -> None:
    """Read a body that is short and comes at once, as it is: its connection is used again. Any other is left unread."""
    read = 0
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_BODY_S):
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > _BODY_BYTES:
                    break


def encode(events: Sequence[Event]) -> bytes:
    """The body of one POST."""
    return msgspec.json.encode(
        {
            "type": "station.events",
            "timestamp": events[-1].at,
            "data": {
                "station": events[0].station,
                "events": [
                    {"event_id": each.event_id, "stream": each.stream, "number": each.number, "at": each.at, "data": each.data}
                    for each in events
                ],
            },
        }
    )


def sign(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The ``webhook-signature``: HMAC-SHA256 of id, timestamp (Unix seconds) and body."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def decode_secret(secret: str) -> bytes:
    """The key behind a secret; ConfigError unless it is base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ConfigError("the secret must be base64 of 24 to 64 bytes; make one with: openssl rand -base64 32")
    return key


def _reason(error: Exception) -> str:
    """What the operating system said, where httpx says no more than that all attempts failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return str(cause)
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
