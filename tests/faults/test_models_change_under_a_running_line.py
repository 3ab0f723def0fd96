"""A challenger, a model change and a rollback while parts come: no part is lost, and each row names the model that decided."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec
import pytest
from running_station import PRODUCT, RunningStation
from shadow_messages import found_fast

from inspection.artifact import Thresholds, read_artifact, write_artifact
from inspection.cell import CellPart
from inspection.deploying import deploy_artifact, register_artifact, roll_back
from inspection.domain import Verdict
from inspection.records.database import open_records
from inspection.records.shadows import disagreements, list_shadows, shadow_summary, start_shadow

RATE = 20


@pytest.mark.by_hand
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_part_is_lost_when_models_change(tmp_path: Path, plate_model: Path, database_url: str) -> None:
    station = RunningStation(tmp_path, plate_model, database_url=database_url)
    former = read_artifact(plate_model)
    nervous = msgspec.structs.replace(former.manifest, thresholds=Thresholds(review=1e-6, fail=1e6, rule="a test"))
    path, challenger = write_artifact(station.config.models_dir, nervous, former.files)
    register_artifact(station.config, path, PRODUCT)

    def parts() -> Iterator[CellPart]:
        numbers = itertools.count()

        def some(least: int, model: str) -> Iterator[CellPart]:
            """So many parts, and more until the inspector has this model."""
            for done in itertools.count():
                if done >= least and model[:12] in station.states().get("inspector", ""):
                    return
                assert done < 2_000, "the model does not come into service"
                yield next(station.parts("L1", [next(numbers)]))

        yield from some(40, plate_model.name)
        deploy_artifact(station.config, path, PRODUCT, "ada", "a test", override="it shall review everything")
        yield from some(20, challenger)
        roll_back(station.config, PRODUCT, "bob", "it reviews everything")
        yield from some(20, plate_model.name)
        yield from some(5, plate_model.name)

    with station, open_records(station.config) as engine:
        station.open_lot("L1")
        with engine.begin() as connection:
            found_fast(connection, "test", PRODUCT, challenger)
            start_shadow(connection, "test", PRODUCT, challenger, "ada", "is it better?")
        station.convey(parts(), RATE)
        station.check_invariants("L1")
        rows = station.rows("L1")
        assert [row["model"] for row in rows].count(None) == 0
        assert [model for model, _ in groupby(row["model"] for row in rows)] == [plate_model.name, challenger, plate_model.name]
        assert {row["verdict"] for row in rows if row["model"] == challenger} == {"review"}

        with engine.connect() as connection:
            assert all(shadow.ended_at is not None for shadow in list_shadows(connection, "test")), "it was put in service"
            summary = shadow_summary(connection, challenger)
            differing = disagreements(connection, challenger, 0, 1_000)
        # Beside the model in service, until it was deployed itself.
        assert summary.inspected >= 10
        decided = {row["trigger_id"]: row["verdict"] for row in rows}
        assert {each.shadow_verdict for each in differing} == {Verdict.REVIEW}
        assert all(decided[each.trigger_id] == each.verdict == Verdict.PASS for each in differing)
