"""Triggers by REST outlive a failure of their thread."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from peers import Peer

from cameras.bus import Bus
from inspection.domain import Output, Verdict
from inspection.errors import Unavailable
from inspection.messages import CellMessage, LineMessage, OutputCommand, TriggerRequest
from inspection.web.triggers import INBOX, Triggers


def request(request_id: str) -> TriggerRequest:
    return TriggerRequest(request_id=request_id, lot="L", serial="S1", camera="top", reply_to=INBOX, requested_ns=0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mailbox_that_could_not_be_opened_once_is_opened_for_the_next_trigger(tmp_path: Path) -> None:
    failures = [OSError("too many open files")]

    def open_bus() -> Bus:
        if failures:
            raise failures.pop()
        return Bus(tmp_path, INBOX, CellMessage)

    triggers = Triggers(open_bus)
    with pytest.raises(Unavailable):
        triggers.trigger(request("R1"), deadline_ms=-4_900)
    line = Peer(tmp_path, "line", LineMessage)

    def answer() -> None:
        while (asked := line.expect(TriggerRequest)).request_id != "R2":
            pass
        command = OutputCommand(
            request_id="R2", trigger_id=1, serial="S1", output=Output.REJECT, verdict=Verdict.FAIL, reason=None, durable_ms=1.0
        )
        line.send(asked.reply_to, command)

    answering = threading.Thread(target=answer)
    answering.start()
    assert triggers.trigger(request("R2"), deadline_ms=1_000).verdict is Verdict.FAIL
    answering.join()
    triggers.close()
    line.close()
