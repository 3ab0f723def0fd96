"""Plain words for the codes of the domain, as an operator would say them."""

from __future__ import annotations

from inspection.domain import Output, Reason, Verdict

VERDICTS = {
    Verdict.PASS: "Pass",
    Verdict.FAIL: "Fail",
    Verdict.REVIEW: "Review",
    Verdict.NOT_INSPECTED: "Not inspected",
}

REASONS = {
    Reason.CAMERA_LOST: "the camera was not connected",
    Reason.FRAME_LOST: "the camera's image never arrived",
    Reason.FRAME_CORRUPT: "the image arrived damaged",
    Reason.TRIGGER_MISSED: "the camera missed the trigger",
    Reason.DESYNC: "images and triggers were out of step",
    Reason.DEADLINE: "the verdict came too late",
    Reason.RING_FULL: "the image memory was full",
    Reason.LINE_DOWN: "the line process was restarting",
    Reason.OVERLOAD: "parts came faster than they could be inspected",
    Reason.UNKNOWN_LOT: "the lot was never opened",
    Reason.CLOSED_LOT: "the lot was closed already",
    Reason.SERIAL_MISMATCH: "the part carries another serial",
    Reason.SERIAL_UNREAD: "the serial on the part could not be read",
    Reason.HELD_LOT: "the lot was held",
    Reason.NO_MODEL: "no model is in service for the product",
    Reason.DETECTOR_ERROR: "the detector failed on the image",
}

OUTPUTS = {Output.ACCEPT: "accepted", Output.REJECT: "rejected", None: "rejected, no output confirmed"}

FAULTS = {
    "camera_lost": "Camera lost",
    "frame_lost": "Image lost",
    "frame_corrupt": "Image damaged",
    "trigger_missed": "Trigger missed by the camera",
    "desync": "Images and triggers out of step",
    "ring_full": "Image memory full",
    "extra_frame": "Image without a trigger",
    "image_lost": "Picture could not be stored",
    "image_skipped": "Picture not stored, to keep up",
    "model_refused": "Model refused",
    "refused_message": "Message refused by the records",
}


def looks_like(proposed_class: str) -> str:
    """What a model proposes of a reject: no more than a likeness, until somebody labels the part."""
    return f"Looks like: {proposed_class}"


def fault_words(kind: str) -> str:
    """Words for a kind of fault; the kind itself, readable, where there are none."""
    return FAULTS.get(kind) or kind.replace("_", " ").capitalize()
