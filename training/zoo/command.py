"""The options of ``station train`` that choose an algorithm → the function that trains with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from training.autopilot import STAGE, train_within
from training.design import LONGER_SIDE, sized
from training.errors import TrainingError
from training.train import STAGES, TrainedModel, train

OWN = "patchcore"


def trainer(
    algorithm: str,
    size: int | None,
    deadline_ms: float,
    backbone: str,
    weights: Path | None,
    licence: str,
    layers: str,
    epochs: int | None,
) -> tuple[tuple[str, ...], Callable[..., TrainedModel]]:
    """The stages and the function for these options; an empty one was not given.

    Raises TrainingError if they do not go together, or the algorithm or the weights cannot be used.
    """
    if algorithm == OWN:
        if backbone or weights or licence or layers or epochs:
            raise TrainingError(
                f"--backbone, --weights, --licence, --layers and --epochs belong to anomalib's algorithms; leave them out "
                f"for {OWN}, or choose one, such as --algorithm anomalib-patchcore"
            )
        if size is None:
            return (STAGE, *STAGES), partial(train_within, deadline_ms)
        return STAGES, partial(train, design=sized(size))
    if bool(backbone) != bool(weights) or (layers and not weights):
        raise TrainingError(
            "--backbone, --weights and --layers go together: the network's name in timm, its weights and its layers"
        )
    if bool(licence) != bool(weights):
        raise TrainingError(
            '--weights needs --licence, and only that does: the model records the licence of its weights ("none" is one)'
        )
    from training.zoo import train as zoo
    from training.zoo.algorithms import algorithm as offered
    from training.zoo.weights import from_file, packaged

    offered(algorithm)
    pretrained = from_file(weights, backbone, licence, layers.split(",") if layers else ()) if weights else packaged()
    return zoo.STAGES, partial(zoo.train, name=algorithm, pretrained=pretrained, epochs=epochs, longer_side=size or LONGER_SIDE)
