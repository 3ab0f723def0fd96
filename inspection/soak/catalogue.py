"""The faults that a plan draws from: what is done to which part of the station, for how long, and what is to come of it."""

from __future__ import annotations

from dataclasses import dataclass

from inspection.soak import injectors, learning
from inspection.soak.injectors import Injector
from inspection.soak.receiver import Mood
from inspection.soak.station import MANAGER, TRAINER

INSPECTING = ("recorder", "line", "inspector", "camera@top")
PROCESSES = (*INSPECTING, "plc", "web", "outbox", TRAINER)
_LISTENING = (*INSPECTING, "plc")


@dataclass(frozen=True, slots=True)
class Fault:
    """``seconds`` are the least and the most that it lasts, 0 for one that is over at once. Two that touch the same thing never
    overlap: ``touches`` names it, "" stands for the target. ``expected`` says what parts meet while it lasts.
    """

    name: str
    inject: Injector
    expected: str
    targets: tuple[str, ...] = ("",)
    seconds: tuple[float, float] = (0.0, 0.0)
    touches: str = ""


_LOST = "not inspected, rejected; the process is started again"
_WAITS = "late or not inspected, rejected, until it goes on or is started again"
_SHORT = "judged, or the process ends and is started again"
_UNSTORED = "judged; images are lost, and said to be"
_SOME = (0.5, 4.0)

CATALOGUE = (
    Fault("killed", injectors.kill, _LOST, PROCESSES),
    Fault("manager killed", injectors.kill, "not inspected until the service manager has started it again", (MANAGER,)),
    Fault("stopped for a moment", injectors.stop, _WAITS, (*PROCESSES, MANAGER), (0.1, 1.5)),
    # The recorder's ring is full by then: its slots hold a second or two of parts.
    Fault("stopped for long", injectors.stop, _WAITS, INSPECTING, (3.0, 8.0)),
    Fault("stopped for ever", injectors.stop_for_ever, "not inspected until the watchdog has ended it", INSPECTING),
    Fault("out of memory", injectors.without_memory, _SHORT, INSPECTING, (1.0, 4.0)),
    Fault("out of files", injectors.without_files, _SHORT, INSPECTING, (1.0, 4.0)),
    Fault("camera unplugged", injectors.unplugged("error"), "camera_lost", seconds=_SOME, touches="plug"),
    Fault("camera unplugged silently", injectors.unplugged("silent"), "camera_lost", seconds=_SOME, touches="plug"),
    Fault("frames dropped", injectors.spoiled_frames("drop"), "frame_lost", seconds=_SOME, touches="frames"),
    Fault("frames incomplete", injectors.spoiled_frames("incomplete"), "frame_lost", seconds=_SOME, touches="frames"),
    Fault("frames corrupt", injectors.spoiled_frames("corrupt"), "frame_corrupt", seconds=_SOME, touches="frames"),
    Fault("frame ids doubled", injectors.spoiled_frames("duplicate_id"), "desync", seconds=_SOME, touches="frames"),
    Fault("frames delayed", injectors.spoiled_frames("delay"), "judged, deadline or desync", seconds=_SOME, touches="frames"),
    Fault("stray edges", injectors.stray_edges, "desync", seconds=_SOME, touches="edges"),
    Fault("black pictures", injectors.spoilt_optics("black"), "no part passes", seconds=_SOME, touches="optics"),
    Fault("saturated pictures", injectors.spoilt_optics("saturated"), "no part passes", seconds=_SOME, touches="optics"),
    Fault("blurred pictures", injectors.spoilt_optics("blurred"), "no part passes", seconds=_SOME, touches="optics"),
    Fault("database locked", injectors.database_locked, "deadline", seconds=(0.5, 8.0), touches="database"),
    Fault("recorder's disk full", injectors.without_disk, "deadline", ("recorder",), (0.5, 5.0)),
    Fault("disk of images full", injectors.disk_full, _UNSTORED, seconds=_SOME, touches="disk"),
    Fault("disk of images read-only", injectors.disk_read_only, _UNSTORED, seconds=_SOME, touches="disk"),
    Fault("receiver down", injectors.receiver_in(Mood.DOWN), "judged; events wait", seconds=_SOME, touches="mes"),
    Fault("receiver refuses", injectors.receiver_in(Mood.REFUSES), "judged; events wait", seconds=_SOME, touches="mes"),
    Fault(
        *("receiver forgets to answer", injectors.receiver_in(Mood.FORGETS_TO_ANSWER), "judged; events come twice"),
        seconds=_SOME,
        touches="mes",
    ),
    Fault("garbage in the inbox", injectors.garbage, "judged", _LISTENING),
    Fault("garbage on the ports", injectors.garbage_on_ports, "judged", touches="ports"),
    Fault("log flooded", injectors.flood, "judged, or late while the log is written", _LISTENING, _SOME, "log"),
    Fault("requesters gone", injectors.requesters_gone, "judged; theirs are unknown_lot", touches="requesters"),
    Fault("processor busy", injectors.busy_processor, "judged, or late", seconds=_SOME, touches="processor"),
    Fault("model changed", learning.model_changed, "judged by either", seconds=(1.0, 4.0), touches="model"),
    Fault("model damaged", learning.model_damaged, "no_model until it is restored", seconds=(1.0, 4.0), touches="model"),
    Fault("trainer killed in a run", learning.trainer_killed, "judged", (TRAINER,), (1.0, 8.0)),
)
