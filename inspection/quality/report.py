"""How production came out over a time: yields, what was stopped and why, what is out of control, what labels show of errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from inspection.artifact import OpticsRanges
from inspection.domain import OK, Lot, LotState, Output, Verdict
from inspection.quality.charts import RULE_WORDS, Rule, ShareChart, ShareLimits, laney
from inspection.quality.drift import Drift, drift
from inspection.quality.intervals import clopper_pearson
from inspection.quality.optics import OpticsTrend, optics_trend
from inspection.quality.pareto import Bar, pareto
from inspection.quality.times import Bucket, edges
from inspection.records import quality as records
from inspection.records.quality import Counts, LotFigures, Sampled, Stopped

LOTS = 60
"""Lots in the chart: the newest that inspected a part."""
_LATENCIES = 100
_LATENCY_GROUPS = 40
_BINS = 50
_SIGNALS = 20
UNNAMED = "no class"
ESCAPES_NOTE = (
    "Escapes are known only as far as passed parts were looked at again. Label passed parts drawn at random, good ones too: "
    "complaints alone show that there are escapes, not how many."
)


@dataclass(frozen=True, slots=True)
class Rate:
    """``events`` among ``parts``, as a share with its exact 95 % interval; all None where there are no parts."""

    events: int
    parts: int
    share: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Period:
    """An hour, a day or a week, as far as it lies in the time asked for.

    Verdicts are counted. ``accepted`` and ``first_pass`` (parts that passed at their first attempt) are of the sample.
    ``stopped`` is the share of fail and review among the inspected, with limits; None where nothing was inspected.
    """

    start: datetime
    end: datetime
    passed: int
    failed: int
    review: int
    not_inspected: int
    accepted: Rate
    first_pass: Rate
    stopped: ShareLimits | None


@dataclass(frozen=True, slots=True)
class LotQuality:
    """One lot, whole. ``first_pass``: parts that passed at their first attempt; ``accepted``: among all inspections."""

    lot: str
    product: str
    state: LotState
    opened_at: datetime
    passed: int
    failed: int
    review: int
    not_inspected: int
    accepted: Rate
    first_pass: Rate
    stopped: ShareLimits


@dataclass(frozen=True, slots=True)
class Signal:
    """A lot or a period that chance hardly makes: which rules it completes, in words too. ``lot`` is None for a period."""

    lot: str | None
    start: datetime
    rules: tuple[Rule, ...]
    words: str


@dataclass(frozen=True, slots=True)
class ChartLine:
    """The mean of a p′ chart, and how much more its points vary than chance alone lets them."""

    mean: float
    sigma_z: float
    points: int


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """What happened to the scores that one model gave to passed parts."""

    model: str
    drift: Drift


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """How often scores of one model fall where, in bins of equal width from ``low`` to ``high``; those above are in the last.

    The thresholds are those of its newest inspection. ``stopped`` are those with verdict fail or review.
    """

    model: str
    low: float
    high: float
    passed: tuple[int, ...]
    stopped: tuple[int, ...]
    review_threshold: float
    fail_threshold: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Trigger to decision in milliseconds, of so many inspections of the sample in a row, the first at ``at``."""

    at: datetime
    p50_ms: float
    p99_ms: float
    inspections: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """What labels show: rejects that were good (false rejects), passed parts that had a defect (escapes)."""

    false_rejects: Rate
    escapes: Rate
    note: str


