"""Registered models and which of them is in service."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from inspection.domain import Model
from inspection.errors import Conflict, NotFound
from inspection.records import deployments, tables


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
