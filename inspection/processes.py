"""What each process is made of: from the configuration to a running main loop."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from sqlalchemy import Engine, Table, select
from sqlalchemy.exc import SQLAlchemyError

from cameras.beat import beat
from cameras.bus import Bus
from cameras.messages import Message
from inspection import logs
from inspection.challenge_lock import ChallengeLock, asked_of
from inspection.config import IN_FORCE, Config, HttpReceiverConfig, MqttReceiverConfig, in_force, prepare_directories, read
from inspection.errors import ConfigError, NewerRecords, RecordsLost
from inspection.line import LineProcess
from inspection.lookups import Pause, lookups
from inspection.memory import expendable
from inspection.mes.receiver import Receiver
from inspection.messages import CellMessage, InspectorMessage, LineMessage, PlcMessage, RecorderMessage
from inspection.records.database import open_engine, wal_of
from inspection.records.tables import deployments, models, shadows
from inspection.rings import Rings
from inspection.scheduling import schedule
from inspection.status import is_recording
from inspection.vitals import enter, started
from inspection.watchdog import START_S

log = logging.getLogger(__name__)

# What a process has to end after its supervisor.
_END_S = 5.0
MANAGER = "STATION_MANAGER"
"""The environment variable by which the manager tells its processes its process id."""


def process_names(config: Config) -> list[str]:
    """Every process of the station, in the order in which they are started."""
    cameras = (f"camera@{camera.name}" for camera in config.cameras)
    plc = ["plc"] if config.plc is not None else []
    outbox = ["outbox"] if config.receivers else []
    opcua = ["opcua"] if config.opcua is not None else []
    return ["recorder", "line", "inspector", *cameras, *plc, "web", *outbox, *opcua]


def run_process(config: Config, name: str, config_path: Path) -> None:
    """Run one process of the station until SIGTERM. It ends with its parent, so that nothing is left behind by a killed
    manager. ``config`` was read from ``config_path``.
    """
    if name not in process_names(config):
        raise ConfigError(f"no process is named {name!r}; there are {', '.join(process_names(config))}")
    logs.start(name)
    end_with_manager()
    # Whatever a process writes is for the station's user alone, wherever the data directory is.
    os.umask(0o077)
    expendable(name)
    prepare_directories(config)
    lock = only_one(config, name)
    schedule(name)
    if name == "recorder":
        _run_recorder(config)
    elif name == "line":
        _run_line(config)
    elif name == "inspector":
        _run_inspector(config)
    elif name == "plc":
        _run_plc(config)
    elif name == "web":
        _run_web(config, config_path)
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
    # Not emptied: until the lock is ours, what it says is another's.
    lock = (config.run_dir / f"{name}.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"{name} runs already on {config.data_dir}; stop it, or give this station another data_dir") from None
    enter(lock)
    return lock


def end_leftovers(config: Config, names: Iterable[str]) -> None:
    """Wait for the processes of a supervisor that was killed, which end with it, and kill those that hang."""
    until = time.monotonic() + _END_S
    for name in names:
        while True:
            try:
                only_one(config, name).close()
                break
            except ConfigError:
                time.sleep(0.05)
            holder = started(config.run_dir, name)
            if time.monotonic() > until and holder is not None:
                log.warning("%s of a former supervisor hangs, process %d is killed", name, holder.pid)
                with suppress(ProcessLookupError):
                    os.kill(holder.pid, signal.SIGKILL)


def _run_camera(config: Config, name: str) -> None:
    os.environ["STATION_SIMULATOR"] = str(config.simulator_dir)
    from cameras.accept_output import AcceptOutput
    from cameras.genicam import GenicamCamera
    from cameras.process import INBOX_MESSAGES, CameraProcess

    settings = config.camera(name)
    output = AcceptOutput(**settings.accept_output.model_dump()) if settings.accept_output is not None else None
    camera = GenicamCamera(config.producer(settings), settings.serial, settings.features, output)
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
    software_triggered = {camera.name for camera in config.cameras if camera.software_triggered}
    process = InspectorProcess(bus, Rings(config.run_dir), models, challengers, codes, software_triggered)
    _until_stopped(process, bus)


def _run_recorder(config: Config) -> None:
    from inspection.housekeeping import Housekeeper
    from inspection.images import ImageStore
    from inspection.recorder import RecorderProcess
    from inspection.records.preparing import note_damage, prepare
    from inspection.reserve import Reserve
    from inspection.retention import Limits, Room
    from inspection.storer import Storer
    from inspection.unrecorded import Unrecorded

    engine = open_engine(config.database_url)
    rings = Rings(config.run_dir)
    bus = Bus(config.run_dir, "recorder", RecorderMessage)
    try:
        prepare(config, engine)
        images, room = ImageStore(config.image_dir), Room(config.image_dir, Limits.of(config.images))
        storer = Storer(images, rings, config.images.keep_pass_share, room)
        reader = open_engine(config.database_url, read_only=True)
        housekeeper = Housekeeper(reader, images, room, Reserve(config.data_dir), wal_of(engine))
        addresses = config.commands_address, config.status_path, config.data_dir
        process = RecorderProcess(engine, bus, storer, housekeeper, rings, *addresses)
    except (RecordsLost, NewerRecords) as why:
        _until_stopped(Unrecorded(bus, rings, config.commands_address, config.status_path, why), bus)
        raise SystemExit(1) from None
    try:
        _until_stopped(process, bus)
    except RecordsLost as lost:
        # The next one looks closely, and stands in for the recorder if it sees the same.
        log.error("%s", lost)
        note_damage(config.data_dir, str(lost))
        raise SystemExit(1) from None


def _run_line(config: Config) -> None:
    engine = _reader(config)
    bus = Bus(config.run_dir, "line", LineMessage)
    pause = Pause()
    lock = ChallengeLock(engine, config.station.name, config.products, pause)
    process = LineProcess(config, bus, lookups(engine, lock.is_due, pause))
    _until_stopped(process, bus, process.finish)


def _run_plc(config: Config) -> None:
    from inspection.plc.process import PlcProcess

    assert config.plc is not None
    bus = Bus(config.run_dir, "plc", PlcMessage)
    before_it = [product for product in config.products if product.camera == config.plc.camera]
    serial_from_code = any(product.serial_from == "code" for product in before_it)
    process = PlcProcess(config.plc, config.line.expose_window_ms, bus, serial_from_code)
    _until_stopped(process, bus)


def _run_web(config: Config, config_path: Path) -> None:
    from inspection.retention import Limits
    from inspection.tls import certificate_of
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
        session_idle_minutes=config.web.session_idle_minutes,
        software_triggered={
            product.part_number: (product.camera, product.deadline_ms)
            for product in config.products
            if config.camera(product.camera).software_triggered
        },
        serials_from_code=frozenset(product.part_number for product in config.products if product.serial_from == "code"),
        run_dir=config.run_dir,
        recipes=config.recipe_digests(),
        challenges=asked_of(config.products),
        deadlines_ms={product.part_number: product.deadline_ms for product in config.products},
        ring_slots={camera.name: camera.ring_slots for camera in config.cameras},
        config_path=config_path,
        config_text=read(in_force(config_path)),
        limits=Limits.of(config.images),
        # Where the service manager runs each process by itself, there is nobody to tell.
        manager=os.getppid() if IN_FORCE in os.environ else None,
    )
    run(settings, config.web.host, config.web.port, lambda: certificate_of(config))


def _run_outbox(config: Config) -> None:
    from inspection.mes.outbox import Delivery, OutboxProcess, Pending, Positions, positions_path

    engine = _reader(config)
    deliveries = [
        Delivery(
            each.name,
            _receiver(each, config),
            engine,
            Pending(config.station.name, partial(is_recording, config.status_path)),
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
    from inspection.secrets import read_secret

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
    for attempt in itertools.count():
        beat()
        try:
            with engine.connect() as connection:
                connection.execute(select(deployments.c.deployment_id).limit(1))
            break
        except SQLAlchemyError as error:
            if attempt % 50 == 49:
                log.warning("waiting for the database, which the recorder makes: %s", error)
            time.sleep(0.1)
    beat(START_S)
    return engine


class _Process(Protocol):
    running: bool

    def run(self) -> None: ...


def _until_stopped(process: _Process, bus: Bus, finish: Callable[[], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT, which call ``finish`` if the process has something to finish."""

    def stop(_signal: int, _frame: object) -> None:
        if finish is not None:
            finish()
        else:
            process.running = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("started, process %d", os.getpid())
    process.run()
    bus.close()
    log.info("stopped")


def end_with_manager() -> None:
    """SIGTERM when the manager dies; SystemExit if it has died already, of which no signal comes any more: nothing else would
    end this process, and it would keep the next manager's from starting.
    """
    end_with_parent()
    manager = os.environ.get(MANAGER)
    if manager is not None and int(manager) != os.getppid():
        raise SystemExit(f"the manager that started this process, {manager}, has ended")


def end_with_parent() -> None:
    """Linux: SIGTERM when the process that started this one dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
