"""The address space: the NodeSet of OPC 40100-1, one VisionSystem, and the station's own data types.

Methods and components that the station does not serve are deleted, so that a client finds only what works.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import Node, Server, ua
from asyncua.common.events import get_event_obj_from_type_node
from asyncua.common.structures104 import load_custom_struct, load_enums, new_enum, new_struct, new_struct_field

from inspection.errors import ConfigError

# asyncua makes the classes of the NodeSet's structures in this module when it loads that, and takes int and str where its
# annotations ask for Int16 and the like.
types: Any = ua

MACHINE_VISION = "http://opcfoundation.org/UA/MachineVision"
TYPES = "urn:inspection-station:types"
NODESET = "Opc.Ua.MachineVision.NodeSet2.xml"

# Node ids of the NodeSet, as OPC 40100-1 publishes them.
_VISION_SYSTEM_TYPE = 1003
_STATE_MACHINE_TYPE = 1017
_AUTOMATIC_TYPE = 1021
EVENTS = {
    "StateChanged": 1018,
    "Error": 1019,
    "ErrorResolved": 1020,
    "JobStarted": 1013,
    "RecipePrepared": 1022,
    "Ready": 1023,
    "ResultReady": 1024,
    "VisionInformation": 1038,
}

# Parts of VisionSystemType that a station does not serve: files, safety, writing recipes and configurations, steps.
_UNSERVED = (
    "DiagnosticLevel",
    "SafetyStateManagement",
    "ConfigurationManagement.AddConfiguration",
    "ConfigurationManagement.RemoveConfiguration",
    "ConfigurationManagement.ConfigurationTransfer",
    "RecipeManagement.AddRecipe",
    "RecipeManagement.RemoveRecipe",
    "RecipeManagement.PrepareProduct",
    "RecipeManagement.UnprepareProduct",
    "RecipeManagement.UnlinkProduct",
    "RecipeManagement.RecipeTransfer",
    "RecipeManagement.Products",
    "ResultManagement.Results",
    "ResultManagement.ResultTransfer",
    "VisionStateMachine.ConfirmAll",
    "VisionStateMachine.PreoperationalStepModel",
    "VisionStateMachine.HaltedStepModel",
    "VisionStateMachine.ErrorStepModel",
    "VisionStateMachine.AutomaticModeStateMachine.InitializedStepModel",
    "VisionStateMachine.AutomaticModeStateMachine.ReadyStepModel",
    "VisionStateMachine.AutomaticModeStateMachine.SingleExecutionStepModel",
    "VisionStateMachine.AutomaticModeStateMachine.ContinuousExecutionStepModel",
)
# Subtypes without fields of their own, which asyncua takes for their base: their encodings would not be understood.
_SUBTYPES = ("ConfigurationIdDataType", "RecipeIdExternalDataType", "RecipeIdInternalDataType")

# OPC 40001-101, ResultEvaluationEnum. That NodeSet cannot be loaded beside MachineVision: both name a ResultDataType.
EVALUATIONS = ("Undefined", "OK", "NotOK", "NotDecidable")
_CONTENT = (
    ("Evaluation", None, False),
    ("Verdict", ua.VariantType.String, False),
    ("Reason", ua.VariantType.String, True),
    ("Score", ua.VariantType.Double, True),
    ("ReviewThreshold", ua.VariantType.Double, True),
    ("FailThreshold", ua.VariantType.Double, True),
    ("ProposedClass", ua.VariantType.String, True),
    ("Output", ua.VariantType.String, True),
    ("Camera", ua.VariantType.String, False),
    ("TriggerId", ua.VariantType.Int64, False),
    ("Attempt", ua.VariantType.Int32, False),
)


@dataclass
class AddressSpace:
    """The served nodes. ``vision`` and ``own`` are namespace indices: of the NodeSet, and of the VisionSystem."""

    server: Server
    vision: int
    own: int
    system: Node
    states: dict[str, ua.NodeId] = field(default_factory=dict)
    """States and transitions of the state machine types, by browse name."""
    _events: dict[str, Any] = field(default_factory=dict)

    def node(self, path: str) -> Node:
        """A node of the VisionSystem by its browse names, joined with dots."""
        return self.server.get_node(types.NodeId(f"VisionSystem.{path}", self.own))

    async def write(self, path: str, value: ua.Variant | None, status: int = ua.StatusCodes.Good) -> None:
        data = types.DataValue(value, StatusCode=types.StatusCode(status), SourceTimestamp=datetime.now(UTC))
        await self.node(path).write_attribute(ua.AttributeIds.Value, data)

    async def say_health(self, troubles: str) -> None:
        """Why the station cannot inspect now; empty if it can."""
        await self.write("Health", ua.Variant(troubles))

    async def fire(self, kind: str, message: str, severity: int = 100, source: str = "", **fields: Any) -> None:
        """Send an event of the standard to whoever listens to the server, to the system, or to its source in there."""
        if not self.server.iserver.subscription_service.subscriptions:
            return
        if kind not in self._events:
            type_node = self.server.get_node(types.NodeId(EVENTS[kind], self.vision))
            self._events[kind] = await get_event_obj_from_type_node(type_node)
        event = copy.deepcopy(self._events[kind])
        event.EventId = uuid.uuid4().bytes
        event.SourceNode = self.node(source).nodeid if source else self.system.nodeid
        event.SourceName = source.rpartition(".")[2] or "VisionSystem"
        event.Time = event.ReceiveTime = datetime.now(UTC)
        event.LocalTime = None
        event.Message = ua.LocalizedText(message)
        event.Severity = severity
        for name, value in fields.items():
            variant = value if isinstance(value, ua.Variant) else ua.Variant(value)
            setattr(event, name, variant.Value)
            event.data_types[name] = variant.VariantType
        for emitting in dict.fromkeys((types.NodeId(ua.ObjectIds.Server), self.system.nodeid, event.SourceNode)):
            event.emitting_node = emitting
            await self.server.iserver.subscription_service.trigger_event(event)


def check_nodeset(nodeset_dir: Path) -> Path:
    """The NodeSet file in this folder; ConfigError if it is missing."""
    path = nodeset_dir / NODESET
    if not path.is_file():
        raise ConfigError(
            f"{path} is not there; take it from the OPC Foundation (https://github.com/OPCFoundation/UA-Nodeset, or npm "
            "`node-opcua-nodesets`), and name its folder as nodeset_dir under [opcua]"
        )
    return path


async def build(server: Server, nodeset_dir: Path, name: str) -> AddressSpace:
    """Load the NodeSet and make the VisionSystem named ``name``; ConfigError if the NodeSet is missing or unusable."""
    path = check_nodeset(nodeset_dir)
    try:
        await server.import_xml(str(path))
        vision = await server.get_namespace_index(MACHINE_VISION)
        system_type = server.get_node(types.NodeId(_VISION_SYSTEM_TYPE, vision))
        system = await server.nodes.objects.add_object(
            types.NodeId("VisionSystem", 1), ua.QualifiedName(name, 1), objecttype=system_type.nodeid, instantiate_optional=True
        )
    except (ua.UaError, ValueError, KeyError, SyntaxError, OSError) as error:
        raise ConfigError(f"{path} is not the NodeSet of OPC 40100-1 1.0: {error!r}; take the published file") from error
    space = AddressSpace(server, vision, 1, system)
    await server.delete_nodes([space.node(each) for each in _UNSERVED], recursive=True)
    for number in (_STATE_MACHINE_TYPE, _AUTOMATIC_TYPE):
        for child in await server.get_node(types.NodeId(number, vision)).get_children(nodeclassmask=ua.NodeClass.Object):
            space.states[(await child.read_browse_name()).Name] = child.nodeid
    await _register_subtypes(server)
    await _own_types(server)
    await system.add_variable(types.NodeId("VisionSystem.Health", 1), ua.QualifiedName("Health", 1), "", ua.VariantType.String)
    sources = ("ResultManagement", "VisionStateMachine", "VisionStateMachine.AutomaticModeStateMachine")
    for node in (system, *map(space.node, sources)):
        await node.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
    return space


async def _register_subtypes(server: Server) -> None:
    """Give them a class here and, for clients that read it, the definition that they inherit."""
    base = types.BinaryIdBaseDataType
    parent = server.get_node(base.data_type)
    for kind in await parent.get_children(refs=ua.ObjectIds.HasSubtype):
        name = (await kind.read_browse_name()).Name
        assert name in _SUBTYPES, name
        definition: Any = copy.deepcopy(await parent.read_data_type_definition())
        for encoding in await kind.get_referenced_nodes(refs=ua.ObjectIds.HasEncoding):
            if (await encoding.read_browse_name()).Name == "Default Binary":
                definition.DefaultEncodingId = encoding.nodeid
        definition.BaseDataType = parent.nodeid
        await kind.write_data_type_definition(definition)
        delattr(ua, name)
        subtype = type(name, (base,), {"data_type": kind.nodeid})
        ua.register_extension_object(name, definition.DefaultEncodingId, subtype, kind.nodeid)


async def _own_types(server: Server) -> None:
    index = await server.register_namespace(TYPES)
    evaluation = await new_enum(server, index, "ResultEvaluation", list(EVALUATIONS))
    fields = [new_struct_field(name, kind or evaluation, optional=optional) for name, kind, optional in _CONTENT]
    node, _ = await new_struct(server, index, "InspectionDataType", fields)
    await load_enums(server)
    await load_custom_struct(node)
