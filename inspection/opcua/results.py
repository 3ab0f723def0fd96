"""Inspections as results of OPC 40100-1: identity, what maps to what, and the reads behind the methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from asyncua import ua
from sqlalchemy import ColumnElement, Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from inspection.config import Config
from inspection.domain import Inspection, Verdict
from inspection.errors import Unavailable
from inspection.opcua.nodes import types
from inspection.records.queries import changes_after, counters, search
from inspection.records.tables import inspections, triggers

COMPLETED, FAILED = 1, 4
"""ResultStateDataType: what became of the execution. The verdict is in the content."""
MAX_PAGE = 500
SINGLE = "opcua-"
"""Begins the request id of a part that a single job asked for; its job is named after it."""
_EVALUATION = {Verdict.PASS: "OK", Verdict.FAIL: "NotOK", Verdict.REVIEW: "NotDecidable", Verdict.NOT_INSPECTED: "NotDecidable"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a client wants to see of the results; empty strings and 0 do not filter."""

    state: int = 0
    meas: str = ""
    part: str = ""
    product: str = ""
    model: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """How lot, serial, seq and job are named towards clients.

    With ``lot_from`` MeasId, MeasId is the lot and PartId the serial. With PartId, PartId is ``lot/serial``, and a job's PartId
    is its lot.
    """

    station: str
    lot_from: str

    def ids(self, lot: str, serial: str) -> tuple[str | None, str]:
        """MeasId, if any, and PartId of a result."""
        return (lot, serial) if self.lot_from == "MeasId" else (None, f"{lot}/{serial}")

    def lot_and_serial(self, meas: str, part: str) -> tuple[str, str]:
        """The reverse, for what a client sends; empty where it says nothing."""
        if self.lot_from == "MeasId":
            return meas, part
        lot, _, serial = part.partition("/")
        return lot, serial

    def result(self, seq: int) -> str:
        return f"{self.station}/{seq}"

    def seq(self, result: str) -> int | None:
        station, _, number = result.rpartition("/")
        return int(number) if station == self.station and number.isascii() and number.isdigit() and len(number) <= 17 else None

    def job(self, lot: str, request_id: str | None = None) -> str:
        """A lot is one job, also when it is stopped and continued; a single job is its request."""
        return f"{self.station}/single/{request_id}" if request_id else f"{self.station}/lot/{lot}"

    def single_job(self, job: str) -> str:
        """The request id in the id of a single job; empty for any other."""
        prefix = f"{self.station}/single/"
        return job.removeprefix(prefix) if job.startswith(prefix + SINGLE) else ""

    def lot_of_job(self, job: str) -> str:
        """The lot in the id of a continuous job; empty for any other."""
        prefix = f"{self.station}/lot/"
        return job.removeprefix(prefix) if job.startswith(prefix) else ""


