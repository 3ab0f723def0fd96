"""Records to look through: many inspections, whose images are few and used in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import delete, func, insert, select

from cameras.simulator.scenes import render
from inspection import config as configuration
from inspection.bench.records import fill
from inspection.config import Config, prepare_directories
from inspection.domain import Image, ImageKind
from inspection.images import MAP_FORMAT, ImageStore, encode_map
from inspection.png import encode_png
from inspection.records.database import migrate, open_engine
from inspection.records.tables import defect_classes, inspections, labels
from inspection.starting import free_port

PRODUCT = "flange"
WIDTH, HEIGHT = 1280, 1024
_FRAMES = 8
_FAIL_THRESHOLD = 9.0


def seeded_station(directory: Path) -> tuple[Config, Path]:
    """The settings of a station in this folder, whose web process may be started; and where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "station.toml"
    path.write_text(
        f"""[station]
name = "bench"
data_dir = "."

[[cameras]]
name = "top"
serial = "BENCHSEEDED"

[[products]]
part_number = "{PRODUCT}"
camera = "top"

[web]
port = {free_port(8090)}
requests_per_s = 10000
""",
        encoding="utf-8",
    )
    config = configuration.load(path)
    prepare_directories(config)
    return config, path


def make_records(config: Config, rows: int, progress: Callable[[int], None]) -> None:
    """What is missing of so many inspections, with images of rendered parts; no labels, and two classes of defects."""
    engine = open_engine(config.database_url)
    migrate(engine)
    with engine.connect() as connection:
        there = connection.execute(select(func.max(inspections.c.seq))).scalar_one()
    fill(engine, rows, progress, () if there == rows else _pictures(ImageStore(config.image_dir)))
    now = datetime.now(UTC)
    with engine.begin() as connection:
        connection.execute(delete(labels))
        connection.execute(delete(defect_classes))
        for name, key, colour in (("scratch", "1", "#e69f00"), ("dent", "2", "#56b4e9")):
            values = {"product": PRODUCT, "defect_class": name, "colour": colour, "key": key}
            connection.execute(insert(defect_classes).values(**values, created_by="bench", created_at=now))
    engine.dispose()


def _pictures(store: ImageStore) -> Sequence[tuple[Image, Image]]:
    """Frames of rendered parts, one in two with a scratch, and maps with one strange place."""
    pictures = []
    for number in range(_FRAMES):
        pixels = render(f"S{number}", 7_000 + number, "scratch" if number % 2 else None, 0.7, WIDTH, HEIGHT).pixels
        frame = store.put(encode_png(pixels), ImageKind.FRAME, WIDTH, HEIGHT, "Mono8")
        down, across = np.mgrid[0:32, 0:40]
        strange = 8.0 * np.exp(-((across - 3 - 4 * number) ** 2 + (down - 16) ** 2) / 12.0) + 2.0
        pictures.append((frame, store.put(encode_map(strange, _FAIL_THRESHOLD), ImageKind.MAP, 40, 32, MAP_FORMAT)))
    return pictures
