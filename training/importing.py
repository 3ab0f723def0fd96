"""A folder of images → the station's image store: good ones to learn from, or a golden set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from inspection.config import Config
from inspection.domain import OK, GoldenImage
from inspection.images import ImageStore
from inspection.records.database import open_records
from inspection.records.stored_images import add_golden, add_imported
from training.dataset import image_paths, labelled_images, read_frame
from training.errors import TrainingError, UnreadableImage


@dataclass(frozen=True, slots=True)
class Imported:
    """How many images are new, how many were there, and which could not be read and why."""

    new: int
    known: int
    skipped: dict[str, str]


def import_good(config: Config, folder: Path, product: str, by: str) -> Imported:
    """Store the images in ``folder/train/good`` without loss, as good ones of a product.

    They are a pseudo lot, named by the folder. TrainingError if there are none, NotFound if the product is not configured.
    """
    paths = image_paths(folder / "train" / "good") if (folder / "train" / "good").is_dir() else []
    if not paths:
        raise TrainingError(f"{folder / 'train' / 'good'} holds no images; put the good images of the product there")
    name = str(folder.resolve())

    def record(connection: Connection, path: Path, sha256: str, pixel_format: str) -> bool:
        return add_imported(connection, product, sha256, path.name, name, pixel_format, by)

    return _import(config, product, paths, record)


def import_golden(config: Config, folder: Path, product: str, by: str) -> Imported:
    """Store the images in ``folder/test/*`` as golden ones: those in ``good`` must pass, the others must not.

    TrainingError if there are none, NotFound if the product is not configured.
    """
    labelled = {image.path: image for image in labelled_images(folder)}
    if not labelled:
        raise TrainingError(f"{folder / 'test'} holds no images; put images into test/good and test/<defect>")

    def record(connection: Connection, path: Path, sha256: str, pixel_format: str) -> bool:
        image = labelled[path]
        label = OK if image.good else image.label
        return add_golden(connection, GoldenImage(product, sha256, label, image.name, pixel_format, by, datetime.now(UTC)))

    return _import(config, product, list(labelled), record)


def _import(config: Config, product: str, paths: list[Path], record: Callable[[Connection, Path, str, str], bool]) -> Imported:
    config.recipe(product)
    store = ImageStore(config.image_dir)
    stored = []
    skipped = {}
    for path in paths:
        try:
            image = store.put_frame(read_frame(path))
        except UnreadableImage as error:
            skipped[path.name] = str(error)
            continue
        stored.append((path, image.sha256, image.pixel_format))
    # The files first: a row never names a file that is not there.
    with open_records(config) as engine, engine.begin() as connection:
        new = sum(record(connection, *each) for each in stored)
    return Imported(new, len(stored) - new, skipped)
