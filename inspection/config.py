"""The station's configuration: one TOML file, one pydantic tree, unknown keys refused, units in the names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tomllib
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from cameras.simulator import PRODUCER
from inspection.errors import ConfigError, NotFound
from inspection.plc.deadline import accept_deadline_ms, check_deadline
from inspection.secrets import read_secret

IN_FORCE = "STATION_CONFIGURATION"
"""The environment variable by which the manager tells its processes where its copy of the configuration is."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MAX_DOTS = 40

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StationConfig(_Section):
    """``data_dir`` holds everything durable: database, images, models; relative to the configuration file.

    ``process_memory_mib``: a process that uses more is started anew. None: half of what the machine has for the inspector and for
    training, a quarter for every other. ``database_password_file`` holds the password alone and must be readable by the station's
    user only.
    """

    name: Name = "station"
    data_dir: Path = Path("data")
    database_url: str | None = None
    process_memory_mib: int | None = Field(default=None, ge=256)
    database_password_file: Path | None = None

    @model_validator(mode="after")
    def _password_apart(self) -> StationConfig:
        url = self.database_url or ""
        named = url.partition("://")[2].rpartition("@")[0]
        if url.startswith("postgresql") and ("password=" in url or ":" in named.rstrip(":")):
            raise ValueError("no password in database_url, which many may read: write it into database_password_file, chmod 600")
        if self.database_password_file is not None and "@" not in url:
            raise ValueError("database_password_file needs a database_url that names the user: postgresql://user@host/name")
        return self


class AcceptOutputConfig(_Section):
    """The camera's digital ``line`` is on for ``pulse_ms`` for each part that is accepted, and off at all other times.

    ``timer`` and ``signal`` are the camera's names of the timer that makes the pulse, and of the software signal that starts it.
    """

    line: str = Field(min_length=1)
    timer: str = Field(default="Timer0", min_length=1)
    signal: str = Field(default="SoftwareSignal0", min_length=1)
    pulse_ms: float = Field(ge=1, le=10_000)


class CameraConfig(_Section):
    """One camera. ``producer`` is a .cti file, or "simulator"; ``features`` are SFNC names, applied in their order.

    With ``accept_output``, one part at a time is between its exposure and the end of its pulse; one that comes sooner is not
    inspected, as ``overload``.
    """

    name: Name
    serial: str = Field(min_length=1)
    producer: str = "simulator"
    features: dict[str, bool | int | float | str] = {}
    ring_slots: int = Field(default=32, ge=4, le=512)
    accept_output: AcceptOutputConfig | None = None

    @property
    def software_triggered(self) -> bool:
        return self.features.get("TriggerSource") == "Software"

    @property
    def pulse_ns(self) -> int:
        """Length of a pulse on the accept output; 0 without one."""
        return 0 if self.accept_output is None else int(self.accept_output.pulse_ms * 1e6)


class ProductConfig(_Section):
    """The recipe of one product: its camera and how long a verdict may take, from trigger to output.

    ``serial_code``: parts carry their serial as a Data Matrix or QR code, whose text is this regular expression; its first
    group, or all of it, is the serial. A part whose code says another serial, or cannot be read, is not inspected. With
    ``serial_from`` "code", triggers need not name the serial: the code alone tells it.
    ``challenge_every_hours``: production is locked unless the golden parts were judged right so recently, and, with
    ``challenge_after_deployment``, by the model now in service since it was deployed. None asks for no challenge.
    """

    part_number: Name
    camera: Name
    deadline_ms: float = Field(default=500, ge=5, le=60_000)
    serial_code: re.Pattern[str] | None = None
    serial_from: Literal["trigger", "code"] = "trigger"
    challenge_every_hours: float | None = Field(default=None, gt=0, le=8_760)
    challenge_after_deployment: bool = True

    @model_validator(mode="after")
    def _serial_can_be_read(self) -> ProductConfig:
        if self.serial_from == "code" and self.serial_code is None:
            raise ValueError('serial_from = "code" needs serial_code, the text of the code; ".+" takes all of it as the serial')
        return self


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
    """``keep_pass_share``: the share of passed parts whose images are stored; those of all others always are.

    Images of passed parts are deleted after ``keep_pass_days``, and before that, oldest first, where all images take more than
    ``max_gb`` or the disk has less than ``min_free_gb`` left; those of all others after ``keep_reject_days``, and never sooner.
    What is labelled, golden, in a training set, of a held lot or under a legal hold stays. A GB has 10^9 bytes.
    """

    keep_pass_share: float = Field(default=1.0, ge=0, le=1)
    keep_pass_days: float = Field(default=90, gt=0, le=36_500)
    keep_reject_days: float | None = Field(default=None, gt=0, le=36_500)
    max_gb: float | None = Field(default=None, gt=0)
    min_free_gb: float = Field(default=2.0, ge=0)


