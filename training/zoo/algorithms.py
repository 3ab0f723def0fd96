"""The table of anomalib's image models: how each is built, what it needs, and why some are not offered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from anomalib.models import Dfkde, Dfm, Fastflow, Fre, Padim, Patchcore, ReverseDistillation, Stfpm, Supersimplenet, Uflow
from anomalib.models.components import GaussianBlur2d
from anomalib.models.image.fastflow.anomaly_map import AnomalyMapGenerator as FlowMap
from anomalib.models.image.fastflow.torch_model import FastflowModel, create_fast_flow_block
from torch import nn
from torch.nn import functional

from training.errors import TrainingError
from training.zoo.weights import Pretrained

BANK_PATCHES = 2_000
"""anomalib's coreset takes a time in proportion to this; its default, a tenth of all patches, takes hours."""
AnomalibModule = Any
"""anomalib's Lightning modules carry no types that a checker could use."""
Outputs = tuple[torch.Tensor | None, torch.Tensor]
"""Anomaly map (n, [1,] rows, columns), if the algorithm has one, and score (n, [1])."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is built for: weights, layers, network input in pixels, and how many images it will be fitted to.

    ``options`` are anomalib's own arguments in place of the station's.
    """

    pretrained: Pretrained
    layers: tuple[str, ...]
    width: int
    height: int
    images: int
    options: dict[str, Any]

    def cells(self, layer: int, pooled: int = 1) -> int:
        """Places on the feature map of one of the layers, pooled over so many each way."""
        stride = _feature_infos(self)[layer]["reduction"] * pooled
        return int((self.width // stride) * (self.height // stride))

    def channels(self) -> list[int]:
        return [int(info["num_chs"]) for info in _feature_infos(self)]


def _predict(model: Any, images: torch.Tensor) -> Outputs:
    prediction = model(images)
    return prediction.anomaly_map, prediction.pred_score


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One of anomalib's models.

    ``build`` makes the Lightning module, given a task and the components that anomalib attaches. ``strides`` are those of
    the layers it takes. ``images_seen`` is how many images the default number of epochs shows it; 0: each once, it has
    no gradient steps. Scores are distances if ``positive``, else any numbers, larger for stranger. ``predict`` gives the
    raw map and score of normalised images. ``resnet``: anomalib builds it for ResNets alone. ``min_side`` is the shortest
    side of an input, in pixels, that it can be fitted to.
    """

    about: str
    build: Callable[..., AnomalibModule]
    strides: tuple[int, ...]
    images_seen: int = 0
    positive: bool = True
    predict: Callable[[Any, torch.Tensor], Outputs] = _predict
    resnet: bool = False
    min_side: int = 1

    def epochs(self, images: int) -> int:
        return max(1, math.ceil(self.images_seen / images))


def _patchcore(task: Task, **components: Any) -> AnomalibModule:
    patches = task.images * task.cells(0)
    ratio = {"coreset_sampling_ratio": min(0.1, BANK_PATCHES / patches)}
    return Patchcore(task.pretrained.name, task.layers, **(ratio | task.options), **components)


def _padim(task: Task, **components: Any) -> AnomalibModule:
    channels = sum(task.channels())
    return Padim(task.pretrained.name, list(task.layers), n_features=min(100, channels), **task.options, **components)


def _stfpm(task: Task, **components: Any) -> AnomalibModule:
    return Stfpm(task.pretrained.name, task.layers, **task.options, **components)


def _supersimplenet(task: Task, **components: Any) -> AnomalibModule:
    return Supersimplenet(backbone=task.pretrained.name, layers=list(task.layers), **task.options, **components)


def _supersimplenet_logits(model: Any, images: torch.Tensor) -> Outputs:
    """anomalib's forward without its sigmoids, in which all plain defects are 1."""
    features = model.feature_extractor(images)
    anomaly_map, score = model.segdec(seg_features=model.adaptor(features), cls_features=features)
    return model.anomaly_map_generator(anomaly_map, final_size=images.shape[-2:]), score


def _reverse_distillation(task: Task, **components: Any) -> AnomalibModule:
    return ReverseDistillation(task.pretrained.name, task.layers, **task.options, **components)


def _reverse_distillation_map(model: Any, images: torch.Tensor) -> Outputs:
    """anomalib's map with the cosine written out: OpenVINO has no conversion of ``cosine_similarity``."""
    expected = list(model.encoder(images).values())
    generator = model.anomaly_map_generator
    total = torch.zeros(())
    for teacher, student in zip(expected, model.decoder(model.bottleneck(expected)), strict=True):
        cosine = (functional.normalize(teacher, dim=1) * functional.normalize(student, dim=1)).sum(1, keepdim=True)
        total = total + functional.interpolate(1 - cosine, size=generator.image_size, mode="bilinear", align_corners=True)
    blur = GaussianBlur2d(kernel_size=(generator.kernel_size,) * 2, sigma=(generator.sigma,) * 2)
    anomaly_map = blur(total)
    return anomaly_map, anomaly_map.amax((-2, -1))


class _Flow(FastflowModel):
    """anomalib's FastFlow on any backbone; its own constructor knows two ResNets and two transformers."""

    def __init__(self, task: Task) -> None:
        nn.Module.__init__(self)
        indices = [int(info["index"]) for info in _feature_infos(task)]
        self.input_size = (task.height, task.width)
        self.feature_extractor = timm.create_model(
            task.pretrained.name, pretrained=True, features_only=True, exportable=True, out_indices=indices
        ).requires_grad_(False)
        info: Any = self.feature_extractor.feature_info
        sizes = [
            [channels, task.height // stride, task.width // stride]
            for channels, stride in zip(info.channels(), info.reduction(), strict=True)
        ]
        self.norms = nn.ModuleList(nn.LayerNorm(size, elementwise_affine=True) for size in sizes)
        self.fast_flow_blocks = nn.ModuleList(
            create_fast_flow_block(size, conv3x3_only=False, hidden_ratio=1.0, flow_steps=8) for size in sizes
        )
        self.anomaly_map_generator = FlowMap(input_size=self.input_size)


def _fastflow(task: Task, **components: Any) -> AnomalibModule:
    module = Fastflow("resnet18", pre_trained=False, **task.options, **components)
    module.model = _Flow(task)
    return module


def _uflow(task: Task, **components: Any) -> AnomalibModule:
    return Uflow(task.pretrained.name, **task.options, **components)


def _dfm(task: Task, **components: Any) -> AnomalibModule:
    return Dfm(task.pretrained.name, task.layers[-1], **task.options, **components)


def _fre(task: Task, **components: Any) -> AnomalibModule:
    inputs = task.channels()[-1] * task.cells(-1, pooled=2)
    return Fre(task.pretrained.name, task.layers[-1], input_dim=inputs, **task.options, **components)


def _dfkde(task: Task, **components: Any) -> AnomalibModule:
    return Dfkde(task.pretrained.name, task.layers[-1:], **task.options, **components)


def _dfkde_surprise(model: Any, images: torch.Tensor) -> Outputs:
    """Minus the logarithm of anomalib's density, up to a constant, from the logarithms of its kernels.

    The density itself is 0 in f32 for good images that were not fitted, and anomalib's probability is then 1 for all.
    """
    classifier, kernels = model.classifier, model.classifier.kde_model
    features = classifier.pca_model.transform(model.get_features(images)) / classifier.max_length
    squares = (kernels.dataset - features @ kernels.bw_transform).square().sum(1)
    return None, -torch.logsumexp(-squares / 2, dim=0, keepdim=True)


ALGORITHMS: dict[str, Algorithm] = {
    "anomalib-patchcore": Algorithm("distance to the nearest patch of a memory bank, as anomalib fits it", _patchcore, (8, 16)),
    "padim": Algorithm("each place has its own Gaussian of features: parts that always lie alike", _padim, (4, 8, 16)),
    "stfpm": Algorithm("a student imitates the backbone on good parts and fails on others", _stfpm, (4, 8, 16), 2_000),
    "supersimplenet": Algorithm(
        "a small head learns to tell features from noised ones",
        _supersimplenet,
        (8, 16),
        600,
        positive=False,
        predict=_supersimplenet_logits,
        min_side=80,  # its noise has up to 32 periods on a grid a quarter as large
    ),
    "fastflow": Algorithm("normalising flow on feature maps", _fastflow, (4, 8, 16), 1_000, False),
    "dfm": Algorithm("what principal components of an image's features do not explain", _dfm, (16,)),
    "fre": Algorithm("what a small autoencoder of an image's features does not explain", _fre, (16,), 2_000),
    "dfkde": Algorithm("density of an image's mean features; no map", _dfkde, (32,), 0, False, _dfkde_surprise),
    "reverse_distillation": Algorithm(
        "a decoder rebuilds the backbone's features from a bottleneck",
        _reverse_distillation,
        (4, 8, 16),
        1_500,
        predict=_reverse_distillation_map,
        resnet=True,
    ),
    "uflow": Algorithm("normalising flow across scales", _uflow, (4, 8, 16), 1_000, False, resnet=True),
}

_HUB = "its backbone's weights come from the internet by name, and no package holds them"
_SCRATCH = "it has no pretrained backbone: from nothing it needs hours on a processor without a graphics card"
REFUSED: dict[str, str] = {
    "anomaly_dino": _HUB,
    "anomalyvfm": _HUB,
    "cfa": "anomalib creates its backbone through torchvision, which fetches the weights from the internet",
    "cflow": "anomalib scales its map by the image's own maximum, so a score means nothing beside another image's",
    "cfm": "it needs point clouds beside the images",
    "csflow": "anomalib fetches an EfficientNet-B5 from the internet for it",
    "dinomaly": _HUB,
    "draem": f"it needs a set of texture photographs from the internet, and {_SCRATCH}",
    "dsr": "it needs a pretrained network from the internet",
    "efficient_ad": "it needs a teacher and ImageNet images from the internet, whose licences are open questions",
    "foundad": _HUB,
    "ganomaly": _SCRATCH,
    "general_ad": _HUB,
    "glass": "it needs a set of texture photographs from the internet",
    "inp_former": _HUB,
    "l2bt": _HUB,
    "super_add": _HUB,
    "uninet": _HUB,
    "vlm_ad": "it sends images to a language model",
    "winclip": _HUB,
}


def algorithm(name: str) -> Algorithm:
    """The algorithm of this name. Raises TrainingError with the reason if it is not offered."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    offered = f"choose patchcore (the station's own), {', '.join(ALGORITHMS)}"
    if name in REFUSED:
        raise TrainingError(f"{name} is not offered: {REFUSED[name]}; {offered}")
    raise TrainingError(f"there is no algorithm {name!r}; {offered}")


def _feature_infos(task: Task) -> list[dict[str, Any]]:
    """What timm knows of the task's layers: ``module``, ``num_chs``, ``reduction``."""
    network: Any = timm.create_model(task.pretrained.name, pretrained=False, features_only=True)
    known = {info["module"]: info for info in network.feature_info.info}
    return [known[layer] for layer in task.layers]
