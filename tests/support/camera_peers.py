"""A camera process in a thread on a simulated camera, with the line, the inspector and the recorder played by the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from exposing import HEIGHT, TRIGGERED, WIDTH, expose, random_scene
from numpy.typing import NDArray
from peers import Peer

from cameras.bus import Bus
from cameras.frame import PixelFormat
from cameras.genicam import GenicamCamera
from cameras.messages import Arm, CameraArmed, FrameRef
from cameras.process import INBOX_MESSAGES, CameraProcess
from cameras.ring import Ring, SlotState
from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera
from inspection.messages import InspectorMessage, LineMessage, RecorderMessage

SLOTS = 4


class Around:
    """The processes around the camera process, and the simulated camera before it."""

    def __init__(self, run_dir: Path, simulator_dir: Path) -> None:
        self.run_dir = run_dir
        self.simulator_dir = simulator_dir
        self.line = Peer(run_dir, "line", LineMessage)
        self.inspector = Peer(run_dir, "inspector", InspectorMessage)
        self.recorder = Peer(run_dir, "recorder", RecorderMessage)
        self.simulated = SimulatedCamera.create(simulator_dir, "SIM1", WIDTH, HEIGHT)
        self.rings: dict[str, Ring] = {}

    def process(self, camera: GenicamCamera | None = None) -> tuple[CameraProcess, Bus]:
        bus = Bus(self.run_dir, "camera@top", INBOX_MESSAGES)
        return CameraProcess("top", camera or GenicamCamera(PRODUCER, "SIM1", TRIGGERED), bus, self.run_dir, SLOTS), bus

    def arm(self, epoch: int) -> None:
        """What the line does, once the camera says that it is ready."""
        self.line.send("camera@top", Arm(camera="top", camera_epoch=epoch))
        self.line.expect(CameraArmed, lambda armed: armed.camera_epoch == epoch)
        self.inspector.expect(CameraArmed, lambda armed: armed.camera_epoch == epoch)

    def pixels(self, ref: FrameRef) -> NDArray[np.generic]:
        """A copy of the frame in the ring."""
        if ref.ring not in self.rings:
            self.rings[ref.ring] = Ring(self.run_dir / ref.ring)
        pixel_format = PixelFormat.named(ref.pixel_format)
        return self.rings[ref.ring].pixels(ref.slot, ref.slot_seq, SlotState.READY, pixel_format, ref.width, ref.height).copy()

    def release(self, ref: FrameRef) -> None:
        self.rings[ref.ring].release(ref.slot, ref.slot_seq, SlotState.READY)

    def part(self, number: int) -> tuple[FrameRef, int]:
        """Show a scene, give one edge, and take its frame: its reference and the edge's time stamp."""
        self.simulated.show(random_scene(number))
        edge_ns = expose(self.simulated)
        ref = self.inspector.expect(FrameRef)
        np.testing.assert_array_equal(self.pixels(ref), random_scene(number))
        self.release(ref)
        return ref, edge_ns

    def close(self) -> None:
        for peer in (self.line, self.inspector, self.recorder):
            peer.close()
        self.simulated.close()
