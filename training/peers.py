"""The station's detector and anomalib's algorithms on the same images, weights and input size, measured alike."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inspection.detector import computing_threads
from inspection.preprocessing import network_input
from training.backbone import LITE0
from training.dataset import TrainingImage, good_images, labelled_images
from training.design import Design, sized
from training.errors import TrainingError
from training.evaluate import Figures, evaluate
from training.export import CompiledFeatures
from training.reading import Progress
from training.train import level_features, select_bank, train
from training.zoo.fitting import use_published_coreset
from training.zoo.train import train as train_zoo

OURS = "station"
PEERS = ("anomalib-patchcore", "padim", "stfpm", "supersimplenet")


@dataclass(frozen=True, slots=True)
class Measured:
    """One training of one method on one product and its evaluation, or why there is none."""

    product: str
    method: str
    seed: int
    images: int
    figures: Figures | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Seconds:
    """By the clock, and of the processor, which other work on the machine does not lengthen."""

    clock: float
    processor: float


@dataclass(frozen=True, slots=True)
class Fit:
    """How long a memory bank of ``bank_patches`` took.

    ``bank``: reading, features and bank. ``stored``: until the calibrated, exported and checked model was stored. With
    ``finished`` false, both are how long was waited, and there is no AUROC.
    """

    product: str
    method: str
    images: int
    bank_patches: int
    bank: Seconds
    stored: Seconds
    finished: bool
    image_auroc: float | None


def thinned(dataset_dir: Path, most: int | None) -> list[TrainingImage]:
    """The good images for training, or ``most`` of them, evenly spread."""
    images = good_images(dataset_dir)
    count = min(len(images), most or len(images))
    return [images[index] for index in np.linspace(0, len(images) - 1, count).astype(int)]


def measure(dataset_dir: Path, method: str, seed: int, longer_side: int, most: int | None, progress: Progress) -> Measured:
    """Train and evaluate once. anomalib's algorithms are fitted to all images: nothing is held out for thresholds."""
    images, product = thinned(dataset_dir, most), dataset_dir.resolve().name
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            if method == OURS:
                model = train(images, product, Path(folder), seed=seed, progress=progress, design=sized(longer_side))
            else:
                model = train_zoo(
                    images, product, Path(folder), method, seed=seed, progress=progress, longer_side=longer_side, hold_out=False
                )
        except TrainingError as error:
            return Measured(product, method, seed, len(images), None, str(error))
        figures = evaluate(model.path, labelled_images(dataset_dir), model.seconds, progress).figures
    return Measured(product, method, seed, int(model.metrics["images"]), figures)


def fits(dataset_dir: Path, longer_side: int, most: int | None, limit_s: float, progress: Callable[[str], None]) -> Iterator[Fit]:
    """The station's fit at one level, then that of anomalib's Patchcore on the same features.

    The latter with the same bank and a coreset mended as ``training.zoo.fitting`` mends it, and as it is published, with its
    default bank.

    anomalib works in a process of its own, which is ended after ``limit_s`` seconds.
    """
    images, product = thinned(dataset_dir, most), dataset_dir.resolve().name
    progress(OURS)
    patches, bank, bank_seconds = _own_bank(images, longer_side)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        seconds = _stopwatch()
        model = train(images, product, Path(folder), design=Design(longer_side))
        yield Fit(product, OURS, len(images), bank, bank_seconds, seconds(), True, _auroc(model.path, dataset_dir))
    for method, ratio, published in (
        ("anomalib, same bank, mended", (bank + 0.5) / patches, False),
        ("anomalib as published", 0.1, True),
    ):
        progress(method)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            timed = _within(limit_s, (dataset_dir, longer_side, most, Path(folder), ratio, published))
            area = _auroc(timed.path, dataset_dir) if timed.path else None
            yield Fit(product, method, len(images), int(patches * ratio), timed.bank, timed.stored, bool(timed.path), area)


def _auroc(model: Path, dataset_dir: Path) -> float | None:
    return evaluate(model, labelled_images(dataset_dir)).figures.image_auroc


def _stopwatch() -> Callable[[], Seconds]:
    clock, processor = time.monotonic(), time.process_time()
    return lambda: Seconds(time.monotonic() - clock, time.process_time() - processor)


def _own_bank(images: Sequence[TrainingImage], longer_side: int) -> tuple[int, int, Seconds]:
    """Number of patches, size of the bank, and seconds for reading, features and bank, as the default recipe makes them."""
    seconds = _stopwatch()
    torch.set_num_threads(computing_threads())
    design = Design(longer_side)
    (features,) = level_features(LITE0, design)
    frames = (image.read() for image in images)
    first = next(frames)
    size = design.input_size(first.width, first.height)
    compiled = CompiledFeatures(features, *size, ("f32",))
    patches = [compiled(network_input(first, *size))["f32"]]
    patches += [compiled(network_input(frame, *size))["f32"] for frame in frames]
    stacked = torch.stack(patches)
    bank = select_bank(stacked, 0, design.bank_patches)
    return stacked.shape[:3].numel(), len(bank), seconds()


@dataclass(frozen=True, slots=True)
class _Timed:
    path: Path | None
    bank: Seconds
    stored: Seconds


def _fit_peer(
    answer: Connection, dataset_dir: Path, longer_side: int, most: int | None, folder: Path, ratio: float, published: bool
) -> None:
    if published:
        use_published_coreset()
    answer.send(None)  # the imports are done, and not part of the fit
    seconds, at = _stopwatch(), dict[str, Seconds]()

    def note(stage: str, _done: int, _steps: int) -> None:
        at.setdefault(stage, seconds())

    model = train_zoo(
        thinned(dataset_dir, most),
        dataset_dir.resolve().name,
        folder,
        "anomalib-patchcore",
        progress=note,
        longer_side=longer_side,
        hold_out=False,
        options={"coreset_sampling_ratio": ratio},
    )
    answer.send(_Timed(model.path, at["calibrate"], seconds()))


def _within(limit_s: float, arguments: tuple[Any, ...]) -> _Timed:
    """anomalib's fit in a process of its own; without a path and with what it took so far if it is not done in time.

    Raises TrainingError if the process ends without an answer.
    """
    spawn = multiprocessing.get_context("spawn")
    receive, send = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_fit_peer, args=(send, *arguments))
    process.start()
    send.close()
    try:
        receive.recv()
        clock, processor = time.monotonic(), _processor_seconds(process.pid)
        if receive.poll(limit_s):
            timed: _Timed = receive.recv()
            return timed
        so_far = Seconds(time.monotonic() - clock, _processor_seconds(process.pid) - processor)
        return _Timed(None, so_far, so_far)
    except EOFError as error:
        raise TrainingError("anomalib's Patchcore ended without a result; see its message above") from error
    finally:
        process.kill()  # Lightning answers a request to end only after the bank is done
        process.join()


def _processor_seconds(pid: int | None) -> float:
    """Of a process, in user and system mode (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
