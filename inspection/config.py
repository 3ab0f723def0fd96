"""The station's configuration: one TOML file, one pydantic tree, unknown keys refused, units in the names."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from cameras.simulator import PRODUCER
from inspection.errors import ConfigError, NotFound

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
    """The recipe of one product: its camera and how long a verdict may take, from trigger to output."""

    part_number: Name
    camera: Name
    deadline_ms: float = Field(default=500, ge=5, le=60_000)


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
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65_535)


class Config(_Section):
    station: StationConfig = StationConfig()
    cameras: tuple[CameraConfig, ...] = Field(min_length=1)
    products: tuple[ProductConfig, ...] = Field(min_length=1)
    line: LineConfig = LineConfig()
    images: ImagesConfig = ImagesConfig()
    web: WebConfig = WebConfig()
    opcua: OpcUaConfig | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        cameras = [camera.name for camera in self.cameras]
        if len(set(cameras)) != len(cameras):
            raise ValueError("two cameras have the same name")
        numbers = [product.part_number for product in self.products]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two products have the same part_number")
        for product in self.products:
            if product.camera not in cameras:
                raise ValueError(f"product {product.part_number} names camera {product.camera!r}; there are {', '.join(cameras)}")
        return self

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
    data_dir = (path.parent / config.station.data_dir).resolve()
    return config.model_copy(update={"station": config.station.model_copy(update={"data_dir": data_dir})})


def prepare_directories(config: Config) -> None:
    """Make what the processes need; the run directory is for the station's user alone."""
    for directory in (config.data_dir, config.image_dir, config.models_dir, config.log_dir, config.run_dir, config.simulator_dir):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
