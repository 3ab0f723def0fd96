"""The whole web application, which can be made once in a process: NiceGUI keeps its pages in one place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from inspection.web.app import create_app
from inspection.web.settings import Settings


@pytest.fixture(scope="session")
def whole_app(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[FastAPI]:
    """REST and pages of a station without users, in a folder of its own; never started."""
    home = tmp_path_factory.mktemp("whole") / "station"
    (home / "images").mkdir(parents=True)
    shutil.copy(migrated_sqlite, home / "records.db")
    url, status = f"sqlite:///{home / 'records.db'}", home / "status.json"
    app = create_app(Settings("st", url, home / "images", status, f"ipc://{home}/none", ("plate",), requests_per_s=1e6))
    yield app
    app.state.context.reader.dispose()
    app.state.context.writer.dispose()
    app.state.context.recorder.close()
