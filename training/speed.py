"""The detector's speed, from a raw camera buffer to the verdict, beside its limit and its peers, alternating in one run.

The limit is bare inference of the same network. The peers are anomalib's ``OpenVINOInferencer`` on the same network, and what
Anomalib Studio does with a frame: JPEG-encode it, decode it, infer with anomalib's inferencer, and draw the map over the image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame, PixelFormat
from cameras.simulator.scenes import render
from inspection.artifact import NETWORK, WEIGHTS, read_artifact
from inspection.detector import CompiledNetwork, Detector, computing_threads, usable_precision
from inspection.preprocessing import network_input
from inspection.verdict import decide
from training.dataset import TrainingImage
from training.design import sized
from training.train import train

# inspection.detector and training.backbone, imported above, keep openvino and others from asking the internet.
import openvino as ov  # isort: skip
from anomalib.data import NumpyImageBatch  # isort: skip
from anomalib.deploy import OpenVINOInferencer  # isort: skip
from openvino import opset11  # isort: skip

STATION, BARE = "station", "bare inference"
STATION_ALL, BARE_ALL = "station, all cores", "bare inference, all cores"
ANOMALIB, STUDIO = "anomalib OpenVINOInferencer", "encode, decode, infer, overlay"
SENSORS = ((1280, 1024, PixelFormat.Mono8), (1280, 1024, PixelFormat.BayerRG8), (2448, 2048, PixelFormat.Mono8))
GOOD_IMAGES, FRAMES, WARM_UP = 12, 8, 3
SAME_SCORE = 0.03
"""Largest relative difference of scores for the same work. The station rounds to the frame's depth when it shrinks, the peers do
not, and OpenVINO chooses their precision: what parity accepts in bf16 (``training.export.TOLERANCE``)."""
JPEG_QUALITY = 95
"""OpenCV's default."""


@dataclass(frozen=True, slots=True)
class Side:
    """One way from frame to verdict: median and quartiles in milliseconds, and its largest relative difference from the
    station's scores."""

    ms: float
    quartiles: tuple[float, float]
    score_difference: float


@dataclass(frozen=True, slots=True)
class Case:
    """One sensor. ``ratios`` are of medians; None where scores differ by more than SAME_SCORE, which is not the same work."""

    width: int
    height: int
    pixel_format: str
    network_width: int
    network_height: int
    precision: str
    threads: int
    cores: int
    sides: dict[str, Side]
    ratios: dict[str, float | None]


