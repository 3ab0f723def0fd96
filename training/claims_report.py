"""Claims in plain words and as JSON, and the shares that the command line names."""

from __future__ import annotations

from dataclasses import asdict

from inspection.quality.claims import Claim, percent, read_share
from training.claims import ModelClaims, ThresholdClaims, Wish


def wish(false_rejects: str, escapes: str, confidence: str) -> Wish:
    """The wish in the words of the command line, such as ``0.5%``. Raises StationError if one cannot be read."""
    shares = {"--false-rejects": false_rejects, "--escapes": escapes, "--confidence": confidence}
    return Wish(*(read_share(option, text) for option, text in shares.items()))


def document(result: ModelClaims) -> dict[str, object]:
    """What is written as JSON: the claims as they are, and the words."""
    return asdict(result) | {"words": lines(result)}


def lines(result: ModelClaims) -> list[str]:
    """The claims in plain words."""
    review, fail, wished = result.review, result.fail, result.wish
    return [
        f"Model {result.model[:12]} for {result.product}. Each claim has {percent(wished.confidence)} confidence, for parts "
        "like those it was measured on, independent of one another.",
        *_changed(result),
        "",
        f"Review threshold {review.threshold:.4g}. Parts from it on are stopped; a defective part below it escapes.",
        *_words(review, "stopped", "escape", wished),
        "",
        f"Fail threshold {fail.threshold:.4g}. Parts from it on are failed; those below it are looked at or pass.",
        *_words(fail, "failed", "are not failed", wished),
        "",
        f"To keep false rejects at most {percent(wished.false_rejects)} and escapes at most {percent(wished.escapes)}:",
        *_to_keep(result),
    ]


def _changed(result: ModelClaims) -> list[str]:
    if not result.changed:
        return []
    return [
        "Labelled good parts score higher than those of the calibration (by chance in less than 1 of 100 cases): light, parts or "
        "camera have changed. What the calibration shows is not about them; train again with images of today."
    ]


def _words(claims: ThresholdClaims, stopped: str, escape: str, wished: Wish) -> list[str]:
    calibration, good, escapes = claims.calibration, claims.false_rejects, claims.escapes
    written = [
        f"  At most {percent(calibration.bound)} of good parts are {stopped}: {calibration.events} of {calibration.parts} "
        "calibration parts, allowing for a threshold that was chosen by them."
        + _shown(calibration, wished.false_rejects, "good parts that the model has not seen", "passed")
    ]
    if good is not None:
        written.append(
            f"  At most {percent(good.bound)} of good parts are {stopped}: {good.events} of {good.parts} labelled good parts."
            + _shown(good, wished.false_rejects, "labelled good parts", "passed")
        )
    if escapes is not None:
        written.append(
            f"  At most {percent(escapes.bound)} of defective parts {escape}: {escapes.events} of {escapes.parts} labelled."
            + _shown(escapes, wished.escapes, "labelled defective parts", "caught")
        )
    if len(claims.escapes_by_defect) > 1:
        written += [
            f"    {defect}: at most {percent(each.bound)}, {each.events} of {each.parts}."
            + _shown(each, wished.escapes, "labelled", "caught")
            for defect, each in claims.escapes_by_defect.items()
        ]
    return written


def _shown(claim: Claim, wished: float, parts: str, outcome: str) -> str:
    if claim.holds:
        return f" This shows {percent(wished)}."
    return f" {percent(wished)} needs {claim.further_parts} more {parts}, all {outcome}."


def _to_keep(result: ModelClaims) -> list[str]:
    least, highest, at_least = result.least, result.highest, result.at_least
    written = [f"  False rejects: review threshold at least {least.threshold:.4g} ({least.rule})."]
    if at_least is None:
        return [*written, "  Escapes: no labelled defective parts; name a folder with test/<defect> as --labels."]
    there = f"At {least.threshold:.4g}, {at_least.events} of {at_least.parts} escape, at most {percent(at_least.bound)}."
    if highest is None:
        missing = _shown(at_least, result.wish.escapes, "labelled defective parts", "caught")
        return [*written, f"  Escapes: too few labelled defective parts for any threshold. {there}{missing}"]
    written.append(f"  Escapes: review threshold at most {highest:.4g}.")
    if highest < least.threshold:
        rejects = (
            ""
            if result.at_highest is None
            else f" At {highest:.4g}, at most {percent(result.at_highest.bound)} are false rejects."
        )
        mend = "Train with a larger --size or with labelled rejects, or improve light and optics."
        return [*written, f"  No threshold keeps both. {there}{rejects} {mend}"]
    if least.basis == "model-based":
        return [*written, f"  From {least.threshold:.4g} to {highest:.4g}, escapes are kept and false rejects expected to be."]
    # Each bound may fail with its own risk: together they hold with the sum of the risks.
    both = percent(max(0.0, 2 * result.wish.confidence - 1))
    return [*written, f"  From {least.threshold:.4g} to {highest:.4g} both are kept, together with {both} confidence."]
