"""The payload of Sparkplug B on the wire, and what a host says of itself (Eclipse Sparkplug 3.0.0, chapter 6).

The specification's ``sparkplug_b.proto`` in protobuf's wire format, as far as a station speaks it: scalar metrics. Data sets,
templates, properties and metadata of others are skipped. Times are milliseconds since 1970 UTC (6.4.5, 6.4.6).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from inspection.errors import StationError

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PAYLOAD_TIMESTAMP, _PAYLOAD_METRIC, _PAYLOAD_SEQ = 1, 2, 3
_NAME, _ALIAS, _TIMESTAMP, _DATATYPE, _IS_HISTORICAL, _IS_NULL = 1, 2, 3, 4, 5, 7
_INT, _LONG, _FLOAT, _DOUBLE, _BOOLEAN, _STRING = 10, 11, 12, 13, 14, 15
_WIRE_TYPES = {_NAME: _BYTES, _FLOAT: _FIXED32, _DOUBLE: _FIXED64, _STRING: _BYTES}
"""Wire types of a metric's fields; those not named are varints."""


class MalformedPayload(StationError):
    """The bytes are not a Sparkplug B payload; what sent them speaks something else."""


class Datatype(IntEnum):
    """The codes of the schema's ``DataType``. A number of 32 bits is held in ``int_value``, one of 64 in ``long_value``."""

    INT32 = 3
    INT64 = 4
    UINT64 = 8
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13


_CODES = frozenset(Datatype)

Value = bool | int | float | str | None

