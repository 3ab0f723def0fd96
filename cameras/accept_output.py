"""The camera's digital output as the signal to accept a part: which features make it so. Pure.

A camera keeps its outputs as they are when the computer dies. So the pulse is made by a timer in the camera: one command starts
it, and it ends by itself. An output that the host switches on and off again could stay on, and accept whatever comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from cameras.camera import FeatureValue


@dataclass(frozen=True, slots=True)
class AcceptOutput:
    """``line``, ``timer`` and ``signal`` are entries of LineSelector, TimerSelector and SoftwareSignalSelector."""

    line: str
    timer: str
    signal: str
    pulse_ms: float

    def features(self) -> tuple[tuple[str, FeatureValue], ...]:
        """SFNC names and values in their order: the line is low until the timer gets its signal, which comes last."""
        return (
            ("TimerSelector", self.timer),
            ("TimerTriggerSource", "Off"),
            ("TimerDuration", self.pulse_ms * 1000),
            ("LineSelector", self.line),
            ("LineMode", "Output"),
            ("LineSource", f"{self.timer}Active"),
            ("SoftwareSignalSelector", self.signal),
            ("TimerTriggerSource", self.signal),
        )

    def neutral_features(self) -> tuple[tuple[str, FeatureValue], ...]:
        """What must not be left over from other uses of the camera, where it has them; with the selectors set."""
        return ("LineInverter", False), ("TimerDelay", 0.0), ("TimerTriggerActivation", "RisingEdge")
