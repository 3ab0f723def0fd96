"""An OPC UA server for tests: the real opcua and recorder processes on a SQLite file, the other processes played by the test."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss
from asyncua.ua.uaerrors import BadStateNotActive
from peers import Peer

from cameras.messages import Heartbeat
from inspection import config as configuration
from inspection.config import prepare_directories
from inspection.domain import Model
from inspection.messages import LineMessage
from inspection.opcua.nodes import NODESET, types
from inspection.opcua.security import Users, own_identity
from inspection.opcua.state import AUTOMATIC, MACHINE
from inspection.processes import end_with_parent
from inspection.records.database import migrate, open_engine
from inspection.records.deployments import deploy, register_model

NODESETS = Path(__file__).parents[3] / "shared" / "standards" / "opcua"
USER, PASSWORD = "mes", "correct horse battery"
MODEL = "ab" * 32
_BEATS = ("line", "inspector", "camera@top")


def need_nodesets() -> Path:
    """The folder of the OPC Foundation's NodeSet files; skips the test where it is missing."""
    if not (NODESETS / NODESET).is_file():
        pytest.skip(f"the OPC Foundation's NodeSet files are not in {NODESETS}")
    return NODESETS


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OpcUaStation:
    """Started by ``running``. ``line`` is the line process's mailbox."""

    def __init__(self, directory: Path, seeder_class: Any, *, options: str = "", trigger_source: str = "Line1") -> None:
        self.directory = directory
        self.port = free_port()
        self.config_path = directory / "station.toml"
        self.config_path.write_text(
            f"""
[station]
name = "cell"
data_dir = "data"

[[cameras]]
name = "top"
serial = "SIM0001"

[cameras.features]
TriggerSource = "{trigger_source}"

[[products]]
part_number = "plate"
camera = "top"

[opcua]
port = {self.port}
nodeset_dir = "{need_nodesets()}"
{options}
"""
        )
        self.config = configuration.load(self.config_path)
        shutil.rmtree(self.config.run_dir, ignore_errors=True)
        prepare_directories(self.config)
        self.home = self.config.data_dir / "opcua"
        Users(self.home / "users").add(USER, PASSWORD)
        (self.home / "trusted").mkdir()
        self.identity = own_identity(directory / "client", "client")
        (self.home / "trusted" / "client.der").write_bytes(self.identity.certificate)
        self.engine = open_engine(self.config.database_url)
        migrate(self.engine)
        self.url = f"opc.tcp://127.0.0.1:{self.port}"
        self.beating = set(_BEATS)
        self._seeder_class = seeder_class
        self._seeder: Any = None
        with self.engine.begin() as connection:
            register_model(connection, Model(MODEL, "plate", "models/x", "patchcore", datetime.now(UTC), {}))
            deploy(connection, "cell", "plate", MODEL, "test", "test")

    @contextmanager
    def seeding(self) -> Iterator[Any]:
        """The test's seeder, in one transaction; it numbers on from one block to the next."""
        with self.engine.begin() as connection:
            if self._seeder is None:
                self._seeder = self._seeder_class(connection, self.config.image_dir)
            self._seeder.connection = connection
            yield self._seeder

    @contextmanager
    def running(self) -> Iterator[OpcUaStation]:
        self.line = Peer(self.config.run_dir, "line", LineMessage)
        stopped = threading.Event()
        beats = threading.Thread(target=self._beat, args=(stopped,), daemon=True)
        beats.start()
        try:
            with self.process("recorder") as self.recorder, self.process("opcua") as self.server:
                server = self.server
                self.wait_until(lambda: self.listening() or server.poll() is not None, 120, "the server to listen")
                assert server.poll() is None, self.log()[-4000:]
                yield self
        finally:
            stopped.set()
            beats.join()
            self.line.close()
            self.engine.dispose()
            shutil.rmtree(self.config.run_dir, ignore_errors=True)

    @contextmanager
    def process(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """One process of the station, its log in a file of its name."""
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "inspection", "process", name, "--config", str(self.config_path)],
                stderr=log,
                stdout=log,
                preexec_fn=end_with_parent,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def _beat(self, stopped: threading.Event) -> None:
        mouth = Peer(self.config.run_dir, "mouth", LineMessage)
        while not stopped.wait(0.2):
            for name in self.beating:
                mouth.send("recorder", Heartbeat(process=name, at=time.time(), state="fine", counters={}))
        mouth.close()

    def listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self, name: str = "opcua") -> str:
        return (self.directory / f"{name}.log").read_text()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        until = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until, f"waited {timeout_s} s for {what}\n{self.log()[-4000:]}"
            time.sleep(0.05)

    async def client(
        self,
        user: str | None = USER,
        password: str = PASSWORD,
        policy: type | None = SecurityPolicyAes256Sha256RsaPss,
        identity_dir: Path | None = None,
    ) -> Client:
        """A client that is not connected yet; use it with ``async with``."""
        return await client_of(self.url, self.home, identity_dir or self.directory / "client", user, password, policy)


