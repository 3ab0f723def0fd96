"""Models of a few operations, whose score and classes can be read off the picture.

The score is that of the brightest 8 × 8 pixels, from 0 for black to 1 for white. The likeness to a class is the brightness of its
part of the picture: with three classes the left, the middle and the right third.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from inspection import artifact

# inspection.detector keeps openvino from reporting its use to the internet.
import inspection.detector  # noqa: F401  # isort: skip
import openvino as ov  # isort: skip
from openvino import opset13 as op  # isort: skip

SIZE = 96
REVIEW, FAIL = 0.5, 0.8


def network(classes: int, likeness_rows: int = 1, likeness_factor: float = 1.0, gain: float = 1.0) -> dict[str, bytes]:
    """The files of a network; without classes it has no output for them. Map and score are ``gain`` times the brightness."""
    image = op.parameter([1, 3, SIZE, SIZE], np.float32, name="image")
    grey = op.reduce_mean(image, np.array([1]), keep_dims=True)
    brightness = op.reduce_mean(op.reshape(grey, [1, SIZE // 8, 8, SIZE // 8, 8], False), np.array([2, 4]))
    anomaly_map = op.multiply(brightness, np.float32(gain))
    outputs = {
        "anomaly_map": op.unsqueeze(anomaly_map, np.array(0)),
        "score": op.reduce_max(anomaly_map, np.array([0, 1, 2])),
    }
    if classes:
        parts = op.reduce_mean(op.reshape(grey, [1, SIZE, classes, SIZE // classes], False), np.array([1, 3]))
        outputs["class_likeness"] = op.multiply(op.concat([parts] * likeness_rows, 0), np.float32(likeness_factor))
    model = ov.Model(list(outputs.values()), [image], "small")
    model.inputs[0].get_tensor().set_names({"image"})
    for output, name in zip(model.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / artifact.NETWORK
        ov.save_model(model, xml, compress_to_fp16=False)
        return {artifact.NETWORK: xml.read_bytes(), artifact.WEIGHTS: xml.with_name(artifact.WEIGHTS).read_bytes()}


def small_model(
    models_dir: Path,
    defect_classes: tuple[str, ...] = (),
    files: dict[str, bytes] | None = None,
    learned: tuple[str, ...] = (),
) -> Path:
    """The artifact directory of a model with these classes, and its own network unless other ``files`` are given.

    ``learned`` are the SHA-256 of the images that it is to have learned from.
    """
    files = files or network(len(defect_classes))
    manifest = artifact.Manifest(
        schema_version=artifact.SCHEMA_VERSION,
        product="plate",
        algorithm="brightness",
        preprocessing=artifact.Preprocessing(
            width=SIZE,
            height=SIZE,
            resize="area average, halved first",
            scale="full scale of the pixel format",
            mono="repeated to RGB",
            bayer="bilinear to RGB",
        ),
        calibration=artifact.Calibration(method="by hand", scores=(0.1, 0.2)),
        thresholds=artifact.Thresholds(review=REVIEW, fail=FAIL, rule="by hand"),
        metrics={},
        parity=artifact.Parity(images=1, precision="f32", max_relative_difference=0.0, rank_correlation=1.0, tolerance=0.001),
        provenance=artifact.Provenance(
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            seed=0,
            backbone=artifact.Backbone(
                name="none", layers=(), package="none", version="", weights_sha256="0" * 64, licence="Apache-2.0"
            ),
            versions={},
            images=tuple(artifact.TrainingImage(name=sha256[:8], sha256=sha256) for sha256 in learned),
            skipped={},
        ),
        files=artifact.file_entries(files),
        defect_classes=defect_classes,
    )
    return artifact.write_artifact(models_dir, manifest, files)[0]
