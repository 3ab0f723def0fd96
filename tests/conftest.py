"""Databases for the tests, SQLite and PostgreSQL, and a seeder that fills them as the recorder would."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from local_client import local_client
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, create_engine, insert, make_url, text
from sqlalchemy.exc import ProgrammingError
from starlette.testclient import TestClient

from inspection.domain import ImageKind, LotState, Output, Verdict
from inspection.records import tables
from inspection.records.database import migrate, open_engine, up_to_date
from inspection.web.app import create_api
from inspection.web.settings import Settings

pytest_plugins = ["station_fixtures"]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Engine]:
    """A PostgreSQL server of the test run's own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        pgserver = pytest.importorskip("pgserver", reason="PostgreSQL tests need the pgserver package")
        # Not pytest's directory: as root, the server's own user must be able to enter it.
        with tempfile.TemporaryDirectory(prefix="records-") as folder:
            Path(folder).chmod(0o755)
            server = pgserver.get_server(Path(folder) / "data")
            admin = create_engine(server.get_uri().replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
            with admin.connect() as connection:
                # Nothing here has to survive a power cut, and the disk is shared with the other tests.
                connection.execute(text("ALTER SYSTEM SET fsync = off"))
                connection.execute(text("SELECT pg_reload_conf()"))
            try:
                yield admin
            finally:
                admin.dispose()
                server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: without tables, or, for tests that take ``engine``, with those of the newest schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    admin: Engine = request.getfixturevalue("postgresql_server")
    with admin.connect() as connection:
        # A tenth of the time that making them anew takes.
        if "engine" not in request.fixturenames or not up_to_date(admin) or not _emptied(connection):
            connection.execute(text("DROP SCHEMA IF EXISTS public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    return admin.url.render_as_string(hide_password=False)


def _emptied(connection: Connection) -> bool:
    """False if a test left tables out."""
    try:
        connection.execute(text(f"TRUNCATE {', '.join(tables.metadata.tables)} RESTART IDENTITY CASCADE"))
    except ProgrammingError:
        return False
    return True


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file of the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(database_url: str, migrated_sqlite: Path) -> Iterator[Engine]:
    """A writer's engine on a migrated database."""
    engine = open_engine(database_url)
    if engine.dialect.name == "sqlite":
        shutil.copy(migrated_sqlite, make_url(database_url).database)
    else:
        migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def reader(engine: Engine, database_url: str) -> Iterator[Engine]:
    """A read-only engine on the same database."""
    reader = open_engine(database_url, read_only=True)
    yield reader
    reader.dispose()


FAIL_THRESHOLD = 2.0
REVIEW_THRESHOLD = 1.5
SCORES = {Verdict.PASS: 0.8, Verdict.REVIEW: 1.7, Verdict.FAIL: 3.1}


@dataclass
class Seeder:
    """Writes lots, triggers, inspections and images, numbered from 1, each a second after the one before."""

    connection: Connection
    image_dir: Path
    start: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=5))
    triggers: int = 0
    seqs: int = 0
    faults: int = 0

    def lot(self, lot: str, product: str = "plate", state: LotState = LotState.OPEN, **values: Any) -> None:
        values = {"opened_at": self.start, "closed_at": None, "expected_quantity": None} | values
        self.connection.execute(insert(tables.lots).values(lot=lot, product=product, state=state, **values))

    def trigger(self, lot: str, serial: str) -> int:
        self.triggers += 1
        self.connection.execute(
            insert(tables.triggers).values(
                trigger_id=self.triggers,
                request_id=f"request-{self.triggers}",
                lot=lot,
                serial=serial,
                camera="cam-1",
                camera_epoch=1,
                trigger_count=self.triggers,
                triggered_at=self.start + timedelta(seconds=self.triggers),
                deadline_ms=200.0,
            )
        )
        return self.triggers

    def inspection(self, lot: str, serial: str, verdict: Verdict = Verdict.PASS, **values: Any) -> int:
        """One trigger with its inspection; returns the seq. A pass is accepted unless ``output`` says otherwise."""
        trigger_id = self.trigger(lot, serial)
        self.seqs += 1
        inspected = verdict is not Verdict.NOT_INSPECTED
        triggered_at = self.start + timedelta(seconds=trigger_id)
        row = {
            "seq": self.seqs,
            "trigger_id": trigger_id,
            "lot": lot,
            "serial": serial,
            "attempt": 1,
            "product": "plate",
            "camera": "cam-1",
            "verdict": verdict,
            "reason": None if inspected else "frame_lost",
            "score": SCORES.get(verdict),
            "p_value": 0.4 if inspected else None,
            "review_threshold": REVIEW_THRESHOLD if inspected else None,
            "fail_threshold": FAIL_THRESHOLD if inspected else None,
            "model": "ab" * 32 if inspected else None,
            "regions": [{"x": 20, "y": 10, "width": 12, "height": 8, "score": 3.1, "area": 80}]
            if verdict is Verdict.FAIL
            else [],
            "frame_id": trigger_id if inspected else None,
            "triggered_at": triggered_at,
            "acquired_at": triggered_at + timedelta(milliseconds=12) if inspected else None,
            "decided_at": triggered_at + timedelta(milliseconds=31),
            "recorded_at": triggered_at + timedelta(milliseconds=33),
            "timings_ms": {"total": 30.0 + trigger_id % 7, "infer": 14.0} if inspected else {},
            "output": Output.ACCEPT if verdict is Verdict.PASS else Output.REJECT,
            "late_verdict": None,
            "late_score": None,
        } | values
        self.connection.execute(insert(tables.inspections).values(**row))
        return self.seqs

    def image(self, seq: int, kind: ImageKind, pixels: NDArray[Any], pixel_format: str) -> str:
        """Store ``pixels`` (gray, or RGB) as a PNG for an inspection; returns its SHA-256."""
        encoded = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])[1].tobytes()
        sha256 = hashlib.sha256(encoded).hexdigest()
        path = self.image_dir / sha256[:2] / f"{sha256}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Once only: the page may be reading what another part has stored already.
            path.write_bytes(encoded)
        self.connection.execute(
            insert(tables.images).values(
                seq=seq,
                kind=kind,
                sha256=sha256,
                media_type="image/png",
                width=pixels.shape[1],
                height=pixels.shape[0],
                pixel_format=pixel_format,
                nbytes=len(encoded),
            )
        )
        return sha256

    def map(self, seq: int, scores: NDArray[Any]) -> str:
        """Store an anomaly map, given as scores, in the recorder's encoding."""
        values = np.round(np.clip(scores / (2 * FAIL_THRESHOLD), 0, 1) * 65535).astype(np.uint16)
        return self.image(seq, ImageKind.MAP, values, "Map16")

    def fault(self, kind: str = "frame_lost", detail: str = "frame of trigger 7 never came", count: int = 1) -> int:
        self.faults += 1
        self.connection.execute(
            insert(tables.faults).values(
                fault_id=self.faults,
                at=self.start + timedelta(seconds=self.faults),
                source="camera:cam-1",
                kind=kind,
                count=count,
                detail=detail,
            )
        )
        return self.faults


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture(scope="session")
def seeder_class() -> type[Seeder]:
    """For tests with a connection of their own: conftest cannot be imported."""
    return Seeder


@pytest.fixture
def seeder(engine: Engine, image_dir: Path) -> Iterator[Seeder]:
    """A seeder inside one transaction, which the test commits with ``seeder.connection.commit()``."""
    with engine.connect() as connection:
        yield Seeder(connection, image_dir)


@pytest.fixture
def command_address() -> Iterator[str]:
    """ZeroMQ address where a recorder may answer; in a short folder, for paths of sockets end at 107 characters."""
    with tempfile.TemporaryDirectory(prefix="commands-", ignore_cleanup_errors=True) as folder:
        yield f"ipc://{folder}/recorder"


@pytest.fixture
def web_settings(database_url: str, image_dir: Path, tmp_path: Path, command_address: str) -> Settings:
    return Settings(
        station="st-1",
        database_url=database_url,
        image_dir=image_dir,
        status_path=tmp_path / "status.json",
        command_address=command_address,
        products=("plate", "flange"),
        processes=("recorder", "line"),
    )


@pytest.fixture
def api(engine: Engine, web_settings: Settings) -> Iterator[TestClient]:
    """A client of the REST API on the test's database, on this machine."""
    with local_client(create_api(web_settings)) as client:
        yield client
