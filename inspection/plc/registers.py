"""The register map, and how it is encoded: one table, from which ``python -m inspection.plc.registers`` prints the document.

Addresses count from 0, as they stand in the frame. Numbers of 32 bits are big-endian in word and byte order: the high word is
at the lower address. Text is ASCII, two characters in a register, the first one in the high byte, and ends at the first NUL.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import Any, Final, Literal

from inspection.plc.codes import (
    CONTROL_MEANINGS,
    LATE,
    NO_CONTROL,
    NO_STATUS,
    OUTPUT_CODES,
    PLC_WAS_AWAY,
    REASON_CODES,
    STATUS_MEANINGS,
    VERDICT_CODES,
    Control,
    ErrorCode,
    OfflineReason,
    Status,
)

TEXT_REGISTERS: Final = 32
MODEL_REGISTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Register:
    """One entry of the map. ``width`` counts registers of 16 bits; ``name`` is the field of Inputs or Outputs."""

    name: str
    kind: Literal["holding", "input"]
    address: int
    type: Literal["u16", "u32", "i32", "ascii"]
    width: int
    meaning: str


REGISTERS: Final = (
    # Written by the PLC.
    Register("control", "holding", 0, "u16", 1, "Control word, see below."),
    Register("heartbeat", "holding", 1, "u16", 1, "Any value that changes; not changing for watchdog_ms drops all outputs."),
    Register(
        "confirmations", "holding", 2, "u16", 1, "Counts the rejector's confirmations: raised by 1 with each, after 65535 0."
    ),
    Register("confirmed_acquisition", "holding", 3, "u16", 1, "Acquisition ID of the part that is confirmed."),
    Register("confirmed_output", "holding", 4, "u16", 1, "What the rejector did with it, see Output."),
    Register("lot", "holding", 5, "ascii", TEXT_REGISTERS, "Lot of the part at the trigger sensor, 1 to 64 characters."),
    Register(
        "serial", "holding", 37, "ascii", TEXT_REGISTERS, "Its serial, 1 to 64 characters; empty where the code on it tells it."
    ),
    # Read by the PLC.
    Register("status", "input", 0, "u16", 1, "Status word, see below."),
    Register("heartbeat", "input", 1, "u16", 1, "Changes every 100 ms while the gateway lives."),
    Register("error", "input", 2, "u16", 1, "Error code, see below."),
    Register("offline", "input", 3, "u16", 1, "Offline reason, see below."),
    Register("acquisition_id", "input", 4, "u16", 1, "Low 16 bits of the inspection ID of the last numbered trigger."),
    Register("results_queued", "input", 5, "u16", 1, "Results that wait behind the shown one."),
    Register(
        "inspection_id", "input", 6, "u32", 2, "Result: `trigger_id` of REST, modulo 2³². Its low 16 bits are the Acquisition ID."
    ),
    Register("verdict", "input", 8, "u16", 1, "Result: verdict code; 0 while no result is shown."),
    Register("reason", "input", 9, "u16", 1, "Result: reason code; 0 without one."),
    Register("score_x1000", "input", 10, "i32", 2, "Result: 1000 × score; 0 where none is known."),
    Register(
        "model", "input", 12, "ascii", MODEL_REGISTERS, "Result: first 8 hex characters of the model; NUL where none is known."
    ),
    Register("serial", "input", 16, "ascii", TEXT_REGISTERS, "Result: serial of the part it belongs to, see below."),
)

HOLDING: Final = tuple(register for register in REGISTERS if register.kind == "holding")
INPUT: Final = tuple(register for register in REGISTERS if register.kind == "input")
HOLDING_COUNT: Final = HOLDING[-1].address + HOLDING[-1].width
INPUT_COUNT: Final = INPUT[-1].address + INPUT[-1].width


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the PLC wrote. Text that is not plain ASCII is None."""

    control: Control = NO_CONTROL
    heartbeat: int = 0
    confirmations: int = 0
    confirmed_acquisition: int = 0
    confirmed_output: int = 0
    lot: str | None = ""
    serial: str | None = ""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the PLC reads."""

    status: Status = NO_STATUS
    heartbeat: int = 0
    error: ErrorCode = ErrorCode.NONE
    offline: OfflineReason = OfflineReason.ONLINE
    acquisition_id: int = 0
    results_queued: int = 0
    inspection_id: int = 0
    verdict: int = 0
    reason: int = 0
    score_x1000: int = 0
    model: str | None = ""
    serial: str | None = ""


def _layout(table: tuple[Register, ...]) -> struct.Struct:
    sizes = {"u16": "H", "u32": "I", "i32": "i"}
    return struct.Struct(">" + "".join(sizes.get(register.type) or f"{2 * register.width}s" for register in table))


_LAYOUTS: Final = {Inputs: _layout(HOLDING), Outputs: _layout(INPUT)}


def encode(image: Inputs | Outputs) -> list[int]:
    """The registers from address 0. ValueError for text that is not plain ASCII or too long, or a number out of range."""
    layout = _LAYOUTS[type(image)]
    table = HOLDING if isinstance(image, Inputs) else INPUT
    values = [getattr(image, register.name) for register in table]
    packed = [
        _text(value, register) if register.type == "ascii" else value for value, register in zip(values, table, strict=True)
    ]
    try:
        return list(struct.unpack(f">{layout.size // 2}H", layout.pack(*packed)))
    except struct.error as error:
        raise ValueError(f"{image} does not fit into the registers: {error}") from None


def decode_inputs(registers: Sequence[int]) -> Inputs:
    """From HOLDING_COUNT registers."""
    values = _unpack(Inputs, HOLDING, registers)
    return Inputs(**values | {"control": Control(values["control"])})


def decode_outputs(registers: Sequence[int]) -> Outputs:
    """From INPUT_COUNT registers. ValueError for a code that this version does not know."""
    values = _unpack(Outputs, INPUT, registers)
    words = {"status": Status(values["status"]), "error": ErrorCode(values["error"]), "offline": OfflineReason(values["offline"])}
    return Outputs(**values | words)


def _unpack(kind: type[Inputs] | type[Outputs], table: tuple[Register, ...], registers: Sequence[int]) -> dict[str, Any]:
    values = _LAYOUTS[kind].unpack(struct.pack(f">{len(registers)}H", *registers))
    return {each.name: _plain(value) if each.type == "ascii" else value for each, value in zip(table, values, strict=True)}


def _text(value: str | None, register: Register) -> bytes:
    if value is None or not value.isascii() or (value and not value.isprintable()) or len(value) > 2 * register.width:
        raise ValueError(f"{register.name} {value!r} must be up to {2 * register.width} printable ASCII characters")
    return value.encode("ascii")


def _plain(raw: bytes) -> str | None:
    text = raw.split(b"\0", 1)[0].decode("latin-1")
    return text if text.isascii() and (not text or text.isprintable()) else None


# --- the document ---

_SEQUENCE = """
1. The PLC changes its heartbeat all the time and watches the station's. Where the station's stops, it rejects.
2. Part at the sensor, Trigger Ready: the PLC writes lot, serial and Trigger, in one frame or Trigger last.
3. Trigger Ack: the PLC notes Acquisition ID for the part. With Expose, it raises the camera's edge. It drops Trigger.
4. Results Valid: the PLC reads all result registers in one frame, looks for the part with this serial and Acquisition ID, notes
   Pass for it, raises Results Ack, and drops it when Results Valid is gone. A part for which it named no serial has its
   Acquisition ID alone.
