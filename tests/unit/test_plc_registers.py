"""The register map: its document, its layout, and that nothing is lost on the way through it."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.domain import Output, Reason, Verdict
from inspection.plc.codes import (
    CONTROL_MEANINGS,
    LATE,
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
from inspection.plc.registers import (
    HOLDING,
    HOLDING_COUNT,
    INPUT,
    INPUT_COUNT,
    Inputs,
    Outputs,
    decode_inputs,
    decode_outputs,
    document,
    encode,
)

DOCUMENT = Path(__file__).parents[2] / ".github" / "interfaces" / "modbus.md"
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=64)
U16 = st.integers(0, 0xFFFF)


def test_the_committed_document_is_the_map_in_the_code() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), (
        "the map changed, and PLCs are programmed by it; if it must, `python -m inspection.plc.registers` prints the document"
    )


@pytest.mark.parametrize("table", [HOLDING, INPUT])
def test_registers_neither_overlap_nor_leave_gaps(table: tuple) -> None:
    address = 0
    for register in table:
        assert register.address == address, register.name
        address += register.width
    # One frame reads 125 registers and writes 123.
    assert address <= 123


def test_every_word_has_its_number_once() -> None:
    assert set(VERDICT_CODES) == set(Verdict)
    assert set(REASON_CODES) == set(Reason)
    assert set(OUTPUT_CODES) == set(Output)
    reasons = [*REASON_CODES.values(), LATE, PLC_WAS_AWAY]
    assert len(set(reasons)) == len(reasons)
    assert 0 not in {*reasons, *VERDICT_CODES.values(), *OUTPUT_CODES.values()}, "0 means none"
    assert set(CONTROL_MEANINGS) == set(Control)
    assert set(STATUS_MEANINGS) == set(Status)
    for word in (Control, Status, ErrorCode, OfflineReason):
        for each in word:
            assert re.search(each.name.replace("_", "."), document(), re.IGNORECASE), each.name


@given(
    st.builds(
        Inputs,
        control=st.integers(0, 63).map(Control),
        heartbeat=U16,
        confirmations=U16,
        confirmed_acquisition=U16,
        confirmed_output=U16,
        lot=TEXT,
        serial=TEXT,
    )
)
def test_what_the_plc_writes_arrives(inputs: Inputs) -> None:
    registers = encode(inputs)
    assert len(registers) == HOLDING_COUNT
    assert decode_inputs(registers) == inputs


@given(
    st.builds(
        Outputs,
        status=st.integers(0, 0x1FFF).map(Status),
        heartbeat=U16,
        error=st.sampled_from(ErrorCode),
        offline=st.sampled_from(OfflineReason),
        acquisition_id=U16,
        results_queued=U16,
        inspection_id=st.integers(0, 2**32 - 1),
        verdict=U16,
        reason=U16,
        score_x1000=st.integers(-(2**31), 2**31 - 1),
        model=st.text("0123456789abcdef", max_size=8),
        serial=TEXT,
    )
)
def test_what_the_plc_reads_is_what_was_shown(outputs: Outputs) -> None:
    registers = encode(outputs)
    assert len(registers) == INPUT_COUNT
    assert decode_outputs(registers) == outputs


def test_the_encoding_is_the_one_stated() -> None:
    registers = encode(Outputs(inspection_id=0x0001_0002, score_x1000=-2, model="89abcdef", serial="AB1"))
    assert registers[6:8] == [1, 2], "high word first"
    assert registers[10:12] == [0xFFFF, 0xFFFE]
    assert registers[12] == ord("8") << 8 | ord("9"), "first character in the high byte"
    assert registers[16:19] == [ord("A") << 8 | ord("B"), ord("1") << 8, 0]


@given(st.lists(U16, min_size=HOLDING_COUNT, max_size=HOLDING_COUNT))
def test_any_registers_can_be_read(registers: list[int]) -> None:
    inputs = decode_inputs(registers)
    for text, first in ((inputs.lot, 5), (inputs.serial, 37)):
        raw = struct.pack(">32H", *registers[first : first + 32])
        assert text is None or (text.isascii() and raw.startswith(text.encode() + b"\0" * (len(text) < 64)))


def test_text_ends_at_the_first_nul() -> None:
    registers = encode(Inputs(serial="LONGSERIAL"))
    registers[38] = ord("X") << 8
    assert decode_inputs(registers).serial == "LOX"


@pytest.mark.parametrize("serial", ["x" * 65, "Prüfling", "tab\t", None])
def test_text_that_does_not_fit_is_refused(serial: str | None) -> None:
    with pytest.raises(ValueError, match="serial"):
        encode(replace(Inputs(), serial=serial))


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode(replace(Inputs(), heartbeat=70_000))
