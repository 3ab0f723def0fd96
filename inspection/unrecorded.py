"""What stands in for the recorder while there is nothing to record in.

It says so, in health and to whoever commands, and announces nothing: so nothing is accepted, and every part is rejected. Parts
that the line keeps get their rows when there is a database again.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import msgspec
import zmq

from cameras.beat import beat as prove_progress
from cameras.bus import Bus
from cameras.errors import RingError
from cameras.messages import Heartbeat
from cameras.ring import SlotState
from inspection.commands import Refused
from inspection.errors import StationError
from inspection.messages import Inspected
from inspection.rings import Rings
from inspection.status import heard, write_status

log = logging.getLogger(__name__)

# Then the process ends, and the one that is started in its place looks again: a disk may have been mounted meanwhile. Less often
# than a manager would restart it, since starting and looking take a processor's time.
_LOOK_AGAIN_S = 30.0
_BEAT_S = 1.0
_IDLE_S = 0.05


class Unrecorded:
    """``why`` is shown in health as the recorder's state."""

    def __init__(self, bus: Bus, rings: Rings, commands: str, status_path: Path, why: StationError) -> None:
        self._bus = bus
        self._rings = rings
        self._status_path = status_path
        self._why = str(why)
        self._processes: dict[str, dict[str, Any]] = {}
        self._commands: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._commands.bind(commands)
        self.running = True

    def run(self) -> None:
        """Until it is time to look again."""
        log.error("nothing is recorded: %s", self._why)
        until = time.monotonic() + _LOOK_AGAIN_S
        beat_at = 0.0
        while self.running and time.monotonic() < until:
            prove_progress()
            self._bus.wait(_IDLE_S, self._commands)
            for message in self._bus.receive(0):
                if isinstance(message, Heartbeat):
                    self._processes[message.process] = heard(message)
                elif isinstance(message, Inspected):
                    self._free(message)
            while self._commands.poll(0):
                self._commands.recv()
                self._commands.send(msgspec.json.encode(Refused(code="unavailable", detail=self._why)))
            if time.monotonic() - beat_at >= _BEAT_S:
                beat_at = time.monotonic()
                beat = Heartbeat(process="recorder", at=time.time(), state=self._why, counters={}, ok=False)
                self._processes["recorder"] = heard(beat)
                write_status(self._status_path, self._processes, {})
        self._commands.close(linger=200)

    def _free(self, message: Inspected) -> None:
        frame = message.frame
        try:
            self._rings.get(frame.ring).release(frame.slot, frame.slot_seq, SlotState.STORING)
        except RingError:
            log.debug("slot %d of %s was free already", frame.slot, frame.ring)
