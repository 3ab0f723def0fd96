"""The contract between processes, committed as messages.schema.json; ``python -m inspection.message_schema`` writes it.

A change of it is a new SCHEMA_VERSION in ``cameras.messages``: processes refuse messages of another version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec

from cameras.messages import SCHEMA_VERSION
from cameras.process import INBOX_MESSAGES
from inspection.commands import Command, Reply
from inspection.messages import CellMessage, InspectorMessage, LineMessage, PlcMessage, RecorderMessage

COMMITTED = Path(__file__).with_name("messages.schema.json")


def message_schema() -> dict[str, Any]:
    """Version, and the JSON schema of every message by its name."""
    unions = (INBOX_MESSAGES, CellMessage, InspectorMessage, LineMessage, PlcMessage, RecorderMessage, Command, Reply)
    kinds = {kind.__name__: kind for union in unions for kind in get_args(union)}
    _, components = msgspec.json.schema_components(kinds.values(), ref_template="#/{name}")
    return {"version": SCHEMA_VERSION, "messages": dict(sorted(components.items()))}


if __name__ == "__main__":
    COMMITTED.write_text(json.dumps(message_schema(), indent=1) + "\n", encoding="utf-8")
