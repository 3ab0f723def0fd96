"""A lot's inspections as an operations performance of ISA-95, in B2MML V0700.

OperationsPerformance / OperationsResponse (the lot) / SegmentResponse (its inspection, with its counts as SegmentData) /
MaterialActual (one per inspection, its ID is the seq; the serial is its MaterialSubLotID) / TestResult: one holds the verdict
with what it rests on as PropertyMeasurements, another the label that counts, if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from lxml import etree
from sqlalchemy import Row

from inspection.domain import Lot, LotState, LotSummary
from inspection.mes.tabular import utc
from inspection.records.exports import LotHead, Rows

NAMESPACE = "http://www.mesa.org/xml/B2MML"
QUALITY = "Quality"
_STATES = {LotState.OPEN: "Running", LotState.CLOSED: "Closed"}
# What names may hold and XML 1.0 may not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_COUNTS = ("triggered", "passed", "failed", "review", "not_inspected", "open_triggers", "accepted", "rejected")
_MEASUREMENTS = {
    "score": "double",
    "p_value": "double",
    "review_threshold": "double",
    "fail_threshold": "double",
    "reason": "string",
    "proposed_class": "string",
    "output": "string",
    "late_verdict": "string",
    "late_score": "double",
    "attempt": "integer",
    "trigger_id": "integer",
    "frame_id": "integer",
    "frame_sha256": "string",
    "model": "string",
    "camera": "string",
    "triggered_at": "dateTime",
    "acquired_at": "dateTime",
    "recorded_at": "dateTime",
}
"""Columns of a row that become measurements, and their data types; those without a value are left out."""


def b2mml_chunks(station: str, head: LotHead, batches: Iterable[Rows], published_at: datetime) -> Iterator[bytes]:
    """The document in pieces, a batch at a time."""
    lot, summary = head.opened, head.summary
    written = _Written()
    with etree.xmlfile(written, encoding="utf-8") as document:
        document.write_declaration()
        with document.element(f"{{{NAMESPACE}}}OperationsPerformance", nsmap={None: NAMESPACE}):
            for part in _performance(station, lot, summary, published_at):
                document.write(part)
            with document.element(f"{{{NAMESPACE}}}OperationsResponse"):
                for part in _response(lot, summary):
                    document.write(part)
                with document.element(f"{{{NAMESPACE}}}SegmentResponse"):
                    for part in _segment(station, lot, summary):
                        document.write(part)
                    for rows in batches:
                        for row in rows:
                            document.write(_material(row))
                        document.flush()
                        yield written.taken()
    yield written.taken()


class _Written:
    """A file that keeps what was written until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def taken(self) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


def _performance(station: str, lot: Lot | None, summary: LotSummary, published_at: datetime) -> Iterator[Any]:
    yield _element("ID", f"{station}/{summary.lot}")
    yield _element("Description", f"Visual inspection of lot {summary.lot} by station {station}")
    yield _element("PublishedDate", utc(published_at))
    yield from _span(lot, "StartTime", "Endtime")
    yield _element("OperationsType", QUALITY)
    yield from _state(lot, "PerformanceState")


def _response(lot: Lot | None, summary: LotSummary) -> Iterator[Any]:
    yield _element("ID", summary.lot)
    yield from _span(lot, "StartTime", "EndTime")
    yield _element("OperationsType", QUALITY)
    yield from _state(lot, "ResponseState")


def _segment(station: str, lot: Lot | None, summary: LotSummary) -> Iterator[Any]:
    yield _element("ID", "inspection")
    yield from _span(lot, "ActualStartTime", "ActualEndTime")
    yield _element("OperationsType", QUALITY)
    yield from _state(lot, "SegmentState")
    counts = {name: getattr(summary, name) for name in _COUNTS}
    if lot is not None and lot.expected_quantity is not None:
        counts["expected_quantity"] = lot.expected_quantity
    for name, count in counts.items():
        data = _element("SegmentData")
        _add(data, "ID", name)
        _add_value(data, count, "integer")
        yield data
    equipment = _element("EquipmentActual")
    _add(equipment, "ID", station)
    _add(equipment, "EquipmentID", station)
    yield equipment


def _material(row: Row[Any]) -> Any:
    material = _element("MaterialActual")
    _add(material, "ID", str(row.seq))
    if row.product is not None:
        _add(material, "MaterialDefinitionID", row.product)
    _add(material, "MaterialLotID", row.lot)
    _add(material, "MaterialSubLotID", row.serial)
    verdict = _add_result(material, "verdict", row.decided_at, row.verdict)
    for column, data_type in _MEASUREMENTS.items():
        value = getattr(row, column)
        if value is not None:
            _add_measurement(verdict, column, value, data_type)
    if row.label is not None:
        label = _add_result(material, "label", row.labelled_at, row.label)
        _add_measurement(label, "labelled_by", row.labelled_by, "string")
    return material


def _add_result(material: Any, name: str, at: datetime, result: str) -> Any:
    found = _add(material, "TestResult")
    _add(found, "ID", name)
    _add(found, "EvaluationDate", utc(at))
    _add(found, "EvaluatedCriterionResult", result)
    return found


def _add_measurement(result: Any, name: str, value: Any, data_type: str) -> None:
    measurement = _add(result, "PropertyMeasurement")
    _add(measurement, "ID", name)
    _add_value(measurement, value, data_type)


def _add_value(parent: Any, value: Any, data_type: str) -> None:
    element = _add(parent, "Value")
    _add(element, "ValueString", utc(value) if data_type == "dateTime" else str(value))
    _add(element, "DataType", data_type)


def _span(lot: Lot | None, start: str, end: str) -> Iterator[Any]:
    if lot is not None:
        yield _element(start, utc(lot.opened_at))
    if lot is not None and lot.closed_at is not None:
        yield _element(end, utc(lot.closed_at))


def _state(lot: Lot | None, name: str) -> Iterator[Any]:
    if lot is not None:
        yield _element(name, _STATES[lot.state])


def _element(name: str, text: str | None = None) -> Any:
    # Without a namespace: written inside the document, it is in the document's default one, which need not be declared again.
    element = etree.Element(name)
    element.text = text and _xml(text)
    return element


def _add(parent: Any, name: str, text: str | None = None) -> Any:
    element = etree.SubElement(parent, name)
    element.text = text and _xml(text)
    return element


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