class Results:
    """Reads from the records; every method raises Unavailable while they cannot be read, and may be called from a thread."""

    def __init__(self, engine: Engine, config: Config, names: Names) -> None:
        self._engine = engine
        self._names = names
        self._simulated = {camera.name for camera in config.cameras if camera.producer == "simulator"}

    def last_seq(self) -> int:
        return self._read(lambda connection: counters(connection).last_seq)

    def after(self, seq: int, limit: int) -> list[tuple[int, Any]]:
        """(seq, ResultDataType) of new inspections, in their order."""

        def read(connection: Connection) -> list[tuple[int, Any]]:
            found = changes_after(connection, seq, limit)
            return list(zip((each.seq for each in found), self._results(connection, found), strict=True))

        return self._read(read)

    def by_id(self, result: str) -> Any | None:
        """ResultDataType, or None if there is no such result."""
        seq = self._names.seq(result)
        found = [] if seq is None else self._list([inspections.c.seq == seq], 0, 1)
        return found[0] if found else None

    def page(self, wanted: Filter, start: int, most: int) -> Sequence[Any]:
        """ResultDataType, oldest first, without the first ``start``. New results come last, so that pages stay as they are."""
        where = self._where(wanted)
        return [] if where is None else self._list(where, start, most)

    def _where(self, wanted: Filter) -> Sequence[ColumnElement[bool]] | None:
        """Conditions on the inspections; None if nothing can match."""
        columns = inspections.c
        lot, serial = self._names.lot_and_serial(wanted.meas, wanted.part)
        given = ((columns.lot, lot), (columns.serial, serial), (columns.product, wanted.product), (columns.model, wanted.model))
        where = [column == value for column, value in given if value]
        if wanted.state == COMPLETED:
            where.append(columns.verdict != Verdict.NOT_INSPECTED)
        elif wanted.state == FAILED:
            where.append(columns.verdict == Verdict.NOT_INSPECTED)
        elif wanted.state:
            return None
        if wanted.job:
            single, of_lot = self._names.single_job(wanted.job), self._names.lot_of_job(wanted.job)
            if single:
                where.append(columns.trigger_id.in_(select(triggers.c.trigger_id).where(triggers.c.request_id == single)))
            elif of_lot:
                asked = select(triggers.c.trigger_id).where(triggers.c.lot == of_lot, triggers.c.request_id.startswith(SINGLE))
                where += [columns.lot == of_lot, columns.trigger_id.not_in(asked)]
            else:
                return None
        return where

    def _list(self, where: Sequence[ColumnElement[bool]], start: int, most: int) -> Sequence[Any]:
        return self._read(lambda connection: self._results(connection, search(connection, where, start, most)))

    def _results(self, connection: Connection, found: Sequence[Inspection]) -> Sequence[Any]:
        asked = select(triggers.c.trigger_id, triggers.c.request_id).where(
            triggers.c.trigger_id.in_([each.trigger_id for each in found]), triggers.c.request_id.startswith(SINGLE)
        )
        single = {row.trigger_id: row.request_id for row in connection.execute(asked)}
        return [self._result(each, single.get(each.trigger_id)) for each in found]

    def _read(self, read: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return read(connection)
        except SQLAlchemyError as error:
            raise Unavailable(f"the records cannot be read: {error}") from error

    def _result(self, inspection: Inspection, request_id: str | None) -> Any:
        meas, part = self._names.ids(inspection.lot, inspection.serial)
        times = types.ProcessingTimesDataType(StartTime=inspection.triggered_at, EndTime=inspection.decided_at)
        if inspection.acquired_at is not None:
            times.ProcessingDuration = (inspection.decided_at - inspection.acquired_at).total_seconds() * 1000
        product = inspection.product
        return types.ResultDataType(
            ResultId=types.ResultIdDataType(Id=self._names.result(inspection.seq)),
            IsPartial=False,
            IsSimulated=inspection.camera in self._simulated,
            ResultState=FAILED if inspection.verdict is Verdict.NOT_INSPECTED else COMPLETED,
            MeasId=types.MeasIdDataType(Id=meas) if meas is not None else None,
            PartId=types.PartIdDataType(Id=part),
            ExternalRecipeId=types.RecipeIdExternalDataType(Id=product) if product else None,
            InternalRecipeId=model_id(types.RecipeIdInternalDataType, inspection.model),
            ProductId=types.ProductIdDataType(Id=product) if product else None,
            InternalConfigurationId=model_id(types.ConfigurationIdDataType, inspection.model),
            JobId=types.JobIdDataType(Id=self._names.job(inspection.lot, request_id)),
            CreationTime=inspection.recorded_at,
            ProcessingTimes=times,
            ResultContent=[ua.Variant(_content(inspection), ua.VariantType.ExtensionObject)],
        )


def model_id(kind: Any, model: str | None) -> Any:
    """The id of a recipe or configuration: the digest of the model that decides, which is the hash of its manifest."""
    if model is None:
        return kind(Id="")
    return kind(Id=model, Hash=bytes.fromhex(model), HashAlgorithm="SHA-256")


def _content(inspection: Inspection) -> Any:
    return types.InspectionDataType(
        Evaluation=types.ResultEvaluation[_EVALUATION[inspection.verdict]],
        Verdict=inspection.verdict.value,
        Reason=inspection.reason and inspection.reason.value,
        Score=inspection.score,
        ReviewThreshold=inspection.review_threshold,
        FailThreshold=inspection.fail_threshold,
        ProposedClass=inspection.proposed_class,
        Output=inspection.output and inspection.output.value,
        Camera=inspection.camera,
        TriggerId=inspection.trigger_id,
        Attempt=inspection.attempt,
    )
