"""The station's configuration: one TOML file, one pydantic tree, unknown keys refused, units in the names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, StringConstraints, ValidationError, model_validator

from cameras.simulator import PRODUCER
from inspection.errors import ConfigError, NotFound
from inspection.plc.deadline import accept_deadline_ms, check_deadline

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StationConfig(_Section):
    """``data_dir`` holds everything durable: database, images, models; relative to the configuration file."""

    name: Name = "station"
    data_dir: Path = Path("data")
    database_url: str | None = None


class CameraConfig(_Section):
    """One camera. ``producer`` is a .cti file, or "simulator"; ``features`` are SFNC names, applied in their order."""

    name: Name
    serial: str = Field(min_length=1)
    producer: str = "simulator"
    features: dict[str, bool | int | float | str] = {}
    ring_slots: int = Field(default=32, ge=4, le=512)

    @property
    def software_triggered(self) -> bool:
        return self.features.get("TriggerSource") == "Software"


class ProductConfig(_Section):
    """The recipe of one product: its camera and how long a verdict may take, from trigger to output.

    ``serial_code``: parts carry their serial as a Data Matrix or QR code, whose text is this regular expression; its first
    group, or all of it, is the serial. A part whose code says another serial, or cannot be read, is not inspected.
    """

    part_number: Name
    camera: Name
    deadline_ms: float = Field(default=500, ge=5, le=60_000)
    serial_code: re.Pattern[str] | None = None


class LineConfig(_Section):
    """``expose_window_ms``: an edge later than this after its request is not raised. ``max_open``: parts between trigger and
    row.
    """

    expose_window_ms: float = Field(default=100, ge=1, le=5_000)
    max_open: int = Field(default=256, ge=1, le=2_048)


class OpcUaConfig(_Section):
    """The OPC UA server (OPC 40100-1 Machine Vision). Paths are relative to ``data_dir`` unless absolute.

    ``lot_from``: which id of the standard carries the lot. ``lots_from_jobs``: a job may open its lot, and closes it then.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=4840, ge=1, le=65_535)
    nodeset_dir: Path = Path("opcua/nodesets")
    users_file: Path = Path("opcua/users")
    trusted_dir: Path = Path("opcua/trusted")
    allow_anonymous: bool = False
    allow_unencrypted: bool = False
    lot_from: Literal["MeasId", "PartId"] = "MeasId"
    lots_from_jobs: bool = False


class ImagesConfig(_Section):
    """``keep_pass_share``: the share of passed parts whose images are kept; those of all others always are."""

    keep_pass_share: float = Field(default=1.0, ge=0, le=1)


class WebConfig(_Section):
    """``tokens``: requests show a token (``station token create``); without, only this machine is served. ``requests_per_s`` are
    those of one account, or of one address without tokens; five times as many may come at once.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65_535)
    tokens: bool = False
    requests_per_s: float = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _others_show_tokens(self) -> WebConfig:
        if not self.tokens and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"host {self.host} serves other machines, which must show tokens: set tokens = true in [web]")
        return self


class HttpReceiverConfig(_Section):
    """Where events are POSTed. ``secret_file`` holds the secret that both ends know; ``ca_file`` certificates to trust beside
    those of the operating system.
    """

    kind: Literal["http"]
    name: Name
    url: str = Field(pattern=r"^https?://[^\s]+$")
    secret_file: Path
    ca_file: Path | None = None


SparkplugId = Annotated[str, StringConstraints(pattern=r"^[^+/#\x00-\x1f\x7f]{1,64}$")]


class MqttReceiverConfig(_Section):
    """An MQTT broker that gets the station's events as Sparkplug B, from the edge node ``group``/``node``: one per station.

    ``host_id``: the primary host application; without it being online nothing is sent. ``tls`` trusts the authorities of the
    system, or those in ``ca_file``. ``password_file`` holds the password alone and must be readable by the station's user only.
    """

    kind: Literal["mqtt"]
    name: Name
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(default=1883, ge=1, le=65_535)
    group: SparkplugId
    node: SparkplugId
    host_id: SparkplugId | None = None
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> MqttReceiverConfig:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file needs tls = true")
        return self


Receiver = Annotated[HttpReceiverConfig | MqttReceiverConfig, Field(discriminator="kind")]


class PlcConfig(_Section):
    """The Modbus TCP server for the PLC of one camera's conveyor; without this section there is none.

    ``rejector_distance_mm`` from trigger sensor to rejector, which must stand still for ``accept_window_mm`` before the part and
    takes ``actuator_ms`` to move. ``confirm_ms``: so long after the last moment for an accept the rejector has confirmed, at the
    lowest speed; without it nothing is to be confirmed. ``misses_to_stop``: results in a row, late or not inspected, after which
    the PLC is asked to stop.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=1502, ge=1, le=65_535)
    allowed_clients: tuple[IPvAnyNetwork, ...] = Field(default=(ip_network("127.0.0.1"),), min_length=1)
    camera: Name
    watchdog_ms: float = Field(default=500, ge=20, le=60_000)
    confirm_ms: float | None = Field(default=None, ge=1, le=600_000)
    misses_to_stop: int = Field(default=3, ge=1, le=1_000)
    rejector_distance_mm: float = Field(gt=0, le=100_000)
    accept_window_mm: float = Field(ge=0, le=100_000)
    max_speed_mm_per_s: float = Field(gt=0, le=100_000)
    actuator_ms: float = Field(ge=0, le=60_000)

    @property
    def deadline_ms(self) -> float:
        """From trigger to the last moment for an accept."""
        return accept_deadline_ms(self.rejector_distance_mm, self.accept_window_mm, self.max_speed_mm_per_s, self.actuator_ms)