@dataclass(frozen=True, slots=True)
class Quality:
    """``stride``: figures of the sample are of every so many-th inspection. ``stopped_read`` of ``stopped_parts`` parts that did
    not pass are in ``reasons`` and ``classes``: the newest of each verdict. ``lots_left_out`` is true where a product had more
    lots than are counted.
    """

    product: str | None
    start: datetime
    end: datetime
    bucket: Bucket
    inspections: int
    verdicts: tuple[Bar, ...]
    reasons: tuple[Bar, ...]
    classes: tuple[Bar, ...]
    stopped_read: int
    stopped_parts: int
    periods: tuple[Period, ...]
    period_chart: ChartLine | None
    lots: tuple[LotQuality, ...]
    lot_chart: ChartLine | None
    lots_left_out: bool
    signals: tuple[Signal, ...]
    drifts: tuple[ModelDrift, ...]
    optics: OpticsTrend | None
    scores: ScoreBins | None
    latencies: tuple[Latency, ...]
    labelled: Labelled
    sampled: int
    stride: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What is read of the records. ``periods`` counts verdicts between ``moments``, whose numbers begin at ``firsts``.

    ``lots`` are in the order of time.
    """

    product: str | None
    bucket: Bucket
    moments: tuple[datetime, ...]
    firsts: tuple[int, ...]
    periods: tuple[Counts, ...]
    lots: tuple[LotFigures, ...]
    lots_left_out: bool
    sample: tuple[Sampled, ...]
    stride: int
    stopped: tuple[Stopped, ...]
    labelled: Mapping[Verdict, tuple[int, int]]


LotReader = Callable[[Connection, Sequence[Lot]], list[LotFigures]]


def read_figures(
    connection: Connection,
    product: str | None,
    start: datetime,
    end: datetime,
    bucket: Bucket,
    read_lots: LotReader = records.lot_figures,
) -> Figures:
    """Read what a report needs, in the caller's snapshot. ``read_lots`` may remember what it read of lots before."""
    moments = edges(start, end, bucket)
    firsts = records.seq_edges(connection, moments)
    lots = records.lots_of(connection, product, start, end, records.MOST_LOTS + 1)
    left_out = len(lots) > records.MOST_LOTS
    lots = lots[: records.MOST_LOTS]
    # Where there is one product only, all inspections are of it, those of lots that were never opened too.
    alone = product is None or records.only_product(connection, product, start, end)
    of = None if alone else [lot.lot for lot in lots]
    first, last = firsts[0], firsts[-1] - 1
    stride, sample = records.sample(connection, first, last, product)
    # Some of the newest were opened only: twice as many are looked at.
    figures = [each for each in read_lots(connection, lots[: 2 * LOTS]) if _inspected(each.verdicts)]
    return Figures(
        product,
        bucket,
        moments,
        firsts,
        tuple(records.period_counts(connection, firsts, of)),
        tuple(reversed(figures[:LOTS])),
        of is not None and left_out,
        tuple(sample),
        stride,
        tuple(records.stopped(connection, first, last, product)),
        records.labelled(connection, first, last, product),
    )


def report(figures: Figures, usual: Callable[[str], OpticsRanges | None] = lambda model: None) -> Quality:
    """The figures of quality. ``usual`` knows how the good images of a model were taken."""
    periods, period_chart = _periods(figures)
    lots, lot_chart = _lots(figures.lots)
    whole = {verdict: sum(counts[verdict] for counts in figures.periods) for verdict in Verdict}
    reasons: dict[str, int] = defaultdict(int)
    classes: dict[str, int] = defaultdict(int)
    for row in figures.stopped:
        if row.verdict is Verdict.NOT_INSPECTED:
            reasons[row.reason or "unknown"] += row.count
        elif row.label != OK:
            # What a person said of it counts more than what the model proposed.
            classes[row.label or row.proposed_class or UNNAMED] += row.count
    signals = [
        *(_signal(each.lot, each.opened_at, f"Lot {each.lot}", _inspected_of(each), each.stopped) for each in lots),
        *(
            _signal(None, each.start, _named(each.start, figures.bucket), _inspected_of(each), each.stopped)
            for each in periods
            if each.stopped
        ),
    ]
    ok, defect = figures.labelled.get(Verdict.PASS, (0, 0))
    rejected = [figures.labelled.get(verdict, (0, 0)) for verdict in (Verdict.FAIL, Verdict.REVIEW)]
    good_rejects = sum(good for good, _ in rejected)
    return Quality(
        product=figures.product,
        start=figures.moments[0],
        end=figures.moments[-1],
        bucket=figures.bucket,
        inspections=sum(whole.values()),
        verdicts=pareto({verdict.value: count for verdict, count in whole.items()}),
        reasons=pareto(reasons),
        classes=pareto(classes),
        stopped_read=sum(row.count for row in figures.stopped),
        stopped_parts=sum(whole.values()) - whole[Verdict.PASS],
        periods=periods,
        period_chart=period_chart,
        lots=lots,
        lot_chart=lot_chart,
        lots_left_out=figures.lots_left_out,
        signals=tuple(sorted((signal for signal in signals if signal), key=lambda signal: signal.start)[-_SIGNALS:]),
        drifts=_drifts(figures.sample),
        optics=_optics(figures.sample, usual),
        scores=_scores(figures.sample),
        latencies=_latencies(figures.sample),
        labelled=Labelled(
            rate(good_rejects, good_rejects + sum(bad for _, bad in rejected)), rate(defect, ok + defect), ESCAPES_NOTE
        ),
        sampled=len(figures.sample),
        stride=figures.stride,
    )


