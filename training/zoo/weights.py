"""Pretrained weights for anomalib's backbones: from an installed package or from a user's file, never from a hub.

anomalib creates its backbones with timm, by name. While ``installed`` lasts, timm finds these weights under that name
and fetches nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load as load_safetensors
from timm.models import _registry as registry

from inspection import artifact
from training.backbone import LITE0, Backbone, timm_state
from training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A timm network with its weights.

    ``mean`` and ``std`` normalise an input in [0, 1], by channel. ``layers`` are those that the user chose; none: each
    algorithm takes the layers at its strides.
    """

    name: str
    state: dict[str, torch.Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: artifact.Backbone
    layers: tuple[str, ...] = ()

    def layers_at(self, strides: Sequence[int]) -> tuple[str, ...]:
        """The names of the layers chosen, or else of the last ones at these strides."""
        if self.layers:
            return self.layers
        with_stride = {info["reduction"]: str(info["module"]) for info in _features(self.name)}
        missing = [stride for stride in strides if stride not in with_stride]
        if missing:
            raise TrainingError(f"{self.name} has no features at stride {missing[0]}; choose layers with --layers")
        return tuple(with_stride[stride] for stride in strides)


def packaged(backbone: Backbone = LITE0) -> Pretrained:
    """The backbone with the weights of its package. Raises TrainingError if they are missing or not the expected ones."""
    provenance = artifact.Backbone(
        name=backbone.name,
        layers=(),
        package=backbone.package,
        version=backbone.package_version,
        weights_sha256=backbone.sha256,
        licence=backbone.licence,
    )
    return Pretrained(backbone.name, timm_state(backbone), (backbone.mean,) * 3, (backbone.std,) * 3, provenance)


def from_file(path: Path, name: str, licence: str, layers: Sequence[str] = ()) -> Pretrained:
    """The timm network ``name`` with a user's weights: a state dict under timm's names, ``.safetensors`` or torch's format.

    ``mean`` and ``std`` are those that timm knows for the name. Raises TrainingError if timm does not know the name or a
    layer, or the file cannot be read, would have to be unpickled, or does not fit.
    """
    if not timm.is_model(name):
        raise TrainingError(f"timm {timm.__version__} knows no network {name!r}; give --backbone a name of timm.list_models()")
    try:
        content = path.read_bytes()
        loaded = (
            load_safetensors(content)
            if path.suffix == ".safetensors"
            else torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise TrainingError(
            f"cannot read the weights {path}: {error}; give a state dict saved by torch.save or safetensors, "
            f"nothing else is unpickled"
        ) from error
    state: Any = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    full = timm.create_model(name, pretrained=False)
    try:
        full.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} does not fit timm's {name}: {error}; give the weights of that network") from error
    known = [str(info["module"]) for info in _features(name)]
    if unknown := [layer for layer in layers if layer not in known]:
        raise TrainingError(f"{name} has no layer {unknown[0]!r}; choose among {', '.join(known)}")
    config: Any = full.pretrained_cfg
    provenance = artifact.Backbone(
        name=name,
        layers=tuple(layers),
        package=path.name,
        version="",
        weights_sha256=hashlib.sha256(content).hexdigest(),
        licence=licence,
    )
    return Pretrained(name, full.state_dict(), tuple(config["mean"]), tuple(config["std"]), provenance, tuple(layers))


@contextmanager
def installed(pretrained: Pretrained) -> Iterator[None]:
    """timm's networks of this name are created with these weights when pretrained ones are asked for."""
    config = timm.models.get_pretrained_cfg(pretrained.name)
    assert config is not None
    config.state_dict, config.url, config.hf_hub_id = pretrained.state, None, None
    architecture, _, tag = pretrained.name.partition(".")
    known = registry._model_pretrained_cfgs
    names = {architecture, f"{architecture}.{tag or config.tag or ''}".rstrip(".")}
    before = {name: known[name] for name in names if name in known}
    known.update(dict.fromkeys(names, config))
    try:
        yield
    finally:
        for name in names:
            del known[name]
        known.update(before)


def _features(name: str) -> list[dict[str, object]]:
    try:
        network: Any = timm.create_model(name, pretrained=False, features_only=True)
        info: list[dict[str, object]] = network.feature_info.info
    except (RuntimeError, AttributeError, TypeError) as error:
        raise TrainingError(f"timm gives no feature maps of {name}: {error}; choose a convolutional network") from error
    return info
