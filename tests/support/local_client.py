"""A client on the station's own machine, which a station without users serves."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

HERE = ("127.0.0.1", 4711)
ADDRESS = "http://localhost"


def local_client(app: Any, client: tuple[str, int] = HERE, **options: Any) -> TestClient:
    """Asks ``app`` at ``ADDRESS``; ``client`` is where the requests come from."""
    return TestClient(app, base_url=ADDRESS, client=client, **options)