def rate(events: int, parts: int) -> Rate:
    """A share with its exact interval (Clopper–Pearson)."""
    if parts == 0:
        return Rate(events, parts, None, None, None)
    return Rate(events, parts, events / parts, *clopper_pearson(events, parts))


def _periods(figures: Figures) -> tuple[tuple[Period, ...], ChartLine | None]:
    counted = [(counts[Verdict.FAIL] + counts[Verdict.REVIEW], _inspected(counts)) for counts in figures.periods]
    chart = laney([each for each in counted if each[1]])
    points = iter(chart.points if chart else ())
    stopped = [next(points) if parts else None for _, parts in counted]
    of_period: list[list[Sampled]] = [[] for _ in figures.periods]
    for part, number in zip(
        figures.sample,
        np.searchsorted(figures.firsts[1:-1], [part.seq for part in figures.sample], "right"),
        strict=True,
    ):
        of_period[int(number)].append(part)
    periods = []
    for number, counts in enumerate(figures.periods):
        sampled = of_period[number]
        first = [part for part in sampled if part.attempt == 1]
        periods.append(
            Period(
                figures.moments[number],
                figures.moments[number + 1],
                counts[Verdict.PASS],
                counts[Verdict.FAIL],
                counts[Verdict.REVIEW],
                counts[Verdict.NOT_INSPECTED],
                rate(sum(part.output is Output.ACCEPT for part in sampled), len(sampled)),
                rate(sum(part.verdict is Verdict.PASS for part in first), len(first)),
                stopped[number],
            )
        )
    return tuple(periods), _line(chart)


def _lots(figures: Sequence[LotFigures]) -> tuple[tuple[LotQuality, ...], ChartLine | None]:
    chart = laney([(each.verdicts[Verdict.FAIL] + each.verdicts[Verdict.REVIEW], _inspected(each.verdicts)) for each in figures])
    lots = []
    for each, limits in zip(figures, chart.points if chart else (), strict=True):
        lot, verdicts = each.lot, each.verdicts
        whole = sum(verdicts.values())
        lots.append(
            LotQuality(
                lot.lot,
                lot.product,
                lot.state,
                lot.opened_at,
                verdicts[Verdict.PASS],
                verdicts[Verdict.FAIL],
                verdicts[Verdict.REVIEW],
                verdicts[Verdict.NOT_INSPECTED],
                rate(each.accepted, whole),
                rate(verdicts[Verdict.PASS] - each.passed_repeats, whole - each.repeats),
                limits,
            )
        )
    return tuple(lots), _line(chart)


