"""Frame → score, anomaly map, regions and proposed class, by the network of a verified artifact.

The only importer of openvino here. The graph holds everything after pre-processing: backbone, distances to the memory bank,
map and score, and the likeness to each class of labelled defects in a model that learned from such.
"""

from __future__ import annotations

import bisect
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame
from inspection.artifact import NETWORK, WEIGHTS, Artifact, Manifest, Precision, read_artifact
from inspection.domain import Region
from inspection.errors import ModelError
from inspection.optics import Optics, look
from inspection.preprocessing import network_input

# On import, openvino reports its use to the internet through this module and starts threads for that, unless the
# module cannot be imported. A station talks to nobody who was not configured.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402  (after the line above)

_CLASS_LIKENESS = "class_likeness"


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """What the detector saw in one frame.

    ``score`` is raw and unbounded: larger is stranger. ``p_value`` in (0, 1] says how usual such a score is among good
    parts. ``anomaly_map`` is float32 of shape (rows, columns) on the network's patch grid, in units of the score.
    ``regions`` are in frame pixels, the strangest first; a score at or above the review threshold has at least one, and a
    ``proposed_class`` if it is more like one of the model's classes than good parts usually are (likeness above 0). Below
    that threshold it is None.
    ``optics`` tells how the frame was taken, which is for the caller to judge. ``timings_ms`` has the keys ``preprocess``,
    ``optics``, ``infer`` and ``regions``.
    """

    score: float
    p_value: float
    anomaly_map: NDArray[np.float32]
    regions: tuple[Region, ...]
    proposed_class: str | None
    optics: Optics
    timings_ms: dict[str, float]


def processor_precisions() -> tuple[Precision, ...]:
    """The precisions worth computing in on this processor, the fastest first.

    bf16 pays with AMX alone, where it is three times as fast as f32. OpenVINO also offers it where AVX-512 has bf16, and takes
    21.3 instead of 13.5 ms there (decision 13).
    """
    amx = " amx_bf16 " in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").replace("\n", " ")
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if amx and "BF16" in capabilities else ("f32",)


def usable_precision(validated: Precision) -> Precision:
    """What a model is computed in here that was validated in this precision."""
    return validated if validated in processor_precisions() else "f32"


def computing_threads() -> int:
    """Threads for computing: all cores but one.

    A thread that waits for a core held by another process holds up all the others. Two cores, one of them busy: 99 % of
    frames within 18 ms on one thread, within 109 ms on two.
    """
    return max(1, len(os.sched_getaffinity(0)) - 1)


