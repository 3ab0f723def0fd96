"""Registered models and which of them is in service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import IntegrityError

from inspection.domain import Check, Deployment, Model
from inspection.errors import Conflict, NotFound
from inspection.records import deployments, tables
from inspection.records.gates import store_gate


def _model(digest: str, product: str = "plate", path: str = "models/one") -> Model:
    return Model(
        model=digest * 32,
        product=product,
        path=path,
        algorithm="patchcore",
        created_at=datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        metrics={"image_auroc": 0.99},
    )


def test_a_registered_model_comes_back(seeder) -> None:
    model = _model("ab")
    deployments.register_model(seeder.connection, model)
    assert deployments.get_model(seeder.connection, model.model) == model
    assert deployments.list_models(seeder.connection) == (model,)


def test_registering_again_moves_the_path_only(seeder) -> None:
    deployments.register_model(seeder.connection, _model("ab"))
    deployments.register_model(seeder.connection, _model("ab", path="models/moved"))
    assert deployments.list_models(seeder.connection) == (_model("ab", path="models/moved"),)


def test_a_digest_belongs_to_one_product(seeder) -> None:
    deployments.register_model(seeder.connection, _model("ab"))
    with pytest.raises(Conflict, match="registered for product 'plate'"):
        deployments.register_model(seeder.connection, _model("ab", product="flange"))


def test_a_deployment_ends_the_former_at_the_instant_it_starts(seeder) -> None:
    connection = seeder.connection
    for digest in ("ab", "cd"):
        deployments.register_model(connection, _model(digest))
    assert deployments.model_in_service(connection, "st-1", "plate") is None
    first = deployments.deploy(connection, "st-1", "plate", "ab" * 32, "ada", "first model")
    elsewhere = deployments.deploy(connection, "st-2", "plate", "ab" * 32, "ada", "first model")
    second = deployments.deploy(connection, "st-1", "plate", "cd" * 32, "bob", "fewer false rejects")

    assert first.ended_at is None
    assert deployments.model_in_service(connection, "st-1", "plate") == second
    assert deployments.model_in_service(connection, "st-2", "plate") == elsewhere
    newest, former = deployments.list_deployments(connection, "st-1")
    assert (newest, former.deployment_id) == (second, first.deployment_id)
    assert former.ended_at == second.deployed_at


def test_only_a_model_of_the_product_is_deployed(seeder) -> None:
    deployments.register_model(seeder.connection, _model("ab"))
    with pytest.raises(NotFound, match="register its artifact first"):
        deployments.deploy(seeder.connection, "st-1", "plate", "ff" * 32, "ada", "typo")
    with pytest.raises(Conflict, match="made for product 'plate'; deploy one made for 'flange'"):
        deployments.deploy(seeder.connection, "st-1", "flange", "ab" * 32, "ada", "wrong product")


def test_the_database_itself_refuses_two_models_in_service(seeder) -> None:
    deployments.register_model(seeder.connection, _model("ab"))
    deployments.deploy(seeder.connection, "st-1", "plate", "ab" * 32, "ada", "first model")
    with pytest.raises(IntegrityError):
        seeder.connection.execute(
            insert(tables.deployments).values(
                station="st-1",
                product="plate",
                model="ab" * 32,
                deployed_at=datetime.now(UTC),
                deployed_by="bob",
                reason="at the same time",
            )
        )


@pytest.fixture
def model(seeder) -> Callable[[str], str]:
    """The digest of a model that is registered, by the first two of its digits."""

    def registered(digits: str) -> str:
        deployments.register_model(seeder.connection, _model(digits))
        return digits * 32

    return registered


def _rolled_back(seeder) -> str:
    wanted = deployments.next_rollback(seeder.connection, "st-1", "plate")
    return deployments.rollback(seeder.connection, "st-1", "plate", wanted, "bob", "escapes").model[:2]


def _deployed(seeder, digest: str) -> None:
    deployments.deploy(seeder.connection, "st-1", "plate", digest, "ada", "a test")


def test_each_rollback_goes_one_model_further_back(seeder, model: Callable[[str], str]) -> None:
    for digits in ("aa", "bb", "cc"):
        _deployed(seeder, model(digits))
    assert [_rolled_back(seeder), _rolled_back(seeder)] == ["bb", "aa"]
    with pytest.raises(Conflict, match="deploy the one that shall decide"):
        _rolled_back(seeder)
    newest, former, *_ = deployments.list_deployments(seeder.connection, "st-1")
    assert (newest.taken_out, former.taken_out) == ("bb" * 32, "cc" * 32)


def test_a_model_that_was_taken_out_comes_back_only_when_somebody_deploys_it(seeder, model: Callable[[str], str]) -> None:
    first, second, third = model("aa"), model("bb"), model("cc")
    for digest in (first, second, first):
        _deployed(seeder, digest)
    assert _rolled_back(seeder) == "bb"
    with pytest.raises(Conflict, match="no other model was in service"):
        _rolled_back(seeder)
    _deployed(seeder, first)
    _deployed(seeder, third)
    assert [_rolled_back(seeder), _rolled_back(seeder)] == ["aa", "bb"]


def test_a_rollback_is_refused_when_another_model_came_meanwhile(seeder, model: Callable[[str], str]) -> None:
    for digits in ("aa", "bb"):
        _deployed(seeder, model(digits))
    wanted = deployments.next_rollback(seeder.connection, "st-1", "plate")
    _deployed(seeder, model("cc"))
    message = "model cccccccccccc is in service for plate now, not bbbbbbbbbbbb: .* roll back again if it is still needed"
    with pytest.raises(Conflict, match=message):
        deployments.rollback(seeder.connection, "st-1", "plate", wanted, "bob", "escapes")


def _together(engine: Engine, *changes: Callable[[Connection], Deployment]) -> list[str]:
    """The models that transactions at the same time put in service; ``refused`` for a Conflict."""
    begun, outcomes = threading.Barrier(len(changes)), []

    def carry_out(change: Callable[[Connection], Deployment]) -> None:
        begun.wait()
        try:
            with engine.begin() as mine:
                outcomes.append(change(mine).model[:2])
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=carry_out, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


def test_of_two_rollbacks_at_the_same_time_one_is_refused(engine: Engine, seeder, model: Callable[[str], str]) -> None:
    for digits in ("aa", "bb", "cc"):
        _deployed(seeder, model(digits))
    wanted = deployments.next_rollback(seeder.connection, "st-1", "plate")
    seeder.connection.commit()
    rollback = partial(deployments.rollback, station="st-1", product="plate", wanted=wanted, by="bob", reason="escapes")
    assert _together(engine, rollback, rollback) == ["bb", "refused"]


def test_of_two_models_that_were_gated_against_the_same_one_the_first_decides(
    engine: Engine, seeder, model: Callable[[str], str]
) -> None:
    former = model("aa")
    _deployed(seeder, former)
    for digits in ("bb", "cc"):
        store_gate(seeder.connection, "st-1", "plate", model(digits), [Check("parity", True, "")], former, "ada")
    seeder.connection.commit()
    changes = [
        partial(deployments.deploy_gated, station="st-1", product="plate", model=digits * 32, deployed_by="ada", reason="better")
        for digits in ("bb", "cc")
    ]
    outcomes = _together(engine, *changes)
    assert outcomes in (["bb", "refused"], ["cc", "refused"])
    assert deployments.model_in_service(seeder.connection, "st-1", "plate").model[:2] == outcomes[0]


def test_two_first_models_at_the_same_time_are_one_in_service(engine: Engine, seeder, model: Callable[[str], str]) -> None:
    changes = [
        partial(deployments.deploy, station="st-1", product="plate", model=model(digits), deployed_by="ada", reason="first")
        for digits in ("aa", "bb")
    ]
    seeder.connection.commit()
    outcomes = _together(engine, *changes)
    in_service = deployments.model_in_service(seeder.connection, "st-1", "plate")
    assert in_service is not None
    assert in_service.model[:2] in outcomes
    assert len(deployments.list_deployments(seeder.connection, "st-1")) == sum(each != "refused" for each in outcomes)
