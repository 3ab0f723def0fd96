"""What clients may call: the methods of OPC 40100-1, their arguments checked, linked to results, recipes and jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import Node, ua

from inspection.errors import Unavailable
from inspection.opcua.audited import Audited, Handler, acting
from inspection.opcua.jobs import Jobs
from inspection.opcua.nodes import AddressSpace, types
from inspection.opcua.recipes import Recipes
from inspection.opcua.refusals import Code, Refusal, WrongState
from inspection.opcua.results import MAX_PAGE, Filter, Results
from inspection.opcua.server import caller
from inspection.opcua.state import AUTOMATIC, MACHINE

log = logging.getLogger(__name__)

_RESULTS, _RECIPES, _CONFIGURATIONS = "ResultManagement", "RecipeManagement", "ConfigurationManagement"
_MAX_TEXT = 256


@dataclass
class Methods:
    space: AddressSpace
    results: Results
    recipes: Recipes
    jobs: Jobs
    audited: Audited
    _handles: int = 0

    async def link(self) -> None:
        """Link every method of the VisionSystem; one without a handler would be a defect, and fails here."""
        reading: dict[str, Handler] = {
            f"{_RESULTS}.GetResultById": self._result_by_id,
            f"{_RESULTS}.GetResultComponentsById": self._components_by_id,
            f"{_RESULTS}.GetResultListFiltered": self._result_list,
            f"{_RESULTS}.ReleaseResultHandle": self._release,
            f"{_RECIPES}.GetRecipeListFiltered": self._recipe_list,
            f"{_RECIPES}.ReleaseRecipeHandle": self._release,
            f"{_CONFIGURATIONS}.GetConfigurationList": self._configuration_list,
            f"{_CONFIGURATIONS}.GetConfigurationById": self._configuration_by_id,
            f"{_CONFIGURATIONS}.ReleaseConfigurationHandle": self._release,
        }
        changing: dict[str, Handler] = {
            f"{_RECIPES}.PrepareRecipe": self._prepare,
            f"{_RECIPES}.UnprepareRecipe": self._unprepare,
            f"{_CONFIGURATIONS}.ActivateConfiguration": self._activate,
            f"{MACHINE}.Halt": self._halt,
            f"{MACHINE}.Reset": self._reset,
            f"{MACHINE}.SelectModeAutomatic": self._select_mode_automatic,
            f"{AUTOMATIC}.StartSingleJob": self._start_single,
            f"{AUTOMATIC}.StartContinuous": self._start_continuous,
            f"{AUTOMATIC}.Stop": self._stop,
            f"{AUTOMATIC}.Abort": self._abort,
            f"{AUTOMATIC}.SimulationMode": self._simulation_mode,
        }
        paths = {path: (handler, False) for path, handler in reading.items()}
        paths |= {path: (handler, True) for path, handler in changing.items()}
        for recipe in await self.space.node(f"{_RECIPES}.Recipes").get_children():
            external = (await recipe.read_browse_name()).Name
            path = f"{_RECIPES}.Recipes.{external}"
            paths |= {f"{path}.Prepare": (self._prepare_one(external), True), f"{path}.Unprepare": (self._unprepare, True)}
        for node in await _methods(self.space.system):
            path = str(node.nodeid.Identifier).removeprefix("VisionSystem.")
            await self._link(node, path, *paths.pop(path))
        assert not paths, paths

    async def _link(self, node: Node, path: str, handler: Handler, changing: bool) -> None:
        given = await _arguments(node, "InputArguments")
        returned = await _arguments(node, "OutputArguments")
        kinds = [_variant_type(argument) for argument in returned]
        if changing:
            handler = self.audited.traced(path, [argument.Name for argument in given], handler)

        async def call(_parent: ua.NodeId, *arguments: ua.Variant) -> Any:
            user = caller.get()
            if changing and user is None:
                return types.StatusCode(ua.StatusCodes.BadUserAccessDenied)
            if len(arguments) != len(given):
                few = len(arguments) < len(given)
                return types.StatusCode(ua.StatusCodes.BadArgumentsMissing if few else ua.StatusCodes.BadTooManyArguments)
            try:
                values = [_plain(argument, value) for argument, value in zip(given, arguments, strict=True)]
            except TypeError as error:
                log.warning("%s of %s: %s", path, user, error)
                return types.StatusCode(ua.StatusCodes.BadInvalidArgument)
            try:
                outputs, error_code = [*await handler(*values)], 0
            except WrongState as error:
                log.warning("%s of %s: %s", path, user, error)
                return types.StatusCode(ua.StatusCodes.BadInvalidState)
            except (Refusal, Unavailable) as refusal:
                error_code = refusal.code if isinstance(refusal, Refusal) else Code.UNAVAILABLE
                outputs = [_empty(argument) for argument in returned[:-1]]
                await self._refused(path, user, error_code, str(refusal))
            if changing and not error_code:
                log.info("%s by %s: %s", path, user, values)
            return [ua.Variant(value, kind) for value, kind in zip([*outputs, int(error_code)], kinds, strict=True)]

        self.space.server.link_method(node, call)

    async def _refused(self, path: str, user: str | None, code: int, text: str) -> None:
        log.warning("%s of %s is refused (%d): %s", path, user, code, text)
        if code != Code.UNKNOWN:
            await self.space.fire("VisionInformation", f"{path} is refused ({code}): {text}", severity=300, CausePath=path)

    def _handle(self) -> int:
        """A number for what a call returned. Nothing is kept for it: results stay in the records."""
        self._handles = self._handles % (2**32 - 1) + 1
        return self._handles

    # --- results ---

    async def _result_by_id(self, result_id: str, _timeout: int) -> Sequence[Any]:
        return [self._handle(), await self._result(result_id)]

    async def _components_by_id(self, result_id: str, _timeout: int) -> Sequence[Any]:
        result = await self._result(result_id)
        return [
            False,
            self._handle(),
            result.IsPartial,
            result.IsSimulated,
            result.ResultState,
            result.MeasId,
            result.PartId,
            result.ExternalRecipeId,
            result.InternalRecipeId,
            result.ProductId,
            result.ExternalConfigurationId,
            result.InternalConfigurationId,
            result.JobId,
            result.CreationTime,
            result.ProcessingTimes,
            result.ResultContent,
        ]

    async def _result(self, result_id: str) -> Any:
        result = await asyncio.to_thread(self.results.by_id, result_id)
        if result is None:
            raise Refusal(Code.UNKNOWN, f"there is no result {result_id!r}; list results to find their ids")
        return result

    async def _result_list(
        self,
        state: int,
        meas: str,
        part: str,
        external_recipe: str,
        internal_recipe: str,
        external_configuration: str,
        internal_configuration: str,
        product: str,
        job: str,
        most: int,
        start: int,
        _timeout: int,
    ) -> Sequence[Any]:
        products = {each for each in (external_recipe, external_configuration, product) if each}
        models = {each for each in (internal_recipe, internal_configuration) if each}
        if len(products) > 1 or len(models) > 1:
            return self._page([], True)  # one part has one product and one model
        wanted = Filter(state, meas, part, "".join(products), "".join(models), job)
        limit = min(most, MAX_PAGE) if most else MAX_PAGE
        found = await asyncio.to_thread(self.results.page, wanted, start, limit + 1)
        return self._page(found[:limit], len(found) <= limit)

    def _page(self, found: Sequence[Any], complete: bool) -> Sequence[Any]:
        """IsComplete, ResultCount, handle (0 if there is nothing) and list, of results, recipes and configurations alike."""
        return [complete, len(found), self._handle() if found else 0, list(found)]

    async def _release(self, handle: int) -> Sequence[Any]:
        if not 0 < handle <= self._handles:
            raise Refusal(Code.UNKNOWN, f"handle {handle} was not given out since this server started")
        return []

    # --- recipes and configurations ---

    async def _recipe_list(
        self, external: str, product: str, prepared: int, most: int, start: int, _timeout: int
    ) -> Sequence[Any]:
        dont_care = types.TriStateBooleanDataType.DONTCARE_2
        found = [
            recipe
            for each, recipe in self.recipes.recipes(external, product)
            if prepared == dont_care or bool(prepared) == (each in self.recipes.models)
        ]
        return self._slice(found, most, start)

    async def _configuration_list(self, most: int, start: int, _timeout: int) -> Sequence[Any]:
        return self._slice(self.recipes.configurations(), most, start)

    def _slice(self, found: Sequence[Any], most: int, start: int) -> Sequence[Any]:
        rest = found[start:]
        page = rest[:most] if most else rest
        return self._page(page, len(page) == len(rest))

    async def _configuration_by_id(self, internal: str, _timeout: int) -> Sequence[Any]:
        return [self._handle(), self.recipes.configuration(internal)]

    async def _activate(self, internal: str) -> Sequence[Any]:
        self.recipes.activate(internal)
        return []

    async def _prepare(self, external: str, internal: str) -> Sequence[Any]:
        return [self.recipes.prepare(external, internal), True]

    def _prepare_one(self, external: str) -> Handler:
        async def prepare() -> Sequence[Any]:
            self.recipes.prepare(external, "")
            return [True]

        return prepare

    async def _unprepare(self, *_ids: str) -> Sequence[Any]:
        raise Refusal(Code.NOT_POSSIBLE, "recipes are always prepared on this station; deploy another model to change one")

    # --- the state machine ---

    async def _start_single(self, meas: str, part: str, recipe: str, product: str, parameters: Any) -> Sequence[Any]:
        _no_parameters(parameters)
        return [types.JobIdDataType(Id=await self.jobs.start_single(meas, part, recipe, product))]

    async def _start_continuous(self, meas: str, part: str, recipe: str, product: str, parameters: Any) -> Sequence[Any]:
        _no_parameters(parameters)
        return [types.JobIdDataType(Id=await self.jobs.start_continuous(meas, part, recipe, product, acting()))]

    async def _stop(self, _cause: int, _description: str) -> Sequence[Any]:
        await self.jobs.stop("Stop", acting())
        return []

    async def _abort(self, _cause: int, _description: str) -> Sequence[Any]:
        await self.jobs.stop("Abort", acting())
        return []

    async def _halt(self, _cause: int, _description: str) -> Sequence[Any]:
        await self.jobs.halt(acting())
        return []

    async def _reset(self, _cause: int, _description: str) -> Sequence[Any]:
        await self.jobs.reset(acting())
        return []

    async def _select_mode_automatic(self) -> Sequence[Any]:
        await self.jobs.select_mode_automatic()
        return []

    async def _simulation_mode(self, activate: bool, _cause: int, _description: str) -> Sequence[Any]:
        await self.jobs.simulation_mode(activate)
        return []


def _no_parameters(parameters: Any) -> None:
    if parameters:
        raise Refusal(Code.INVALID, "this station takes no Parameters; send an empty array")


# --- arguments ---


async def _methods(node: Node) -> list[Node]:
    found = []
    for child in await node.get_children():
        kind = await child.read_node_class()
        if kind == ua.NodeClass.Method:
            found.append(child)
        elif kind == ua.NodeClass.Object:
            found += await _methods(child)
    return found


async def _arguments(node: Node, name: str) -> list[ua.Argument]:
    for child in await node.get_properties():
        if (await child.read_browse_name()).Name == name:
            return list(await child.read_value())
    return []


def _class(argument: ua.Argument) -> Any:
    """The class of a structure of the NodeSet; None for other types."""
    return ua.extension_objects_by_datatype.get(argument.DataType)


def _variant_type(argument: ua.Argument) -> ua.VariantType:
    number = argument.DataType.Identifier
    if argument.DataType.NamespaceIndex == 0:
        return ua.VariantType.DateTime if number == ua.ObjectIds.UtcTime else ua.VariantType(number)
    if _class(argument) is not None:
        return ua.VariantType.ExtensionObject
    name = ua.basetype_by_datatype.get(argument.DataType)
    return ua.VariantType.UInt32 if name == "Handle" else ua.VariantType.Int32


def _empty(argument: ua.Argument) -> Any:
    """What an output is worth when the method is refused."""
    if argument.ValueRank == 1:
        return []
    kind = _class(argument)
    return kind() if kind is not None else ua.get_default_value(_variant_type(argument))


def _plain(argument: ua.Argument, variant: ua.Variant) -> Any:
    """The value of an input argument, an id as its text; TypeError if it is not of the argument's type."""
    value, wanted = variant.Value, _variant_type(argument)
    if argument.ValueRank == 1:
        if value is not None and not isinstance(value, list):
            raise TypeError(f"{argument.Name} is no array")
        return value or []
    if wanted is ua.VariantType.ExtensionObject:
        if value is None or (isinstance(value, ua.ExtensionObject) and value.Body is None):
            return ""
        text = getattr(value, "Id", None)
        if not hasattr(value, "Id") or not (text is None or (isinstance(text, str) and len(text) <= _MAX_TEXT)):
            raise TypeError(f"{argument.Name} is no id")
        return text or ""
    if wanted in (ua.VariantType.String, ua.VariantType.LocalizedText):
        if not (value is None or isinstance(value, str | ua.LocalizedText)):
            raise TypeError(f"{argument.Name} is no text")
        return str(value or "")[:_MAX_TEXT]
    if wanted is ua.VariantType.Boolean:
        if not isinstance(value, bool):
            raise TypeError(f"{argument.Name} is no Boolean")
        return value
    low, high = (0, 2**32 - 1) if wanted is ua.VariantType.UInt32 else (-(2**31), 2**31 - 1)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise TypeError(f"{argument.Name} is no {wanted.name}")
    return value
