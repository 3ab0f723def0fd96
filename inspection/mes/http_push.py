"""HTTP push: events as JSON, signed as Standard Webhooks asks (https://www.standardwebhooks.com, version 1).

Each POST carries up to 200 events and is acknowledged by any 2xx status. ``webhook-id`` names its first and last event, so it is
the same when it comes again with the same events; each event has its own ``event_id`` for receivers that keep what they have.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import httpx
import msgspec

from inspection.errors import ConfigError
from inspection.mes.receiver import Event, Undelivered

_PREFIX = "whsec_"
_TIMEOUT_S = 10.0


class HttpReceiver:
    """``secret`` is base64 of 24 to 64 bytes, with or without ``whsec_`` in front; both ends know it."""

    def __init__(self, url: str, secret: str, ca_file: Path | None = None) -> None:
        self._url = url
        self._key = decode_secret(secret)
        trusted = ssl.create_default_context()
        if ca_file is not None:
            trusted.load_verify_locations(ca_file)
        self._client = httpx.Client(timeout=_TIMEOUT_S, verify=trusted, follow_redirects=False)

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
            response = self._client.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Undelivered(f"{self._url} cannot be reached: {error or type(error).__name__}") from error
        if not response.is_success:
            raise Undelivered(f"{self._url} answered {response.status_code} {_phrase(response.status_code)}; it must answer 2xx")

    def close(self) -> None:
        self._client.close()


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


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
