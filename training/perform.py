"""One training run, in a process of its own: reads the training set, trains, and says how far it is.

The trainer starts it with the run's number and reads its standard output: one JSON message in a line. It writes nothing to the
database; that is the trainer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from cameras.errors import CameraError
from cameras.frame import Frame
from inspection.config import Config
from inspection.domain import OK, Member, Side, Source, TrainingRun
from inspection.errors import StationError
from inspection.images import ImageStore
from inspection.records.database import open_engine
from inspection.records.training_runs import get_run
from inspection.records.training_sets import members_of
from inspection.regions import mask_of
from training.dataset import TrainingImage
from training.errors import TrainingError, UnreadableImage

DETECTOR_SHARE = 0.5
"""Of a product's deadline: the other half is for everything around the network, from the exposure to the durable row."""


class Step(msgspec.Struct, frozen=True, tag=True):
    """How far the run is."""

    stage: str
    done: int
    steps: int


class Made(msgspec.Struct, frozen=True, tag=True):
    """The run made this model. Images that were skipped, and those that may be labelled wrongly, and why."""

    path: str
    digest: str
    skipped: dict[str, str]
    suspected: dict[str, str] = {}


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
        say(_train(config, run, members, lambda *step: say(Step(*step))))
    except (TrainingError, StationError) as error:
        say(Failed(str(error)))
    finally:
        engine.dispose()


def _train(config: Config, run: TrainingRun, members: tuple[Member, ...], progress: Callable[[str, int, int], None]) -> Made:
    """With the design that the run's settings ask for, or else the best one that is fast enough for the product."""
    from training.autopilot import train_within
    from training.calibration import FalseRejects
    from training.design import sized
    from training.known_defects import LabelledReject
    from training.reading import MAX_IMAGES
    from training.suspects import suspects
    from training.train import train

    store = ImageStore(config.image_dir)
    learned = in_order(member for member in members if member.side is Side.TRAIN)
    good = thinned([member for member in learned if member.label == OK], MAX_IMAGES)
    images = [TrainingImage(each.name, each.sha256, partial(read_member, store, each)) for each in good]
    rejects = [
        LabelledReject(
            each.name,
            each.sha256,
            each.label,
            partial(read_member, store, each),
            partial(region_mask, store, each) if each.regions else None,
        )
        for each in learned
        if each.label != OK
    ]
    longer_side = run.settings.longer_side
    if longer_side is None:
        deadline_ms = DETECTOR_SHARE * config.recipe(run.product).deadline_ms
        make = partial(train_within, deadline_ms)
    else:
        make = partial(train, design=sized(longer_side))
    false_rejects = FalseRejects(run.settings.false_rejects, run.settings.confidence)
    model = make(
        images,
        run.product,
        config.models_dir,
        seed=run.settings.seed,
        progress=progress,
        rejects=rejects,
        false_rejects=false_rejects,
    )
    return Made(str(model.path), model.digest, model.skipped, {each.name: each.reason for each in suspects(model.scores)})


def in_order(members: Iterable[Member]) -> list[Member]:
    """As the parts were made: lot by lot, and in a lot by inspection; imported images by folder and name.

    Calibration scores blocks of neighbours with banks that hold none of them. Parts of one lot are alike: scattered over all
    blocks they would make good parts look more usual than the next lot's are.
    """
    return sorted(members, key=lambda member: (member.lot, member.seq or 0, member.name))


def thinned(good: list[Member], limit: int) -> list[Member]:
    """At most so many members, in their order: those that a person labelled before all others, which are thinned out evenly.

    What somebody had to call ok is what the model in service did not know.
    """
    labelled = [member for member in good if member.source is Source.LABEL][:limit]
    others = [member for member in good if member.source is not Source.LABEL]
    room = min(limit - len(labelled), len(others))
    chosen = {*labelled, *(others[index * len(others) // room] for index in range(room))}
    return [member for member in good if member in chosen]


def read_member(store: ImageStore, member: Member) -> Frame:
    """The frame of a member; UnreadableImage if its file is missing or altered."""
    try:
        return store.frame(member.sha256, member.pixel_format)
    except (StationError, CameraError) as error:
        raise UnreadableImage(str(error)) from error


def region_mask(store: ImageStore, member: Member) -> NDArray[np.bool_]:
    """The pixels in a member's regions, bool (height, width). UnreadableImage as ``read_member``."""
    frame = read_member(store, member)
    return mask_of(member.regions, frame.width, frame.height)