_RANGES = {
    Datatype.INT32: (-(2**31), 2**31),
    Datatype.INT64: (-(2**63), 2**63),
    Datatype.UINT64: (0, 2**64),
    Datatype.DATE_TIME: (0, 2**64),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """6.4.6. ``value`` None is sent as ``is_null``. Commands of a host may carry neither timestamp nor datatype.

    ``datatype`` None was not sent, or is one that a station does not use; the value is then as it lies on the wire, unsigned.
    """

    name: str | None
    datatype: Datatype | None
    value: Value
    timestamp: int | None = None
    alias: int | None = None
    is_historical: bool = False


@dataclass(frozen=True, slots=True)
class Payload:
    """6.4.5. ``seq`` is None in NDEATH and in commands."""

    timestamp: int | None
    metrics: tuple[Metric, ...]
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """What ``spBv1.0/STATE/{host}`` says, and since when, in milliseconds (tck-id-host-topic-phid-birth-payload)."""

    online: bool
    timestamp: int


def milliseconds(time: datetime) -> int:
    """An aware time as Sparkplug says it; whole milliseconds, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def fits(value: Value, datatype: Datatype) -> bool:
    """Whether a metric of this datatype can carry the value; None fits all."""
    if value is None:
        return True
    if datatype in _RANGES:
        least, end = _RANGES[datatype]
        return isinstance(value, int) and not isinstance(value, bool) and least <= value < end
    if datatype is Datatype.BOOLEAN:
        return isinstance(value, bool)
    if datatype is Datatype.DOUBLE:
        return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1023)
    return isinstance(value, str)


def encode(payload: Payload) -> bytes:
    """The payload's bytes. ValueError if a value does not fit its datatype: a programming error, see ``fits``."""
    out = bytearray()
    if payload.timestamp is not None:
        out += _key(_PAYLOAD_TIMESTAMP, _VARINT) + _varint(payload.timestamp)
    for metric in payload.metrics:
        out += _key(_PAYLOAD_METRIC, _BYTES) + _sized(_encode_metric(metric))
    if payload.seq is not None:
        out += _key(_PAYLOAD_SEQ, _VARINT) + _varint(payload.seq)
    return bytes(out)


def decode(content: bytes) -> Payload:
    """What ``encode`` made, or a host. MalformedPayload if it is neither."""
    timestamp: int | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    for field, wire_type, value in _fields(content):
        if field == _PAYLOAD_METRIC and isinstance(value, bytes):
            metrics.append(_decode_metric(value))
        elif field == _PAYLOAD_TIMESTAMP and wire_type == _VARINT:
            timestamp = _whole(value)
        elif field == _PAYLOAD_SEQ and wire_type == _VARINT:
            seq = _whole(value)
    return Payload(timestamp, tuple(metrics), seq)


def host_state(content: bytes) -> HostState:
    """The JSON of a STATE message. MalformedPayload if it is none, as the ``ONLINE`` of hosts before Sparkplug 3."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedPayload(f"a STATE message must be JSON, as since Sparkplug 3.0.0, but is {content[:40]!r}") from error
    match said:
        case {"online": bool(online), "timestamp": int(timestamp)}:
            return HostState(online, timestamp)
    raise MalformedPayload(f'a STATE message must be {{"online": true or false, "timestamp": ms}}, but is {content[:80]!r}')


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = datetime.resolution * 1000


def _encode_metric(metric: Metric) -> bytes:
    out = bytearray()
    if metric.name is not None:
        out += _key(_NAME, _BYTES) + _text(metric.name)
    if metric.alias is not None:
        out += _key(_ALIAS, _VARINT) + _varint(metric.alias)
    if metric.timestamp is not None:
        out += _key(_TIMESTAMP, _VARINT) + _varint(metric.timestamp)
    if metric.datatype is None:
        raise ValueError(f"metric {metric.name} has no datatype")
    out += _key(_DATATYPE, _VARINT) + _varint(metric.datatype)
    if metric.is_historical:
        out += _key(_IS_HISTORICAL, _VARINT) + _varint(1)
    return bytes(out + _encode_value(metric, metric.datatype))


def _encode_value(metric: Metric, datatype: Datatype) -> bytes:
    value = metric.value
    if not fits(value, datatype):
        raise ValueError(f"metric {metric.name}: {value!r} is no {datatype.name}")
    if value is None:
        return _key(_IS_NULL, _VARINT) + _varint(1)
    if isinstance(value, str):
        return _key(_STRING, _BYTES) + _text(value)
    if datatype is Datatype.DOUBLE:
        return _key(_DOUBLE, _FIXED64) + struct.pack("<d", value)
    if datatype is Datatype.BOOLEAN:
        return _key(_BOOLEAN, _VARINT) + _varint(int(value))
    # Signed integers are two's complement of the field's width, not zigzag.
    if datatype is Datatype.INT32:
        return _key(_INT, _VARINT) + _varint(int(value) % 2**32)
    return _key(_LONG, _VARINT) + _varint(int(value) % 2**64)


def _decode_metric(content: bytes) -> Metric:
    found = {field: value for field, wire_type, value in _fields(content) if wire_type == _WIRE_TYPES.get(field, _VARINT)}
    code = _optional(found, _DATATYPE)
    datatype = Datatype(code) if code in _CODES else None
    name = found.get(_NAME)
    return Metric(
        None if name is None else _utf8(name),
        datatype,
        None if found.get(_IS_NULL) else _decode_value(found, datatype),
        _optional(found, _TIMESTAMP),
        _optional(found, _ALIAS),
        bool(found.get(_IS_HISTORICAL)),
    )


def _decode_value(found: dict[int, int | bytes], datatype: Datatype | None) -> Value:
    if _STRING in found:
        return _utf8(found[_STRING])
    if _BOOLEAN in found:
        return bool(found[_BOOLEAN])
    if _DOUBLE in found:
        return float(struct.unpack("<d", _raw(found[_DOUBLE]))[0])
    if _FLOAT in found:
        return float(struct.unpack("<f", _raw(found[_FLOAT]))[0])
    if _INT in found:
        value = _whole(found[_INT]) % 2**32
        return value - 2**32 if datatype is Datatype.INT32 and value >= 2**31 else value
    if _LONG in found:
        value = _whole(found[_LONG])
        return value - 2**64 if datatype is Datatype.INT64 and value >= 2**63 else value
    return None


def _fields(content: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field, in their order."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        field, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == _VARINT:
            value, at = _read_varint(content, at)
        else:
            if wire_type == _BYTES:
                size, at = _read_varint(content, at)
            elif wire_type in (_FIXED64, _FIXED32):
                size = 8 if wire_type == _FIXED64 else 4
            else:
                raise MalformedPayload(f"protobuf wire type {wire_type} is not one of Sparkplug B")
            value, at = content[at : at + size], at + size
            if len(value) < size:
                raise MalformedPayload("the payload ends within a field")
        yield field, wire_type, value


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise MalformedPayload("the payload ends within a number")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % 2**64, at
    raise MalformedPayload("a number has more than 64 bits")


def _varint(value: int) -> bytes:
    if not 0 <= value < 2**64:
        raise ValueError(f"{value} is not an unsigned number of 64 bits")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _text(text: str) -> bytes:
    return _sized(text.encode(errors="replace"))


def _utf8(value: int | bytes) -> str:
    try:
        return _raw(value).decode()
    except UnicodeDecodeError as error:
        raise MalformedPayload("a text of the payload is not UTF-8") from error


def _raw(value: int | bytes) -> bytes:
    assert isinstance(value, bytes), "its wire type was looked at"
    return value


def _whole(value: int | bytes) -> int:
    assert isinstance(value, int), "its wire type was looked at"
    return value


def _optional(found: dict[int, int | bytes], field: int) -> int | None:
    return _whole(found[field]) if field in found else None
