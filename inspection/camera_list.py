"""``station cameras``: what the producers list, as tables."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from cameras.errors import CameraError
from cameras.genicam import GenicamCamera, list_devices
from inspection.config import Config


def print_cameras(config: Config | None, producers: list[Path], features: bool) -> None:
    """Print the devices of the given producers, of those in the configuration, and of those in GENICAM_GENTL64_PATH."""
    console = Console()
    if not console.is_terminal:
        console.width = 140  # as wide as the longest names need
    found = list(producers)
    if config is not None:
        os.environ.setdefault("STATION_SIMULATOR", str(config.simulator_dir))
        found += [config.producer(camera) for camera in config.cameras]
    for folder in filter(None, os.environ.get("GENICAM_GENTL64_PATH", "").split(os.pathsep)):
        found += sorted(Path(folder).glob("*.cti"))
    if not found:
        raise CameraError(
            "no producer to list: pass --config, --producer, or set GENICAM_GENTL64_PATH to the folder of the .cti files"
        )
    for producer in dict.fromkeys(path.resolve() for path in found):
        devices = list_devices(producer)
        table = Table("serial_number", "vendor", "model", "version", "tl_type", title=str(producer), title_justify="left")
        for device in devices:
            table.add_row(device["serial_number"], device["vendor"], device["model"], device["version"], device["tl_type"])
        console.print(table if devices else f"{producer}: no cameras; check power and cables")
        for device in devices if features else ():
            _print_features(console, producer, device["serial_number"])


def _print_features(console: Console, producer: Path, serial: str) -> None:
    camera = GenicamCamera(producer, serial)
    camera.open()
    try:
        # Folded, never shortened: names are copied from here into the configuration.
        columns = (Column(name, overflow="fold") for name in ("category", "feature", "type", "access", "value"))
        table = Table(*columns, title=f"camera {serial}", title_justify="left")
        for feature in camera.features():
            table.add_row(feature.category, feature.name, feature.kind, feature.access, feature.value or "")
        console.print(table)
    finally:
        camera.close()
