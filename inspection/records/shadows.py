"""Shadows: challengers that judge live parts without effect, and where they differ. The caller commits."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, update

from inspection.domain import Disagreement, Shadow, ShadowSummary, Verdict
from inspection.errors import Conflict, NotFound
from inspection.messages import ShadowInspected
from inspection.records.deployments import get_model, model_in_service
from inspection.records.gates import LATENCY, latest_gate
from inspection.records.labels import valid_label_ids
from inspection.records.tables import inspections, labels, shadow_inspections, shadows, triggers

_GIVEN = (Verdict.PASS, Verdict.FAIL, Verdict.REVIEW)


def start_shadow(connection: Connection, station: str, product: str, model: str, by: str, reason: str) -> Shadow:
    """Let a registered model judge this product's parts too, in place of the former challenger.

    NotFound if the model is not registered, Conflict if it was made for another product, is in service, or its newest gate on
    this station did not find it fast enough.
    """
    registered = get_model(connection, model)
    if registered.product != product:
        raise Conflict(f"model {model[:12]} was made for product {registered.product!r}; choose one made for {product!r}")
    deployed = model_in_service(connection, station, product)
    if deployed is not None and deployed.model == model:
        raise Conflict(f"model {model[:12]} is in service for {product}; a challenger is another model")
    gate = latest_gate(connection, station, model)
    if gate is None or not any(check.check == LATENCY and check.passed for check in gate.checks):
        raise Conflict(
            f"model {model[:12]} has not passed the latency check of a gate on {station}, and live parts may wait for it; "
            "gate it, or choose a faster one"
        )
    now = datetime.now(UTC)
    _end(connection, station, product, now)
    values = {"station": station, "product": product, "model": model, "started_at": now, "started_by": by, "reason": reason}
    return Shadow(**connection.execute(insert(shadows).values(**values).returning(*shadows.c)).mappings().one())


def stop_shadow(connection: Connection, station: str, product: str) -> None:
    """NotFound if no challenger runs for this product."""
    if _end(connection, station, product, datetime.now(UTC)) == 0:
        raise NotFound(f"no challenger runs for {product} on {station}; start one with a model of this product")


def shadow_inspected(connection: Connection, message: ShadowInspected) -> bool:
    """Record a challenger's verdict once. False if no trigger that is recorded named the frame that it is on."""
    named = (
        triggers.c.trigger_id == message.trigger_id,
        triggers.c.camera == message.camera,
        triggers.c.camera_epoch == message.camera_epoch,
        triggers.c.trigger_count == message.trigger_count,
    )
    this = (shadow_inspections.c.trigger_id == message.trigger_id, shadow_inspections.c.model == message.model)
    if connection.execute(select(triggers.c.trigger_id).where(*named)).first() is None:
        return False
    if connection.execute(select(shadow_inspections.c.trigger_id).where(*this)).first() is not None:
        return True
    connection.execute(
        insert(shadow_inspections).values(
            trigger_id=message.trigger_id,
            model=message.model,
            verdict=message.verdict,
            score=message.score,
            review_threshold=message.review_threshold,
            fail_threshold=message.fail_threshold,
            inspect_ms=message.inspect_ms,
            decided_at=datetime.fromtimestamp(message.decided_at, UTC),
        )
    )
    return True


def list_shadows(connection: Connection, station: str) -> tuple[Shadow, ...]:
    """All challengers of this station, newest first; one without ``ended_at`` is running."""
    rows = connection.execute(select(shadows).where(shadows.c.station == station).order_by(shadows.c.shadow_id.desc())).mappings()
    return tuple(Shadow(**row) for row in rows)


def shadow_summary(connection: Connection, model: str) -> ShadowSummary:
    """A challenger's verdicts against those that were given for the same parts."""
    rows = connection.execute(
        select(inspections.c.verdict, shadow_inspections.c.verdict, func.count())
        .join(shadow_inspections, shadow_inspections.c.trigger_id == inspections.c.trigger_id)
        .where(shadow_inspections.c.model == model, inspections.c.verdict.in_(_GIVEN))
        .group_by(inspections.c.verdict, shadow_inspections.c.verdict)
    ).all()
    verdicts = {f"{given}/{challenger}": count for given, challenger, count in sorted(rows)}
    agreed = sum(count for given, challenger, count in rows if given == challenger)
    return ShadowSummary(model, sum(verdicts.values()), agreed, verdicts)


def disagreements(connection: Connection, model: str, after: int, limit: int) -> tuple[Disagreement, ...]:
    """Parts on which the challenger differs, by seq after ``after``, oldest first, with the label that counts if there is one."""
    valid = select(labels.c.seq, labels.c.label).where(labels.c.label_id.in_(valid_label_ids())).subquery()
    rows = connection.execute(
        select(
            inspections.c.seq,
            inspections.c.trigger_id,
            inspections.c.lot,
            inspections.c.serial,
            inspections.c.verdict,
            inspections.c.score,
            shadow_inspections.c.verdict.label("shadow_verdict"),
            shadow_inspections.c.score.label("shadow_score"),
            valid.c.label,
        )
        .join(shadow_inspections, shadow_inspections.c.trigger_id == inspections.c.trigger_id)
        .outerjoin(valid, valid.c.seq == inspections.c.seq)
        .where(
            shadow_inspections.c.model == model,
            inspections.c.seq > after,
            inspections.c.verdict.in_(_GIVEN),
            inspections.c.verdict != shadow_inspections.c.verdict,
        )
        .order_by(inspections.c.seq)
        .limit(limit)
    ).mappings()
    return tuple(
        Disagreement(**{**row, "verdict": Verdict(row["verdict"]), "shadow_verdict": Verdict(row["shadow_verdict"])})
        for row in rows
    )


def _end(connection: Connection, station: str, product: str, at: datetime) -> int:
    running = (shadows.c.station == station, shadows.c.product == product, shadows.c.ended_at.is_(None))
    return connection.execute(update(shadows).where(*running).values(ended_at=at)).rowcount
