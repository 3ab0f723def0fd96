"""What a camera process says and hears: typed, versioned msgspec structs.

Pixels never travel in a message: a FrameRef names a slot of the camera's shared-memory ring. All ``*_ns`` fields are the host's
CLOCK_MONOTONIC, which is common to the processes of one station; ``at`` fields are Unix time in seconds, for the records.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from cameras.fault_kinds import FaultKind

SCHEMA_VERSION = 8


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Root of all messages; the struct's name is its tag on the wire."""


class Loss(StrEnum):
    """Why a trigger has no usable frame. The values are those of ``inspection.domain.Reason``."""

    CAMERA_LOST = "camera_lost"
    FRAME_LOST = "frame_lost"
    FRAME_CORRUPT = "frame_corrupt"
    TRIGGER_MISSED = "trigger_missed"
    DESYNC = "desync"
    RING_FULL = "ring_full"
    DETECTOR_ERROR = "detector_error"
    NO_MODEL = "no_model"
    DEADLINE = "deadline"


class FrameRef(Message, frozen=True):
    """Where one frame lies in the camera's ring, and what the camera said of it.

    ``trigger_count`` numbers the trigger edges since the camera was armed for ``camera_epoch``, from 1. ``exposed_ns`` is the
    start of the exposure on the host's clock, known to ``clock_error_ns``.
    """

    camera: str
    camera_epoch: int
    ring: str
    slot: int
    slot_seq: int
    pixel_format: str
    width: int
    height: int
    frame_id: int
    trigger_count: int
    timestamp_ns: int
    exposed_ns: int
    clock_error_ns: int
    received_ns: int
    exposure_us: float | None


class CameraReady(Message, frozen=True):
    """The camera is open and configured, and waits for Arm; repeated until it comes."""

    camera: str


class Arm(Message, frozen=True):
    """Line to camera: count triggers from 1 in a new epoch. The line has no exposure outstanding.

    ``missed``: because verdicts were missing. If no frame came either since the camera was armed, it is opened again instead.
    """

    camera: str
    camera_epoch: int
    missed: bool = False


class CameraArmed(Message, frozen=True):
    """The camera counts triggers from 1 in this epoch. ``exact``: it counts edges itself, and its clock is known on the host;
    if not, only one exposure may be outstanding at a time. ``trigger_delay_ns``: from an edge to its exposure, as it is set.
    """

    camera: str
    camera_epoch: int
    exact: bool = True
    trigger_delay_ns: int = 0


class CameraLost(Message, frozen=True):
    """No frames until the camera is armed again: unplugged, refused, or its process restarts."""

    camera: str
    detail: str


class TriggerLost(Message, frozen=True):
    """No usable frame will come for these trigger counts."""

    camera: str
    camera_epoch: int
    trigger_counts: tuple[int, ...]
    loss: Loss
    detail: str


class Desync(Message, frozen=True):
    """Frames and triggers of this epoch cannot be matched any more; the line arms the camera anew."""

    camera: str
    camera_epoch: int
    detail: str


class SoftwareTrigger(Message, frozen=True):
    """Line to camera: expose now, as this trigger count."""

    camera: str
    camera_epoch: int
    trigger_count: int


class Accept(Message, frozen=True):
    """Line to camera: signal on the accept output that the part of this trigger count is accepted, now and not after
    ``until_ns``.
    """

    camera: str
    camera_epoch: int
    trigger_count: int
    until_ns: int


class AcceptDone(Message, frozen=True):
    """Camera to line: the pulse began before ``begun_ns``; None: it was refused, and none will come."""

    camera: str
    camera_epoch: int
    trigger_count: int
    begun_ns: int | None


class FaultReport(Message, frozen=True):
    """A counted loss or failure, for the records."""

    at: float
    source: str
    kind: FaultKind
    count: int
    detail: str


class Heartbeat(Message, frozen=True):
    """A process lives; ``state`` is for people, ``counters`` for machines. Not ``ok``: it cannot do its work now, and ``state``
    says why."""

    process: str
    at: float
    state: str
    counters: dict[str, float]
    ok: bool = True
