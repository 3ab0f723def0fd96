"""What each process is made of: from the configuration to a running main loop."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from sqlalchemy import Engine, Table, select
from sqlalchemy.exc import SQLAlchemyError

from cameras.bus import Bus
from cameras.messages import Message
from inspection.config import Config, HttpReceiverConfig, MqttReceiverConfig, prepare_directories
from inspection.errors import ConfigError
from inspection.line import LineProcess
from inspection.lookups import lookups
from inspection.mes.receiver import Receiver
from inspection.messages import CellMessage, InspectorMessage, LineMessage, PlcMessage, RecorderMessage
from inspection.records.database import migrate, open_engine
from inspection.records.tables import deployments, models, shadows
from inspection.rings import Rings

log = logging.getLogger(__name__)


def process_names(config: Config) -> list[str]:
    """Every process of the station, in the order in which they are started."""
    cameras = (f"camera@{camera.name}" for camera in config.cameras)
    plc = ["plc"] if config.plc is not None else []
    outbox = ["outbox"] if config.receivers else []
    opcua = ["opcua"] if config.opcua is not None else []
    return ["recorder", "line", "inspector", *cameras, *plc, "web", *outbox, *opcua]


def run_process(config: Config, name: str) -> None:
    """Run one process of the station until SIGTERM. It ends with its parent, so that nothing is left behind by a killed
    manager.
    """
    if name not in process_names(config):
        raise ConfigError(f"no process is named {name!r}; there are {', '.join(process_names(config))}")
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s.%(msecs)03d {name} %(levelname)s %(message)s", datefmt="%FT%T"
    )
    end_with_parent()
    prepare_directories(config)
    lock = only_one(config, name)
    if name == "recorder":
        _run_recorder(config)
    elif name == "line":
        _run_line(config)
    elif name == "inspector":
        _run_inspector(config)
    elif name == "plc":
        _run_plc(config)
    elif name == "web":
        _run_web(config)
    elif name == "outbox":
        _run_outbox(config)
    elif name == "opcua":
        _run_opcua(config)
    else:
        _run_camera(config, name.removeprefix("camera@"))
    lock.close()


def only_one(config: Config, name: str) -> IO[str]:
    """Hold the lock of this name as long as the returned file is open; ConfigError if another process holds it.

    Two of a kind would take each other's messages. A killed process leaves no lock behind.
    """
    lock = (config.run_dir / f"{name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"{name} runs already on {config.data_dir}; stop it, or give this station another data_dir") from None
    return lock


def _run_camera(config: Config, name: str) -> None:
    os.environ["STATION_SIMULATOR"] = str(config.simulator_dir)
    from cameras.genicam import GenicamCamera
    from cameras.process import INBOX_MESSAGES, CameraProcess

    settings = config.camera(name)
    camera = GenicamCamera(config.producer(settings), settings.serial, settings.features)
    bus = Bus(config.run_dir, f"camera@{name}", INBOX_MESSAGES)
    process = CameraProcess(name, camera, bus, config.run_dir, settings.ring_slots)
    _until_stopped(process, bus)


def _run_inspector(config: Config) -> None:
    from inspection.inspector import InspectorProcess, ModelShelf

    engine = _reader(config)
    bus = Bus(config.run_dir, "inspector", InspectorMessage)
    models = ModelShelf(lambda: models_in_service(engine, config))
    challengers = ModelShelf(lambda: models_in_shadow(engine, config))
    codes = {product.part_number: product.serial_code for product in config.products if product.serial_code}
    process = InspectorProcess(bus, Rings(config.run_dir), models, challengers, codes)
    _until_stopped(process, bus)


def _run_recorder(config: Config) -> None:
    from inspection.images import ImageStore
    from inspection.recorder import RecorderProcess
    from inspection.storer import Storer

    engine = open_engine(config.database_url)
    migrate(engine)
    rings = Rings(config.run_dir)
    storer = Storer(ImageStore(config.image_dir), rings, config.images.keep_pass_share)
    bus = Bus(config.run_dir, "recorder", RecorderMessage)
    process = RecorderProcess(engine, bus, storer, rings, config.commands_address, config.status_path)
    _until_stopped(process, bus)


def _run_line(config: Config) -> None:
    engine = _reader(config)
    bus = Bus(config.run_dir, "line", LineMessage)
    process = LineProcess(config, bus, lookups(engine))
    _until_stopped(process, bus)


def _run_plc(config: Config) -> None:
    from inspection.plc.process import PlcProcess

    assert config.plc is not None
    bus = Bus(config.run_dir, "plc", PlcMessage)
    process = PlcProcess(config.plc, config.line.expose_window_ms, bus)
    _until_stopped(process, bus)


def _run_web(config: Config) -> None:
    from inspection.web.app import run
    from inspection.web.settings import Settings

    _reader(config)
    settings = Settings(
        station=config.station.name,
        database_url=config.database_url,
        image_dir=config.image_dir,
        status_path=config.status_path,
        command_address=config.commands_address,
        products=tuple(product.part_number for product in config.products),
        processes=tuple(name for name in process_names(config) if name != "web"),
        tokens=config.web.tokens,
        requests_per_s=config.web.requests_per_s,
        software_triggered={
            product.part_number: (product.camera, product.deadline_ms)
            for product in config.products
            if config.camera(product.camera).software_triggered
        },
        run_dir=config.run_dir,
        recipes=config.recipe_digests(),
    )
    run(settings, config.web.host, config.web.port)


def _run_outbox(config: Config) -> None:
    from inspection.mes.outbox import Delivery, OutboxProcess, Pending, Positions, positions_path

    engine = _reader(config)
    deliveries = [
        Delivery(
            each.name,
            _receiver(each, config),
            engine,
            Pending(config.station.name),
            Positions(positions_path(config.outbox_dir, each.name)),
        )
        for each in config.receivers
    ]
    bus = Bus(config.run_dir, "outbox", Message)
    _until_stopped(OutboxProcess(bus, deliveries), bus)


def _receiver(settings: HttpReceiverConfig | MqttReceiverConfig, config: Config) -> Callable[[], Receiver]:
    """Makes the receiver; what it needs beside the configuration is looked at now."""
    from inspection.mes.http_push import HttpReceiver
    from inspection.mes.mqtt import SparkplugReceiver
    from inspection.mes.secrets import read_secret

    if isinstance(settings, MqttReceiverConfig):
        return partial(SparkplugReceiver, settings, config.outbox_dir)
    return partial(HttpReceiver, settings.url, read_secret(settings.secret_file), settings.ca_file)


def _run_opcua(config: Config) -> None:
    from inspection.opcua.process import OpcUaProcess

    engine = _reader(config)
    bus = Bus(config.run_dir, "opcua", CellMessage)
    _until_stopped(OpcUaProcess(config, engine, bus), bus)


def models_in_service(engine: Engine, config: Config) -> dict[str, tuple[str, Path]]:
    """{product: (digest, artifact directory)} of this station's deployments."""
    return _running(engine, config, deployments)


