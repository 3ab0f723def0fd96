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
    Reason.OPTICS: "the image is not as a good image of this product is taken, whatever the part is like",
    Reason.CHALLENGE_DUE: "the golden parts have to be fed first, or were not judged right",
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
    "no_room": "No room for pictures of passed parts",
    "orphan_images": "Pictures without records",
    "wal_grows": "The database's log grows",
    "model_refused": "Model refused",
    "refused_message": "Message refused by the records",
    "challenger_suspended": "Challenger suspended",
    "receiver_away": "Receiver away",
    "clock_step": "Clock set",
}

GATE_CHECKS = {"parity": "As validated", "latency": "Fast enough", "golden": "Golden set", "comparison": "Not worse"}

STAGES = {
    "autopilot": "comparing designs",
    "read": "reading images",
    "bank": "choosing patches",
    "calibrate": "calibrating",
    "export": "exporting",
    "parity": "comparing",
    "store": "storing",
}


ADVICE = {
    "camera_lost": "Look at the camera's cable and power; the station connects again by itself.",
    "frame_lost": "Look at the cable and the network of the camera if it comes again.",
    "frame_corrupt": "Look at the cable of the camera, and for machines that disturb it.",
    "trigger_missed": "Slow the line, or shorten exposure or readout of the camera.",
    "desync": "The camera is armed anew by itself; look at the trigger's wiring if it comes again.",
    "ring_full": "Slow the line; look whether other programs take the processor.",
    "extra_frame": "Look at the trigger's wiring: the camera was triggered without a request.",
    "image_lost": "Look at the room on the disk and its health.",
    "image_skipped": "Slow the line, or keep fewer pictures of passed parts.",
    "no_room": "Make room on the disk, or keep pictures of passed parts for fewer days.",
    "orphan_images": "Look whether a backup older than the pictures was restored; they are left where they are.",
    "wal_grows": "End the program that has been reading the database for so long.",
    "model_refused": "Put another model in service; the log of the inspector says what is wrong with this one.",
    "refused_message": "Report this with the log of the recorder.",
    "challenger_suspended": "Parts come too fast for two models; the challenger may try again when they are slower.",
    "receiver_away": "Look at the network and the receiver; what waits is delivered when it is back.",
    "clock_step": "Let a time service keep the clock; times before and after do not fit together.",
}


def advice(kind: str) -> str:
    """What to do about a kind of fault."""
    return ADVICE.get(kind, "Look into the log of the process if it comes again.")


def looks_like(proposed_class: str) -> str:
    """What a model proposes of a reject: no more than a likeness, until somebody labels the part."""
    return f"Looks like: {proposed_class}"


def fault_words(kind: str) -> str:
    """Words for a kind of fault; the kind itself, readable, where there are none."""
    return FAULTS.get(kind) or kind.replace("_", " ").capitalize()