class CompiledNetwork:
    """The network of a model, compiled for this processor: everything from network input to score, map and likeness.

    ``classes`` is the number of classes of defects that it tells apart, 0 without the output ``class_likeness``.
    """

    def __init__(self, files: Mapping[str, bytes], precision: Precision, threads: int | None = None) -> None:
        """Compile ``files`` of an artifact. Raises ModelError if they are not a network that OpenVINO reads, or if its output
        ``class_likeness`` is not of shape (1, k).
        """
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads or computing_threads(),
        }
        core = ov.Core()
        try:
            # From the verified bytes, not from the files: what was hashed is what runs.
            weights = ov.Tensor(np.frombuffer(files[WEIGHTS], np.uint8))
            compiled = core.compile_model(core.read_model(files[NETWORK], weights), "CPU", config)
            self._request = compiled.create_infer_request()
            self.classes = _count_classes(compiled)
        # OpenVINO quotes the file in what it says, whatever that holds.
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ModelError(f"OpenVINO {ov.get_version()} cannot run the network: {error}; train the model again") from error

    def infer(self, tensor: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Score and anomaly map, float32 (rows, columns), of a network input, float32 (1, 3, height, width)."""
        score, anomaly_map, _ = self.infer_with_classes(tensor)
        return score, anomaly_map

    def infer_with_classes(self, tensor: NDArray[np.float32]) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
        """As ``infer``, and the likeness to each class of defects, float32 (classes,): larger is more alike."""
        outputs = self._request.infer({"image": tensor}, share_inputs=True)
        likeness = outputs[_CLASS_LIKENESS][0] if self.classes else ()
        return (
            float(outputs["score"].item()),
            np.array(outputs["anomaly_map"][0, 0], dtype=np.float32),
            np.array(likeness, dtype=np.float32),
        )


def _count_classes(compiled: ov.CompiledModel) -> int:
    for output in compiled.outputs:
        if _CLASS_LIKENESS in output.get_names():
            shape = output.get_partial_shape()
            if shape.is_dynamic or len(shape) != 2 or output.get_shape()[0] != 1:
                raise ModelError(
                    f"the network's output {_CLASS_LIKENESS} has the shape {shape}, not (1, k); train the model again"
                )
            return int(output.get_shape()[1])
    return 0


class Detector:
    """One model, ready to inspect frames. Not to be shared between threads."""

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        self.digest = artifact.digest
        self.manifest: Manifest = artifact.manifest
        self.precision = usable_precision(artifact.manifest.parity.precision)
        self._network = CompiledNetwork(artifact.files, self.precision, threads)
        named = len(self.manifest.defect_classes)
        if self._network.classes != named:
            raise ModelError(
                f"model {self.digest} names {named} defect classes, its network tells {self._network.classes} apart; "
                f"train the model again"
            )

    @classmethod
    def load(cls, path: Path, expected_digest: str | None = None, threads: int | None = None) -> Detector:
        """Verify and compile the artifact at ``path``. ``threads`` CPU threads work on one frame (all cores but one).

        Raises ModelError if the artifact is missing, altered, not the expected one or not readable, or if its network does not
        tell the defect classes apart that it names.
        """
        return cls(read_artifact(path, expected_digest), threads)

    @property
    def review_threshold(self) -> float:
        return self.manifest.thresholds.review

    @property
    def fail_threshold(self) -> float:
        return self.manifest.thresholds.fail

    def inspect(self, frame: Frame) -> Detection:
        """Score one frame. The same artifact, frame and processor type give the same score.

        Raises UnsupportedPixelFormat if the frame's pixels contradict its pixel format, ModelError if the network
        yields a score that is not finite.
        """
        started = time.perf_counter()
        preprocessing = self.manifest.preprocessing
        tensor = network_input(frame, preprocessing.width, preprocessing.height)
        preprocessed = time.perf_counter()
        optics = look(frame, tensor)
        looked = time.perf_counter()
        score, anomaly_map, likeness = self._network.infer_with_classes(tensor)
        inferred = time.perf_counter()
        if not np.isfinite(score):
            raise ModelError(f"model {self.digest} gave the score {score}; train the model again")
        regions = find_regions(anomaly_map, self.review_threshold, frame.width, frame.height)
        if not regions and score >= self.review_threshold:
            # What is missing or wrong everywhere has no place of its own.
            regions = (Region(0, 0, frame.width, frame.height, score, frame.width * frame.height),)
        done = time.perf_counter()
        return Detection(
            score=score,
            p_value=p_value(score, self.manifest.calibration.scores),
            anomaly_map=anomaly_map,
            regions=regions,
            proposed_class=self._most_alike(likeness) if score >= self.review_threshold else None,
            optics=optics,
            timings_ms={
                "preprocess": (preprocessed - started) * 1e3,
                "optics": (looked - preprocessed) * 1e3,
                "infer": (inferred - looked) * 1e3,
                "regions": (done - inferred) * 1e3,
            },
        )

    def _most_alike(self, likeness: NDArray[np.float32]) -> str | None:
        # The verdict does not rest on the class: likenesses that are no numbers propose nothing, and are no error.
        if likeness.size == 0 or np.isnan(likeness).any():
            return None
        most = int(likeness.argmax())
        return self.manifest.defect_classes[most] if likeness[most] > 0 else None


def p_value(score: float, calibration_scores: tuple[float, ...]) -> float:
    """Conformal p-value of a score among the ascending scores of good parts: (1 + #{calibration ≥ score}) / (n + 1).

    Vovk, Gammerman & Shafer, "Algorithmic learning in a random world", 2005; Laxhammar, "Conformal anomaly
    detection", 2014.
    """
    at_least = len(calibration_scores) - bisect.bisect_left(calibration_scores, score)
    return (1 + at_least) / (len(calibration_scores) + 1)


def find_regions(anomaly_map: NDArray[np.float32], threshold: float, frame_width: int, frame_height: int) -> tuple[Region, ...]:
    """Connected areas of the map at or above the threshold, in frame pixels, the strangest first."""
    rows, columns = anomaly_map.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats((anomaly_map >= threshold).astype(np.uint8), connectivity=8)
    regions = []
    for label in range(1, count):
        left, top, width, height, cells = (int(value) for value in stats[label])
        x, y = left * frame_width // columns, top * frame_height // rows
        regions.append(
            Region(
                x=x,
                y=y,
                width=-(-(left + width) * frame_width // columns) - x,
                height=-(-(top + height) * frame_height // rows) - y,
                score=float(anomaly_map[labels == label].max()),
                area=round(cells * frame_width * frame_height / (columns * rows)),
            )
        )
    return tuple(sorted(regions, key=lambda region: -region.score))
