"""What an inspector says of a challenger."""

from __future__ import annotations

from sqlalchemy import Connection

from inspection.domain import Check, Verdict
from inspection.messages import ShadowInspected
from inspection.records.gates import LATENCY, store_gate

CHALLENGER = "cd" * 32


def found_fast(connection: Connection, station: str, product: str, model: str = CHALLENGER) -> None:
    """A gate that found this model fast enough."""
    store_gate(connection, station, product, model, [Check(LATENCY, True, "within 4 ms")], None, "ada")


def verdict(trigger_id: int, verdict: Verdict, **values: object) -> ShadowInspected:
    """On the frame of a trigger as the seeder records it."""
    fields = {
        "trigger_id": trigger_id,
        "camera": "cam-1",
        "camera_epoch": 1,
        "trigger_count": trigger_id,
        "model": CHALLENGER,
        "verdict": verdict,
        "score": 2.5,
        "review_threshold": 1.0,
        "fail_threshold": 2.0,
        "inspect_ms": 4.0,
        "decided_at": 1.7e9,
    }
    return ShadowInspected(**(fields | values))
