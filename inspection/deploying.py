"""Putting an artifact in service: verify, register, gate, deploy; and back to the one before."""

from __future__ import annotations

from pathlib import Path

from inspection.artifact import model_at, read_artifact
from inspection.config import Config
from inspection.domain import Deployment, Model
from inspection.records.database import open_records, read_records
from inspection.records.deployments import deploy_gated, get_model, next_rollback, register_model, rollback, why_not


def register_artifact(config: Config, path: Path, product: str) -> Model:
    """Verify and register the artifact at ``path``; ModelError if it is not whole, NotFound if the product is not configured."""
    config.recipe(product)
    model = model_at(path, product)
    with open_records(config) as engine, engine.begin() as connection:
        register_model(connection, model)
    return model


def deploy_artifact(config: Config, path: Path, product: str, by: str, reason: str, override: str | None = None) -> Deployment:
    """Deploy the artifact at ``path``, gating it before unless it passed against the model that is in service now.

    ``override`` deploys without a passed gate, and says why. Raises GateNotPassed, and what ``register_artifact`` raises.
    """
    model = register_artifact(config, path, product).model
    with read_records(config) as engine, engine.connect() as connection:
        gated = why_not(connection, config.station.name, product, model) is None
    if not gated and override is None:
        from inspection.gate import gate_model

        gate_model(config, model, by)
    with open_records(config) as engine, engine.begin() as connection:
        return deploy_gated(connection, config.station.name, product, model, by, reason, override)


def roll_back(config: Config, product: str, by: str, reason: str) -> Deployment:
    """Put the model before the present one in service again, once its artifact is found whole.

    Conflict if there was none, or if another model was put in service meanwhile; ModelError if the artifact is not whole.
    """
    with read_records(config) as engine, engine.connect() as connection:
        wanted = next_rollback(connection, config.station.name, product)
        former = get_model(connection, wanted.former)
    read_artifact(config.data_dir / former.path, former.model)
    with open_records(config) as engine, engine.begin() as connection:
        return rollback(connection, config.station.name, product, wanted, by, reason)
