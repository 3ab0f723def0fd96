"""The opcua process: serves the records, follows new inspections, and keeps the state machine."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from contextlib import closing
from typing import Any

from asyncua import ua
from sqlalchemy import Engine

from cameras.beat import beat
from cameras.bus import Bus
from cameras.messages import Heartbeat
from inspection.config import Config
from inspection.errors import ConfigError, Unavailable
from inspection.opcua.audited import Audited
from inspection.opcua.health import troubles
from inspection.opcua.jobs import Jobs
from inspection.opcua.methods import Methods
from inspection.opcua.nodes import AddressSpace, build, check_nodeset
from inspection.opcua.recipes import Recipes
from inspection.opcua.results import Names, Results
from inspection.opcua.security import Trust, Users, own_identity
from inspection.opcua.server import Gate, StationServer
from inspection.opcua.state import VisionStateMachine
from inspection.recorder_client import ZmqRecorderClient
from inspection.records.audit import Trail
from inspection.records.database import open_engine

log = logging.getLogger(__name__)

_POLL_S = 0.1
_TICK_S = 0.5
_BATCH = 200
# A process whose configuration is wrong says so for this long, before the manager starts it again.
_COMPLAIN_S = 15.0


class OpcUaProcess:
    """Reads the records, writes the audit trail, and has lots written by the recorder.

    ``bus`` carries heartbeats and what a single job asks for.
    """

    def __init__(self, config: Config, engine: Engine, bus: Bus) -> None:
        assert config.opcua is not None
        self._config = config
        self._settings = config.opcua
        self._engine = engine
        self._bus = bus
        self._watched = ["recorder", "line", "inspector", *(f"camera@{camera.name}" for camera in config.cameras)]
        self._counters = {"results": 0.0, "connections": 0.0}
        self._readable = True
        self.running = True

    def run(self) -> None:
        """Until ``running`` is False; ConfigError if NodeSet, certificate or address cannot be used."""
        # It tells each request; what matters of them is said here.
        logging.getLogger("asyncua").setLevel(logging.WARNING)
        try:
            asyncio.run(self._serve())
        except ConfigError as error:
            log.error("%s", error)
            until = time.monotonic() + _COMPLAIN_S
            while self.running and time.monotonic() < until:
                beat()
                self._beat(str(error), False)
                time.sleep(_TICK_S)
            if self.running:
                raise

    async def _serve(self) -> None:
        config, settings = self._config, self._settings
        data = config.data_dir
        home = data / "opcua"
        check_nodeset(data / settings.nodeset_dir)
        identity = own_identity(home, config.station.name)
        gate = Gate(settings, Trust(data / settings.trusted_dir, home / "rejected"), Users(data / settings.users_file))
        server = StationServer(settings, identity, gate)
        await server.prepare()
        space = await build(server, data / settings.nodeset_dir, config.station.name)
        names = Names(config.station.name, settings.lot_from)
        results = Results(self._engine, config, names)
        recipes = Recipes(config, self._engine, space)
        await recipes.make_nodes()
        machine = VisionStateMachine(space)
        await machine.publish()
        trail = Trail(open_engine(config.database_url), data)
        with closing(ZmqRecorderClient(config.commands_address)) as recorder:
            jobs = Jobs(config, machine, space, names, recorder, self._bus, self._engine, home / "job.json")
            await Methods(space, results, recipes, jobs, Audited(trail)).link()
            try:
                await server.start()
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; set another port"
                ) from error
            log.info("OPC UA server on opc.tcp://%s:%d, certificate %s", settings.host, settings.port, home / "own.der")
            try:
                await self._loop(space, results, recipes, jobs)
            finally:
                await server.stop()

    async def _loop(self, space: AddressSpace, results: Results, recipes: Recipes, jobs: Jobs) -> None:
        seq: int | None = None
        tick_at = 0.0
        while self.running:
            beat()
            for _answer in self._bus.receive(0):
                pass  # the result of a single job is found in the records
            if time.monotonic() - tick_at >= _TICK_S:
                tick_at = time.monotonic()
                await self._tick(space, recipes, jobs)
            try:
                if seq is None:
                    seq = await asyncio.to_thread(results.last_seq)
                new = await asyncio.to_thread(results.after, seq, _BATCH)
            except Unavailable as error:
                self._complain(str(error))
                new = []
            else:
                self._readable = True
            for number, result in new:
                seq = number
                await announce(space, result)
                await jobs.result_came(result.JobId.Id)
                self._counters["results"] += 1
            if len(new) < _BATCH:
                await asyncio.sleep(_POLL_S)

    async def _tick(self, space: AddressSpace, recipes: Recipes, jobs: Jobs) -> None:
        said = troubles(self._config.status_path, self._watched)
        try:
            deployed = await asyncio.to_thread(recipes.read)
        except Unavailable as error:
            self._complain(str(error))
            said.append("the records cannot be read")
        else:
            await recipes.publish(deployed, jobs.job.product if jobs.job else None)
        await space.say_health("; ".join(said))
        await jobs.tick(said, recipes.models)
        server = space.server.bserver
        self._counters["connections"] = float(len(server.clients) if server else 0)
        self._beat("serving" if self._readable else "the records cannot be read", self._readable)

    def _complain(self, text: str) -> None:
        if self._readable:
            log.error("%s", text)
        self._readable = False

    def _beat(self, state: str, ok: bool) -> None:
        counters = {**self._counters, "refused_messages": float(self._bus.refused)}
        self._bus.send("recorder", Heartbeat(process="opcua", at=time.time(), state=state, counters=counters, ok=ok))


async def announce(space: AddressSpace, result: Any) -> None:
    """Fire the ResultReadyEvent of a ResultDataType."""
    names = [each.name for each in dataclasses.fields(result) if each.name not in ("Encoding", "HasTransferableDataOnFile")]
    fields = {name: getattr(result, name) for name in names}
    fields["ResultState"] = ua.Variant(result.ResultState, ua.VariantType.Int32)
    fields["ResultContent"] = ua.Variant([content.Value for content in result.ResultContent], ua.VariantType.ExtensionObject)
    await space.fire("ResultReady", f"ResultReady: {fields['ResultId'].Id}", source="ResultManagement", **fields)