5. Part at the rejector: it is accepted if Pass was read for it, else rejected. An accept needs power, a reject does not.
6. The PLC writes what the rejector did: Acquisition ID, output, and the count of confirmations raised by one, in one frame or the
   count last.

After a start of the gateway, and after the PLC's heartbeat came back, Trigger Ready stays 0 for the exposure window: an edge that
was allowed before must not be taken for the next part's. Parts that were triggered before the heartbeat stopped are rejected.

For a product with `serial_from = "code"` the serial register may be empty when Trigger rises. The result then names the serial
that was read from the part's Data Matrix or QR code; if none was, `?` and the inspection ID. Characters outside ASCII
are shown as `?`.
"""


def _words(name: str) -> str:
    return name.replace("_", " ").title()


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def _bits(word: type[IntFlag], meanings: dict[int, str]) -> str:
    return _table(("bit", "name", "meaning"), [(flag.bit_length() - 1, _words(flag.name or ""), meanings[flag]) for flag in word])


def _codes(words: type[IntEnum]) -> str:
    return _table(("code", "name"), [(code.value, code.name.lower()) for code in words])


def document() -> str:
    """The map as Markdown."""

    def rows(table: tuple[Register, ...]) -> str:
        found = [(each.address, each.width, each.type, _words(each.name), each.meaning) for each in table]
        return _table(("address", "registers", "type", "name", "meaning"), found)

    reasons = [(code, reason.value) for reason, code in REASON_CODES.items()]
    reasons += [(LATE, "late: the verdict came after the deadline for an accept"), (PLC_WAS_AWAY, "the PLC's heartbeat stopped")]
    verdicts = [(code, verdict.value) for verdict, code in VERDICT_CODES.items()]
    outputs = [(code, output.value) for output, code in OUTPUT_CODES.items()]
    assert __doc__ is not None
    return "\n\n".join(
        (
            "# Modbus TCP registers",
            "Written by `python -m inspection.plc.registers`.",
            __doc__.split("\n\n", 1)[1].strip(),
            "Function codes 3, 4, 6 and 16; any unit identifier. One connection writes at a time. Registers that one frame "
            "writes take effect together, and one frame reads the whole result of one part.",
            f"## Sequence\n{_SEQUENCE.rstrip()}",
            f"## Holding registers, written by the PLC\n\n{rows(HOLDING)}",
            f"## Input registers, read by the PLC\n\n{rows(INPUT)}",
            f"## Control word\n\n{_bits(Control, CONTROL_MEANINGS)}",
            f"## Status word\n\n{_bits(Status, STATUS_MEANINGS)}",
            f"## Error code\n\n{_codes(ErrorCode)}",
            f"## Offline reason\n\n{_codes(OfflineReason)}",
            f"## Verdict\n\n{_table(('code', 'verdict'), verdicts)}",
            f"## Reason\n\n{_table(('code', 'reason'), reasons)}",
            f"## Output\n\n{_table(('code', 'output'), outputs)}\n",
        )
    )


assert [register.name for register in HOLDING] == [field.name for field in fields(Inputs)]
assert [register.name for register in INPUT] == [field.name for field in fields(Outputs)]

if __name__ == "__main__":
    print(document(), end="")  # noqa: T201  (what the command is for)
