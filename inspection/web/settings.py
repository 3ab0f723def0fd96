"""What the web process needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """``status_path`` is the recorder's status.json, ``command_address`` the ZeroMQ address of its command socket.

    ``products`` may be named when a lot is opened; ``processes`` must report for the station to be ready,
    besides any that reported once. ``tokens`` and ``requests_per_s`` are those of the configuration's ``[web]``; ``recipes`` are
    the digests of the products' recipes, for certificates. ``software_triggered`` tells camera and deadline in ms of the products
    that REST may trigger; the line is asked through ``run_dir``.
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
    run_dir: Path = Path("nowhere")
    requests_per_s: float = 200.0
    recipes: Mapping[str, str] = field(default_factory=dict)
