"""A model with other thresholds: a new artifact, since models never change.

It differs from the one that it was made from in thresholds, in what follows from them, and in who chose them and why. What the
calibration claimed of the former thresholds is not true of these, and is said no more.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from inspection.artifact import Artifact, ChosenThresholds, Thresholds, read_artifact, write_artifact
from inspection.errors import Conflict, ModelError


def with_thresholds(model: Artifact, models_dir: Path, review: float, fail: float, by: str, reason: str) -> tuple[Path, str]:
    """Store ``model`` with these thresholds as ``models_dir/<digest>/``; its path and digest, once every byte was read back.

    Raises ModelError if they are no thresholds or the disk refuses, Conflict if the model has these already.
    """
    if not (math.isfinite(review) and math.isfinite(fail) and 0 < review < fail):
        raise ModelError(
            f"review threshold {review:g} and fail threshold {fail:g} are no thresholds: both must be above 0, "
            "and review below fail; correct them"
        )
    manifest = model.manifest
    former = manifest.thresholds
    if (former.review, former.fail) == (review, fail):
        raise Conflict(f"model {model.digest[:12]} has these thresholds already; choose others, or use it as it is")
    now = datetime.now(UTC)
    scores = manifest.calibration.scores
    follows = {
        "calibration_review_share": sum(review <= score < fail for score in scores) / len(scores),
        "calibration_fail_share": sum(score >= fail for score in scores) / len(scores),
    }
    chosen = msgspec.structs.replace(
        manifest,
        thresholds=Thresholds(review=review, fail=fail, rule=f"chosen by {by}, not by calibration: {reason}"),
        metrics=manifest.metrics | {name: value for name, value in follows.items() if name in manifest.metrics},
        provenance=msgspec.structs.replace(manifest.provenance, created_at=now),
        chosen_thresholds=ChosenThresholds(model=model.digest, former=former, by=by, at=now, reason=reason),
    )
    path, digest = write_artifact(models_dir, chosen, model.files)
    read_artifact(path, digest)
    return path, digest
