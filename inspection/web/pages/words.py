"""Plain words for the codes of the domain, as an operator would say them."""

from __future__ import annotations

from cameras.fault_kinds import FaultKind
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
    FaultKind.CAMERA_LOST: "Camera lost",
    FaultKind.TRIGGER_MISSED: "Trigger missed by the camera",
    FaultKind.FRAME_LOST: "Image lost",
    FaultKind.FRAME_CORRUPT: "Image damaged",
    FaultKind.EXTRA_FRAME: "Image without a trigger",
    FaultKind.DESYNC: "Images and triggers out of step",
    FaultKind.RING_FULL: "Image memory full",
    FaultKind.OPTICS: "Image not taken as usual",
    FaultKind.OPTICS_DRIFT: "Light or lens changes",
    FaultKind.DEADLINE: "Verdict too late",
    FaultKind.DEADLINE_MISSES: "Several verdicts too late",
    FaultKind.DETECTOR_ERROR: "Detector failed",
    FaultKind.NO_MODEL: "No model in service",
    FaultKind.MODEL_REFUSED: "Model refused",
    FaultKind.CHALLENGER_REFUSED: "Challenger refused",
    FaultKind.CHALLENGER_SUSPENDED: "Challenger suspended",
    FaultKind.SERIAL_MISMATCH: "Part carries another serial",
    FaultKind.SERIAL_UNREAD: "Serial on the part not read",
    FaultKind.ACCEPT_NOT_GIVEN: "Accept not given",
    FaultKind.ACCEPT_LATE: "Accept given late",
    FaultKind.IMAGE_LOST: "Image could not be stored",
    FaultKind.IMAGE_SKIPPED: "Image not stored, to keep up",
    FaultKind.NO_ROOM: "No room for images of passed parts",
    FaultKind.ORPHAN_IMAGES: "Images without records",
    FaultKind.RECORDS_LOST: "Records lost or restored",
    FaultKind.REFUSED_MESSAGE: "Message refused by the records",
    FaultKind.WAL_GROWS: "The database's log grows",
    FaultKind.PROCESS_ENDED: "Process ended",
    FaultKind.PROCESS_HUNG: "Process hung",
    FaultKind.PROCESS_OVER_MEMORY: "Process used too much memory",
    FaultKind.CLOCK_STEPPED: "Clock set",
    FaultKind.RECEIVER_AWAY: "Receiver away",
    FaultKind.PLC_HEARTBEAT: "PLC silent",
    FaultKind.MISSED_ACQUISITION: "PLC triggered too early",
    FaultKind.INVALID_PART: "PLC named no valid part",
    FaultKind.RESULTS_BUFFER_OVERRUN: "PLC does not read results",
    FaultKind.STOP_REQUEST: "PLC is asked to stop",
    FaultKind.CONFIRMATION_LOST: "Confirmation of the rejector overwritten",
    FaultKind.CONFIRMATION_INVALID: "Confirmation of the rejector not valid",
    FaultKind.CONFIRMATION_UNKNOWN: "Confirmation of an unknown part",
    FaultKind.ACCEPT_NOT_COMMANDED: "Part accepted without a command",
    FaultKind.ACCEPT_NOT_TAKEN: "Good part rejected by the PLC",
    FaultKind.ACCEPT_NOT_CONFIRMED: "Accept not confirmed",
    FaultKind.REJECT_NOT_CONFIRMED: "Reject not confirmed",
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
    FaultKind.CAMERA_LOST: "Look at the camera's cable and power; the station connects again by itself.",
    FaultKind.TRIGGER_MISSED: "Slow the line, or shorten exposure or readout of the camera.",
    FaultKind.FRAME_LOST: "Look at the cable and the network of the camera if it comes again.",
    FaultKind.FRAME_CORRUPT: "Look at the cable of the camera, and for machines that disturb it.",
    FaultKind.EXTRA_FRAME: "Look at the trigger's wiring: the camera was triggered without a request.",
    FaultKind.DESYNC: "The camera is armed anew by itself; look at the trigger's wiring if it comes again.",
    FaultKind.RING_FULL: "Slow the line; look whether other programs take the processor.",
    FaultKind.OPTICS: "Look at lamp, lens and position of the part; the page Quality shows since when.",
    FaultKind.OPTICS_DRIFT: "Clean lens and lamp or replace the lamp, before images are refused; see the page Quality.",
    FaultKind.DEADLINE: "Slow the line, or look what else takes the processor.",
    FaultKind.DEADLINE_MISSES: "Slow the line, or look what else takes the processor; the camera is armed anew by itself.",
    FaultKind.DETECTOR_ERROR: "Put another model in service if it comes again; the log of the inspector says more.",
    FaultKind.NO_MODEL: "Put a model in service for the product.",
    FaultKind.MODEL_REFUSED: "Put another model in service; the log of the inspector says what is wrong with this one.",
    FaultKind.CHALLENGER_REFUSED: "Stop this challenger; the log of the inspector says what is wrong with it.",
    FaultKind.CHALLENGER_SUSPENDED: "Parts come too fast for two models; the challenger may try again when they are slower.",
    FaultKind.SERIAL_MISMATCH: "Look whether parts were swapped, or whether the trigger names the part before or after.",
    FaultKind.SERIAL_UNREAD: "Look whether the code is dirty, unprinted or outside the image.",
    FaultKind.ACCEPT_NOT_GIVEN: "A good part was rejected: its accept came too late. Slow the line if it comes again.",
    FaultKind.ACCEPT_LATE: "A signal that began late may have met the part behind: find both parts. Slow the line.",
    FaultKind.IMAGE_LOST: "Look at the room on the disk and its health.",
    FaultKind.IMAGE_SKIPPED: "Slow the line, or keep fewer images of passed parts.",
    FaultKind.NO_ROOM: "Make room on the disk, or keep images of passed parts for fewer days.",
    FaultKind.ORPHAN_IMAGES: "Look whether a backup older than the images was restored; they are left where they are.",
    FaultKind.RECORDS_LOST: "Open the lots again that were opened since the backup; numbers go on after all that were known.",
    FaultKind.REFUSED_MESSAGE: "Report this with the log of the recorder.",
    FaultKind.WAL_GROWS: "End the program that has been reading the database for so long.",
    FaultKind.PROCESS_ENDED: "It starts again by itself; report it with its log if it comes again.",
    FaultKind.PROCESS_HUNG: "It starts again by itself; look at the disk, and at the camera's driver if it was a camera.",
    FaultKind.PROCESS_OVER_MEMORY: "It starts again by itself; raise process_memory_mib if the machine has room.",
    FaultKind.CLOCK_STEPPED: "Let a time service keep the clock; times before and after do not fit together.",
    FaultKind.RECEIVER_AWAY: "Look at the network and the receiver; what waits is delivered when it is back.",
    FaultKind.PLC_HEARTBEAT: "Look at the PLC and its network; parts are rejected until it is back.",
    FaultKind.MISSED_ACQUISITION: "The PLC must wait for Trigger Ready; that part was not inspected.",
    FaultKind.INVALID_PART: "Look at what the PLC writes as lot and serial.",
    FaultKind.RESULTS_BUFFER_OVERRUN: "The PLC must acknowledge each result; parts whose result was lost are rejected.",
    FaultKind.STOP_REQUEST: "Too many parts in a row were not inspected: stop the line and look at the faults before this one.",
    FaultKind.CONFIRMATION_LOST: "The PLC must write one confirmation at a time, its count last.",
    FaultKind.CONFIRMATION_INVALID: "Look at what the PLC writes as confirmed output.",
    FaultKind.CONFIRMATION_UNKNOWN: "Look whether the PLC confirms a part twice, or names another acquisition.",
    FaultKind.ACCEPT_NOT_COMMANDED: "Find the part: it is among the good ones, and was not to be accepted. Look at the rejector.",
    FaultKind.ACCEPT_NOT_TAKEN: "The PLC read the result too late; slow the line or let it read faster.",
    FaultKind.ACCEPT_NOT_CONFIRMED: "Look at the sensor at the rejector: nobody said where the part went.",
    FaultKind.REJECT_NOT_CONFIRMED: "Look at the rejector and its sensor, and find the part: it may be among the good ones.",
}


def advice(kind: str) -> str:
    """What to do about a kind of fault; records of other versions may hold kinds of theirs."""
    return ADVICE[FaultKind(kind)] if kind in FAULTS else "Look into the log of the process if it comes again."


def looks_like(proposed_class: str) -> str:
    """What a model proposes of a reject: no more than a likeness, until somebody labels the part."""
    return f"Looks like: {proposed_class}"


def fault_words(kind: str) -> str:
    """Words for a kind of fault; of another version's, the kind itself, readable."""
    return FAULTS[FaultKind(kind)] if kind in FAULTS else kind.replace("_", " ").capitalize()
