"""What the line knows while the database is out of reach."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import create_engine, event

from inspection.errors import Unavailable
from inspection.lookups import Pause, lookups


def test_a_database_out_of_reach_is_not_tried_for_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, tries = 1_000.0, 0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    engine = create_engine("sqlite:////nowhere/station.db")

    @event.listens_for(engine, "do_connect")
    def count(*_: object) -> None:
        nonlocal tries
        tries += 1

    records = lookups(engine, lambda _lot, _product: False, Pause())
    for _ in range(20):
        assert records.lot("L") is None
        with pytest.raises(Unavailable):
            records.request("R1")
    assert tries == 1
    now_s += 3
    records.lot("L")
    assert tries == 2
