"""An inspector process in a thread, with the other processes played by the test."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers import Peer, in_thread

from cameras.bus import Bus
from cameras.frame import Frame, PixelFormat
from cameras.messages import FaultReport, FrameRef, Loss, TriggerLost
from cameras.ring import Ring, SlotState
from inspection.inspector import InspectorProcess, ModelShelf
from inspection.messages import Inspected, InspectorMessage, InspectorStarted, LineMessage, RecorderMessage, Ticket
from inspection.rings import Rings

SIZE, SLOTS = 96, 6
WINDOW_NS = 100_000_000


def scene(seed: int, scratched: bool = False) -> NDArray[np.uint8]:
    """A bright plate with a dark slot; ``scratched`` is a defect that nobody overlooks."""
    random = np.random.default_rng(seed)
    image = random.normal(90, 6, (SIZE, SIZE))
    image[20:76, 24:72] += 50
    image[30:40, 30:60] -= 40
    if scratched:
        image[50:70, 30:66] = random.choice([0, 255], (20, 36))
    return np.clip(image, 0, 255).astype(np.uint8)


def frame(pixels: NDArray[np.uint8]) -> Frame:
    return Frame(pixels, PixelFormat.Mono8, frame_id=1, timestamp_ns=0, received_ns=0)


class InspectorPeers:
    """``in_service`` tells what is deployed: {product: (digest, artifact directory)}."""

    def __init__(self, run_dir: Path, in_service: Callable[[], dict[str, tuple[str, Path]]]) -> None:
        self.run_dir = run_dir
        self.in_service = in_service
        self.serial_codes: dict[str, re.Pattern[str]] = {}
        self.in_shadow: Callable[[], dict[str, tuple[str, Path]]] = dict
        self.line = Peer(run_dir, "line", LineMessage)
        self.camera = Peer(run_dir, "camera@top", LineMessage)
        self.recorder = Peer(run_dir, "recorder", RecorderMessage)
        self.ring = Ring.create(run_dir, "top", SLOTS, SIZE * SIZE)
        self._counts = itertools.count(1)

    @contextmanager
    def inspector(self) -> Iterator[None]:
        bus = Bus(self.run_dir, "inspector", InspectorMessage)
        shelves = ModelShelf(lambda: self.in_service()), ModelShelf(lambda: self.in_shadow())
        with in_thread(InspectorProcess(bus, Rings(self.run_dir), *shelves, self.serial_codes), bus):
            self.line.expect(InspectorStarted)
            yield

    def ticket(
        self, *, product: str = "plate", deadline_ms: float = 60_000, epoch: int = 1, age_ms: float = 0, unnamed: bool = False
    ) -> Ticket:
        """The next trigger, not sent yet."""
        count = next(self._counts)
        now_ns = time.monotonic_ns() - int(age_ms * 1e6)
        return Ticket(
            trigger_id=count,
            line_epoch=1,
            request_id=f"R{count}",
            lot="L",
            serial=f"?{count}" if unnamed else f"S{count}",
            camera="top",
            product=product,
            camera_epoch=epoch,
            trigger_count=count,
            triggered_at=time.time(),
            requested_ns=now_ns,
            issued_ns=now_ns,
            expose_until_ns=now_ns + WINDOW_NS,
            deadline_ms=deadline_ms,
            unnamed=unnamed,
        )

    def frame(self, ticket: Ticket, pixels: NDArray[np.uint8], *, after_ms: float = 1, pixel_format: str = "Mono8") -> FrameRef:
        """The frame of a trigger, in the ring, exposed so long after the ticket was issued; its reference is not sent yet."""
        assert ticket.camera_epoch is not None
        assert ticket.trigger_count is not None
        slot = self.ring.acquire()
        assert slot is not None
        self.ring.write(slot, pixels)
        return FrameRef(
            camera="top",
            camera_epoch=ticket.camera_epoch,
            ring=self.ring.path.name,
            slot=slot,
            slot_seq=self.ring.publish(slot),
            pixel_format=pixel_format,
            width=SIZE,
            height=SIZE,
            frame_id=ticket.trigger_count,
            trigger_count=ticket.trigger_count,
            timestamp_ns=1,
            exposed_ns=ticket.issued_ns + int(after_ms * 1e6),
            clock_error_ns=1_000,
            received_ns=time.monotonic_ns(),
            exposure_us=100.0,
        )

    def send(self, ticket: Ticket | None = None, ref: FrameRef | None = None) -> None:
        if ticket is not None:
            self.line.send("inspector", ticket)
        if ref is not None:
            self.camera.send("inspector", ref)

    def part(self, pixels: NDArray[np.uint8], **values: object) -> tuple[Ticket, FrameRef]:
        """A ticket and its frame, sent."""
        ticket = self.ticket(**values)
        ref = self.frame(ticket, pixels)
        self.send(ticket, ref)
        return ticket, ref

    def inspected(self, ticket: Ticket) -> Inspected:
        """The verdict on this trigger, with the frame handed on to the recorder, which lets it go."""
        message = self.recorder.expect(Inspected)
        assert message.trigger_id == ticket.trigger_id
        self.ring.release(message.frame.slot, message.frame.slot_seq, SlotState.STORING)
        return message

    def lost(self, ref: FrameRef, loss: Loss) -> str:
        """The line and the recorder hear of this frame's loss; returns the detail."""
        message = self.line.expect(TriggerLost)
        assert (message.camera, message.camera_epoch, message.trigger_counts) == ("top", ref.camera_epoch, (ref.trigger_count,))
        assert message.loss is loss
        fault = self.recorder.expect(FaultReport)
        assert (fault.source, fault.kind, fault.count, fault.detail) == ("inspector", loss.value, 1, message.detail)
        return message.detail

    def until_free(self) -> None:
        until = time.monotonic() + 5
        while self.ring.free_slots() < SLOTS:
            assert time.monotonic() < until, self.ring.states()
            time.sleep(0.002)

    def close(self) -> None:
        for peer in (self.line, self.camera, self.recorder):
            peer.close()
