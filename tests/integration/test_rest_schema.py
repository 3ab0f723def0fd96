"""The REST interface under schemathesis: whatever its description allows, or nearly allows, is answered as it says."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from local_client import ADDRESS, HERE
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import Engine
from starlette.types import ASGIApp, Receive, Scope, Send

from inspection.commands import Command, Reply, execute
from inspection.domain import Verdict
from inspection.records.database import migrate, open_engine
from inspection.web.app import OPENAPI, create_api
from inspection.web.settings import Settings


class Recorder:
    """Executes commands as the recorder does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def execute(self, command: Command) -> Reply:
        with self._engine.begin() as connection:
            return execute(connection, command)

    def close(self) -> None:
        self._engine.dispose()


class FromHere:
    """Schemathesis makes its own clients; a station without users serves this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "client": HERE}, receive, send)


schema = schemathesis.openapi.from_path(OPENAPI)


@pytest.fixture(scope="module", autouse=True)
def app(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[FastAPI]:
    """The interface of a station with one lot of ten parts."""
    folder: Path = tmp_path_factory.mktemp("schema")
    url = f"sqlite:///{folder / 'records.db'}"
    engine = open_engine(url)
    migrate(engine)
    with engine.connect() as connection:
        seeder = seeder_class(connection, folder / "images")
        seeder.lot("L")
        for number in range(10):
            seeder.inspection("L", f"S{number}", Verdict.FAIL if number == 3 else Verdict.PASS)
        connection.commit()
    status = folder / "status.json"
    beat = {"heard_s": time.monotonic() + 1e6, "state": "well", "counters": {}}
    status.write_text(json.dumps({"processes": {"recorder": beat}}))
    app = create_api(Settings("st-1", url, folder / "images", status, "ipc://nobody", ("plate",), requests_per_s=1e6))
    app.state.context.recorder.close()
    app.state.context = dataclasses.replace(app.state.context, recorder=Recorder(engine))
    app.add_middleware(FromHere)
    yield app
    app.state.context.reader.dispose()
    app.state.context.writer.dispose()
    engine.dispose()


@schema.parametrize()
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_the_one_described(case: Case, app: FastAPI) -> None:
    # Both: the one chooses how to call, the other what.
    case.operation.schema.app = case.operation.app = app
    # Names and cursors obey rules that JSON Schema cannot state; what is refused for them is a described problem all the same.
    case.call_and_validate(base_url=ADDRESS, excluded_checks=[positive_data_acceptance])
