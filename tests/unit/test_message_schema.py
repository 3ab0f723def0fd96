"""The contract between processes is committed; a change of it is a new version."""

from __future__ import annotations

import json

from inspection.message_schema import COMMITTED, message_schema


def test_the_committed_contract_is_the_one_in_the_code() -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert message_schema() == committed, (
        "messages changed: raise SCHEMA_VERSION in cameras/messages.py, then run `python -m inspection.message_schema`"
    )


def test_every_message_that_a_process_may_receive_is_in_the_contract() -> None:
    names = set(message_schema()["messages"])
    assert {"TriggerRequest", "Ticket", "FrameRef", "Inspected", "Recorded", "Arm", "OpenLot", "Done"} <= names
