"""What the rejector did, part by part, against what was commanded. Pure.

The PLC counts its confirmations, and names with each the Acquisition ID and the output. A count that jumps says that some were
overwritten before they were read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cameras.fault_kinds import FaultKind
from inspection.domain import Output
from inspection.plc.codes import OUTPUT_CODES, ErrorCode
from inspection.plc.registers import Inputs

_OUTPUTS = {code: output for output, code in OUTPUT_CODES.items()}
_NOT_CONFIRMED = {Output.ACCEPT: FaultKind.ACCEPT_NOT_CONFIRMED, Output.REJECT: FaultKind.REJECT_NOT_CONFIRMED}


@dataclass(frozen=True, slots=True)
class Fault:
    """One counted fault. ``error`` is shown to the PLC."""

    kind: FaultKind
    detail: str
    error: ErrorCode = ErrorCode.NONE
    count: int = 1


@dataclass
class _Awaited:
    """``accepted``: ACCEPT was shown for this part; ``commanded``: what the line commanded, once known."""

    trigger_id: int
    serial: str
    due_ns: int
    accepted: bool = False
    commanded: Output | None = None

    def __str__(self) -> str:
        return f"trigger {self.trigger_id}, serial {self.serial}"


@dataclass
class Confirmations:
    """Numbered parts whose way the PLC has not confirmed. In flight are far fewer than the 65,536 that an id can tell apart."""

    _awaited: dict[int, _Awaited] = field(default_factory=dict)
    _count: int = 0

    def expect(self, trigger_id: int, serial: str, due_ns: int) -> None:
        self._awaited[trigger_id & 0xFFFF] = _Awaited(trigger_id, serial, due_ns)

    def commanded(self, trigger_id: int, output: Output) -> None:
        awaited = self._awaited.get(trigger_id & 0xFFFF)
        if awaited is not None and awaited.trigger_id == trigger_id:
            awaited.commanded = output

    def accepted(self, trigger_id: int) -> None:
        awaited = self._awaited.get(trigger_id & 0xFFFF)
        if awaited is not None:
            awaited.accepted = True

    def begin(self, inputs: Inputs) -> None:
        """The PLC is new: its count goes on from here."""
        self._count = inputs.confirmations

    def read(self, inputs: Inputs) -> list[Fault]:
        """A confirmation, if one came, and what is wrong with it."""
        steps = (inputs.confirmations - self._count) & 0xFFFF
        if steps == 0:
            return []
        self._count = inputs.confirmations
        faults = []
        if steps > 1:
            detail = f"the count of confirmations rose by {steps}: those between were overwritten, write one at a time"
            faults.append(Fault(FaultKind.CONFIRMATION_LOST, detail, count=steps - 1))
        output = _OUTPUTS.get(inputs.confirmed_output)
        awaited = self._awaited.pop(inputs.confirmed_acquisition, None)
        if output is None:
            faults.append(
                Fault(FaultKind.CONFIRMATION_INVALID, f"confirmed output {inputs.confirmed_output} is neither of {OUTPUT_CODES}")
            )
        elif awaited is None:
            detail = f"{output} of acquisition {inputs.confirmed_acquisition}, which is not awaited; the gateway was restarted?"
            faults.append(Fault(FaultKind.CONFIRMATION_UNKNOWN, detail))
        elif output is Output.ACCEPT and not awaited.accepted:
            detail = f"{awaited} was accepted, and no accept was shown for it: find the part"
            faults.append(Fault(FaultKind.ACCEPT_NOT_COMMANDED, detail, ErrorCode.ACCEPT_NOT_COMMANDED))
        elif output is Output.REJECT and awaited.commanded is Output.ACCEPT:
            faults.append(Fault(FaultKind.ACCEPT_NOT_TAKEN, f"{awaited} was commanded accept, and rejected: not read in time"))
        return faults

    def overdue(self, now_ns: int) -> list[Fault]:
        """Parts that left the conveyor by now, and nobody said where."""
        late = [key for key, awaited in self._awaited.items() if now_ns > awaited.due_ns]
        faults = []
        for key in late:
            awaited = self._awaited.pop(key)
            output = awaited.commanded or Output.REJECT
            faults.append(Fault(_NOT_CONFIRMED[output], f"{awaited}: no word of the rejector", ErrorCode.NOT_CONFIRMED))
        return faults
