"""What may go wrong, as it stands in the records, in metrics and logs."""

from __future__ import annotations

from enum import StrEnum


class FaultKind(StrEnum):
    """Kinds of counted losses and failures; a loss of one part has the value of its reason."""

    # Camera and frames.
    CAMERA_LOST = "camera_lost"
    TRIGGER_MISSED = "trigger_missed"
    FRAME_LOST = "frame_lost"
    FRAME_CORRUPT = "frame_corrupt"
    EXTRA_FRAME = "extra_frame"
    DESYNC = "desync"
    RING_FULL = "ring_full"
    OPTICS = "optics"
    OPTICS_DRIFT = "optics_drift"
    # Judging.
    DEADLINE = "deadline"
    DEADLINE_MISSES = "deadline_misses"
    DETECTOR_ERROR = "detector_error"
    NO_MODEL = "no_model"
    MODEL_REFUSED = "model_refused"
    CHALLENGER_REFUSED = "challenger_refused"
    CHALLENGER_SUSPENDED = "challenger_suspended"
    SERIAL_MISMATCH = "serial_mismatch"
    SERIAL_UNREAD = "serial_unread"
    # Accept output of the camera.
    ACCEPT_NOT_GIVEN = "accept_not_given"
    ACCEPT_LATE = "accept_late"
    # Records, images and disk.
    IMAGE_LOST = "image_lost"
    IMAGE_SKIPPED = "image_skipped"
    NO_ROOM = "no_room"
    ORPHAN_IMAGES = "orphan_images"
    RECORDS_LOST = "records_lost"
    REFUSED_MESSAGE = "refused_message"
    WAL_GROWS = "wal_grows"
    # Processes and the machine.
    PROCESS_ENDED = "process_ended"
    PROCESS_HUNG = "process_hung"
    PROCESS_OVER_MEMORY = "process_over_memory"
    CLOCK_STEPPED = "clock_stepped"
    # Other programs.
    RECEIVER_AWAY = "receiver_away"
    PLC_HEARTBEAT = "plc_heartbeat"
    MISSED_ACQUISITION = "missed_acquisition"
    INVALID_PART = "invalid_part"
    RESULTS_BUFFER_OVERRUN = "results_buffer_overrun"
    STOP_REQUEST = "stop_request"
    CONFIRMATION_LOST = "confirmation_lost"
    CONFIRMATION_INVALID = "confirmation_invalid"
    CONFIRMATION_UNKNOWN = "confirmation_unknown"
    ACCEPT_NOT_COMMANDED = "accept_not_commanded"
    ACCEPT_NOT_TAKEN = "accept_not_taken"
    ACCEPT_NOT_CONFIRMED = "accept_not_confirmed"
    REJECT_NOT_CONFIRMED = "reject_not_confirmed"
