"""The state machine of OPC 40100-1: VisionStateMachineType, and in Operational its automatic mode.

Names are those of the standard; a transition is named ``<From>To<To>`` with an ending for its cause, and ``Auto`` where the
station makes it by itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from asyncua import ua

from inspection.opcua.nodes import AddressSpace, types

MACHINE = "VisionStateMachine"
AUTOMATIC = f"{MACHINE}.AutomaticModeStateMachine"


class State(StrEnum):
    PREOPERATIONAL = "Preoperational"
    HALTED = "Halted"
    ERROR = "Error"
    OPERATIONAL = "Operational"


class Automatic(StrEnum):
    INITIALIZED = "Initialized"
    READY = "Ready"
    SINGLE = "SingleExecution"
    CONTINUOUS = "ContinuousExecution"


# SEMI E10, as SystemStateDataType counts: what a plant's utilisation figures are made of.
_E10 = {
    State.PREOPERATIONAL: ("NST", 6),
    State.HALTED: ("SDT", 4),
    State.ERROR: ("UDT", 5),
    Automatic.INITIALIZED: ("NST", 6),
    Automatic.READY: ("SBY", 2),
    Automatic.SINGLE: ("PRD", 1),
    Automatic.CONTINUOUS: ("PRD", 1),
}


class VisionStateMachine:
    """Where the system is, and the nodes and events that say so. ``automatic`` is None outside Operational."""

    def __init__(self, space: AddressSpace) -> None:
        self._space = space
        self.state = State.PREOPERATIONAL
        self.automatic: Automatic | None = None

    async def publish(self) -> None:
        """Write the state into its nodes."""
        await self._write(MACHINE, self.state)
        await self._write(AUTOMATIC, self.automatic)
        code, number = _E10[self.automatic or self.state]
        path = "/".join((code, self.state, *([self.automatic] if self.automatic else [])))
        described = types.SystemStateDescriptionDataType(State=types.SystemStateDataType(number), StateDescription=path)
        await self._space.write("SystemState", ua.Variant(described, ua.VariantType.ExtensionObject))

    async def _write(self, machine: str, state: str | None) -> None:
        if state is None:
            for name in ("CurrentState", "CurrentState.Id"):
                await self._space.write(f"{machine}.{name}", None, ua.StatusCodes.BadStateNotActive)
            return
        await self._space.write(f"{machine}.CurrentState", ua.Variant(ua.LocalizedText(state)))
        await self._space.write(f"{machine}.CurrentState.Id", ua.Variant(self._space.states[state], ua.VariantType.NodeId))

    async def go(self, to: State, ending: str = "", message: str = "") -> None:
        """A transition of the system; leaving Operational leaves the automatic mode, entering it begins in Initialized."""
        before, self.state = self.state, to
        self.automatic = Automatic.INITIALIZED if to is State.OPERATIONAL else None
        await self._changed(MACHINE, before, to, f"{before}To{to}{ending}", message)

    async def go_automatic(self, to: Automatic, ending: str = "", message: str = "") -> None:
        """A transition within Operational."""
        before, self.automatic = self.automatic, to
        assert before is not None
        await self._changed(AUTOMATIC, before, to, f"{before}To{to}{ending}", message)

    async def _changed(self, machine: str, before: str, to: str, transition: str, message: str) -> None:
        await self.publish()
        states = self._space.states
        fields: dict[str, Any] = {
            "FromState": ua.LocalizedText(before),
            "FromState/Id": ua.Variant(states[before], ua.VariantType.NodeId),
            "ToState": ua.LocalizedText(to),
            "ToState/Id": ua.Variant(states[to], ua.VariantType.NodeId),
            "Transition": ua.LocalizedText(transition),
            "Transition/Id": ua.Variant(states[transition], ua.VariantType.NodeId),
        }
        text = f"{before} to {to}" + (f": {message}" if message else "")
        await self._space.fire("StateChanged", text, source=machine, **fields)
        if to == State.ERROR:
            await self._space.fire("Error", text, severity=800, source=machine, **fields)
        elif before == State.ERROR and to == State.OPERATIONAL:
            await self._space.fire("ErrorResolved", text, source=machine, **fields)
