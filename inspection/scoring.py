"""Scores of models on stored images: what a comparison of two models is made of.

A model that was gated, and the model in service beside it, score the golden images, the labelled parts and a sample of recent
passes (``inspection.records.comparisons``); what is known already is not computed again. Of the most telling parts the maps are
kept too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from cameras.errors import CameraError
from inspection.config import Config
from inspection.detector import Detector
from inspection.domain import Model
from inspection.errors import ModelError, StationError
from inspection.images import ImageStore, encode_map
from inspection.model_maps import MAX_MAPS, MapStore
from inspection.records.comparisons import StoredPart, most_telling, scores_of, stored_parts
from inspection.records.database import open_records, read_records
from inspection.records.deployments import get_model, model_in_service
from inspection.records.model_scores import store_scores
from inspection.verdict import decide

BATCH = 50
"""Images scored between two transactions: one that is stopped has done something, and the recorder waits for milliseconds."""
EXTREMES = 12
"""Highest-scoring good and lowest-scoring defective parts of a model, of each kind, whose maps are kept."""
CHANGED = 60
"""Parts that change verdict between two models whose maps are kept, those with the larger difference first."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """One model: how many images it scored now, how many were known, how many cannot be read any more, and what went wrong."""

    model: str
    new: int
    known: int
    unreadable: int
    problem: str | None = None

    def in_words(self) -> str:
        said = f"model {self.model[:12]}: {self.new} images scored, {self.known} were scored before"
        if self.unreadable:
            said += f", {self.unreadable} could not be read"
        return said if self.problem is None else f"{said}; {self.problem}"


def score_model(config: Config, model: str, progress: OnProgress = lambda done, steps: None) -> tuple[Scored, ...]:
    """Score what a comparison of this model with the one in service needs.

    NotFound if the model is not registered. A model whose artifact cannot be loaded is left out, and said.
    """
    with read_records(config) as engine, engine.connect() as connection:
        registered = get_model(connection, model)
        parts = stored_parts(connection, registered.product)
        models = _models(connection, config.station.name, registered)
        known = {each.model: scores_of(connection, each.model, parts) for each in models}
    steps = sum(len(parts) - len(scores) for scores in known.values())
    results, done = [], 0
    for each in models:
        missing = [part for part in parts if part.sha256 not in known[each.model]]

        def say(count: int, before: int = done) -> None:
            progress(before + count, steps)

        results.append(_score(config, each, missing, known[each.model], say))
        done += len(missing)
    if parts:
        _keep_maps(config, models, parts, known)
    return tuple(results)


def _models(connection: Connection, station: str, registered: Model) -> tuple[Model, ...]:
    deployed = model_in_service(connection, station, registered.product)
    if deployed is None or deployed.model == registered.model:
        return (registered,)
    return registered, get_model(connection, deployed.model)


def _score(
    config: Config, model: Model, missing: Sequence[StoredPart], known: dict[str, float], progress: Callable[[int], None]
) -> Scored:
    """Score and store; what is new is added to ``known``."""
    before, unreadable = len(known), 0
    if not missing:
        return Scored(model.model, 0, before, 0)
    try:
        detector = Detector.load(config.data_dir / model.path, expected_digest=model.model)
    except ModelError as error:
        return Scored(model.model, 0, before, 0, str(error))
    store = ImageStore(config.image_dir)
    with open_records(config) as engine:
        for start in range(0, len(missing), BATCH):
            progress(start)
            fresh: dict[str, float] = {}
            for part in missing[start : start + BATCH]:
                try:
                    fresh[part.sha256] = detector.inspect(store.frame(part.sha256, part.pixel_format)).score
                except (StationError, CameraError):
                    unreadable += 1  # retention may have taken it
            with engine.begin() as connection:
                store_scores(connection, model.model, fresh)
            known |= fresh
    progress(len(missing))
    return Scored(model.model, len(known) - before, before, unreadable)


def _keep_maps(
    config: Config, models: Sequence[Model], parts: Sequence[StoredPart], known: Mapping[str, Mapping[str, float]]
) -> None:
    """Maps of the parts that a person will want to look at: the most telling of each model, and those that change verdict."""
    loaded: dict[str, Detector] = {}
    for model in models:
        with suppress(ModelError):  # said where it could not score
            loaded[model.model] = Detector.load(config.data_dir / model.path, expected_digest=model.model)
    wanted = {part.sha256: part for part in _changed(list(loaded.values()), parts, known)}
    for digest, detector in loaded.items():
        unseen = [part for part in parts if part.sha256 not in detector.manifest.learned]
        for side in most_telling(unseen, known[digest], EXTREMES):
            wanted |= {part.sha256: part for part in side}
    frames, maps = ImageStore(config.image_dir), MapStore(config.maps_dir)
    for digest, detector in loaded.items():
        have = maps.stored(digest)
        for part in [part for sha256, part in wanted.items() if sha256 not in have][: max(0, MAX_MAPS - len(have))]:
            try:
                seen = detector.inspect(frames.frame(part.sha256, part.pixel_format))
            except (StationError, CameraError):
                continue  # retention may have taken it
            maps.put(digest, part.sha256, encode_map(seen.anomaly_map, detector.fail_threshold))


def _changed(
    detectors: Sequence[Detector], parts: Sequence[StoredPart], known: Mapping[str, Mapping[str, float]]
) -> list[StoredPart]:
    """Parts on which two models differ, those with the larger difference (in review thresholds) first."""
    if len(detectors) < 2:
        return []
    differing = []
    for part in parts:
        scores = [known[each.digest].get(part.sha256) for each in detectors]
        pairs = [(score, each) for score, each in zip(scores, detectors, strict=True) if score is not None]
        if len(pairs) == len({decide(score, each.review_threshold, each.fail_threshold) for score, each in pairs}) == 2:
            one, other = (score / each.review_threshold for score, each in pairs)
            differing.append((abs(one - other), part.sha256, part))
    return [part for *_, part in sorted(differing, reverse=True)[:CHANGED]]