class Config(_Section):
    station: StationConfig = StationConfig()
    cameras: tuple[CameraConfig, ...] = Field(min_length=1)
    products: tuple[ProductConfig, ...] = Field(min_length=1)
    line: LineConfig = LineConfig()
    images: ImagesConfig = ImagesConfig()
    web: WebConfig = WebConfig()
    receivers: tuple[Receiver, ...] = ()
    plc: PlcConfig | None = None
    opcua: OpcUaConfig | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        cameras = [camera.name for camera in self.cameras]
        if len(set(cameras)) != len(cameras):
            raise ValueError("two cameras have the same name")
        numbers = [product.part_number for product in self.products]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two products have the same part_number")
        receivers = [receiver.name for receiver in self.receivers]
        if len(set(receivers)) != len(receivers):
            raise ValueError("two receivers have the same name")
        for product in self.products:
            if product.camera not in cameras:
                raise ValueError(f"product {product.part_number} names camera {product.camera!r}; there are {', '.join(cameras)}")
        if self.plc is not None:
            if self.plc.camera not in cameras:
                raise ValueError(f"plc names camera {self.plc.camera!r}; there are {', '.join(cameras)}")
            inspected = [product for product in self.products if product.camera == self.plc.camera]
            check_deadline(self.plc.deadline_ms, {product.part_number: product.deadline_ms for product in inspected})
        return self

    def beside(self, folder: Path) -> Config:
        """With the paths of a configuration file in that folder made absolute."""
        station = self.station.model_copy(update={"data_dir": (folder / self.station.data_dir).resolve()})
        receivers = []
        for each in self.receivers:
            files = {name: getattr(each, name, None) for name in ("secret_file", "password_file", "ca_file")}
            absolute = {name: (folder / file).resolve() for name, file in files.items() if file is not None}
            receivers.append(each.model_copy(update=absolute))
        return self.model_copy(update={"station": station, "receivers": tuple(receivers)})

    @property
    def data_dir(self) -> Path:
        return self.station.data_dir

    @property
    def database_url(self) -> str:
        return self.station.database_url or f"sqlite:///{self.data_dir / 'station.db'}"

    @property
    def image_dir(self) -> Path:
        return self.data_dir / "images"

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"

    @property
    def run_dir(self) -> Path:
        """Sockets and rings: short (socket paths end at 107 characters), in memory, one per data directory and user."""
        digest = hashlib.sha256(str(self.data_dir.resolve()).encode()).hexdigest()[:12]
        shared_memory = Path("/dev/shm")  # noqa: S108  (a directory of our own is made in it, 0700)
        root = shared_memory if os.access(shared_memory, os.W_OK) else Path("/tmp")  # noqa: S108
        return root / f"station-{os.getuid()}-{digest}"

    @property
    def commands_address(self) -> str:
        return f"ipc://{self.run_dir / 'recorder.commands'}"

    @property
    def status_path(self) -> Path:
        return self.run_dir / "status.json"

    @property
    def outbox_dir(self) -> Path:
        """How far each receiver is."""
        return self.data_dir / "outbox"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    @property
    def simulator_dir(self) -> Path:
        return self.run_dir / "simulator"

    def camera(self, name: str) -> CameraConfig:
        return next(camera for camera in self.cameras if camera.name == name)

    def product(self, part_number: str) -> ProductConfig | None:
        return next((product for product in self.products if product.part_number == part_number), None)

    def recipe(self, part_number: str) -> ProductConfig:
        """The product of this number; NotFound if it is not configured."""
        product = self.product(part_number)
        if product is None:
            known = ", ".join(each.part_number for each in self.products)
            raise NotFound(f"product {part_number!r} is not configured; the configuration names {known}; add its recipe there")
        return product

    def recipe_digests(self) -> dict[str, str]:
        """{product: SHA-256 of the canonical JSON of its recipe}: settings, and its camera with features in order."""
        digests = {}
        for product in self.products:
            camera = self.camera(product.camera)
            recipe = product.model_dump(mode="json") | {"camera_serial": camera.serial, "features": list(camera.features.items())}
            canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            digests[product.part_number] = hashlib.sha256(canonical.encode()).hexdigest()
        return digests

    def producer(self, camera: CameraConfig) -> Path:
        return PRODUCER if camera.producer == "simulator" else Path(camera.producer)


def load(path: Path) -> Config:
    """Read and check a configuration file; ConfigError names the file, the key and what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; pass the path of a station.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"{path} is not a valid configuration:\n" + "\n".join(lines)) from error
    return config.beside(path.parent)


def prepare_directories(config: Config) -> None:
    """Make what the processes need; the run directory is for the station's user alone."""
    for directory in (
        config.data_dir,
        config.image_dir,
        config.models_dir,
        config.log_dir,
        config.outbox_dir,
        config.run_dir,
        config.simulator_dir,
    ):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