def models_in_shadow(engine: Engine, config: Config) -> dict[str, tuple[str, Path]]:
    """{product: (digest, artifact directory)} of this station's challengers."""
    return _running(engine, config, shadows)


def _running(engine: Engine, config: Config, table: Table) -> dict[str, tuple[str, Path]]:
    statement = (
        select(table.c.product, models.c.model, models.c.path)
        .join(models, models.c.model == table.c.model)
        .where(table.c.station == config.station.name, table.c.ended_at.is_(None))
    )
    with engine.connect() as connection:
        return {row.product: (row.model, config.data_dir / row.path) for row in connection.execute(statement)}


def _reader(config: Config) -> Engine:
    """A read-only engine, once the recorder has made the database."""
    engine = open_engine(config.database_url, read_only=True)
    for attempt in range(200):
        try:
            with engine.connect() as connection:
                connection.execute(select(deployments.c.deployment_id).limit(1))
            return engine
        except SQLAlchemyError as error:
            if attempt % 50 == 49:
                log.warning("waiting for the database: %s", error)
            time.sleep(0.1)
    raise SystemExit("the database is not there; is the recorder running?")


class _Process(Protocol):
    running: bool

    def run(self) -> None: ...


def _until_stopped(process: _Process, bus: Bus) -> None:
    def stop(_signal: int, _frame: object) -> None:
        process.running = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("started, process %d", os.getpid())
    process.run()
    bus.close()
    log.info("stopped")


def end_with_parent() -> None:
    """Linux: SIGTERM when the process that started this one dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