def _drifts(sample: Sequence[Sampled]) -> tuple[ModelDrift, ...]:
    scores: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    for part in sample:
        if part.verdict is Verdict.PASS and part.score is not None and part.model is not None:
            scores[part.model].append((part.recorded_at, part.score))
    # The model that judged last comes first.
    newest_first = sorted(scores.items(), key=lambda item: item[1][-1][0], reverse=True)
    return tuple(ModelDrift(model, drift(of_model)) for model, of_model in newest_first)


def _optics(sample: Sequence[Sampled], usual: Callable[[str], OpticsRanges | None]) -> OpticsTrend | None:
    told = [(part.model, part.recorded_at, part.optics) for part in sample if part.optics and part.model]
    if not told:
        return None
    newest = told[-1][0]
    return optics_trend(newest, [(at, figures) for model, at, figures in told if model == newest], usual(newest))


def _scores(sample: Sequence[Sampled]) -> ScoreBins | None:
    """Of the model that judged last."""
    judged = [part for part in sample if part.score is not None and part.review_threshold is not None and part.fail_threshold]
    if not judged:
        return None
    newest = judged[-1]
    of_model = [part for part in judged if part.model == newest.model]
    scores = np.array([part.score for part in of_model])
    # As on the maps and bars of scores: the fail threshold in the middle.
    high = 2 * float(newest.fail_threshold or 0)
    low = max(0.0, float(np.floor(10 * min(scores.min(), high) / high) / 10 * high))
    passed = np.array([part.verdict is Verdict.PASS for part in of_model])
    edges_of_bins = np.linspace(low, high, _BINS + 1)
    passes, stops = (
        tuple(np.histogram(np.clip(scores[which], low, high), edges_of_bins)[0].tolist()) for which in (passed, ~passed)
    )
    thresholds = float(newest.review_threshold or 0), float(newest.fail_threshold or 0)
    return ScoreBins(newest.model or "", low, high, passes, stops, *thresholds)


def _latencies(sample: Sequence[Sampled]) -> tuple[Latency, ...]:
    totals = [(part.recorded_at, part.timings_ms["total"]) for part in sample if "total" in part.timings_ms]
    size = max(_LATENCIES, -(-len(totals) // _LATENCY_GROUPS))
    found = []
    # The last group takes what does not fill one of its own.
    for start in range(0, max(len(totals) - size, 0) + 1, size):
        group = totals[start:] if len(totals) - start < 2 * size else totals[start : start + size]
        if group:
            p50, p99 = np.quantile([total for _, total in group], (0.5, 0.99))
            found.append(Latency(group[0][0], float(p50), float(p99), len(group)))
    return tuple(found)


def _signal(lot: str | None, start: datetime, name: str, inspected: int, limits: ShareLimits) -> Signal | None:
    if not limits.rules:
        return None
    words = f"{name}: {100 * limits.share:.1f} % of {inspected} inspected parts stopped, "
    words += " and ".join(RULE_WORDS[rule] for rule in limits.rules)
    words += f" (limits {100 * limits.lower:.1f} % to {100 * limits.upper:.1f} %)."
    if limits.z < 0 and Rule.BEYOND_LIMIT in limits.rules:
        words += " Fewer than usual: look whether defects still show in the images."
    return Signal(lot, start, limits.rules, words)


def _named(start: datetime, bucket: Bucket) -> str:
    local = start.astimezone()
    if bucket is Bucket.HOUR:
        return f"{local:%Y-%m-%d} from {local:%H:%M}"
    return f"{'Week from ' if bucket is Bucket.WEEK else ''}{local:%Y-%m-%d}"


def _line(chart: ShareChart | None) -> ChartLine | None:
    return None if chart is None else ChartLine(chart.mean, chart.sigma_z, len(chart.points))


def _inspected(counts: Counts) -> int:
    return counts[Verdict.PASS] + counts[Verdict.FAIL] + counts[Verdict.REVIEW]


def _inspected_of(counted: Period | LotQuality) -> int:
    return counted.passed + counted.failed + counted.review
