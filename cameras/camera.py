"""What the station asks of a camera, whatever its make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cameras.frame import Frame

FeatureValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ClockMapping:
    """The camera's clock on the host's monotonic clock: host = camera + offset, known to ± error. All in ns."""

    offset_ns: int
    error_ns: int


@dataclass(frozen=True, slots=True)
class Feature:
    """One GenICam feature as the camera reports it now. ``value`` is None where it cannot be read."""

    category: str
    name: str
    kind: str
    access: str
    value: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a producer says of itself (vendor, model, version, tl_type; nothing if it loads but does not open), the names of its
    interfaces, and its devices: the same of each, serial_number, and access_status as GenTL numbers it.
    """

    producer: dict[str, str]
    interfaces: tuple[str, ...]
    devices: list[dict[str, str]]


class Camera(Protocol):
    """One camera. Every method raises CameraLost when the camera stopped answering."""

    def open(self) -> None:
        """Connect and apply the configured features; CameraNotFound, FeatureError."""

    def arm(self) -> None:
        """Start acquisition; frame ids and trigger counts begin anew."""

    def disarm(self) -> None:
        """Stop acquisition; frames not fetched are discarded."""

    def fetch(self, timeout_s: float) -> Frame | None:
        """The next frame, or None. Its pixels are the producer's own memory, valid until ``release``."""

    def release(self) -> None:
        """Give the buffer of the last fetched frame back to the producer."""

    def software_trigger(self) -> None:
        """Expose once, where TriggerSource is Software."""

    def accept(self) -> None:
        """Begin one pulse on the accept output, which the camera ends by itself."""

    def check(self) -> None:
        """Ask the camera anything that only a living camera answers."""

    def clock(self) -> ClockMapping | None:
        """Where the camera's clock stands now; None if the camera cannot tell."""

    def features(self) -> list[Feature]:
        """Every feature of the camera, by category."""

    @property
    def trigger_delay_ns(self) -> int:
        """From an edge to its exposure, as the camera is set; 0 where it has no such setting."""
        ...

    @property
    def counts_triggers(self) -> bool:
        """Does each frame tell the number of trigger edges, also of those that gave no frame?"""

    @property
    def incomplete_frames(self) -> int:
        """Frames that arrived with parts missing since ``open``; they were discarded."""

    def close(self) -> None:
        """Let the camera go, also when it is gone already; never raises."""
