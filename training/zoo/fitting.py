"""anomalib's own training on images in memory: its Lightning modules, losses and optimisers, without files or network."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from anomalib.data import ImageBatch, ImageItem
from anomalib.models.components.sampling import k_center_greedy
from anomalib.pre_processing import PreProcessor
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training.zoo.algorithms import Algorithm, Task
from training.zoo.weights import installed

BATCH = 8

k_center_greedy.tqdm = lambda steps, **_: steps  # a bar of its own would break the command's


def _update_distances(selection: Any, cluster_center: torch.Tensor) -> None:
    """``KCenterGreedy.update_distances`` with its differences in one place.

    anomalib allocates them anew for each patch it selects and keeps a small tensor every time, so the heap comes to
    pieces: with 24,000 patches it grew to 20 GB on one run and not on the next.
    """
    features = selection.features
    differences = selection.__dict__.setdefault("differences", torch.empty_like(features))
    torch.sub(features, features[cluster_center], out=differences)
    distances = torch.linalg.norm(differences, ord=2, dim=1, keepdim=True)
    nearest = selection.min_distances
    selection.min_distances = distances if nearest is None else torch.minimum(nearest, distances)


published_update_distances = k_center_greedy.KCenterGreedy.update_distances
k_center_greedy.KCenterGreedy.update_distances = _update_distances  # type: ignore[method-assign, assignment]


def use_published_coreset() -> None:
    """Select coresets as anomalib publishes it, in this process: for measuring it as others run it."""
    k_center_greedy.KCenterGreedy.update_distances = published_update_distances  # type: ignore[method-assign]


class _Images(Dataset[ImageItem]):
    """Good images, float32 (n, 3, height, width) in [0, 1], as anomalib's items."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self._inputs = inputs
        self._mask = torch.zeros(inputs.shape[-2:], dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> ImageItem:
        return ImageItem(image=self._inputs[index], gt_mask=self._mask, gt_label=torch.tensor(False))


class _Report(pl.Callback):
    def __init__(self, steps: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._steps, self._progress = 0, steps, progress

    def on_train_batch_end(self, *_: Any) -> None:
        self._done += 1
        self._progress(self._done, self._steps)


def fit(
    algorithm: Algorithm, task: Task, inputs: torch.Tensor, epochs: int, seed: int, progress: Callable[[int, int], None]
) -> nn.Module:
    """anomalib's torch model, fitted to RGB images, float32 (n, 3, height, width) in [0, 1], in evaluation mode.

    Seeds the random generators of the process, as anomalib draws from several. ``progress`` is called with the steps that
    are done, and all steps.
    """
    pretrained = task.pretrained
    transform = Compose([Resize((task.height, task.width)), Normalize(list(pretrained.mean), list(pretrained.std))])
    for chatty in ("lightning.pytorch", "timm"):
        # Lightning names the hardware, timm the classifier's weights, which no feature needs.
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="fit-") as folder:
        # Lightning advises on data loaders and loggers, and anomalib warns about its own deprecated modules.
        warnings.simplefilter("ignore")
        pl.seed_everything(seed, verbose=False)
        with installed(pretrained):
            module = algorithm.build(
                task, pre_processor=PreProcessor(transform), post_processor=False, evaluator=False, visualizer=False
            )
        arguments = {"max_epochs": epochs} | module.trainer_arguments
        loader = DataLoader(_Images(inputs), BATCH, shuffle=True, collate_fn=ImageBatch.collate)
        trainer = pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[_Report(arguments["max_epochs"] * len(loader), progress)],
            **arguments,
        )
        trainer.fit(module, train_dataloaders=loader)
    model: nn.Module = module.model
    return model.eval().requires_grad_(False)
