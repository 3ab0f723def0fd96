"""One training run, in a process of its own: reads the training set, trains, and says how far it is.

The trainer starts it with the run's number and reads its standard output: one JSON message in a line. It writes nothing to the
database; that is the trainer's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from cameras.errors import CameraError
from cameras.frame import Frame
from inspection.config import Config
from inspection.domain import OK, Box, Member, Side, Source, TrainingRun
from inspection.errors import StationError
from inspection.images import ImageStore
from inspection.records.database import open_engine
from inspection.records.training_runs import get_run
from inspection.records.training_sets import members_of
from training.dataset import TrainingImage
from training.errors import TrainingError, UnreadableImage


class Step(msgspec.Struct, frozen=True, tag=True):
    """How far the run is."""

    stage: str
    done: int
    steps: int


class Made(msgspec.Struct, frozen=True, tag=True):
    """The run made this model."""

    path: str
    digest: str
    skipped: dict[str, str]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The run cannot make a model."""

    error: str


Message = Step | Made | Failed


def perform(config: Config, training_run_id: int, output: IO[bytes]) -> None:
    """Train as a run asks, and say on ``output`` how it goes, ``Made`` or ``Failed`` last."""

    def say(message: Message) -> None:
        output.write(msgspec.json.encode(message) + b"\n")
        output.flush()

    engine = open_engine(config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            run = get_run(connection, training_run_id)
            members = members_of(connection, run.training_set)
        say(_train(run, members, ImageStore(config.image_dir), config.models_dir, lambda *step: say(Step(*step))))
    except (TrainingError, StationError) as error:
        say(Failed(str(error)))
    finally:
        engine.dispose()


def _train(
    run: TrainingRun, members: tuple[Member, ...], store: ImageStore, models_dir: Path, progress: Callable[[str, int, int], None]
) -> Made:
    from training.design import sized
    from training.known_defects import LabelledReject
    from training.reading import MAX_IMAGES
    from training.train import train

    learned = [member for member in members if member.side is Side.TRAIN]
    good = thinned([member for member in learned if member.label == OK], MAX_IMAGES)
    images = [TrainingImage(each.name, each.sha256, partial(read_member, store, each)) for each in good]
    rejects = [
        LabelledReject(
            each.name,
            each.sha256,
            partial(read_member, store, each),
            partial(region_mask, store, each) if each.regions else None,
        )
        for each in learned
        if each.label != OK
    ]
    model = train(
        images,
        run.product,
        models_dir,
        seed=int(run.settings["seed"]),
        progress=progress,
        design=sized(int(run.settings["longer_side"])),
        rejects=rejects,
    )
    return Made(str(model.path), model.digest, model.skipped)


def thinned(good: list[Member], limit: int) -> list[Member]:
    """At most so many members: those that a person labelled before all others, which are thinned out evenly.

    What somebody had to call ok is what the model in service did not know.
    """
    labelled = [member for member in good if member.source is Source.LABEL][:limit]
    others = [member for member in good if member.source is not Source.LABEL]
    room = min(limit - len(labelled), len(others))
    return labelled + [others[index * len(others) // room] for index in range(room)]


def read_member(store: ImageStore, member: Member) -> Frame:
    """The frame of a member; UnreadableImage if its file is missing or altered."""
    try:
        return store.frame(member.sha256, member.pixel_format)
    except (StationError, CameraError) as error:
        raise UnreadableImage(str(error)) from error


def region_mask(store: ImageStore, member: Member) -> NDArray[np.bool_]:
    """The pixels in a member's regions, bool (height, width). UnreadableImage as ``read_member``."""
    frame = read_member(store, member)
    mask = np.zeros((frame.height, frame.width), np.bool_)
    for box in member.regions:
        mask[_rows(box), _columns(box)] = True
    return mask


def _rows(box: Box) -> slice:
    return slice(box.y, box.y + box.height)


def _columns(box: Box) -> slice:
    return slice(box.x, box.x + box.width)
