"""What became of each model, for the pages: its state in words, and its history as shares of the time that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from inspection.artifact import Manifest, read_manifest
from inspection.domain import Deployment, Gate, Model, Rollback, Shadow
from inspection.errors import Conflict, ModelError
from inspection.records.deployments import list_deployments, list_models, model_in_service, next_rollback
from inspection.records.gates import list_gates
from inspection.records.shadows import list_shadows
from inspection.records.training_runs import run_of_model
from inspection.web.context import Context


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the time shown, in percent from its beginning."""

    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A gate in the time shown: where, in percent, and whether it was passed."""

    left: float
    passed: bool


@dataclass(frozen=True, slots=True)
class History:
    """When a model was made, gated, in service and a shadow; ``words`` says the same."""

    made: float
    service: tuple[Span, ...]
    shadow: tuple[Span, ...]
    gates: tuple[Mark, ...]
    words: str


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model with everything that lists and pages show of it. ``manifest`` is None if its artifact cannot be read."""

    model: Model
    manifest: Manifest | None
    damage: str | None
    states: tuple[tuple[str, str], ...]
    gates: tuple[Gate, ...]
    gate: Gate | None
    history: History
    training_run_id: int | None
    deployed: bool
    shadow: bool


@dataclass(frozen=True, slots=True)
class ProductModels:
    """The models of a product, what decides now, and what a rollback would do."""

    product: str
    in_service: Deployment | None
    rollback: Rollback | None
    models: tuple[ListedModel, ...]


def models_of(records: Connection, context: Context, product: str) -> ProductModels:
    """Everything on the models of a product, the newest first."""
    station = context.settings.station
    deployed = [each for each in list_deployments(records, station) if each.product == product]
    shadowed = [each for each in list_shadows(records, station) if each.product == product]
    registered = [each for each in list_models(records) if each.product == product]
    in_service = model_in_service(records, station, product)
    try:
        back = next_rollback(records, station, product) if in_service is not None else None
    except Conflict:
        back = None
    gates = {model.model: list_gates(records, station, model.model) for model in registered}
    begin = min((model.created_at for model in registered), default=datetime.now(UTC))
    listed = []
    for model in registered:
        of_model = (
            [each for each in deployed if each.model == model.model],
            [each for each in shadowed if each.model == model.model],
            gates[model.model],
        )
        listed.append(_listed(records, context, model, *of_model, begin))
    # What decides comes first, then what judges along; the rest as it was made.
    listed.sort(key=lambda each: (not each.deployed, not each.shadow))
    return ProductModels(product, in_service, back, tuple(listed))


def _listed(
    records: Connection,
    context: Context,
    model: Model,
    deployed: Sequence[Deployment],
    shadowed: Sequence[Shadow],
    gates: Sequence[Gate],
    begin: datetime,
) -> ListedModel:
    manifest, damage = None, None
    try:
        manifest = read_manifest(context.settings.data_dir / model.path, model.model)
    except ModelError as error:
        damage = str(error)
    done = next((gate for gate in gates if gate.passed is not None), None)
    serving = any(each.ended_at is None for each in deployed)
    judging = any(each.ended_at is None for each in shadowed)
    return ListedModel(
        model=model,
        manifest=manifest,
        damage=damage,
        states=_states(serving, judging, bool(deployed), gates, done, damage),
        gates=tuple(gates),
        gate=done,
        history=_history(model, deployed, shadowed, gates, begin),
        training_run_id=run_of_model(records, model.model),
        deployed=serving,
        shadow=judging,
    )


def _states(
    serving: bool, judging: bool, served: bool, gates: Sequence[Gate], done: Gate | None, damage: str | None
) -> tuple[tuple[str, str], ...]:
    """Class and words of each."""
    states = []
    if serving:
        states.append(("service", "in service"))
    if judging:
        states.append(("shadow", "shadow"))
    if damage:
        states.append(("refused", "damaged"))
    if any(gate.passed is None for gate in gates):
        states.append(("waiting", "waiting for its gate"))
    elif done is None:
        states.append(("candidate", "not gated"))
    elif done.passed:
        states.append(("gated", "gate passed"))
    else:
        states.append(("refused", "gate not passed"))
    if served and not serving:
        states.append(("candidate", "was in service"))
    return tuple(states)


def _history(
    model: Model, deployed: Sequence[Deployment], shadowed: Sequence[Shadow], gates: Sequence[Gate], begin: datetime
) -> History:
    now = datetime.now(UTC)
    whole = max((now - begin).total_seconds(), 1.0)

    def at(moment: datetime) -> float:
        return round(100 * min(1.0, max(0.0, (moment - begin).total_seconds() / whole)), 2)

    def span(start: datetime, end: datetime | None) -> Span:
        # What lasted for a minute of months is still to be seen.
        return Span(min(at(start), 99.0), max(1.0, at(end or now) - at(start)))

    def words(kind: str, start: datetime, end: datetime | None) -> str:
        until = "now" if end is None else f"{end.astimezone():%Y-%m-%d %H:%M}"
        return f"{kind} from {start.astimezone():%Y-%m-%d %H:%M} to {until}"

    said = [f"made {model.created_at.astimezone():%Y-%m-%d %H:%M}"]
    said += [words("in service", each.deployed_at, each.ended_at) for each in reversed(deployed)]
    said += [words("shadow", each.started_at, each.ended_at) for each in reversed(shadowed)]
    return History(
        made=at(model.created_at),
        service=tuple(span(each.deployed_at, each.ended_at) for each in deployed),
        shadow=tuple(span(each.started_at, each.ended_at) for each in shadowed),
        gates=tuple(Mark(at(each.gated_at), bool(each.passed)) for each in gates if each.gated_at is not None),
        words="; ".join(said),
    )
