"""What is written down twice: Python against C, the description against the register map, C against GenTL."""

from __future__ import annotations

import re
from enum import EnumType
from pathlib import Path

from genicam import gentl
from harvesters.util import pfnc

import cameras.simulator
from cameras.simulator import control_file

SOURCES = Path(cameras.simulator.__file__).parent
CONTROL_H = (SOURCES / "control.h").read_text()
SIMCAM_H = (SOURCES / "simcam.h").read_text()
GENTL_H = (SOURCES / "gentl.h").read_text()
XML = (SOURCES / "simcam.xml").read_text()

DEFINES = {name: int(value.rstrip("ul"), 0) for name, value in re.findall(r"#define (\w+) (0x\w+|\d+)\b", CONTROL_H)}


def enumerators(text: str) -> dict[str, int]:
    return {name: int(value, 0) for name, value in re.findall(r"\b([A-Z][A-Z0-9_]+) = (-?\w+)", text)}


def test_control_words_stand_in_the_same_order_in_c_and_python() -> None:
    body = re.search(r"struct control \{(.*?)\n\};", CONTROL_H, re.DOTALL)
    assert body
    fields = re.findall(r"^ +word (\w+)(?:\[(\w+)\])?;", body[1], re.MULTILINE)
    words = [name for name, count in fields if not count]
    arrays = {name: DEFINES[count] for name, count in fields if count}
    assert tuple(words) == control_file.WORDS
    assert arrays == control_file.ARRAYS
    assert [name for name, _ in fields] == list(control_file.PLACES)
    assert len(control_file.WORDS) + sum(control_file.ARRAYS.values()) <= control_file.CONTROL_BYTES // 8


def test_control_constants_agree() -> None:
    assert DEFINES["CONTROL_MAGIC"] == control_file.MAGIC
    for name in ("CONTROL_BYTES", "SCENE_SLOTS", "EDGE_RING", "OUTPUT_RING"):
        assert DEFINES[name] == getattr(control_file, name)
    numbers = enumerators(CONTROL_H)
    assert {f"SCENE_{kind.upper()}": number for kind, number in control_file.SCENE_KINDS.items()}.items() <= numbers.items()
    faults = {name.removeprefix("FAULT_").lower(): value for name, value in numbers.items() if name.startswith("FAULT_")}
    assert faults == {"none": 0} | control_file.FAULT_KINDS


def register_addresses() -> dict[str, int]:
    """Offset of each field of struct registers: characters, or 8 bytes each."""
    body = re.search(r"struct registers \{(.*?)\n\};", SIMCAM_H, re.DOTALL)
    assert body
    counts = {name: int(value) for name, value in re.findall(r"#define (\w+) (\d+)", SIMCAM_H)}
    addresses, address = {}, 0
    for kind, name, count in re.findall(r"^ +(char|double|uint64_t) (\w+)(?:\[(\w+)\])?;", body[1], re.MULTILINE):
        addresses[name] = address
        elements = 1 if not count else int(counts.get(count, count))
        address += elements * (1 if kind == "char" else 8)
    return addresses


def test_each_register_of_the_description_is_where_the_structure_has_it() -> None:
    addresses = register_addresses()
    described = {}
    for node, address, port in re.findall(
        r'<(?:Int|Float|String)Reg Name="(\w+)">.*?<Address>(\w+)</Address>.*?<pPort>(\w+)</pPort>', XML
    ):
        if port == "Device":
            name = node.removesuffix("Register").replace("TLParams", "TlParams")
            described[re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()] = int(address, 16)
    assert described == addresses


def test_values_of_the_description_are_the_ones_in_c() -> None:
    described = {name: int(value, 0) for name, value in re.findall(r'EnumEntry Name="(\w+)"><Value>(\w+)<', XML)}
    numbers = enumerators(SIMCAM_H)
    for entry, enumerator in {
        **{"Mono8": "MONO8", "Mono12": "MONO12", "BayerRG8": "BAYER_RG8", "RGB8": "RGB8"},
        **{"Continuous": "CONTINUOUS", "SingleFrame": "SINGLE_FRAME"},
        **{"Software": "SOURCE_SOFTWARE", "Line1": "SOURCE_LINE1"},
        **{"Input": "LINE_INPUT", "Output": "LINE_OUTPUT", "Timer0Active": "LINE_TIMER0_ACTIVE"},
        **{"SoftwareSignal0": "TIMER_ON_SIGNAL0"},
    }.items():
        assert described[entry] == numbers[enumerator], entry
    chunk_ids = [int(value, 16) for value in re.findall(r"<ChunkID>(\w+)<", XML)]
    assert chunk_ids == list(range(numbers["CHUNK_FRAME_ID"], numbers["CHUNK_FRAME_ID"] + 5))


def test_pixel_formats_have_their_pfnc_values() -> None:
    described = {name: int(value, 0) for name, value in re.findall(r'EnumEntry Name="(\w+)"><Value>(0x\w+)<', XML)}
    assert set(described) == {"Mono8", "Mono12", "BayerRG8", "RGB8"}
    assert described == {name: pfnc.dict_by_names[name] for name in described}


def test_gentl_numbers_are_the_ones_of_the_genicam_binding() -> None:
    official: dict[str, int] = {}
    for holder in vars(gentl).values():
        if isinstance(holder, EnumType):
            official |= {name: int(member) for name, member in holder.__members__.items()}
    written = enumerators(GENTL_H)
    assert len(written) > 100
    assert written == {name: official[name] for name in written}