async def client_of(
    url: str,
    home: Path,
    identity_dir: Path,
    user: str | None = USER,
    password: str = PASSWORD,
    policy: type | None = SecurityPolicyAes256Sha256RsaPss,
) -> Client:
    """``home`` is the server's folder with its certificate."""
    # A call that waits for a dead recorder keeps the reads behind it waiting for 2 s.
    client = Client(url, timeout=20, watchdog_intervall=10)
    client.application_uri = own_identity(identity_dir, "client").uri
    if policy is not None:
        await client.set_security(
            policy,
            certificate=str(identity_dir / "own.der"),
            private_key=str(identity_dir / "own-key.pem"),
            server_certificate=str(home / "own.der"),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
    if user is not None:
        client.set_user(user)
        client.set_password(password)
    return client


class Caller:
    """Calls methods of the VisionSystem through a connected client; ids are given as text."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def node(self, path: str) -> Any:
        return self.client.get_node(f"ns=1;s=VisionSystem.{path}")

    async def call(self, path: str, *values: Any) -> list[Any]:
        """The output arguments."""
        parent, _, _ = f"VisionSystem.{path}".rpartition(".")
        result = await self.client.get_node(f"ns=1;s={parent}").call_method(self.node(path).nodeid, *values)
        return result if isinstance(result, list) else [result]

    async def start(self, kind: str, meas: str, part: str = "", recipe: str = "", product: str = "") -> tuple[str, int]:
        """StartContinuous or StartSingleJob: JobId and Error."""
        ids = (
            types.MeasIdDataType(Id=meas),
            types.PartIdDataType(Id=part),
            types.RecipeIdExternalDataType(Id=recipe),
            types.ProductIdDataType(Id=product),
        )
        job, error = await self.call(f"{AUTOMATIC}.{kind}", *map(extension, ids), ua.Variant([], ua.VariantType.Variant))
        return job.Id, error

    async def stop(self, path: str) -> int:
        """A method that takes Cause and CauseDescription: its Error."""
        (error,) = await self.call(path, ua.Variant(0, ua.VariantType.Int32), "test")
        return error

    async def state(self) -> str:
        """The state, and within Operational that of the automatic mode."""
        while (text := (await self.node(f"{MACHINE}.CurrentState").read_value()).Text) == "Operational":
            # It may have left Operational since, and then has no such state.
            with suppress(BadStateNotActive):
                return str((await self.node(f"{AUTOMATIC}.CurrentState").read_value()).Text)
        return str(text)

    async def reaches(self, state: str, timeout_s: float = 20) -> None:
        until = time.monotonic() + timeout_s
        while (now := await self.state()) != state:
            assert time.monotonic() < until, f"it stays {now}, and does not become {state}"
            await asyncio.sleep(0.05)

    async def says(self, what: str, timeout_s: float = 20) -> None:
        """Health names it."""
        until = time.monotonic() + timeout_s
        while what not in (health := await self.node("Health").read_value()):
            assert time.monotonic() < until, f"{what!r} is not in {health!r}"
            await asyncio.sleep(0.05)


def extension(value: Any) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.ExtensionObject)


class Events:
    """What a subscription brought; ``next`` waits."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def event_notification(self, event: Any) -> None:
        self._queue.put_nowait(event)

    async def next(self) -> Any:
        return await asyncio.wait_for(self._queue.get(), 20)
