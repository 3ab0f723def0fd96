"""Numbers that stand in registers for words. A number that was given once keeps its meaning."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from inspection.domain import Output, Reason, Verdict


class Control(IntFlag):
    """Bits of the control word, which the PLC writes."""

    TRIGGER_ENABLE = 1 << 0
    TRIGGER = 1 << 1
    CLEAR_ERROR = 1 << 2
    SET_OFFLINE = 1 << 3
    BUFFER_RESULTS_ENABLE = 1 << 4
    RESULTS_ACK = 1 << 5


class Status(IntFlag):
    """Bits of the status word, which the PLC reads."""

    TRIGGER_READY = 1 << 0
    TRIGGER_ACK = 1 << 1
    EXPOSE = 1 << 2
    EXPOSURE_COMPLETE = 1 << 3
    MISSED_ACQUISITION = 1 << 4
    ONLINE = 1 << 5
    SYSTEM_BUSY = 1 << 6
    INSPECTION_COMPLETED = 1 << 7
    RESULTS_BUFFER_OVERRUN = 1 << 8
    RESULTS_VALID = 1 << 9
    PASS = 1 << 10
    ERROR = 1 << 11
    STOP_REQUEST = 1 << 12


NO_CONTROL: Final = Control(0)
NO_STATUS: Final = Status(0)


class ErrorCode(IntEnum):
    """The newest error since Clear Error."""

    NONE = 0
    MISSED_ACQUISITION = 1
    INVALID_PART = 2
    RESULTS_BUFFER_OVERRUN = 3
    PLC_HEARTBEAT = 4
    STOP_REQUEST = 5
    NOT_CONFIRMED = 6
    ACCEPT_NOT_COMMANDED = 7


class OfflineReason(IntEnum):
    """Why the station takes no triggers and accepts nothing."""

    ONLINE = 0
    PLC_HEARTBEAT = 1
    SET_OFFLINE = 2
    LINE_DOWN = 3


LATE: Final = 100
"""Reason code: the verdict came after the deadline for an accept."""
PLC_WAS_AWAY: Final = 101
"""Reason code: the PLC's heartbeat stopped since the part was triggered."""

VERDICT_CODES: Final = {Verdict.PASS: 1, Verdict.FAIL: 2, Verdict.REVIEW: 3, Verdict.NOT_INSPECTED: 4}
OUTPUT_CODES: Final = {Output.REJECT: 1, Output.ACCEPT: 2}
REASON_CODES: Final = {
    Reason.CAMERA_LOST: 1,
    Reason.FRAME_LOST: 2,
    Reason.FRAME_CORRUPT: 3,
    Reason.TRIGGER_MISSED: 4,
    Reason.DESYNC: 5,
    Reason.DEADLINE: 6,
    Reason.RING_FULL: 7,
    Reason.LINE_DOWN: 8,
    Reason.OVERLOAD: 9,
    Reason.UNKNOWN_LOT: 10,
    Reason.CLOSED_LOT: 11,
    Reason.NO_MODEL: 12,
    Reason.DETECTOR_ERROR: 13,
    Reason.HELD_LOT: 14,
    Reason.SERIAL_MISMATCH: 15,
    Reason.SERIAL_UNREAD: 16,
    Reason.CHALLENGE_DUE: 17,
    Reason.OPTICS: 18,
}

CONTROL_MEANINGS: Final[dict[int, str]] = {
    Control.TRIGGER_ENABLE: "Trigger Ready may come.",
    Control.TRIGGER: "Rising edge while Trigger Ready: inspect the part whose lot and serial stand in the registers. Held until "
    "the camera's edge was raised, or the part is given up; dropped before Trigger Ack, the part is given up.",
    Control.CLEAR_ERROR: "Rising edge: clears Error, Missed Acquisition, Results Buffer Overrun and Stop Request.",
    Control.SET_OFFLINE: "No triggers are taken and nothing is accepted while it is set.",
    Control.BUFFER_RESULTS_ENABLE: "Up to eight results wait, the shown one included; else a new result replaces the shown one.",
    Control.RESULTS_ACK: "Rising edge: the shown result was read. The next one comes after the falling edge.",
}
STATUS_MEANINGS: Final[dict[int, str]] = {
    Status.TRIGGER_READY: "A rising edge of Trigger will be taken.",
    Status.TRIGGER_ACK: "The trigger is numbered, and Acquisition ID is its own; until Trigger is dropped.",
    Status.EXPOSE: "Raise the camera's trigger edge now, and not after this bit is gone. Always 0 where the station triggers "
    "the camera itself.",
    Status.EXPOSURE_COMPLETE: "No exposure of the last trigger is under way or allowed; until the next trigger is taken.",
    Status.MISSED_ACQUISITION: "A trigger was not taken: it came while Trigger Ready was 0, or lot or serial were not valid. "
    "Until the next trigger is taken, or Clear Error.",
    Status.ONLINE: "The line process and the PLC are alive, and the PLC did not set the station offline.",
    Status.SYSTEM_BUSY: "Parts are between trigger and result.",
    Status.INSPECTION_COMPLETED: "Toggles with each result.",
    Status.RESULTS_BUFFER_OVERRUN: "A result was dropped unread, and its part stays rejected; until Clear Error.",
    Status.RESULTS_VALID: "The result registers hold a result; until Results Ack.",
    Status.PASS: "ACCEPT: the part of the shown result, and no other, may be accepted, now. 0 rejects.",
    Status.ERROR: "Error Code is not 0; until Clear Error.",
    Status.STOP_REQUEST: "Stop the conveyor: results in a row were late or not inspected; until Clear Error.",
}
