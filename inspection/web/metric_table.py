"""Every metric of the station: what Prometheus scrapes, and what .github/interfaces/metrics.md explains."""

from __future__ import annotations

from dataclasses import dataclass

from cameras.fault_kinds import FaultKind


@dataclass(frozen=True, slots=True)
class Metric:
    """``kind`` is counter, gauge or histogram. Units are in the name."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"station_{name}_total", "counter", labels, meaning)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"station_{name}", "gauge", labels, meaning)


def _histogram(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"station_{name}", "histogram", labels, meaning)


METRICS = (
    _gauge("info", "1; which station this is, and the version of its software", "station", "version"),
    _gauge("ready", "1 if parts are inspected, else 0"),
    _gauge("degraded", "1 if this is not as it should be although parts are inspected, else 0", "reason"),
    # Parts, counted by the recorder as their rows become durable.
    _counter("inspections", "parts by product and verdict", "product", "verdict"),
    _counter("not_inspected", "parts that were not inspected, by product and reason", "product", "reason"),
    _counter("late_verdicts", "verdicts that came after their part was given up; they decide nothing"),
    _histogram("stage_seconds", "how long each stage of a part took that was judged; see below", "product", "stage"),
    _gauge("deadline_seconds", "within which a verdict must be durable", "product"),
    # What the line did.
    _counter("triggers", "parts that asked to be inspected"),
    _counter("outputs", "parts by what was commanded: `accept` or `reject`", "output"),
    _counter("deadline_misses", "parts that were given up because their deadline passed"),
    _counter("requests_unanswered", "requests left unanswered because too many rows waited; they are repeated"),
    # What is lost or waits.
    _counter("faults", "losses and failures, as the page Live and `GET /faults` show them", "source", "kind"),
    _gauge("queue", "what waits: see below", "queue"),
    _counter("messages_refused", "messages that were not sent because their receiver was away for too long", "process"),
    # The records and the images.
    _counter("commits", "transactions of the recorder that became durable"),
    _counter("failed_commits", "tries to commit that failed, and were repeated"),
    _histogram("commit_seconds", "how long transactions of the recorder took"),
    _counter("images_stored", "images written, by kind: `frame` or `map`", "kind"),
    _counter("image_bytes", "bytes of the images written", "kind"),
    _counter("image_files_deleted", "files removed, of images that retention has deleted"),
    _gauge("disk_bytes", "size of the disk with the images"),
    _gauge("disk_free_bytes", "what is free of it"),
    _gauge("disk_left_parts", "parts whose images it has room for, as large as those of the newest parts"),
    _gauge(
        "disk_left_seconds",
        "until images of parts that did not pass have taken all that retention leaves them, at the pace of the newest parts",
    ),
    _gauge("database_bytes", "size of the SQLite files: `main` and `wal`", "file"),
    # Cameras.
    _counter("camera_frames", "frames that the inspector was given", "camera"),
    _counter("camera_losses", "triggers without a usable frame, by why", "camera", "loss"),
    _counter("camera_incomplete_frames", "frames that arrived with parts missing, since the camera was opened", "camera"),
    _counter("camera_reconnections", "times that the camera was lost", "camera"),
    _counter("camera_accepts", "pulses on the accept output: `given` or `refused`", "camera", "outcome"),
    _gauge("ring_slots", "places for frames in shared memory", "camera"),
    _gauge("ring_slots_free", "how many of them are free; at 0 a part is not inspected", "camera"),
    # Models.
    _gauge("model_info", "1; which model is deployed for which product", "product", "model"),
    _counter("challenger_inspections", "frames by what the challenger did with them", "outcome"),
    # Interfaces.
    _gauge("outbox_backlog", "inspections, labels and lot events that wait for a receiver", "receiver"),
    _gauge("outbox_age_seconds", "age of the oldest of them", "receiver"),
    _counter("outbox_delivered", "what was delivered", "receiver"),
    _gauge("clients", "PLC or OPC UA clients that are connected", "process"),
    _counter("clients_refused", "clients that were not let in", "process"),
    _counter("opcua_results", "results announced to OPC UA clients"),
    # Processes.
    _gauge("process_up", "1 if its heartbeat came in the last 5 s, else 0", "process"),
    _gauge("process_ok", "1 if it is up and can do its work, else 0", "process"),
    _gauge("heartbeat_age_seconds", "time since its last heartbeat", "process"),
    _counter("process_starts", "how often it was started since the machine was switched on", "process"),
    _gauge("process_start_time_seconds", "when it was started last, Unix time", "process"),
    _gauge("process_resident_memory_bytes", "memory that it holds, the shared rings included", "process"),
    _gauge("process_private_memory_bytes", "memory that it alone holds", "process"),
    _counter("process_cpu_seconds", "processor time that it took", "process"),
    _gauge("process_open_fds", "file descriptors that it has open", "process"),
)

STAGES = {
    "expose": "request → start of the exposure",
    "transfer": "exposure → frame received",
    "queue": "received → judging begins",
    "preprocess": "scaled to the network's input",
    "infer": "the network",
    "regions": "areas and class",
    "total": "request → verdict",
    "durable": "request → row durable",
}
"""The stages of a part, in order; the last two overlap with the others."""
QUEUES = {
    "line": "triggers whose row is not known to be durable",
    "inspector": "tickets and frames that wait for each other, or to be judged",
    "recorder": "triggers without an inspection",
    "images": "inspections whose images wait to be stored",
    "plc": "parts that the PLC process waits for",
}
HEARTBEATS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "line": {
        "triggers": ("station_triggers_total", ()),
        "accepted": ("station_outputs_total", ("accept",)),
        "rejected": ("station_outputs_total", ("reject",)),
        "deadline_misses": ("station_deadline_misses_total", ()),
        "unanswered": ("station_requests_unanswered_total", ()),
        "open": ("station_queue", ("line",)),
        "refused_messages": ("station_messages_refused_total", ("line",)),
    },
    "inspector": {
        "waiting": ("station_queue", ("inspector",)),
        "shadow_inspected": ("station_challenger_inspections_total", ("inspected",)),
        "shadow_dropped": ("station_challenger_inspections_total", ("dropped",)),
        "shadow_errors": ("station_challenger_inspections_total", ("failed",)),
    },
    "recorder": {
        "commits": ("station_commits_total", ()),
        "failed_commits": ("station_failed_commits_total", ()),
        "shadow_unmatched": ("station_challenger_inspections_total", ("unmatched",)),
        "open_triggers": ("station_queue", ("recorder",)),
        "images_waiting": ("station_queue", ("images",)),
        "files_deleted": ("station_image_files_deleted_total", ()),
    },
    "plc": {
        "pending": ("station_queue", ("plc",)),
        "clients": ("station_clients", ("plc",)),
        "refused_clients": ("station_clients_refused_total", ("plc",)),
        "refused_messages": ("station_messages_refused_total", ("plc",)),
    },
    "opcua": {
        "connections": ("station_clients", ("opcua",)),
        "results": ("station_opcua_results_total", ()),
        "refused_messages": ("station_messages_refused_total", ("opcua",)),
    },
}
"""Counters of heartbeats, by process: the metric and its labels."""
CAMERA: dict[str, tuple[str, tuple[str, ...]]] = {
    "frames": ("station_camera_frames_total", ()),
    "lost_frames": ("station_camera_losses_total", ("frame_lost",)),
    "missed_triggers": ("station_camera_losses_total", ("trigger_missed",)),
    "corrupt": ("station_camera_losses_total", ("frame_corrupt",)),
    "ring_full": ("station_camera_losses_total", ("ring_full",)),
    "desyncs": ("station_camera_losses_total", ("desync",)),
    "incomplete": ("station_camera_incomplete_frames_total", ()),
    "reconnections": ("station_camera_reconnections_total", ()),
    "accepts": ("station_camera_accepts_total", ("given",)),
    "accepts_refused": ("station_camera_accepts_total", ("refused",)),
    "ring_free": ("station_ring_slots_free", ()),
}
"""Counters of a camera's heartbeats; the camera's name is the first label."""
TOLD_OTHERWISE = {
    # By verdict, reason and kind of fault.
    ("inspector", "inspected"),
    ("inspector", "late"),
    ("inspector", "unfit_images"),
    ("inspector", "extra_frames"),
    ("inspector", "errors"),
    ("recorder", "rows"),
    ("recorder", "images_without_room"),
    ("plc", "triggers"),
    ("plc", "faults"),
    # Of the handshake alone: how often registers were written.
    ("plc", "writes"),
    # As starts, kinds of fault and memory of each process.
    ("supervisor", "restarts"),
    ("supervisor", "hung"),
    ("supervisor", "over_memory"),
    # As degraded states.
    ("inspector", "models_refused"),
    ("inspector", "challengers_refused"),
    ("inspector", "challengers_suspended"),
}
"""Counters that other metrics hold already."""
KNOWN_FAULTS = {
    FaultKind.CAMERA_LOST: "camera",
    FaultKind.FRAME_LOST: "camera",
    FaultKind.FRAME_CORRUPT: "camera",
    FaultKind.TRIGGER_MISSED: "camera",
    FaultKind.RING_FULL: "camera",
    FaultKind.ACCEPT_LATE: "camera",
    FaultKind.DESYNC: "line",
    FaultKind.DEADLINE_MISSES: "line",
    FaultKind.ACCEPT_NOT_GIVEN: "line",
    FaultKind.EXTRA_FRAME: "inspector",
    FaultKind.OPTICS: "inspector",
    FaultKind.OPTICS_DRIFT: "inspector",
    FaultKind.MODEL_REFUSED: "inspector",
    FaultKind.CHALLENGER_REFUSED: "inspector",
    FaultKind.CHALLENGER_SUSPENDED: "inspector",
    FaultKind.IMAGE_LOST: "recorder",
    FaultKind.IMAGE_SKIPPED: "recorder",
    FaultKind.NO_ROOM: "recorder",
    FaultKind.REFUSED_MESSAGE: "recorder",
    FaultKind.CLOCK_STEPPED: "recorder",
    FaultKind.RECEIVER_AWAY: "outbox",
    FaultKind.ACCEPT_NOT_COMMANDED: "plc",
    FaultKind.ACCEPT_NOT_TAKEN: "plc",
    FaultKind.REJECT_NOT_CONFIRMED: "plc",
    FaultKind.STOP_REQUEST: "plc",
}
"""Faults that are 0 until they come, with the process that reports them: an alert on the first could not see it else."""
