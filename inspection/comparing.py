"""Two models of a product on the stored images of the station: scores, verdicts, and what they show.

Reads records, manifests and stored maps; runs no network (``inspection.scoring`` did).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from inspection.artifact import Manifest, read_manifest
from inspection.domain import OK, Model, Verdict
from inspection.errors import Conflict
from inspection.model_maps import MapStore
from inspection.quality.comparison import WISH, Figures, Paired, Wish, figures, paired
from inspection.records.comparisons import PartSource, StoredPart, scores_of, seqs_with_maps, stored_parts
from inspection.records.deployments import get_model, model_in_service
from inspection.verdict import decide


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """One of the models. ``unscored`` images have no score of it yet, or cannot be read any more."""

    model: str
    rule: str
    unscored: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class ComparedPart:
    """One image. ``label`` is null for a recent pass that nobody labelled; ``learned``: a model of these has learned from it.

    Scores and verdicts are null where a model has not scored it; ``map`` and ``other_map`` are the addresses of its anomaly maps.
    """

    sha256: str
    seq: int | None
    name: str
    source: PartSource
    label: str | None
    learned: bool
    score: float | None
    verdict: Verdict | None
    map: str | None
    other_score: float | None
    other_verdict: Verdict | None
    other_map: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """``model`` beside ``other``, if there is another; figures are of the labelled parts that both scored.

    Parts that a model learned from are left out of the figures unless they were asked for; ``left_out`` counts them. ``parts``
    holds every golden image (at most 1,000), the newest 2,000 labelled parts and 300 of the recent unlabelled passes.
    """

    product: str
    model: ComparedModel
    other: ComparedModel | None
    false_rejects: Paired | None
    escapes: Paired | None
    left_out: int
    parts: tuple[ComparedPart, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds, ``looked``: chosen with an eye on the parts that are compared."""

    review: float
    fail: float
    looked: bool = False


@dataclass(frozen=True, slots=True)
class _Judge:
    """One model with its scores by image."""

    model: Model
    manifest: Manifest
    limits: Limits
    scores: dict[str, float]

    def verdict(self, sha256: str) -> Verdict | None:
        score = self.scores.get(sha256)
        return None if score is None else decide(score, self.limits.review, self.limits.fail)


def compare(
    connection: Connection,
    data_dir: Path,
    station: str,
    model: str,
    other: str | None = None,
    limits: Limits | None = None,
    with_learned: bool = False,
    wish: Wish = WISH,
) -> Comparison:
    """Compare ``model`` with ``other``, or else with the one in service if that is another; ``limits`` in place of its own.

    NotFound if one is not registered, Conflict if they are one or of two products, ModelError if a manifest cannot be read.
    """
    first = get_model(connection, model)
    second = _other(connection, station, first, other)
    parts = stored_parts(connection, first.product)
    judges = [_judge(connection, data_dir, first, parts, limits)]
    if second is not None:
        judges.append(_judge(connection, data_dir, second, parts, None))
    learned = frozenset[str]().union(*(judge.manifest.learned for judge in judges))
    scored = [part for part in parts if part.label is not None and all(part.sha256 in judge.scores for judge in judges)]
    counted = [part for part in scored if with_learned or part.sha256 not in learned]
    compared = [_figures(judge, counted, parts, wish) for judge in judges]
    return Comparison(
        product=first.product,
        model=compared[0],
        other=compared[1] if second is not None else None,
        false_rejects=_paired(judges, [part for part in counted if part.label == OK]) if second is not None else None,
        escapes=_paired(judges, [part for part in counted if part.label != OK]) if second is not None else None,
        left_out=len(scored) - len(counted),
        parts=_parts(connection, data_dir, judges, parts, learned),
    )


def _other(connection: Connection, station: str, first: Model, other: str | None) -> Model | None:
    if other is None:
        deployed = model_in_service(connection, station, first.product)
        if deployed is None or deployed.model == first.model:
            return None
        return get_model(connection, deployed.model)
    second = get_model(connection, other)
    if second.model == first.model:
        raise Conflict(f"model {other[:12]} cannot be compared with itself; name another")
    if second.product != first.product:
        raise Conflict(
            f"model {other[:12]} was made for product {second.product!r}, not {first.product!r}; choose two of one product"
        )
    return second


def _judge(connection: Connection, data_dir: Path, model: Model, parts: tuple[StoredPart, ...], limits: Limits | None) -> _Judge:
    manifest = read_manifest(data_dir / model.path, model.model)
    own = Limits(manifest.thresholds.review, manifest.thresholds.fail, manifest.chosen_thresholds is not None)
    return _Judge(model, manifest, limits or own, scores_of(connection, model.model, parts))


def _figures(judge: _Judge, counted: list[StoredPart], parts: tuple[StoredPart, ...], wish: Wish) -> ComparedModel:
    good = [judge.scores[part.sha256] for part in counted if part.label == OK]
    defective = [judge.scores[part.sha256] for part in counted if part.label != OK]
    limits = judge.limits
    shown = figures(good, defective, limits.review, limits.fail, wish, limits.looked)
    unscored = sum(part.sha256 not in judge.scores for part in parts)
    return ComparedModel(judge.model.model, judge.manifest.thresholds.rule, unscored, shown)


def _paired(judges: list[_Judge], parts: list[StoredPart]) -> Paired:
    """Of parts of one kind, good or defective: which model gets them wrong."""
    wrong = [[(judge.verdict(part.sha256) is Verdict.PASS) != (part.label == OK) for part in parts] for judge in judges]
    return paired(*wrong)


def _parts(
    connection: Connection, data_dir: Path, judges: list[_Judge], parts: tuple[StoredPart, ...], learned: frozenset[str]
) -> tuple[ComparedPart, ...]:
    of_line, store = seqs_with_maps(connection, parts), MapStore(data_dir / "maps")
    stored = [store.stored(judge.model.model) for judge in judges]

    def address(part: StoredPart, number: int) -> str | None:
        if number >= len(judges):
            return None
        model = judges[number].model.model
        if part.sha256 in stored[number]:
            return f"/api/v1/models/{model}/maps/{part.sha256}"
        return f"/api/v1/inspections/{part.seq}/map" if part.model == model and part.seq in of_line else None

    other = judges[1] if len(judges) > 1 else None
    return tuple(
        ComparedPart(
            sha256=part.sha256,
            seq=part.seq,
            name=part.name,
            source=part.source,
            label=part.label,
            learned=part.sha256 in learned,
            score=judges[0].scores.get(part.sha256),
            verdict=judges[0].verdict(part.sha256),
            map=address(part, 0),
            other_score=other.scores.get(part.sha256) if other else None,
            other_verdict=other.verdict(part.sha256) if other else None,
            other_map=address(part, 1),
        )
        for part in parts
    )