class WebConfig(_Section):
    """``tokens``: programs show a token (``station token create``) even while there is no user; without, only this machine is
    served. ``requests_per_s`` are those of one account or user, or of one address; five times as many may come at once.
    ``session_idle_minutes``: a user who asked for nothing for so long is logged out.

    ``tls``: with a certificate that the station makes (``generated``) or with ``tls_certificate`` and ``tls_key`` in PEM
    (``files``), which may be replaced while the station runs. Other machines are served without only if ``allow_unencrypted``.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65_535)
    tokens: bool = False
    requests_per_s: float = Field(default=200, ge=1)
    session_idle_minutes: float = Field(default=30, ge=1, le=720)
    tls: Literal["none", "generated", "files"] = "none"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allow_unencrypted: bool = False

    @model_validator(mode="after")
    def _others_show_tokens(self) -> WebConfig:
        if not self.tokens and self._serves_others:
            raise ValueError(f"host {self.host} serves other machines, which must show tokens: set tokens = true in [web]")
        return self

    @model_validator(mode="after")
    def _others_are_served_encrypted(self) -> WebConfig:
        if (self.tls == "files") != (self.tls_certificate is not None and self.tls_key is not None):
            raise ValueError('tls = "files" needs tls_certificate and tls_key, and they need it')
        if self.tls == "none" and self._serves_others and not self.allow_unencrypted:
            raise ValueError(
                f"host {self.host} serves other machines, and without encryption anybody between reads passwords and tokens: "
                'set tls = "generated" in [web], or tls = "files" with tls_certificate and tls_key. With a proxy for TLS on this '
                "machine, leave host at 127.0.0.1. allow_unencrypted = true does without"
            )
        return self

    @property
    def _serves_others(self) -> bool:
        return self.host not in LOOPBACK

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"{'http' if self.tls == 'none' else 'https'}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class HttpReceiverConfig(_Section):
    """Where events are POSTed. ``secret_file`` holds the secret that both ends know; ``ca_file`` certificates to trust beside
    those of the operating system.
    """

    kind: Literal["http"]
    name: Name
    url: str = Field(pattern=r"^https?://[^\s]+$")
    secret_file: Path
    ca_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _no_password_in_it(cls, url: str) -> str:
        if "@" in urlsplit(url).netloc:
            raise ValueError(
                "no user or password in url, which many may read: the receiver knows the station by the signature that is made "
                "with secret_file"
            )
        return url


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

        def absolute(section: _Section, *names: str) -> dict[str, Path]:
            files = {name: getattr(section, name, None) for name in names}
            return {name: (folder / file).resolve() for name, file in files.items() if file is not None}

        station = self.station.model_copy(update=absolute(self.station, "data_dir", "database_password_file"))
        web = self.web.model_copy(update=absolute(self.web, "tls_certificate", "tls_key"))
        receivers = tuple(
            each.model_copy(update=absolute(each, "secret_file", "password_file", "ca_file")) for each in self.receivers
        )
        return self.model_copy(update={"station": station, "web": web, "receivers": receivers})

    @property
    def data_dir(self) -> Path:
        return self.station.data_dir

    @property
    def database_url(self) -> str:
        """With the password in it; ConfigError if its file cannot be read, or others may read it too."""
        url = self.station.database_url
        if url is not None and self.station.database_password_file is not None:
            password = quote(read_secret(self.station.database_password_file), safe="")
            return re.sub(r":?@", lambda _: f":{password}@", url, count=1)
        return url or f"sqlite:///{self.data_dir / 'station.db'}"

    @property
    def image_dir(self) -> Path:
        return self.data_dir / "images"

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"

    @property
    def maps_dir(self) -> Path:
        return self.data_dir / "maps"

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
    def watchdog_path(self) -> Path:
        """Where processes show their supervisor that they get on."""
        return self.run_dir / "watchdog"

    @property
    def outbox_dir(self) -> Path:
        """How far each receiver is."""
        return self.data_dir / "outbox"

    @property
    def in_force_path(self) -> Path:
        """What the configuration file said when the station was started."""
        return self.run_dir / "station.toml"

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
    """Read and check a configuration file; ConfigError names the file, the key and what is wrong.

    A process that the manager starts gets what the file said when the station was started: one that is started again must not
    find other settings than its peers have.
    """
    return parse(read(in_force(path)), path)


def read(path: Path) -> str:
    """The text of a configuration file; ConfigError if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; pass the path of a station.toml") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def parse(text: str, path: Path) -> Config:
    """The configuration in ``text``, as of a file at ``path``; ConfigError holds (key, what is wrong) of each error."""
    try:
        _check_depth(text)
        # Text mode would have made one of the two line ends that TOML knows.
        raw = tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: numbers may be too long for Python
        raise ConfigError(f"{path} is not valid TOML: {error}", [("file", str(error))]) from error
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        found = error.errors()
        # A list whose only item is wrong counts as empty besides, which nobody has to mend.
        within = {item["loc"][:depth] for item in found for depth in range(1, len(item["loc"]))}
        told = [item for item in found if item["type"] != "too_short" or item["loc"] not in within]
        errors = [(".".join(str(part) for part in item["loc"]) or "file", item["msg"]) for item in told]
        lines = [f"  {key}: {message}" for key, message in errors]
        raise ConfigError(f"{path} is not a valid configuration:\n" + "\n".join(lines), errors) from error
    return config.beside(path.parent)


def _check_depth(text: str) -> None:
    """ValueError for keys within keys that no configuration has: tomllib's memory grows with the square of their number."""
    for chunk in re.split(r"[\s=,#\[\]{}]", re.sub(r"[ \t]+", "", text)):
        if chunk.count(".") > _MAX_DOTS and len(re.findall(r"\.+", chunk)) > _MAX_DOTS:
            raise ValueError(f"a key with more than {_MAX_DOTS} dots: {chunk[:40]}…")


def in_force(path: Path) -> Path:
    """The copy of the file at ``path`` that the manager made when it started this process; else the file itself."""
    return Path(os.environ.get(IN_FORCE) or path)


def prepare_directories(config: Config) -> None:
    """Make what the processes need; the run directory is for the station's user alone, or ConfigError."""
    _prepare_run_dir(config.run_dir)
    for directory in (
        config.data_dir,
        config.image_dir,
        config.models_dir,
        config.log_dir,
        config.outbox_dir,
        config.simulator_dir,
    ):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _prepare_run_dir(directory: Path) -> None:
    """Everybody may make one of this name first, and would then own or replace what the station opens in it."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{directory}, where sockets and images in memory would be, is no folder of the station's user alone: see with "
            "ls -ld who made it, and have it removed"
        )
