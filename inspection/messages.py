"""What crosses between the processes of the station, besides what cameras say: typed, versioned msgspec structs.

``*_ns`` fields are the host's CLOCK_MONOTONIC, common to the processes of one station; ``*_at`` fields are Unix time in seconds,
for the records.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from cameras.messages import (
    AcceptDone,
    CameraArmed,
    CameraLost,
    CameraReady,
    Desync,
    FaultReport,
    FrameRef,
    Heartbeat,
    Message,
    TriggerLost,
)
from inspection.domain import Output, Reason, Verdict

# What a requester may call things: the columns of the records hold that much, and a trigger that they refused would be lost.
Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]

# Answers go to this inbox: a plain name, since it becomes part of a path.
Inbox = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9@_-]{1,64}\Z")]


class TriggerRequest(Message, frozen=True):
    """PLC to line: a part arrived. The requester keeps it until an OutputCommand answers, and sends it again with ``passed``
    when none came in time: the part is gone then, and only its record is asked for. ``request_id`` makes that idempotent.
    For one camera, requests are serial: the edge of one part is raised, or given up, before the next part is asked for.
    ``serial`` is None if the code on the part is to tell it, for products with ``serial_from = "code"``.
    """

    request_id: Name
    lot: Name
    serial: Name | None
    camera: Name
    reply_to: Inbox
    requested_ns: int
    passed: bool = False


class TriggerAck(Message, frozen=True):
    """Line to PLC: the trigger is numbered. ``expose``: raise the edge on the camera's trigger line now, and not after
    ``expose_until_ns``.
    """

    request_id: str
    trigger_id: int
    expose: bool
    expose_until_ns: int


class OutputCommand(Message, frozen=True):
    """Line to PLC: what to do with the part, once its row is durable, ``durable_ms`` after the request. Without it the part is
    rejected. ``serial`` is that of the row. ``score`` and ``model`` are None where nothing was judged, or the row was announced
    again.
    """

    request_id: str
    trigger_id: int
    serial: str
    output: Output
    verdict: Verdict
    reason: Reason | None
    durable_ms: float
    score: float | None = None
    model: str | None = None


class Ticket(Message, frozen=True):
    """Line to recorder and inspector: one trigger. ``camera_epoch`` and ``trigger_count`` name the only frame that may decide it;
    None: the camera was not triggered. ``line_epoch`` tells one life of the line process from the next. ``unnamed``: the request
    named no serial, and a provisional one stands for it.
    """

    trigger_id: int
    line_epoch: int
    request_id: str
    lot: str
    serial: str
    camera: str
    product: str | None
    camera_epoch: int | None
    trigger_count: int | None
    triggered_at: float
    requested_ns: int
    issued_ns: int
    expose_until_ns: int
    deadline_ms: float
    unnamed: bool = False


class NotInspected(Message, frozen=True):
    """Line to recorder: the part cannot be judged any more."""

    trigger_id: int
    reason: Reason
    decided_at: float


class OutputDone(Message, frozen=True):
    """Line to recorder: what was commanded for a part."""

    trigger_id: int
    output: Output


class LineStarted(Message, frozen=True):
    """A new line process: every trigger that the former one left open is closed as not inspected."""

    line_epoch: int
    at: float


class RecorderState(Message, frozen=True):
    """Answer to LineStarted: where the numbering goes on."""

    line_epoch: int
    last_trigger_id: int


class RecorderStarted(Message, frozen=True):
    """A new recorder process, or one that missed messages: the line sends again whatever it has not seen recorded.

    Numbers up to ``last_trigger_id`` are not given out again. A line whose own are below it ends, and the next one asks where
    they go on: records were lost, and numbers passed over.
    """

    at: float
    last_trigger_id: int


class InspectorStarted(Message, frozen=True):
    """A new inspector process: the line sends again the tickets that still wait for a frame."""

    at: float


class RegionBox(Message, frozen=True):
    """One anomalous area, in frame pixels."""

    x: int
    y: int
    width: int
    height: int
    score: float
    area: int


class Inspected(Message, frozen=True):
    """Inspector to recorder: one decision. The frame's slot belongs to the recorder from now on.

    ``map_f16`` holds map_height × map_width float16 raw scores, row by row. ``proposed_class`` is that of the labelled defects
    which the part is most like, for the verdicts ``review`` and ``fail`` of a model that has classes. ``refused``: why the
    verdict is not applied although it came in time; the part is not inspected, and ``detail`` may say more. ``serial`` is what
    the code on the part says, for an unnamed ticket. ``optics`` are the figures of ``inspection.optics``.
    """

    trigger_id: int
    verdict: Verdict
    score: float
    p_value: float
    review_threshold: float
    fail_threshold: float
    model: str
    proposed_class: str | None
    regions: tuple[RegionBox, ...]
    frame: FrameRef
    map_width: int
    map_height: int
    map_f16: bytes
    acquired_at: float
    decided_at: float
    timings_ms: dict[str, float]
    refused: Reason | None = None
    serial: str | None = None
    optics: dict[str, float] | None = None
    detail: str | None = None


class ShadowInspected(Message, frozen=True):
    """Inspector to recorder: what a challenger would have decided. It never reaches the line.

    Camera, epoch and count name the frame, as in the ticket of the trigger.
    """

    trigger_id: int
    camera: str
    camera_epoch: int
    trigger_count: int
    model: str
    verdict: Verdict
    score: float
    review_threshold: float
    fail_threshold: float
    inspect_ms: float
    decided_at: float


class Recorded(Message, frozen=True):
    """Recorder to line: the inspection row of this trigger is durable since ``durable_ns``. ``score`` and ``model`` are those of
    a verdict that is announced for the first time."""

    seq: int
    trigger_id: int
    serial: str
    verdict: Verdict
    reason: Reason | None
    durable_ns: int
    score: float | None = None
    model: str | None = None


LineMessage = (
    TriggerRequest
    | CameraReady
    | CameraArmed
    | CameraLost
    | AcceptDone
    | TriggerLost
    | Desync
    | Recorded
    | RecorderState
    | RecorderStarted
    | InspectorStarted
)
InspectorMessage = Ticket | FrameRef | CameraArmed
RecorderMessage = Ticket | NotInspected | OutputDone | LineStarted | Inspected | ShadowInspected | FaultReport | Heartbeat
CellMessage = TriggerAck | OutputCommand
PlcMessage = TriggerAck | OutputCommand | Heartbeat
