"""Putting an artifact in service: verify, register, deploy, in one transaction."""

from __future__ import annotations

from pathlib import Path

from inspection.artifact import read_artifact
from inspection.config import Config
from inspection.domain import Deployment, Model
from inspection.errors import NotFound
from inspection.records.database import migrate, open_engine
from inspection.records.deployments import deploy, register_model


def deploy_artifact(config: Config, path: Path, product: str, by: str, reason: str) -> Deployment:
    """Deploy the artifact at ``path``; ModelError if it is not whole, NotFound if the product is not configured."""
    if config.product(product) is None:
        known = ", ".join(item.part_number for item in config.products)
        raise NotFound(f"product {product!r} is not configured; the configuration names {known}")
    artifact = read_artifact(path)
    manifest = artifact.manifest
    # A model may be deployed before the station runs for the first time.
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(config.database_url)
    migrate(engine)
    model = Model(
        model=artifact.digest,
        product=product,
        path=str(path.resolve()),
        algorithm=manifest.algorithm,
        created_at=manifest.provenance.created_at,
        metrics=manifest.metrics,
    )
    with engine.begin() as connection:
        register_model(connection, model)
        deployment = deploy(connection, config.station.name, product, artifact.digest, by, reason)
    engine.dispose()
    return deployment
