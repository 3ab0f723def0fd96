"""What the station is made of, to be read: cameras, interfaces, software, and what lies on its disk. No secrets."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Connection, make_url

from inspection.config import LOOPBACK, Config, HttpReceiverConfig, MqttReceiverConfig
from inspection.errors import ConfigError
from inspection.records.database import schema_revision
from inspection.tls import certificate_of

# What judges, what records and what talks; all others are in the installed packages' metadata.
_PACKAGES = (
    "inspection-station",
    "openvino",
    "torch",
    "anomalib",
    "genicam",
    "harvesters",
    "numpy",
    "opencv-python-headless",
    "zxing-cpp",
    "sqlalchemy",
    "fastapi",
    "nicegui",
    "pymodbus",
    "asyncua",
    "paho-mqtt",
)
# Counting a million files takes minutes of a disk that the recorder writes to.
_COUNTING_S = 1.5


@dataclass(frozen=True, slots=True)
class CameraOverview:
    """One camera as configured; features in the order in which they are set."""

    name: str
    serial: str
    producer: str
    ring_slots: int
    features: dict[str, str]


@dataclass(frozen=True, slots=True)
class Interface:
    """One way in or out; ``facts`` by name, without secrets."""

    name: str
    on: bool
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Overview:
    """``software`` are versions by name; ``schema`` is the newest migration that the records have seen."""

    station: str
    data_dir: str
    database: str
    schema: str
    cameras: tuple[CameraOverview, ...]
    interfaces: tuple[Interface, ...]
    software: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """One folder below the data directory; ``complete`` is False if there was not the time to count all."""

    name: str
    files: int
    nbytes: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Storage:
    """What lies in the data directory, and the room on its disk, in bytes."""

    folders: tuple[Stored, ...]
    free_bytes: int
    disk_bytes: int


def overview(config: Config, connection: Connection) -> Overview:
    """As configured; the records tell their schema and the version of their database."""
    return Overview(
        station=config.station.name,
        data_dir=str(config.data_dir),
        database=make_url(config.station.database_url or config.database_url).render_as_string(hide_password=True),
        schema=schema_revision(connection) or "none",
        cameras=tuple(
            CameraOverview(
                camera.name,
                camera.serial,
                camera.producer,
                camera.ring_slots,
                {name: _words(value) for name, value in camera.features.items()},
            )
            for camera in config.cameras
        ),
        interfaces=tuple(_interfaces(config)),
        software=_software(connection),
    )


def storage(config: Config) -> Storage:
    """How much each folder of the data directory holds; what is not in a folder is ``.``, with the database."""
    until = time.monotonic() + _COUNTING_S
    folders, own = [], Stored(".", 0, 0, True)
    for entry in sorted(os.scandir(config.data_dir), key=lambda each: each.name):
        if entry.is_dir(follow_symlinks=False):
            folders.append(counted(entry.name, Path(entry.path), until))
        else:
            own = Stored(".", own.files + 1, own.nbytes + entry.stat(follow_symlinks=False).st_size, True)
    disk = shutil.disk_usage(config.data_dir)
    return Storage((own, *folders), disk.free, disk.total)


def counted(name: str, folder: Path, until: float) -> Stored:
    """The files of a folder and all below it, as far as they can be counted until ``until`` on the monotonic clock."""
    files = nbytes = 0
    for place, _, names in os.walk(folder):
        if time.monotonic() > until:
            return Stored(name, files, nbytes, False)
        for each in names:
            try:
                nbytes += os.lstat(os.path.join(place, each)).st_size  # noqa: PTH118  (a million of them)
            except FileNotFoundError:
                continue  # retention took it meanwhile
            files += 1
    return Stored(name, files, nbytes, True)


def _interfaces(config: Config) -> Iterator[Interface]:
    web = config.web
    yield Interface(
        "REST and pages",
        True,
        {
            "address": f"{web.host}:{web.port}",
            "encryption": _encryption(config),
            "tokens": "asked for" if web.tokens else "not asked for: this machine alone is served",
            "requests": f"{web.requests_per_s:g} a second of one account",
        },
    )
    plc = config.plc
    if plc is None:
        yield Interface("PLC, Modbus TCP", False, {})
    else:
        yield Interface(
            "PLC, Modbus TCP",
            True,
            {
                "address": f"{plc.host}:{plc.port}",
                "camera": plc.camera,
                "clients": ", ".join(str(client) for client in plc.allowed_clients),
                "accept until": f"{plc.deadline_ms:.0f} ms after the trigger",
                "watchdog": f"{plc.watchdog_ms:g} ms",
                "confirmation": "none" if plc.confirm_ms is None else f"within {plc.confirm_ms:g} ms",
                "stop asked for": f"after {plc.misses_to_stop} results in a row that were late or not inspected",
            },
        )
    opcua = config.opcua
    if opcua is None:
        yield Interface("OPC UA", False, {})
    else:
        yield Interface(
            "OPC UA",
            True,
            {
                "address": f"{opcua.host}:{opcua.port}",
                "lot from": opcua.lot_from,
                "anonymous clients": "let in" if opcua.allow_anonymous else "refused",
                "unencrypted clients": "let in" if opcua.allow_unencrypted else "refused",
            },
        )
    if not config.receivers:
        yield Interface("Receivers", False, {})
    for receiver in config.receivers:
        yield Interface(f"Receiver {receiver.name}", True, _receiver(receiver))


def _encryption(config: Config) -> str:
    """With the fingerprint, to be compared with the one that a browser shows."""
    try:
        certificate = certificate_of(config)
    except ConfigError as error:
        return f"none is possible: {error}"
    if certificate is None:
        return "none" if config.web.host in LOOPBACK else "none: anybody between reads passwords and tokens"
    return f"TLS, certificate valid until {certificate.not_after:%F}, SHA-256 {certificate.fingerprint}"


def _receiver(receiver: HttpReceiverConfig | MqttReceiverConfig) -> dict[str, str]:
    if isinstance(receiver, MqttReceiverConfig):
        return {
            "kind": "MQTT, Sparkplug B",
            "address": f"{receiver.host}:{receiver.port}",
            "edge node": f"{receiver.group}/{receiver.node}",
            "encryption": "TLS" if receiver.tls else "none",
        }
    url = urlsplit(receiver.url)
    # A secret may stand behind the question mark.
    return {"kind": "HTTP push, signed", "address": f"{url.scheme}://{url.netloc}{url.path}"}


def _software(connection: Connection) -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # of a station without a trainer
    found["Python"] = platform.python_version()
    dialect = connection.dialect
    if dialect.name == "sqlite":
        found["SQLite"] = sqlite3.sqlite_version
    elif dialect.server_version_info is not None:
        found["PostgreSQL"] = ".".join(str(each) for each in dialect.server_version_info)
    found["operating system"] = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return found


def _words(value: bool | int | float | str) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value}"
