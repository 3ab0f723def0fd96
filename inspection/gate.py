"""The gate: what a model must show on this station before it may decide.

Four checks: ``parity`` (the artifact is whole, and scores as it did), ``latency`` (it is fast enough here), ``golden`` (it
judges the golden set right) and ``comparison`` (it is not worse than the model in service on labelled parts of validation lots
that neither has learned from). Where there is nothing to check against, the check says so and passes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select

from cameras.errors import CameraError
from cameras.frame import Frame, PixelFormat
from inspection.config import Config
from inspection.detector import Detector
from inspection.domain import OK, Check, Gate, GoldenImage, ImageKind, Member, Model, Side, Source, Verdict
from inspection.errors import ModelError, StationError
from inspection.images import ImageStore
from inspection.quality.intervals import clopper_pearson
from inspection.records.database import open_records, read_records
from inspection.records.deployments import get_model, model_in_service
from inspection.records.gates import GOLDEN, LATENCY, store_gate
from inspection.records.queries import latest_timings_ms
from inspection.records.stored_images import list_golden
from inspection.records.tables import images, imported_images, inspections
from inspection.training_set import draft
from inspection.verdict import decide

LATENCY_RUNS = 200
_WARM_UP = 5
_SAMPLES = 8
_TIMINGS = 500
_ROUNDING = 0.005
_DETECTOR_STEPS = ("preprocess", "optics", "infer", "regions")
_NOTHING = "nothing to check against"


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A stored frame, and the score that this model gave it on the line, if it did."""

    sha256: str
    pixel_format: str
    score: float | None


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the records hold for a gate."""

    model: Model
    in_service: Model | None
    golden: tuple[GoldenImage, ...]
    validation: tuple[Member, ...]
    recorded: tuple[_Recorded, ...]
    rest_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Errors:
    """What one model makes of labelled images."""

    escapes: int
    false_rejects: int


def gate_model(config: Config, model: str, by: str) -> Gate:
    """Gate a registered model on this machine, and record the result.

    NotFound if the model is not registered or its product not configured.
    """
    station = config.station.name
    with read_records(config) as engine, engine.connect() as connection:
        evidence = _evidence(connection, station, model)
    checks = _checks(config, evidence)
    compared_with = evidence.in_service.model if evidence.in_service is not None else None
    with open_records(config) as engine, engine.begin() as connection:
        return store_gate(connection, station, evidence.model.product, model, checks, compared_with, by)


def _checks(config: Config, evidence: _Evidence) -> list[Check]:
    product = config.recipe(evidence.model.product)
    try:
        detector = Detector.load(config.data_dir / evidence.model.path, expected_digest=evidence.model.model)
    except ModelError as error:
        return [Check("parity", False, f"{error}; nothing else was checked")]
    store = ImageStore(config.image_dir)
    samples = _readable(store, evidence.recorded)
    return [
        _parity(detector, samples),
        _latency(detector, samples[0][1] if samples else None, product.deadline_ms, evidence.rest_ms),
        _golden(detector, evidence.golden, store),
        _comparison(detector, evidence, store, config),
    ]


def _evidence(connection: Connection, station: str, digest: str) -> _Evidence:
    model = get_model(connection, digest)
    deployed = model_in_service(connection, station, model.product)
    in_service = None if deployed is None or deployed.model == digest else get_model(connection, deployed.model)
    members = draft(connection, model.product).members
    timings = latest_timings_ms(connection, _TIMINGS)
    return _Evidence(
        model=model,
        in_service=in_service,
        golden=list_golden(connection, model.product),
        validation=tuple(each for each in members if each.side is Side.VALIDATION and each.source is Source.LABEL),
        recorded=_recorded(connection, model),
        rest_ms=tuple(
            max(0.0, each["total"] - sum(each.get(step, 0.0) for step in _DETECTOR_STEPS)) for each in timings if "total" in each
        ),
    )


def _recorded(connection: Connection, model: Model) -> tuple[_Recorded, ...]:
    """Frames of the product: those that this model scored, the newest others, and imported ones, a few of each."""
    frames = (
        select(images.c.sha256, images.c.pixel_format, inspections.c.score, inspections.c.model)
        .join(inspections, inspections.c.seq == images.c.seq)
        .where(images.c.kind == ImageKind.FRAME, images.c.deleted_at.is_(None), inspections.c.product == model.product)
        .order_by(inspections.c.seq.desc())
        .limit(_SAMPLES)
    )
    scored = [
        _Recorded(row.sha256, row.pixel_format, row.score)
        for row in connection.execute(frames.where(inspections.c.model == model.model, inspections.c.score.is_not(None)))
    ]
    others = [_Recorded(row.sha256, row.pixel_format, None) for row in connection.execute(frames)]
    from_folder = select(imported_images.c.sha256, imported_images.c.pixel_format).where(
        imported_images.c.product == model.product
    )
    imported = [
        _Recorded(row.sha256, row.pixel_format, None)
        for row in connection.execute(from_folder.order_by(imported_images.c.sha256).limit(_SAMPLES))
    ]
    return (*scored, *others, *imported)


def _readable(store: ImageStore, recorded: Sequence[_Recorded]) -> list[tuple[_Recorded, Frame]]:
    frames: list[tuple[_Recorded, Frame]] = []
    seen: set[str] = set()
    for each in recorded:
        if each.sha256 in seen or len(frames) == 2 * _SAMPLES:
            continue
        seen.add(each.sha256)
        try:
            frames.append((each, store.frame(each.sha256, each.pixel_format)))
        except (StationError, CameraError):
            continue  # retention may have taken it
    return frames


def _noise(width: int, height: int) -> Frame:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    return Frame(pixels, PixelFormat.Mono8, frame_id=0, timestamp_ns=0, received_ns=0)


def _parity(detector: Detector, samples: Sequence[tuple[_Recorded, Frame]]) -> Check:
    """Is it what was validated? Loading it has verified every byte."""
    parity = detector.manifest.parity
    size = detector.manifest.preprocessing
    noise = (_Recorded("noise", "Mono8", None), _noise(size.width, size.height))
    problems = []
    if not parity.max_relative_difference <= parity.tolerance:
        problems.append(
            f"its manifest says that it differs by {parity.max_relative_difference:.2%} from the trained network, "
            f"more than {parity.tolerance:.2%}"
        )
    # Only rounding lies between two scores of one network in one precision.
    limit = _ROUNDING if detector.precision == parity.precision else parity.tolerance
    compared, largest = 0, 0.0
    for recorded, frame in (noise, *samples):
        try:
            first, second = detector.inspect(frame).score, detector.inspect(frame).score
        except (ModelError, CameraError) as error:
            problems.append(f"frame {recorded.sha256[:12]}: {error}")
            continue
        if first != second:
            problems.append(f"frame {recorded.sha256[:12]} scored {first:.6g}, and {second:.6g} the second time")
        if recorded.score is not None:
            compared += 1
            difference = abs(first - recorded.score) / max(abs(recorded.score), 1e-9)
            largest = max(largest, difference)
            if difference > limit:
                problems.append(f"frame {recorded.sha256[:12]} scored {first:.6g}, and {recorded.score:.6g} on the line")
    if problems:
        return Check("parity", False, "; ".join(problems))
    detail = (
        f"every byte is the one that was hashed; {len(samples) + 1} frames scored twice alike; "
        f"{parity.max_relative_difference:.2%} from the trained network in {parity.precision}"
    )
    if detector.precision != parity.precision:
        detail += f"; this processor computes in {detector.precision}"
    if compared:
        detail += f"; within {largest:.2%} of {compared} scores given on the line"
    return Check("parity", True, detail)


def _latency(detector: Detector, sample: Frame | None, deadline_ms: float, rest_ms: Sequence[float]) -> Check:
    """99 % of parts in time? What the rest of the way takes is known once parts were inspected."""
    frame = sample or _noise(1280, 1024)
    milliseconds = []
    for run in range(_WARM_UP + LATENCY_RUNS):
        started = time.perf_counter()
        detector.inspect(frame)
        if run >= _WARM_UP:
            milliseconds.append((time.perf_counter() - started) * 1e3)
    detector_ms = _p99(milliseconds)
    way_ms = _p99(rest_ms) if rest_ms else 0.0
    detail = f"99 % of {LATENCY_RUNS} inspections of a frame of {frame.width}×{frame.height} within {detector_ms:.1f} ms"
    if rest_ms:
        detail += f", and of {len(rest_ms)} parts the rest of the way within {way_ms:.1f} ms"
    return Check(LATENCY, detector_ms + way_ms <= deadline_ms, f"{detail}; the deadline is {deadline_ms:g} ms")


def _p99(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.99, method="higher"))


def _golden(detector: Detector, golden: Sequence[GoldenImage], store: ImageStore) -> Check:
    if not golden:
        return Check(GOLDEN, True, f"{_NOTHING}: the product has no golden images")
    problems = []
    for image in golden:
        try:
            verdict = _decided(detector, store.frame(image.sha256, image.pixel_format))
        except (StationError, CameraError) as error:
            problems.append(f"{image.name} cannot be judged: {error}")
            continue
        if (verdict is Verdict.PASS) != (image.label == OK):
            problems.append(f"{image.name} is labelled {image.label}, and the verdict is {verdict}")
    if problems:
        return Check(GOLDEN, False, f"{len(problems)} of {len(golden)} golden images: " + "; ".join(problems[:10]))
    return Check(GOLDEN, True, f"all {len(golden)} golden images are judged right")


def _comparison(detector: Detector, evidence: _Evidence, store: ImageStore, config: Config) -> Check:
    """Not worse: not one escape more, and false rejects within the interval of the model in service.

    An escape reaches a customer, so none is put down to chance.
    """
    in_service = evidence.in_service
    if in_service is None:
        return Check("comparison", True, f"{_NOTHING}: no other model is in service for the product")
    try:
        former = Detector.load(config.data_dir / in_service.path, expected_digest=in_service.model)
    except ModelError as error:
        return Check("comparison", False, f"the model in service cannot be loaded: {error}")
    learned = detector.manifest.learned | former.manifest.learned
    asked = [member for member in evidence.validation if member.sha256 not in learned]
    judged = []
    for member in asked:
        try:
            frame = store.frame(member.sha256, member.pixel_format)
        except (StationError, CameraError):
            continue
        judged.append((member.label, _decided(detector, frame), _decided(former, frame)))
    if not judged:
        return Check("comparison", True, f"{_NOTHING}: no labelled part of a validation lot that neither model has learned from")
    good = sum(label == OK for label, _, _ in judged)
    defective = len(judged) - good
    new = _errors([(label, verdict) for label, verdict, _ in judged])
    old = _errors([(label, verdict) for label, _, verdict in judged])
    passed = new.escapes <= old.escapes
    parts = []
    if defective:
        parts.append(f"escapes {_share(new.escapes, defective)}, in service {_share(old.escapes, defective)}")
    if good:
        parts.append(f"false rejects {_share(new.false_rejects, good)}, in service {_share(old.false_rejects, good)}")
        passed = passed and new.false_rejects / good <= clopper_pearson(old.false_rejects, good)[1]
    if len(judged) < len(asked):
        parts.append(f"{len(asked) - len(judged)} images could not be read")
    return Check("comparison", passed, "; ".join(parts))


def _errors(judged: Sequence[tuple[str, Verdict]]) -> _Errors:
    return _Errors(
        escapes=sum(label != OK and verdict is Verdict.PASS for label, verdict in judged),
        false_rejects=sum(label == OK and verdict is not Verdict.PASS for label, verdict in judged),
    )


def _share(hits: int, trials: int) -> str:
    low, high = clopper_pearson(hits, trials)
    return f"{hits} of {trials} (95 %: {low:.1%} to {high:.1%})"


def _decided(detector: Detector, frame: Frame) -> Verdict:
    return decide(detector.inspect(frame).score, detector.review_threshold, detector.fail_threshold)
