"""Score + thresholds → verdict. Pure."""

from __future__ import annotations

import math

from inspection.domain import Verdict


def decide(score: float, review_threshold: float, fail_threshold: float) -> Verdict:
    """``pass`` below the review threshold, ``fail`` from the fail threshold on, ``review`` between them.

    Raises ValueError if a value is not finite or the thresholds are in the wrong order: no such input may pass a part.
    """
    if not (math.isfinite(score) and math.isfinite(review_threshold) and math.isfinite(fail_threshold)):
        raise ValueError(f"score {score}, review threshold {review_threshold} and fail threshold {fail_threshold} must be finite")
    if review_threshold > fail_threshold:
        raise ValueError(f"review threshold {review_threshold} must not be above fail threshold {fail_threshold}")
    if score < review_threshold:
        return Verdict.PASS
    return Verdict.REVIEW if score < fail_threshold else Verdict.FAIL
