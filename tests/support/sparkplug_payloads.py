"""Payloads of every kind that a station can write."""

from __future__ import annotations

from hypothesis import strategies as some

from inspection.mes.sparkplug import Datatype, Metric, Payload, Value

UINT64 = some.integers(0, 2**64 - 1)
VALUES: dict[Datatype, some.SearchStrategy[Value]] = {
    Datatype.INT32: some.integers(-(2**31), 2**31 - 1),
    Datatype.INT64: some.integers(-(2**63), 2**63 - 1),
    Datatype.UINT64: UINT64,
    Datatype.DATE_TIME: UINT64,
    Datatype.DOUBLE: some.floats(allow_nan=False, allow_infinity=False),
    Datatype.BOOLEAN: some.booleans(),
    Datatype.STRING: some.text(max_size=20),
}


@some.composite
def _metrics(draw: some.DrawFn) -> Metric:
    datatype = draw(some.sampled_from(Datatype))
    value = draw(some.none() | VALUES[datatype])
    name = draw(some.none() | some.text(max_size=20))
    return Metric(name, datatype, value, draw(some.none() | UINT64), draw(some.none() | UINT64), draw(some.booleans()))


PAYLOADS = some.builds(
    Payload, some.none() | UINT64, some.lists(_metrics(), max_size=8).map(tuple), some.none() | some.integers(0, 255)
)
