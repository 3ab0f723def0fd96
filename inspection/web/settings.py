"""What the web process needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from inspection.challenges import Asked
from inspection.retention import Limits


@dataclass(frozen=True, slots=True)
class Settings:
    """``status_path`` is the recorder's status.json, ``command_address`` the ZeroMQ address of its command socket.

    ``products`` may be named when a lot is opened; ``processes`` must report for the station to be ready,
    besides any that reported once. ``tokens``, ``requests_per_s`` and ``session_idle_minutes`` are those of the configuration's
    ``[web]``; ``recipes`` are the digests of the products' recipes, for certificates; ``challenges`` what recipes ask for, of
    those that ask for challenges. ``software_triggered`` tells camera and deadline in ms of the products that REST may trigger;
    the line is asked through ``run_dir``. ``serials_from_code`` are the products whose triggers need not name the serial.
    ``deadlines_ms`` of all products and ``ring_slots`` of the cameras are shown as metrics. ``config_path`` is the configuration
    file, and ``config_text`` what it said when the station was started; without them settings are neither shown nor changed.
    ``limits`` are the quotas of images. ``manager`` is the process that restarts the station on SIGHUP, None where none does;
    ``started_at`` when this process began.
    """

    station: str
    database_url: str
    image_dir: Path
    status_path: Path
    command_address: str
    products: tuple[str, ...]
    processes: tuple[str, ...] = ()
    tokens: bool = False
    software_triggered: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    serials_from_code: frozenset[str] = frozenset()
    run_dir: Path = Path("nowhere")
    requests_per_s: float = 200.0
    recipes: Mapping[str, str] = field(default_factory=dict)
    session_idle_minutes: float = 30.0
    challenges: Mapping[str, Asked] = field(default_factory=dict)
    deadlines_ms: Mapping[str, float] = field(default_factory=dict)
    ring_slots: Mapping[str, int] = field(default_factory=dict)
    config_path: Path | None = None
    config_text: str = ""
    limits: Limits = field(default_factory=Limits)
    manager: int | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def data_dir(self) -> Path:
        """Where images, models and maps lie; paths of models are relative to it."""
        return self.image_dir.parent
