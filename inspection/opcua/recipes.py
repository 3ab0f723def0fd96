"""Recipes and configurations as the station has them: a recipe for each product, decided by the model in service for it.

A configuration is such a model. Clients read them; models are deployed through their gate, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncua import ua
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from inspection.config import Config
from inspection.domain import Deployment
from inspection.errors import Unavailable
from inspection.opcua.nodes import AddressSpace, types
from inspection.opcua.refusals import Code, Refusal
from inspection.opcua.results import model_id
from inspection.records.deployments import model_in_service

_RECIPES = "RecipeManagement.Recipes"
_CONFIGURATIONS = "ConfigurationManagement.Configurations"
_RECIPE_TYPE = 1002
_UNSERVED = ("Handle", "LinkProduct", "UnlinkProduct")


class Recipes:
    """``refresh`` reads and publishes; the rest answers from what was read last."""

    def __init__(self, config: Config, engine: Engine, space: AddressSpace) -> None:
        self._station = config.station.name
        self._products = [product.part_number for product in config.products]
        self._engine = engine
        self._space = space
        self._deployed: dict[str, Deployment] | None = None
        self._active: str | None = None

    @property
    def models(self) -> dict[str, str]:
        """{product: digest} of the models in service."""
        return {product: deployment.model for product, deployment in (self._deployed or {}).items()}

    def read(self) -> dict[str, Deployment]:
        """{product: deployment} now; Unavailable if the records cannot be read. May be called from a thread."""
        try:
            with self._engine.connect() as connection:
                found = {product: model_in_service(connection, self._station, product) for product in self._products}
        except SQLAlchemyError as error:
            raise Unavailable(f"the records cannot be read: {error}") from error
        return {product: deployment for product, deployment in found.items() if deployment is not None}

    async def make_nodes(self) -> None:
        recipe_type = self._space.server.get_node(types.NodeId(_RECIPE_TYPE, self._space.vision)).nodeid
        for product in self._products:
            name = ua.QualifiedName(product, self._space.own)
            await self._space.node(_RECIPES).add_object(
                self._space.node(f"{_RECIPES}.{product}").nodeid, name, objecttype=recipe_type, instantiate_optional=True
            )
            unserved = [self._space.node(f"{_RECIPES}.{product}.{child}") for child in _UNSERVED]
            await self._space.server.delete_nodes(unserved, recursive=True)
            path = f"{_RECIPES}.{product}"
            for field, kind in (("ExternalId", "RecipeIdExternalDataType"), ("LinkedProducts", "ProductIdDataType")):
                value = getattr(types, kind)(Id=product)
                await self._space.write(
                    f"{path}.{field}", ua.Variant([value] if field == "LinkedProducts" else value, ua.VariantType.ExtensionObject)
                )
            configuration = types.ConfigurationDataType()
            await self._space.node(_CONFIGURATIONS).add_variable(
                self._space.node(f"{_CONFIGURATIONS}.{product}").nodeid,
                name,
                ua.Variant(configuration, ua.VariantType.ExtensionObject),
                datatype=types.ConfigurationDataType.data_type,
            )

    async def publish(self, deployed: dict[str, Deployment], active: str | None) -> None:
        """Write what changed. ``active`` is the product of the running job."""
        if deployed == self._deployed and active == self._active:
            return
        self._deployed, self._active = deployed, active
        for product in self._products:
            deployment = deployed.get(product)
            path = f"{_RECIPES}.{product}"
            internal = model_id(types.RecipeIdInternalDataType, deployment.model if deployment else None)
            await self._space.write(f"{path}.InternalId", ua.Variant(internal, ua.VariantType.ExtensionObject))
            await self._space.write(f"{path}.IsPrepared", ua.Variant(deployment is not None))
            if deployment is not None:
                await self._space.write(f"{path}.LastModified", ua.Variant(deployment.deployed_at, ua.VariantType.DateTime))
            configuration = ua.Variant(self._configuration(product), ua.VariantType.ExtensionObject)
            await self._space.write(f"{_CONFIGURATIONS}.{product}", configuration)
        chosen = active or next(iter(deployed), None) or self._products[0]
        configuration = ua.Variant(self._configuration(chosen), ua.VariantType.ExtensionObject)
        await self._space.write("ConfigurationManagement.ActiveConfiguration", configuration)

    def _configuration(self, product: str) -> Any:
        deployment = (self._deployed or {}).get(product)
        configuration = types.ConfigurationDataType(
            ExternalId=types.ConfigurationIdDataType(Id=product),
            InternalId=model_id(types.ConfigurationIdDataType, deployment.model if deployment else None),
        )
        if deployment is not None:
            configuration.LastModified = deployment.deployed_at
        return configuration

    def configurations(self) -> Sequence[Any]:
        """ConfigurationDataType of each model in service."""
        return [self._configuration(product) for product in self.models]

    def configuration(self, internal: str) -> Any:
        """The one of this model; Refusal if it is not in service."""
        for product, model in self.models.items():
            if model == internal:
                return self._configuration(product)
        raise Refusal(Code.UNKNOWN, f"no model in service is {internal!r}; list the configurations")

    def activate(self, internal: str) -> None:
        """Refusal unless it is active: a model is put in service through its gate, by ``station deploy`` or REST."""
        self.configuration(internal)

    def recipes(self, external: str, product: str) -> Sequence[tuple[str, Any]]:
        """(product, RecipeIdInternalDataType) of the recipes with these ids; empty ones do not filter."""
        return [
            (each, model_id(types.RecipeIdInternalDataType, self.models.get(each)))
            for each in self._products
            if external in ("", each) and product in ("", each)
        ]

    def prepare(self, external: str, internal: str) -> Any:
        """The RecipeIdInternalDataType of a recipe that can be used; Refusal otherwise. Nothing need be done."""
        found = [
            (product, recipe)
            for product, recipe in self.recipes(external, "")
            if (external or internal) and internal in ("", self.models.get(product))
        ]
        if not found:
            raise Refusal(Code.UNKNOWN, f"no recipe is {external!r} {internal!r}; the station has {', '.join(self._products)}")
        product, recipe = found[0]
        if product not in self.models:
            raise Refusal(Code.NO_MODEL, f"no model is in service for product {product!r}; deploy one")
        return recipe
