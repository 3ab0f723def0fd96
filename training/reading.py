"""Images → the patch features that the network computes of them, each image read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inspection import artifact, optics
from inspection.artifact import Precision
from inspection.detector import processor_precisions
from inspection.preprocessing import network_input
from training.dataset import MIN_IMAGES, TrainingImage
from training.design import Design
from training.errors import TrainingError, UnreadableImage
from training.export import CompiledFeatures
from training.known_defects import DefectPatches, LabelledReject, covered
from training.network import PatchFeatures

MAX_IMAGES = 500
MAX_BYTES = 2 * 2**30
"""More images, or images with more patches than that, are thinned out evenly: all patches are in memory at once."""

Progress = Callable[[str, int, int], None]
"""Called with a stage, the steps of it that are done, and all its steps."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Patch features by the precision of the network and then by level, float16 (n, rows, columns, d).

    ``images`` are those that could be read, ``skipped`` says why others were not used. ``rejects`` likewise by precision
    and level, one by one, with the names and digests of those read in ``used_rejects``. ``optics``: how they were taken.
    """

    features: dict[Precision, list[torch.Tensor]]
    images: list[TrainingImage]
    skipped: dict[str, str]
    width: int
    height: int
    rejects: dict[Precision, list[list[DefectPatches]]]
    used_rejects: list[LabelledReject]
    optics: artifact.OpticsRanges


class LevelFeatures:
    """The features of all levels of the pyramid, for one size of the network's input and each precision."""

    def __init__(self, levels: Sequence[PatchFeatures], width: int, height: int, precisions: Sequence[Precision]) -> None:
        self._levels = [CompiledFeatures(level, width, height, precisions) for level in levels]
        self._precisions = precisions
        blank = self(np.zeros((1, 3, height, width), np.float32))
        self.bytes_each = sum(patches.nbytes for by_level in blank.values() for patches in by_level)

    def __call__(self, image: NDArray[np.float32]) -> dict[Precision, list[torch.Tensor]]:
        """Features, float16 (rows, columns, d), of a network input (1, 3, height, width), by precision and level."""
        by_level = [level(image) for level in self._levels]
        return {precision: [level[precision] for level in by_level] for precision in self._precisions}


def read_patches(
    images: Sequence[TrainingImage],
    rejects: Sequence[LabelledReject],
    levels: Sequence[PatchFeatures],
    design: Design,
    progress: Progress,
    precisions: Sequence[Precision] | None = None,
    least: int = MIN_IMAGES,
) -> Patches:
    """Patch features of the images; those that cannot be read or come twice are skipped, with the reason.

    Raises TrainingError if fewer than ``least`` good images are usable.
    """
    precisions = precisions or processor_precisions()
    size, compiled = _compiled(images, levels, design, precisions, least)
    wanted = thinned(images, min(MAX_IMAGES, MAX_BYTES // compiled.bytes_each))
    features: dict[Precision, list[list[torch.Tensor]]] = {precision: [[] for _ in levels] for precision in precisions}
    used: list[TrainingImage] = []
    skipped: dict[str, str] = {}
    seen: dict[str, str] = {}
    taken: list[optics.Figures] = []
    sizes: list[tuple[int, int]] = []
    for done, image in enumerate(wanted):
        progress("read", done, len(wanted))
        if image.sha256 in seen:
            # A copy in another fold would calibrate with its own patches in the bank.
            skipped[image.name] = f"same file as {seen[image.sha256]}"
            continue
        seen[image.sha256] = image.name
        try:
            frame = image.read()
        except UnreadableImage as error:
            skipped[image.name] = str(error)
            continue
        tensor = network_input(frame, *size)
        taken.append(optics.look(frame, tensor).figures)
        sizes.append((frame.width, frame.height))
        for precision, by_level in compiled(tensor).items():
            for collected, patches in zip(features[precision], by_level, strict=True):
                collected.append(patches)
        used.append(image)
    progress("read", len(wanted), len(wanted))
    if len(used) < least:
        raise _too_few(len(used), len(images), least, skipped.values())
    defects: dict[Precision, list[list[DefectPatches]]] = {precision: [[] for _ in levels] for precision in precisions}
    used_rejects: list[LabelledReject] = []
    for reject in rejects:
        if reject.sha256 in seen:
            skipped[reject.name] = f"same file as {seen[reject.sha256]}"
            continue
        seen[reject.sha256] = reject.name
        try:
            tensor = network_input(reject.read(), *size)
            mask = None if reject.read_mask is None else reject.read_mask()
        except UnreadableImage as error:
            skipped[reject.name] = str(error)
            continue
        for precision, by_level in compiled(tensor).items():
            for collected_defects, patches in zip(defects[precision], by_level, strict=True):
                share = None if mask is None else covered(mask, patches.shape[0], patches.shape[1])
                collected_defects.append(DefectPatches(reject.label, patches, share))
        used_rejects.append(reject)
    stacked = {precision: [_stacked(level) for level in by_level] for precision, by_level in features.items()}
    return Patches(stacked, used, skipped, *size, defects, used_rejects, optics.ranges(taken, sizes))


def thinned(images: Sequence[TrainingImage], limit: int) -> list[TrainingImage]:
    """At most so many of the images, evenly spread, but never fewer than a training needs."""
    count = min(len(images), max(limit, MIN_IMAGES))
    return [images[index] for index in np.linspace(0, len(images) - 1, count).astype(int)]


def _compiled(
    images: Sequence[TrainingImage],
    levels: Sequence[PatchFeatures],
    design: Design,
    precisions: Sequence[Precision],
    least: int,
) -> tuple[tuple[int, int], LevelFeatures]:
    """The network's input (width, height) for the first readable image, and the features for that size."""
    reasons = []
    for image in images:
        try:
            frame = image.read()
        except UnreadableImage as error:
            reasons.append(str(error))
            continue
        size = design.input_size(frame.width, frame.height)
        return size, LevelFeatures(levels, *size, precisions)
    raise _too_few(0, len(images), least, reasons)


def _too_few(usable: int, count: int, least: int, reasons: Iterable[str]) -> TrainingError:
    return TrainingError(
        f"{usable} of {count} images are usable, at least {least} good images are needed; {'; '.join(reasons) or 'add more'}"
    )


def _stacked(patches: list[torch.Tensor]) -> torch.Tensor:
    """One tensor of them; empties the list, so that they are in memory once."""
    result = torch.empty((len(patches), *patches[0].shape), dtype=patches[0].dtype)
    for index in reversed(range(len(patches))):
        result[index] = patches.pop()
    return result
