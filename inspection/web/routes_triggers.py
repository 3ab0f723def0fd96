"""REST: a trigger for a part that stands before a camera."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from inspection.domain import Output, Reason, Verdict
from inspection.messages import TriggerRequest
from inspection.records import queries
from inspection.web.context import InContext, Records
from inspection.web.names import Name
from inspection.web.problems import Problem, documented, not_found_as
from inspection.web.triggers import INBOX

router = APIRouter(prefix="/api/v1/triggers", tags=["triggers"], responses=documented())


class NewTrigger(BaseModel):
    """The part that stands before the camera of its lot's product. Without a serial, the code on the part tells it, for products
    with ``serial_from = "code"``.
    """

    model_config = ConfigDict(extra="forbid")

    lot: Name
    serial: Name | None = None


@dataclass(frozen=True, slots=True)
class Triggered:
    """What became of the part. Accept it if ``output`` says so, and in no other case."""

    trigger_id: int
    lot: str
    serial: str
    output: Output
    verdict: Verdict
    reason: Reason | None
    score: float | None
    model: str | None
    durable_ms: float


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def trigger(new: NewTrigger, context: InContext, records: Records) -> Triggered:
    """Inspect one part now, and answer when its inspection is durable.

    For cameras with TriggerSource = Software; where a PLC or a sensor triggers, it alone knows when a part is there.
    """
    with not_found_as("unknown_lot"):
        lot = queries.get_lot(records, new.lot)
    camera = context.settings.software_triggered.get(lot.product)
    if camera is None:
        raise Problem(
            HTTPStatus.CONFLICT,
            "no_software_trigger",
            f"the camera of product {lot.product!r} is not triggered by software; let the PLC trigger, "
            'or set TriggerSource = "Software" for it',
        )
    if new.serial is None and lot.product not in context.settings.serials_from_code:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid_request",
            f'name the serial; the code on the part tells it only for products with serial_from = "code", which {lot.product!r} '
            "has not",
        )
    name, deadline_ms = camera
    request = TriggerRequest(
        request_id=uuid.uuid4().hex,
        lot=new.lot,
        serial=new.serial,
        camera=name,
        reply_to=INBOX,
        requested_ns=time.monotonic_ns(),
    )
    command = context.triggers.trigger(request, deadline_ms)
    return Triggered(
        trigger_id=command.trigger_id,
        lot=new.lot,
        serial=command.serial,
        output=command.output,
        verdict=command.verdict,
        reason=command.reason,
        score=command.score,
        model=command.model,
        durable_ms=command.durable_ms,
    )
