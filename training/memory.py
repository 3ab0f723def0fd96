"""What a network has learned, beside the pretrained weights: stored with the model, so that good images can be added to it later.

Tensors only, in the safetensors format, which holds nothing to execute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from training.errors import TrainingError
from training.known_defects import KnownDefects, Weighing
from training.network import Level, PatchFeatures, ScoringNetwork


def pack(network: ScoringNetwork) -> bytes:
    """All that training gave the network. The same network gives the same bytes."""
    tensors = {"image_bank": network.image_distance.bank, "whole": _numbers(network.scale, network.exponent)}
    for number, level in enumerate(network.levels):
        assert isinstance(level, Level)
        tensors |= {
            f"{number}.bank": level.distance.patches,
            f"{number}.places": level.places,
            f"{number}.units": _numbers(level.scale, level.exponent),
        }
        if isinstance(level.known, KnownDefects):
            tensors |= {
                f"{number}.known.weight": level.known.weight,
                f"{number}.known.numbers": _numbers(level.known.bias, *astuple(level.known.weighing)),
                f"{number}.known.classes.weight": level.known.classes.weight.data,
                f"{number}.known.classes.bias": level.known.classes.bias.data,
            }
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def unpack(content: bytes, features: Sequence[PatchFeatures]) -> ScoringNetwork:
    """The network again, on these feature networks of its levels. Raises TrainingError if the content is of another design."""
    try:
        tensors = load(content)
        levels = [_level(level, tensors, str(number)) for number, level in enumerate(features)]
        return ScoringNetwork(levels, tensors["image_bank"], *tensors["whole"].tolist())
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"the memory of the model does not fit its design: {error}; train the model again") from error


def _level(features: PatchFeatures, tensors: dict[str, torch.Tensor], prefix: str) -> Level:
    scale, exponent = tensors[f"{prefix}.units"].tolist()
    known = _known(tensors, f"{prefix}.known")
    return Level(features, tensors[f"{prefix}.bank"], tensors[f"{prefix}.places"], scale, exponent, known)


def _known(tensors: dict[str, torch.Tensor], prefix: str) -> KnownDefects | None:
    if f"{prefix}.weight" not in tensors:
        return None
    bias, *weighing = tensors[f"{prefix}.numbers"].tolist()
    class_weight = tensors[f"{prefix}.classes.weight"]
    classes = nn.Linear(class_weight.shape[1], class_weight.shape[0])
    classes.load_state_dict({"weight": class_weight, "bias": tensors[f"{prefix}.classes.bias"]})
    return KnownDefects(tensors[f"{prefix}.weight"], bias, Weighing(*weighing), classes.requires_grad_(False))


def _numbers(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
