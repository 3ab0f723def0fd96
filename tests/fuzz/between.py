"""What programs on the same machine send: messages between the processes, and commands to the recorder."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import zmq

from tests.fuzz.common import Harness, database, folder


@cache
def _mailboxes() -> tuple[tuple[Any, Any], ...]:
    from cameras.bus import Bus
    from cameras.process import INBOX_MESSAGES
    from inspection.messages import CellMessage, InspectorMessage, LineMessage, PlcMessage, RecorderMessage

    kinds = (INBOX_MESSAGES, CellMessage, InspectorMessage, LineMessage, PlcMessage, RecorderMessage)
    made = []
    for number, kind in enumerate(kinds):
        bus, sender = Bus(folder(), f"b{number}", kind), zmq.Context.instance().socket(zmq.PUSH)
        sender.connect(f"ipc://{folder()}/{bus.name}.inbox")
        made.append((bus, sender))
    return tuple(made)


def bus(data: bytes) -> None:
    """Garbage in a mailbox is counted, whatever the process understands."""
    from cameras.messages import SCHEMA_VERSION

    for mailbox, sender in _mailboxes():
        garbled = mailbox.garbled
        sender.send(bytes([SCHEMA_VERSION]) + data)
        read = 0
        while not read and mailbox.garbled == garbled:
            read = len(list(mailbox.receive(5)))


def _bus_seeds() -> list[bytes]:
    from cameras.messages import Accept, CameraLost, FrameRef, Heartbeat, Loss, TriggerLost
    from inspection.domain import Reason, Verdict
    from inspection.messages import Inspected, NotInspected, Recorded, RegionBox, Ticket, TriggerRequest

    frame = FrameRef("top", 1, "r", 1, 2, "Mono8", 8, 8, 1, 1, 1, 1, 1, 1, 1.5)
    messages: list[msgspec.Struct] = [
        frame,
        Accept("top", 1, 2, 3),
        CameraLost("top", "gone"),
        TriggerLost("top", 1, (1, 2), Loss.RING_FULL, "x"),
        Heartbeat("line", 1.0, "well", {"a": 1.0}),
        TriggerRequest("r-1", "L", "S1", "top", "cell", 5),
        Ticket(1, 1, "r", "L", "S", "top", "plate", 1, 1, 1.0, 1, 1, 1, 200.0),
        NotInspected(1, Reason.DEADLINE, 1.0),
        Recorded(1, 1, "S", Verdict.PASS, None, 1, 0.5, "ab" * 32),
        Inspected(
            trigger_id=1,
            verdict=Verdict.FAIL,
            score=2.0,
            p_value=0.1,
            review_threshold=1.0,
            fail_threshold=1.5,
            model="ab" * 32,
            proposed_class=None,
            regions=(RegionBox(1, 2, 3, 4, 1.0, 5),),
            frame=frame,
            map_width=1,
            map_height=1,
            map_f16=b"\0\0",
            acquired_at=1.0,
            decided_at=2.0,
            timings_ms={"infer": 1.0},
        ),
    ]
    encoder = msgspec.msgpack.Encoder()
    return [
        *(encoder.encode(message) for message in messages),
        b"\x81\xa1x" * 5_000,
        b"\x82\xa4type\xa9Heartbeat\xa7process\xa2\xff\xff",
    ]


def commands(data: bytes) -> None:
    """The recorder replies to whatever comes."""
    from inspection.commands import Reply
    from inspection.recorder import reply_to

    reply, _ = reply_to(data, database("commands"))
    msgspec.json.decode(msgspec.json.encode(reply), type=Reply)


def _command_seeds() -> list[bytes]:
    from inspection.commands import AnnounceParts, CloseLot, HoldLot, OpenLot, ReleaseLot

    sent = (
        OpenLot("L", "plate", 10, "ada", "because"),
        CloseLot("L"),
        HoldLot("L", "ada", "why"),
        ReleaseLot("L", "ada", "why"),
        AnnounceParts("L", ("S1", "S2")),
        OpenLot("M", "plate", 10**30),
    )
    return [*(msgspec.json.encode(command) for command in sent), b"[" * 50_000, b'{"type":' + b'{"a":' * 50_000]


HARNESSES = {"bus": Harness(bus, _bus_seeds), "commands": Harness(commands, _command_seeds, slow=True)}
