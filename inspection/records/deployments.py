"""Which model decides: registered models and their deployments. Functions over a Connection; the caller commits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update
from sqlalchemy.exc import IntegrityError

from inspection.domain import Deployment, Model, Rollback
from inspection.errors import Conflict, GateNotPassed, NotFound, Stale
from inspection.records.gates import latest_gate
from inspection.records.tables import deployments, models, shadows


def register_model(connection: Connection, model: Model) -> None:
    """Record an artifact. The same digest again only moves its path; Conflict if it belongs to another product."""
    known = connection.execute(select(models.c.product).where(models.c.model == model.model)).one_or_none()
    if known is None:
        connection.execute(
            insert(models).values(
                model=model.model,
                product=model.product,
                path=model.path,
                algorithm=model.algorithm,
                created_at=model.created_at,
                metrics=model.metrics,
            )
        )
    elif known.product != model.product:
        raise Conflict(f"model {model.model[:12]} is registered for product {known.product!r}; train one for {model.product!r}")
    else:
        connection.execute(update(models).where(models.c.model == model.model).values(path=model.path))


def get_model(connection: Connection, model: str) -> Model:
    """One registered model by its digest; NotFound if there is none."""
    row = connection.execute(select(models).where(models.c.model == model)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"model {model[:12]} is not registered on this station; register its artifact first")
    return Model(**row)


def list_models(connection: Connection) -> tuple[Model, ...]:
    """All registered models, newest first."""
    rows = connection.execute(select(models).order_by(models.c.created_at.desc(), models.c.model)).mappings()
    return tuple(Model(**row) for row in rows)


def deploy_gated(
    connection: Connection,
    station: str,
    product: str,
    model: str,
    deployed_by: str,
    reason: str,
    override: str | None = None,
    seen: int | None = None,
) -> Deployment:
    """``deploy``, if ``why_not`` has nothing against it, or else for the reason in ``override``. Raises GateNotPassed.

    ``seen`` is the deployment that was in service when somebody decided this, 0 for none: Stale if another one is now.
    """
    get_model(connection, model)
    _check_seen(_locked(connection, station, product), product, seen)
    problem = why_not(connection, station, product, model)
    if problem is not None and not override:
        raise GateNotPassed(
            f"model {model[:12]} {problem}; gate it again when that is mended, or deploy it with an override that says why"
        )
    return deploy(connection, station, product, model, deployed_by, reason, None if problem is None else override)


def why_not(connection: Connection, station: str, product: str, model: str) -> str | None:
    """Why the gate does not let this model decide: none was passed, or against another model than is in service now."""
    gate = latest_gate(connection, station, model)
    if gate is None:
        return f"has not been gated on {station}"
    if not gate.passed:
        failed = "; ".join(f"{check.check}: {check.detail}" for check in gate.checks if not check.passed)
        return f"did not pass its gate ({failed})"
    deployed = model_in_service(connection, station, product)
    if deployed is not None and deployed.model not in (model, gate.compared_with):
        compared = "no model" if gate.compared_with is None else f"model {gate.compared_with[:12]}"
        return f"was compared with {compared}, and {deployed.model[:12]} is in service now"
    return None


def next_rollback(connection: Connection, station: str, product: str) -> Rollback:
    """What a rollback would do now; Conflict if no other model was in service before.

    A model that a rollback took out is none to go back to, until somebody deploys it again: two rollbacks go two models back.
    """
    rows = connection.execute(
        select(deployments.c.model, deployments.c.taken_out)
        .where(deployments.c.station == station, deployments.c.product == product)
        .order_by(deployments.c.deployment_id)
    )
    trusted: list[str] = []
    for model, taken_out in rows:
        trusted = [each for each in trusted if each not in (model, taken_out)] + [model]
    if len(trusted) < 2:
        raise Conflict(f"no other model was in service for {product} on {station} before; deploy the one that shall decide")
    return Rollback(present=trusted[-1], former=trusted[-2])


def rollback(
    connection: Connection, station: str, product: str, wanted: Rollback, by: str, reason: str, seen: int | None = None
) -> Deployment:
    """Carry out what ``next_rollback`` said, once the artifact of the former model is found whole.

    It needs no gate: it was in service. Conflict if another model was put in service meanwhile; ``seen`` as in ``deploy_gated``.
    """
    in_service = _locked(connection, station, product)
    _check_seen(in_service, product, seen)
    if in_service is None or next_rollback(connection, station, product) != wanted:
        present = "no model" if in_service is None else f"model {in_service.model[:12]}"
        raise Conflict(
            f"{present} is in service for {product} now, not {wanted.present[:12]}: somebody deployed or rolled back meanwhile; "
            "look at the deployments, and roll back again if it is still needed"
        )
    why = f"rolled back: {reason}"
    return deploy(connection, station, product, wanted.former, by, why, taken_out=wanted.present)


def deploy(
    connection: Connection,
    station: str,
    product: str,
    model: str,
    deployed_by: str,
    reason: str,
    override: str | None = None,
    taken_out: str | None = None,
) -> Deployment:
    """Put a registered model in service: the former deployment ends and the new one starts at the same instant.

    NotFound if the model is not registered, Conflict if it was made for another product or another one is deployed at the same
    moment. Asks for no gate; ``override`` and ``taken_out`` are recorded.
    """
    registered = get_model(connection, model)
    if registered.product != product:
        raise Conflict(f"model {model[:12]} was made for product {registered.product!r}; deploy one made for {product!r}")
    now = datetime.now(UTC)
    connection.execute(
        update(deployments)
        .where(deployments.c.station == station, deployments.c.product == product, deployments.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    # A challenger that is put in service has nobody left to challenge.
    connection.execute(
        update(shadows)
        .where(shadows.c.station == station, shadows.c.model == model, shadows.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    values = {
        "station": station,
        "product": product,
        "model": model,
        "deployed_at": now,
        "deployed_by": deployed_by,
        "reason": reason,
        "override": override,
        "taken_out": taken_out,
    }
    try:
        row = connection.execute(insert(deployments).values(**values).returning(*deployments.c)).mappings().one()
    except IntegrityError:
        raise Conflict(
            f"another model was put in service for {product} at the same moment; look at the deployments, and deploy "
            "again if it is still needed"
        ) from None
    return Deployment(**row)


def model_in_service(connection: Connection, station: str, product: str) -> Deployment | None:
    """The deployment that decides for this product on this station now; None if there is none."""
    row = connection.execute(_in_service(station, product)).mappings().one_or_none()
    return None if row is None else Deployment(**row)


def models_in_service(connection: Connection, station: str) -> tuple[Deployment, ...]:
    """The deployments that decide on this station now, by product."""
    statement = (
        select(deployments)
        .where(deployments.c.station == station, deployments.c.ended_at.is_(None))
        .order_by(deployments.c.product)
    )
    return tuple(Deployment(**row) for row in connection.execute(statement).mappings())


def list_deployments(connection: Connection, station: str) -> tuple[Deployment, ...]:
    """All deployments on this station, newest first."""
    rows = connection.execute(
        select(deployments).where(deployments.c.station == station).order_by(deployments.c.deployment_id.desc())
    ).mappings()
    return tuple(Deployment(**row) for row in rows)


def _check_seen(in_service: Deployment | None, product: str, seen: int | None) -> None:
    """Whoever decided by a page that is out of date has to look again."""
    if seen is None or seen == (0 if in_service is None else in_service.deployment_id):
        return
    if in_service is None:
        raise Stale(f"no model is in service for {product} any more; reload the page and decide again")
    raise Stale(
        f"{in_service.deployed_by} put model {in_service.model[:12]} in service for {product} at "
        f"{in_service.deployed_at:%Y-%m-%d %H:%M:%S} UTC ({in_service.reason}), after what you saw; "
        "reload the page, look at that, and decide again"
    )


def _locked(connection: Connection, station: str, product: str) -> Deployment | None:
    """``model_in_service`` until the transaction ends: in PostgreSQL who deploys at the same time waits, and then finds this
    one; SQLite has one writer."""
    row = connection.execute(_in_service(station, product).with_for_update()).mappings().one_or_none()
    return None if row is None else Deployment(**row)


def _in_service(station: str, product: str) -> Select[Any]:
    return select(deployments).where(
        deployments.c.station == station, deployments.c.product == product, deployments.c.ended_at.is_(None)
    )