def measure(
    width: int, height: int, pixel_format: PixelFormat, rounds: int, longer_side: int, progress: Callable[[int, int], None]
) -> Case:
    """Train on rendered parts of this sensor, then send the same frames through every side in turn."""
    frames = [
        _frame(render(f"S{seed}", seed, defect, width=width, height=height).pixels, pixel_format)
        for seed, defect in zip(range(1000, 1000 + FRAMES), (None, "scratch") * FRAMES, strict=False)
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.chdir(folder):
        model = train(_images(width, height, pixel_format), "flange", Path(folder) / "models", design=sized(longer_side))
        cores = len(os.sched_getaffinity(0))
        sides = _sides(model.path, frames, cores)
        times: dict[str, list[float]] = {name: [] for name in sides}
        scores: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(-WARM_UP, rounds):
            progress(number + WARM_UP, rounds + WARM_UP)
            for name, inspect in sides.items():
                started = time.perf_counter()
                score = inspect(number % FRAMES)
                elapsed = (time.perf_counter() - started) * 1e3
                if number >= 0:
                    times[name].append(elapsed)
                    scores[name].append(score)
        detector = Detector.load(model.path)
    own = np.array(scores[STATION])
    measured = {}
    for name, of_side in times.items():
        low, _, high = quantiles(of_side, n=4)
        difference = float(np.max(np.abs(np.array(scores[name]) - own) / own))
        measured[name] = Side(median(of_side), (low, high), difference)
    pairs = [(STATION, BARE), (STATION_ALL, BARE_ALL)]
    pairs += [(peer, own) for peer in (ANOMALIB, STUDIO) for own in (STATION, STATION_ALL)]
    preprocessing = detector.manifest.preprocessing
    return Case(
        width,
        height,
        pixel_format.name,
        preprocessing.width,
        preprocessing.height,
        detector.precision,
        computing_threads(),
        cores,
        measured,
        {f"{one} / {other}": _ratio(measured[one], measured[other]) for one, other in pairs},
    )


def _ratio(one: Side, other: Side) -> float | None:
    return one.ms / other.ms if max(one.score_difference, other.score_difference) <= SAME_SCORE else None


def _images(width: int, height: int, pixel_format: PixelFormat) -> list[TrainingImage]:
    def read(seed: int) -> Frame:
        return _frame(render(f"S{seed}", seed, width=width, height=height).pixels, pixel_format)

    return [
        TrainingImage(f"S{seed}", hashlib.sha256(b"%d" % seed).hexdigest(), partial(read, seed)) for seed in range(GOOD_IMAGES)
    ]


def _frame(pixels: NDArray[np.uint8], pixel_format: PixelFormat) -> Frame:
    """As the camera sends it; the rendered part is grey, so that a Bayer mosaic of it has its values."""
    return Frame(pixels, pixel_format, frame_id=1, timestamp_ns=0, received_ns=0)


def _sides(path: Path, frames: Sequence[Frame], cores: int) -> dict[str, Callable[[int], float]]:
    """Each takes the number of a frame and returns its score."""
    artifact = read_artifact(path)
    preprocessing, precision = artifact.manifest.preprocessing, usable_precision(artifact.manifest.parity.precision)
    tensors = [network_input(frame, preprocessing.width, preprocessing.height) for frame in frames]
    inferencer = _inferencer(artifact.files, frames[0], tensors[0].shape)
    largest = artifact.manifest.thresholds.fail * 2

    def station(detector: Detector, number: int) -> float:
        detection = detector.inspect(frames[number])
        decide(detection.score, detector.review_threshold, detector.fail_threshold)
        return detection.score

    def bare(network: CompiledNetwork, number: int) -> float:
        return network.infer(tensors[number])[0]

    def anomalib(number: int) -> float:
        return _score(inferencer.predict(_rgb(frames[number])))

    def studio(number: int) -> float:
        rgb = _rgb(frames[number])
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        bgr = cast(NDArray[np.uint8], cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
        image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        prediction = inferencer.predict(image)
        heat = np.clip(np.asarray(prediction.anomaly_map)[0, 0] / largest * 255, 0, 255).astype(np.uint8)
        heat = np.asarray(cv2.applyColorMap(cv2.resize(heat, (bgr.shape[1], bgr.shape[0])), cv2.COLORMAP_JET), np.uint8)
        cv2.imencode(".jpg", cv2.addWeighted(bgr, 0.6, heat, 0.4, 0))
        return _score(prediction)

    return {
        STATION: partial(station, Detector(artifact)),
        BARE: partial(bare, CompiledNetwork(artifact.files, precision)),
        STATION_ALL: partial(station, Detector(artifact, cores)),
        BARE_ALL: partial(bare, CompiledNetwork(artifact.files, precision, cores)),
        ANOMALIB: anomalib,
        STUDIO: studio,
    }


def _score(prediction: NumpyImageBatch) -> float:
    return float(np.asarray(prediction.pred_score).item())


def _area(size: int, target: int) -> NDArray[np.float32]:
    """The matrix, float32 (target, size), that averages ``size`` pixels over areas to ``target`` pixels."""
    edges = np.arange(target + 1) * size / target
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * target / size).astype(np.float32)


def _rgb(frame: Frame) -> NDArray[np.uint8]:
    pixels = np.asarray(frame.pixels, np.uint8)
    return np.asarray(
        cv2.cvtColor(pixels, cv2.COLOR_BayerRGGB2RGB if frame.pixel_format.is_bayer else cv2.COLOR_GRAY2RGB), np.uint8
    )


def _inferencer(files: Mapping[str, bytes], frame: Frame, shape: tuple[int, ...]) -> OpenVINOInferencer:
    """anomalib's inferencer on this network, with the resize in the graph, as anomalib exports it, and its names of outputs.

    Averaged over squares first, as the station does: anomalib's own resize (antialiased, bilinear) gives other scores.
    """
    model = ov.Core().read_model(files[NETWORK], ov.Tensor(np.frombuffer(files[WEIGHTS], np.uint8)))
    parameter = opset11.parameter([1, 3, frame.height, frame.width], np.float32)
    square = 2 ** int(np.log2(min(frame.height / shape[2], frame.width / shape[3])))
    averaged = opset11.avg_pool(parameter, [square] * 2, [0, 0], [0, 0], [square] * 2, exclude_pad=True)
    rows, columns = _area(frame.height // square, shape[2]), _area(frame.width // square, shape[3])
    resized = opset11.matmul(
        opset11.matmul(opset11.constant(rows), averaged, False, False), opset11.constant(columns), False, True
    )
    model.inputs[0].get_node().output(0).replace(resized.output(0))
    names = {"anomaly_map": "anomaly_map", "score": "pred_score"}
    results = []
    for output in model.outputs:
        name = names.get(output.any_name)
        if name is not None:
            result = opset11.result(output.get_node().input_value(0))
            result.output(0).get_tensor().set_names({name})
            results.append(result)
    parameter.output(0).get_tensor().set_names({"frame"})
    whole = ov.Model(results, [parameter])
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "model.xml"
        ov.save_model(whole, xml, compress_to_fp16=False)
        return OpenVINOInferencer(xml, device="CPU")
