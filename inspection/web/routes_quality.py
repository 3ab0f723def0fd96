"""REST: the figures of quality over a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from inspection.artifact import OpticsRanges, read_manifest
from inspection.domain import Lot, LotState
from inspection.errors import ModelError, NotFound
from inspection.quality.report import Quality, read_figures, report
from inspection.quality.times import MOST, Bucket, fitting, too_many
from inspection.records.deployments import get_model
from inspection.records.quality import LotFigures, lot_figures
from inspection.web.context import InContext
from inspection.web.names import ProductFilter
from inspection.web.problems import Problem, documented
from inspection.web.times import From, To

router = APIRouter(prefix="/api/v1", tags=["quality"], responses=documented())

_DEFAULT = timedelta(days=7)
_FRESH_S = 10.0
_ANSWERS = 32
_CLOSED_S = 600.0
_CLOSED_LOTS = 2_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The figures, when they were read, and how long that took."""

    quality: Quality
    read_at: datetime
    read_ms: float


Asked = tuple[str | None, datetime | None, datetime | None, Bucket | None]


class Answers:
    """Answers of the last seconds, and figures of closed lots, which hardly change: one for the whole web process; thread-safe.

    One answer is read at a time: figures of a long time are work, and the line comes first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Asked, tuple[float, Answer]] = OrderedDict()
        self._closed: OrderedDict[Lot, tuple[float, LotFigures]] = OrderedDict()

    def get(self, context: InContext, asked: Asked, now: datetime) -> Answer:
        with self._lock:
            known = self._answers.get(asked)
            if known is not None and time.monotonic() - known[0] < _FRESH_S:
                return known[1]
            product, start, end, bucket = asked
            end = end or now
            start = start or end - _DEFAULT
            began = time.monotonic()
            with context.reader.connect() as records:
                figures = read_figures(records, product, start, end, bucket or fitting(start, end), self._lots)
                quality = report(figures, lambda model: _usual(records, context, model))
            answer = Answer(quality, now, round(1000 * (time.monotonic() - began), 1))
            self._answers[asked] = time.monotonic(), answer
            self._answers.move_to_end(asked)
            while len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
            return answer

    def _lots(self, records: Connection, lots: Sequence[Lot]) -> list[LotFigures]:
        """Figures of these lots; of closed ones, those of a former time if it is not long ago."""
        now = time.monotonic()
        fresh = {lot: self._closed[lot][1] for lot in lots if lot in self._closed and now - self._closed[lot][0] < _CLOSED_S}
        for figures in lot_figures(records, [lot for lot in lots if lot not in fresh]):
            fresh[figures.lot] = figures
            if figures.lot.state is LotState.CLOSED:
                self._closed[figures.lot] = now, figures
                self._closed.move_to_end(figures.lot)
        while len(self._closed) > _CLOSED_LOTS:
            self._closed.popitem(last=False)
        return [fresh[lot] for lot in lots]


def _usual(records: Connection, context: InContext, model: str) -> OpticsRanges | None:
    """How the good images of a model were taken; None where its artifact does not tell, or is gone."""
    with suppress(NotFound, ModelError):
        return read_manifest(context.settings.data_dir / get_model(records, model).path, model).optics
    return None


@router.get("/quality", responses=documented(HTTPStatus.BAD_REQUEST))
def quality(
    request: Request,
    context: InContext,
    product: ProductFilter = None,
    start: From = None,
    end: To = None,
    bucket: Bucket | None = None,
) -> Answer:
    """Yields, what was stopped and why, lots and periods that are out of control, drift of scores and optics, latency, and errors
    by labels.

    Of the last seven days unless asked otherwise; in hours, days or weeks of the station's clock. Answers are up to ten seconds
    old. Verdicts are counted; scores, latencies and first attempts of a period are read of a sample at a stride of seq.
    """
    now = datetime.now(UTC)
    until = end or now
    since = start or until - _DEFAULT
    if since >= until:
        raise Problem(HTTPStatus.BAD_REQUEST, "no_time", "from must lie before to; exchange them or leave one out")
    if bucket is not None and too_many(since, until, bucket):
        detail = f"that would be more than {MOST} periods; ask for a shorter time or a larger bucket"
        raise Problem(HTTPStatus.BAD_REQUEST, "too_many_periods", detail)
    if bucket is None and too_many(since, until, Bucket.WEEK):
        detail = f"that would be more than {MOST} weeks; ask for a shorter time"
        raise Problem(HTTPStatus.BAD_REQUEST, "too_many_periods", detail)
    answers: Answers = request.app.state.answers
    return answers.get(context, (product or None, start, end, bucket), now)
